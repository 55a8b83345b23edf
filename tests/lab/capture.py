# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packet captures on the hosts of a lab."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

from .hosts import Host, LabError, stop

FILTER = "tcp or icmp or icmp6"


class Capture:
    """tcpdump on one network card, from when this returns until `stop`."""

    def __init__(self, host: Host, device: str, path: Path, side: str, snaplen: int) -> None:
        self.path, self.side = path, side
        self._tcpdump = host.start(
            [*f"tcpdump -n -i {device} -s {snaplen} -B 8192 -U --immediate-mode -Z root -w".split(), path, FILTER],
            stderr=subprocess.PIPE,
        )
        assert self._tcpdump.stderr
        said = b""
        for line in self._tcpdump.stderr:
            if b"listening on" in line:
                return
            said += line
        raise LabError(f"tcpdump: {said.decode()}")

    def stop(self) -> None:
        """No packet is kept after this. That one was missed is an error: the file would tell another story."""
        assert self._tcpdump.stderr
        if self._tcpdump.stderr.closed:
            return
        stop(self._tcpdump)
        with self._tcpdump.stderr as stream:
            said = stream.read().decode()
        if "0 packets dropped by kernel" not in said.splitlines():
            raise LabError(f"tcpdump on the {self.side}: {said}")


def matching(path: Path, expression: str) -> list[str]:
    """The packets of a capture that a tcpdump filter lets through, a line each, with absolute numbers."""
    argv = ["tcpdump", "-n", "-tt", "-S", "-r", str(path), expression]
    done: subprocess.CompletedProcess[t.Any] = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"tcpdump: {done.stderr}")
    return [line for line in done.stdout.splitlines() if line[:1].isdigit()]
