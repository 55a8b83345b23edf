# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says about the TCP sockets of a namespace, through ss."""

from __future__ import annotations

import dataclasses
import re

COMMAND = ["ss", "--no-header", "--tcp", "--all", "--numeric", "--options", "--info", "--oneline"]
_TIMER = re.compile(r"timer:\((\w+),([^,]*),(\d+)\)")
_LEFT = re.compile(r"(?:(\d+)min)?(?:(\d+)(?:sec|\.(?=\d)))?(?:(\d+)(?:ms|sec))?")


@dataclasses.dataclass(frozen=True)
class Socket:
    """One socket; *timer* is keepalive, on (retransmission), persist or timewait, with the seconds left on it."""

    state: str
    local: str
    local_port: int
    peer: str
    peer_port: int
    timer: str | None
    seconds: float | None
    retries: int
    info: str


def parse(text: str) -> list[Socket]:
    """Read the output of COMMAND."""
    return [_socket(line) for line in text.splitlines() if line.strip()]


def seconds(text: str) -> float:
    """A time as ss prints it: ``119min``, ``1min59sec``, ``59sec``, ``430ms``, ``8.123sec`` or also ``8.123ms``."""
    match = _LEFT.fullmatch(text)
    if not match:
        raise ValueError(f"a time of ss that is not understood: {text!r}")
    minutes, whole, milliseconds = (int(part or 0) for part in match.groups())
    return minutes * 60 + whole + milliseconds / 1000


def _socket(line: str) -> Socket:
    state, _received, _sent, local, peer, *rest = line.split(None, 5)
    info = rest[0] if rest else ""
    timer = _TIMER.search(info)
    host, _colon, port = local.rpartition(":")
    peer_host, _colon, peer_port = peer.rpartition(":")
    return Socket(
        state=state,
        local=_bare(host),
        local_port=int(port),
        peer=_bare(peer_host),
        peer_port=0 if peer_port == "*" else int(peer_port),
        timer=timer[1] if timer else None,
        seconds=seconds(timer[2]) if timer else None,
        retries=int(timer[3]) if timer else 0,
        info=info,
    )


def _bare(host: str) -> str:
    """An address without its brackets; a zone comes after them."""
    return host.replace("[", "").replace("]", "")
