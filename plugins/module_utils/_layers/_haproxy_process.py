# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy process room: the HAProxy that runs on this host, its command line and which of its processes listen."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from .._errors import Failure

#: Options of HAProxy's command line that take one argument; -sf and -st take all words up to the next option.
_TAKE_ONE = ("-f", "-C", "-L", "-N", "-n", "-m", "-p", "-S", "-x", "-cc")
_LISTEN = "0A"


@dataclasses.dataclass(frozen=True)
class Instance:
    """A running HAProxy: its first process, *pid*, and its children (workers).

    *listening* are those processes that take connections now; the others are a master, or are finishing what they have.
    """

    pid: int
    argv: tuple[str, ...]
    cwd: str
    files: tuple[str, ...]
    listening: frozenset[int] = frozenset()
    family: frozenset[int] = frozenset()

    @property
    def is_master(self) -> bool:
        """Master-worker mode, whichever way it was switched on."""
        return self.pid not in self.listening

    def environment(self) -> dict[str, str]:
        """Its variables, which a configuration may use; without those by which a master talks to itself."""
        with open(f"/proc/{self.pid}/environ", "rb") as file:
            pairs = [os.fsdecode(one).partition("=") for one in file.read().split(b"\0") if b"=" in one]
        internal = ("HAPROXY_MWORKER", "HAPROXY_PROCESSES", "HAPROXY_CFGFILES", "NOTIFY_SOCKET")
        return {name: value for name, _equals, value in pairs if not name.startswith(internal)}

    def started(self) -> float:
        """When the oldest of its listening processes was started (seconds since the epoch)."""
        return min(map(_started, self.listening))


def options_of(argv: t.Sequence[str]) -> list[tuple[str, list[str]]]:
    """The options of a command line, each with its arguments; a configuration file after ``--`` counts as one of -f."""
    found: list[tuple[str, list[str]]] = []
    rest = list(argv[1:])
    while rest:
        option = rest.pop(0)
        if option == "--":
            return found + [("-f", [path]) for path in rest]
        arguments = []
        if option in ("-sf", "-st"):
            while rest and not rest[0].startswith("-"):
                arguments.append(rest.pop(0))
        elif option in _TAKE_ONE and rest:
            arguments.append(rest.pop(0))
        found.append((option, arguments))
    return found


def files_of(argv: t.Sequence[str], cwd: str) -> tuple[str, ...]:
    """The configuration files of a command line, in the order in which they are read."""
    options = options_of(argv)
    for option, arguments in options:
        if option == "-C":
            cwd = os.path.join(cwd, *arguments)
    return expand([os.path.join(cwd, *arguments) for option, arguments in options if option == "-f"])


def expand(paths: t.Iterable[str]) -> tuple[str, ...]:
    """Each directory as HAProxy takes it: its files called *.cfg, sorted by their bytes, hidden ones left out."""
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            names = sorted(os.listdir(path), key=os.fsencode)
            inside = [os.path.join(path, name) for name in names if name.endswith(".cfg") and not name.startswith(".")]
            found += [one for one in inside if os.path.isfile(one)]
        else:
            found.append(path)
    return tuple(found)


def find(files: t.Sequence[str] = ()) -> Instance | None:
    """The HAProxy that reads *files*, or the one there is. Raises Failure ``ambiguous_process``."""
    found = [one for one in instances(files) if one.listening]
    if not files and len(found) > 1:
        # Others, in networks of their own, are less likely to be meant.
        found = [one for one in found if same_network(one.pid)] or found
    if len(found) > 1:
        rows = "; ".join(f"process {one.pid} with {', '.join(one.files)}" for one in found)
        raise Failure(
            "ambiguous_process", "finding the HAProxy of this host", f"several run: {rows}", "Give its config_file."
        )
    return found[0] if found else None


def instances(files: t.Sequence[str] = ()) -> list[Instance]:
    """All instances that read one of *files*, also those that only finish what they have; those of containers aside."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and _read(name, "comm") == b"haproxy\n" and _same(int(name), "pid"):
            # the fields after the name, which may hold anything: state, parent
            fields = _read(name, "stat").rpartition(b")")[2].split()
            if len(fields) > 1 and fields[0] != b"Z":
                parents[int(name)] = int(fields[1])
    wanted = {os.path.realpath(path) for path in files}
    found = []
    for pid in sorted(pid for pid, parent in parents.items() if parent not in parents):
        argv = tuple(os.fsdecode(one) for one in _read(pid, "cmdline").split(b"\0")[:-1])
        cwd = _link(pid, "cwd") or "/"
        read = files_of(argv, cwd)
        if files and not wanted & {os.path.realpath(path) for path in read}:
            continue
        family = frozenset({pid} | {one for one, parent in parents.items() if parent == pid})
        found.append(Instance(pid, argv, cwd, read, frozenset(filter(_listens, family)), family))
    return found


def same_network(pid: int) -> bool:
    """Whether this run can reach, and see, the sockets of process *pid*."""
    return _same(pid, "net")


def _listens(pid: int) -> bool:
    held = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                held.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    except FileNotFoundError:
        return False
    except PermissionError:
        raise Failure(
            "forbidden",
            f"looking at the sockets of HAProxy (process {pid})",
            f"user {os.geteuid()} may not",
            "Run the task as root (become); in a container root needs the capability SYS_PTRACE too.",
        ) from None
    for name in ("tcp", "tcp6"):
        for line in _read(pid, "net", name).decode("ascii", "replace").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and f"socket:[{fields[9]}]" in held:
                return True
    return False


def _started(pid: int) -> float:
    """Its age by the kernel, which counts in ticks since the machine was started."""
    ticks = int(_read(pid, "stat").rpartition(b")")[2].split()[19])
    uptime = float(_read("uptime").split()[0])
    return time.time() - (uptime - ticks / os.sysconf("SC_CLK_TCK"))


def _same(pid: int, namespace: str) -> bool:
    other = _link(pid, "ns", namespace)
    return other is None or other == os.readlink(f"/proc/self/ns/{namespace}")


def _link(*parts: t.Any) -> str | None:
    try:
        return os.readlink(os.path.join("/proc", *map(str, parts)))
    except OSError:
        return None


def _read(*parts: t.Any) -> bytes:
    with contextlib.suppress(OSError), open(os.path.join("/proc", *map(str, parts)), "rb") as file:
        return file.read()
    return b""
