# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of a whole path, a pure room: settings of several hops that are each right and together wrong."""

from __future__ import annotations

import math
import typing as t

from .. import _duration
from .._detection import path_open_seconds
from .._findings import Finding, ranked
from .._settings import effective_keepalive
from . import _findings_of_failover
from ._hops import Hop, Path, Socket

#: Where the server never closes an idle session, people expect one to last for a working day.
_WORKING_DAY = 12 * 3600 * 1000


def findings(path: Path, longest_statement: int = 0) -> list[Finding]:
    """What is wrong with *path* as a whole, the worst first; *longest_statement* in milliseconds where it is known."""
    found: list[Finding] = []
    for index, hop in enumerate(path.hops):
        found += _of_pools(path, index, hop)
        found += _of_client(hop)
        for towards_client, socket in ((True, hop.client_side), (False, hop.server_side)):
            if socket and not _leg(path, index, towards_client).unix_socket:
                found += _of_socket(path, index, towards_client, socket)
                found += _of_idle_timeout(path, index, towards_client, socket, longest_statement)
    for index in range(len(path.legs)):
        found += _of_leg(path, index)
    found += _findings_of_failover.findings(path)
    return ranked(found)


def _leg(path: Path, index: int, towards_client: bool) -> t.Any:
    return path.legs[index - 1 if towards_client else index]


def _server_settings(path: Path) -> t.Any:
    return path.hops[-1].settings


def _of_idle_timeout(
    path: Path, index: int, towards_client: bool, socket: Socket, longest_statement: int
) -> t.Iterator[Finding]:
    """A program that closes what is idle: keepalive of no end keeps a connection from that."""
    if not socket.idle_timeout:
        return
    hop = path.hops[index]
    beyond = index - 1 if towards_client else index + 1
    timeout, where = _duration.human(socket.idle_timeout / 1000), f"{hop.label}, {_side(towards_client)}"
    peer = _keepalive_after(path, beyond, not towards_client)
    if peer * 1000 >= socket.idle_timeout and not math.isinf(peer):
        yield Finding(
            "PGC401",
            "warning",
            where,
            f"it closes a connection after {timeout} without payload, and {path.hops[beyond].label} probes an idle one "
            f"only after {_duration.human(peer)}",
            "Raise the idle timeout of this hop above the keepalive of its neighbour.",
        )
    settings = _server_settings(path)
    may_idle = (settings and settings.idle_session_timeout) or _WORKING_DAY
    if hop.kind != "server" and socket.idle_timeout < may_idle:
        yield Finding(
            "PGC402",
            "warning",
            where,
            f"it closes a connection after {timeout} without payload, however well keepalive is answered; the server "
            f"lets a session idle for {_duration.human(may_idle / 1000)} or more",
            "Raise the idle timeout of this hop to what sessions may idle; keepalive probes carry no payload and do "
            "not refresh it.",
        )
    longest = longest_statement or (settings.transaction_timeout if settings else 0)
    if hop.kind == "haproxy" and longest and socket.idle_timeout <= longest:
        yield Finding(
            "PGC405",
            "error",
            where,
            f"it closes a connection after {timeout} without payload, and a statement may take "
            f"{_duration.human(longest / 1000)}, during which none moves",
            "Raise timeout client and timeout server above the longest statement.",
        )


def _of_pools(path: Path, index: int, hop: Hop) -> t.Iterator[Finding]:
    """Pooled connections that somebody else closes first; pools are poolers, and clients that have one."""
    if hop.kind not in ("client", "pgbouncer") or not hop.known:
        return
    pooled = _duration.human(hop.pooled_idle / 1000 if hop.pooled_idle else None)
    settings = _server_settings(path)
    closed = settings.idle_session_timeout if settings and hop.kind == "pgbouncer" else 0
    if closed and not 0 < hop.pooled_idle < closed:
        yield Finding(
            "PGC403",
            "error",
            hop.label,
            f"it keeps unused connections ({pooled}) longer than the server, whose idle_session_timeout is "
            f"{_duration.human(closed / 1000)}",
            "Set server_idle_timeout below the server's idle_session_timeout, or that to 0 for the pooler's role.",
        )
    following = path.hops[index + 1]
    theirs = following.client_side.idle_timeout if following.client_side else 0
    if following.kind == "server" and hop.kind == "client":
        theirs = settings.idle_session_timeout if settings else 0
    if theirs and hop.pooled_idle and hop.pooled_idle >= theirs:
        yield Finding(
            "PGC410",
            "warning",
            hop.label,
            f"it keeps unused connections for {pooled}, and {following.label} closes them after "
            f"{_duration.human(theirs / 1000)}",
            "Let the pool close them first, or test a connection before it is handed out (pre-ping).",
        )
    limit = path.legs[index].age_limit
    if limit and not 0 < hop.max_age < limit and (hop.kind == "pgbouncer" or hop.max_age):
        yield Finding(
            "PGC404",
            "warning",
            hop.label,
            f"its connections live for {_duration.human(hop.max_age / 1000 if hop.max_age else None)}, and a device on "
            f"the leg after it ends every connection after {_duration.human(limit / 1000)}",
            "Set the pool's maximum lifetime below the device's limit.",
        )


def _of_client(hop: Hop) -> t.Iterator[Finding]:
    zero = [name for name in _ZEROES if str(hop.parameters.get(name, "")).strip() == "0"]
    if zero and str(hop.parameters.get("keepalives", "1")).strip() != "0":
        yield Finding(
            "PGC408",
            "error",
            hop.label,
            f"its connection parameters have {', '.join(f'{name}=0' for name in zero)}: on Linux libpq then cannot "
            "connect at all (setsockopt: Invalid argument), whatever the manual says",
            "Leave them out to have the system's defaults.",
        )


_ZEROES = ("keepalives_idle", "keepalives_interval", "keepalives_count")


def _of_socket(path: Path, index: int, towards_client: bool, socket: Socket) -> t.Iterator[Finding]:
    if socket.keepalive:
        return
    hop = path.hops[index]
    if hop.kind == "client":
        why = f"the driver {hop.driver or '(not named)'} does not turn SO_KEEPALIVE on"
        remedy = "Turn it on where the driver can; else the keepalive of the next hop has to keep the path open, and "
        remedy += "only a timeout of the application ends the wait for a server that has vanished."
    else:
        why, remedy = "SO_KEEPALIVE is off", "Turn keepalive on for both sides of this hop."
    evidence = f"{why}: it never notices that {_neighbour(path, index, towards_client)} has vanished"
    yield Finding("PGC407", "warning", f"{hop.label}, {_side(towards_client)}", evidence, remedy)


def _of_leg(path: Path, index: int) -> t.Iterator[Finding]:
    leg, near, far = path.legs[index], path.hops[index], path.hops[index + 1]
    where = f"{near.label} -> {far.label}"
    if leg.unix_socket:
        evidence = "a Unix socket: keepalive and tcp_user_timeout do nothing there, and both ends are one host"
        yield Finding("PGC406", "info", where, evidence, "Nothing is needed; settings for this leg have no effect.")
        return
    silence = min(_silence(path, index, False), _silence(path, index + 1, True))
    if leg.path_idle_limit and silence * 1000 >= leg.path_idle_limit:
        shown = "never" if math.isinf(silence) else f"after {_duration.human(silence)}"
        yield Finding(
            "PGC409",
            "error",
            where,
            f"a device forgets an idle connection after {_duration.human(leg.path_idle_limit / 1000)}, and the first "
            f"probe of either end comes {shown}",
            "Harden one of the two ends with this path_idle_limit.",
        )


def _keepalive_after(path: Path, index: int, towards_client: bool) -> float:
    """Seconds of idleness after which that side of a hop sends its first probe; for ever where nothing is known."""
    hop = path.hops[index]
    if not hop.known:
        return math.inf
    if hop.kind == "server" and hop.settings:
        return float(effective_keepalive(hop.settings, hop.os)[0])
    socket = path.side(index, towards_client)
    return float(effective_keepalive(socket.settings(), hop.os)[0]) if socket.keepalive else math.inf


def _silence(path: Path, index: int, towards_client: bool) -> float:
    """Seconds, the kernel's slack included, for which that side leaves an idle path silent at most.

    0 where nothing is known: what may be well is no finding.
    """
    hop = path.hops[index]
    if not hop.known:
        return 0.0
    if hop.kind == "server" and hop.settings:
        return path_open_seconds(hop.settings, hop.os)
    socket = path.side(index, towards_client)
    return path_open_seconds(socket.settings(), hop.os) if socket.keepalive else math.inf


def _neighbour(path: Path, index: int, towards_client: bool) -> str:
    return path.hops[index - 1 if towards_client else index + 1].label


def _side(towards_client: bool) -> str:
    return "client side" if towards_client else "server side"
