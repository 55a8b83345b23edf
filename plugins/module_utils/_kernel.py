# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel: its own view of TCP sockets on this host, the timers that are armed on them (/proc/net/tcp)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import struct
import time
import typing as t

#: The column ``tr``: which timer is armed.
_TIMERS = {0: "none", 1: "retransmission", 2: "keepalive", 3: "time_wait", 4: "zero_window_probe"}
_ESTABLISHED, _LISTEN = 1, 10
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


@dataclasses.dataclass(frozen=True)
class TcpSocket:
    """A socket of a network namespace; *state* as in include/net/tcp_states.h, *inode* as descriptors name it."""

    local: tuple[str, int]
    remote: tuple[str, int]
    state: int
    inode: int
    timer: Timer


def established(root: str = "/proc/net") -> t.Iterator[TcpSocket]:
    """The established sockets of the network namespace that *root* shows; none where there is no such file."""
    return (one for one in _sockets(root, None) if one.state == _ESTABLISHED)


def timers(port: int, root: str = "/proc/net") -> dict[Key, Timer]:
    """The established sockets with local *port* in this network namespace; empty where there is no such file."""
    found = (one for one in _sockets(root, port) if one.state == _ESTABLISHED)
    return {(port, *one.remote): one.timer for one in found if one.local[1] == port}


def towards(port: int, root: str = "/proc/net") -> list[tuple[str, int, Timer]]:
    """The sockets with remote *port*: the peer's address, the state, the timer."""
    return [(one.remote[0], one.state, one.timer) for one in _sockets(root, port) if one.remote[1] == port]


def listens(port: int, root: str = "/proc/net") -> bool:
    """Whether a server listens on *port* in this network namespace, over TCP or a Unix socket of PostgreSQL's."""
    if any(one.local[1] == port and one.state == _LISTEN for one in _sockets(root, port)):
        return True
    try:
        with open(os.path.join(root, "unix"), encoding="utf-8", errors="replace") as lines:
            return any(line.rstrip().endswith(f"/.s.PGSQL.{port}") for line in lines)
    except OSError:
        return False


def _sockets(root: str, port: int | None) -> t.Iterator[TcpSocket]:
    """All sockets, or those that have *port* at one end."""
    tick = os.sysconf("SC_CLK_TCK")
    # A host may have tens of thousands, most of which are then not worth parsing.
    mark = "" if port is None else f":{port:04X} "
    for name in ("tcp", "tcp6"):
        try:
            with open(os.path.join(root, name), encoding="utf-8") as lines:
                next(lines, None)
                for line in lines:
                    if mark not in line:
                        continue
                    _slot, local, remote, state, queues, timer, retries, *rest = line.split()
                    kind, _colon, left = timer.partition(":")
                    kind = _TIMERS.get(int(kind, 16), kind)
                    # keepalive's probes, and those of a closed window, have a column of their own
                    unanswered = int(rest[1]) if kind in ("keepalive", "zero_window_probe") else int(retries, 16)
                    unsent = int(queues.partition(":")[0], 16)
                    armed = Timer(kind, int(left, 16) / tick, unanswered, unsent)
                    yield TcpSocket(_endpoint(local), _endpoint(remote), int(state, 16), int(rest[2]), armed)
        except OSError:
            continue  # no IPv6, or no Linux


def of_process(pid: int, proc: str = "/proc") -> list[TcpSocket]:
    """The established sockets of a process, in its own network namespace; the caller has to be root or its owner."""
    inodes = set()
    directory = os.path.join(proc, str(pid), "fd")
    try:
        names = os.listdir(directory)
    except OSError:
        return []  # it has ended, or is another's
    for name in names:
        with contextlib.suppress(OSError):
            target = os.readlink(os.path.join(directory, name))
            if target.startswith("socket:["):
                inodes.add(int(target[len("socket:[") : -1]))
    return [one for one in established(os.path.join(proc, str(pid), "net")) if one.inode in inodes]


def _endpoint(text: str) -> tuple[str, int]:
    address, _colon, port = text.rpartition(":")
    return _address(address), int(port, 16)


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


def keepalive_of_new_connection(
    host: str, port: int, wanted: int, patience: float = 2.0, greeting: bytes = b""
) -> float | None:
    """Seconds to the first keepalive probe on the server's side of a connection that has just been opened.

    The server puts its keepalive values on a socket before it knows who connects, so no login is needed; nothing is
    sent but the *greeting*, and PostgreSQL logs nothing of a connection that sends nothing. The new backend needs a
    moment: the answer is the first value that is not above *wanted*, or what there is after *patience* seconds. None
    where the server's socket cannot be seen from here (another host, another network namespace) or nobody listens.
    """
    try:
        connection = socket.create_connection((host, port), timeout=patience)
    except OSError:
        return None
    with connection:
        if greeting:
            connection.sendall(greeting)
        address, own_port = connection.getsockname()[:2]
        deadline = time.monotonic() + patience
        while True:
            timer = timers(port).get((port, address, own_port))
            seconds = timer.seconds if timer and timer.kind == "keepalive" else None
            if (seconds is not None and seconds <= wanted) or time.monotonic() > deadline:
                return seconds
            time.sleep(0.02)
