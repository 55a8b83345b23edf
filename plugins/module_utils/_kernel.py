# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel: its own view of TCP sockets on this host, the timers that are armed on them (/proc/net/tcp)."""

from __future__ import annotations

import dataclasses
import os
import socket
import struct
import time
import typing as t

#: The column ``tr``: which timer is armed.
_TIMERS = {0: "none", 1: "retransmission", 2: "keepalive", 3: "time_wait", 4: "zero_window_probe"}
_ESTABLISHED = 1
#: listen_addresses that stand for more than one
_ANY = {"*": ["127.0.0.1", "::1"], "0.0.0.0": ["127.0.0.1"], "::": ["::1"]}


@dataclasses.dataclass(frozen=True)
class Timer:
    """The timer that is armed on an established socket, and the *seconds* until it fires.

    *unanswered* counts the retransmissions or probes so far that nothing came back for, *unsent* the bytes that the
    peer has not acknowledged.
    """

    kind: str
    seconds: float
    unanswered: int = 0
    unsent: int = 0


#: local port, remote address, remote port
Key = t.Tuple[int, str, int]


def timers(port: int, root: str = "/proc/net") -> dict[Key, Timer]:
    """The established sockets with local *port* in this network namespace; empty where there is no such file."""
    found: dict[Key, Timer] = {}
    tick = os.sysconf("SC_CLK_TCK")
    for name in ("tcp", "tcp6"):
        try:
            with open(os.path.join(root, name), encoding="utf-8") as lines:
                next(lines)
                for line in lines:
                    _slot, local, remote, state, queues, timer, retries, *rest = line.split()
                    local_port = int(local.rpartition(":")[2], 16)
                    if local_port == port and int(state, 16) == _ESTABLISHED:
                        address, _colon, remote_port = remote.rpartition(":")
                        kind, _colon, left = timer.partition(":")
                        key = (port, _address(address), int(remote_port, 16))
                        kind = _TIMERS.get(int(kind, 16), kind)
                        # keepalive's probes, and those of a closed window, have a column of their own
                        unanswered = int(rest[1]) if kind in ("keepalive", "zero_window_probe") else int(retries, 16)
                        unsent = int(queues.partition(":")[0], 16)
                        found[key] = Timer(kind, int(left, 16) / tick, unanswered, unsent)
        except OSError:
            continue  # no IPv6, or no Linux
    return found


def _address(text: str) -> str:
    """Words of 32 bits in the machine's byte order; an IPv4 address in IPv6 is shown as IPv4, as PostgreSQL does."""
    words = [int(text[index : index + 8], 16) for index in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return socket.inet_ntop(socket.AF_INET, packed)
    if packed.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, packed[12:])
    return socket.inet_ntop(socket.AF_INET6, packed)


def addresses(listen_addresses: str) -> list[str]:
    """Where the server can be reached from its own host."""
    found: list[str] = []
    for one in filter(None, (part.strip() for part in listen_addresses.split(","))):
        found += _ANY.get(one, [one])
    return list(dict.fromkeys(found))


def keepalive_of_new_connection(host: str, port: int, wanted: int, patience: float = 2.0) -> float | None:
    """Seconds to the first keepalive probe on the server's side of a connection that has just been opened.

    The server puts its keepalive values on a socket before it knows who connects, so no login is needed; nothing is
    sent, and PostgreSQL logs nothing of a connection that sends nothing. The new backend needs a moment: the answer is
    the first value that is not above *wanted*, or what there is after *patience* seconds. None where the server's
    socket cannot be seen from here (another host, another network namespace) or nobody listens.
    """
    try:
        connection = socket.create_connection((host, port), timeout=patience)
    except OSError:
        return None
    with connection:
        address, own_port = connection.getsockname()[:2]
        deadline = time.monotonic() + patience
        while True:
            timer = timers(port).get((port, address, own_port))
            seconds = timer.seconds if timer and timer.kind == "keepalive" else None
            if (seconds is not None and seconds <= wanted) or time.monotonic() > deadline:
                return seconds
            time.sleep(0.02)
