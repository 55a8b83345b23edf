# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that is short of processor: control groups with little of it, which others use up; and one short of memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from .cases import Skipped
from .hosts import Host, stop, wait

HOG = "while True: pass"


def _mounted(kind: str, controller: str = "") -> Path | None:
    """Where control groups of version 2 (``cgroup2``), or those of one controller of version 1, are mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, place, found, options = line.split()[:4]
        if found == kind and (not controller or controller in options.split(",")):
            return Path(place)
    return None


class Group:
    """A control group with a limit; *pressure* is the directory that has its pressure, as /proc/pressure the host's.

    Raises `Skipped` where the machine has no such controller, or lets nobody make groups.
    """

    def __init__(self, controller: str) -> None:
        unified = _mounted("cgroup2")
        self.modern = bool(unified) and controller in (unified / "cgroup.controllers").read_text().split()
        limiting = unified if self.modern else _mounted("cgroup", controller)
        if not unified or not limiting:
            raise Skipped(f"no control groups for {controller} here")
        name = f"pgharden-lab-{os.getpid()}-{id(self)}"
        self.limits, self.pressure = limiting / name, unified / name
        self.places = tuple(dict.fromkeys((self.limits, self.pressure)))
        try:
            if self.modern:
                (unified / "cgroup.subtree_control").write_text(f"+{controller}")
            for place in self.places:
                place.mkdir()
        except OSError as problem:
            raise Skipped(f"no control groups of our own here: {problem}") from None

    def limit(self, modern: dict[str, str], old: dict[str, str]) -> None:
        """Write the files of either version."""
        for name, value in (modern if self.modern else old).items():
            (self.limits / name).write_text(value)

    def add(self, pid: int) -> None:
        """Let a process, and what it starts from now on, belong to it."""
        for place in self.places:
            (place / "cgroup.procs").write_text(str(pid))

    def release(self) -> None:
        """Let what runs in it have what it wants again."""
        for place in self.places:
            for pid in (place / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    (place.parent / "cgroup.procs").write_text(pid)

    def close(self) -> None:
        """Remove it, as soon as nothing runs in it any more."""
        for place in self.places:

            def removed(place: Path = place) -> bool:
                with contextlib.suppress(OSError):
                    place.rmdir()
                return not place.exists()

            wait(f"the end of {place}", removed)


class Starved(contextlib.AbstractContextManager["Starved"]):
    """A crowd of processes that shares *share* of one processor (0 to 1), of which none gets enough."""

    def __init__(self, host: Host, share: float, crowd: int = 10) -> None:
        self._hogs: list[subprocess.Popen[t.Any]] = []
        self._group = Group("cpu")
        period = 100_000 if share >= 0.01 else 1_000_000  # microseconds; a quota has to be 1000 or more
        quota = str(int(period * share))
        old = {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": quota}
        try:
            self._group.limit({"cpu.max": f"{quota} {period}"}, old)
            for _turn in range(crowd):
                self._hogs.append(host.start([sys.executable, "-c", HOG]))
                self._group.add(self._hogs[-1].pid)
        except BaseException:
            self.__exit__()
            raise

    def take(self, pid: int) -> None:
        """Let a process be one of the crowd."""
        self._group.add(pid)

    @property
    def pressure(self) -> Path:
        """Where its pressure is, as in /proc/pressure that of a host."""
        return self._group.pressure

    def look(self, address: str) -> dict[str, t.Any]:
        """What a look at this host shows, as the module diagnosis_info takes it."""
        pressure = {}
        for name in ("cpu", "io", "memory"):
            words = (self.pressure / f"{name}.pressure").read_text().split()
            pressure[name] = next(float(word[6:]) for word in words if word.startswith("avg60="))
        return {"addresses": [address], "at": time.time(), "pressure": pressure}

    def wait_for_pressure(self, percent: float, seconds: float = 60) -> None:
        """Wait until processes have waited for so much of the last minute."""
        wait("pressure", lambda: self.look("")["pressure"]["cpu"] >= percent, seconds, every=0.5)

    def __exit__(self, *_exception: object) -> None:
        self._group.release()  # it takes processor time to end, too
        for hog in self._hogs:
            stop(hog)
        self._group.close()
