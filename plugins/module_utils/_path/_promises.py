# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promises of a whole path, a pure room: what is in force on each hop to seconds until either end knows of a loss.

When the host of one hop vanishes, its neighbours notice, each by the timers of its own socket; what they close then
travels on as FIN or RST, which the next hop sees at once. So a loss is noticed at the far end after the time of *one*
socket, the nearest; a backend that is executing looks only every client_connection_check_interval, and that is added.
PgBouncer closes the server's connection when a client is lost in a transaction or a statement, and keeps it for others
when the client was idle.
"""

from __future__ import annotations

import typing as t

from .. import _duration
from .._detection import Rule, busy, in_flight, silent
from .._promises import promise
from ._hops import Hop, Path, Socket

#: What the session was doing; the backend's phases, as in `_promises`, and the client's.
BACKEND_PHASES = ("idle", "executing", "lock_wait", "sending", "idle_in_transaction")
CLIENT_PHASES = ("idle", "waiting", "sending")


class PathPromise(t.NamedTuple):
    """*seconds* until the *end* (``backend`` gone, or ``client`` knows) after the host of *lost* has vanished.

    *noticed_by* is the hop whose socket notices; *bound* has the kernel's slack. None: nothing bounds it. *formula*
    names the rule: those of `_promises`, ``no_keepalive``, ``idle_timeout`` (of a proxy or pooler), ``not_linked`` (a
    pooler keeps the backend for others), ``unknown`` (nothing is known of the hop that would notice, or of one beyond).
    """

    lost: str
    end: str
    phase: str
    seconds: float | None
    bound: float | None
    formula: str
    noticed_by: str

    def as_dict(self) -> dict[str, t.Any]:
        return {**self._asdict(), "text": _duration.human(self.seconds)}


_NEVER = Rule(None, None, "no_keepalive")
_NOT_LINKED = Rule(0, 0, "not_linked")
_UNKNOWN = Rule(None, None, "unknown")


def promises(path: Path) -> list[PathPromise]:
    """For each hop whose host vanishes: when the backend is gone, and when the client knows, in each phase."""
    found = []
    for index, hop in enumerate(path.hops):
        noticing = _beyond(path, index, 1)
        if noticing is not None:
            for phase in BACKEND_PHASES:
                rule = _towards_server(path, noticing, phase)
                found.append(PathPromise(hop.label, "backend", phase, *rule, path.hops[noticing].label))
        noticing = _beyond(path, index, -1)
        if noticing is not None:
            for phase in CLIENT_PHASES:
                rule = _towards_client(path, noticing, phase)
                found.append(PathPromise(hop.label, "client", phase, *rule, path.hops[noticing].label))
    return found


def _beyond(path: Path, index: int, step: int) -> int | None:
    """The next hop that is on another host than *index*: those at the end of a Unix socket vanish together with it."""
    while 0 <= index + step < len(path.hops):
        leg = path.legs[index if step > 0 else index - 1]
        index += step
        if not leg.unix_socket:
            return index
    return None


def _towards_server(path: Path, noticing: int, phase: str) -> Rule:
    last = len(path.hops) - 1
    server = path.hops[last]
    settings = server.settings
    if settings is None or not all(hop.known for hop in path.hops[noticing:]):
        return _UNKNOWN
    if noticing == last:
        one = promise(phase, "peer_vanished", settings, server.os)
        return Rule(one.seconds, one.bound, one.formula)
    if phase == "idle" and any(map(_shares, path.hops[noticing:])):
        return _NOT_LINKED
    socket = path.side(noticing, towards_client=True)
    rule = _noticed(socket, path, noticing, unacknowledged=phase == "sending")
    if phase in ("executing", "lock_wait"):
        return busy(rule, settings)
    if phase == "idle":
        return rule.until(settings.idle_session_timeout, "idle_session_timeout")
    if phase == "idle_in_transaction":
        name = "idle_in_transaction_session_timeout"
        return rule.until(settings.idle_in_transaction_session_timeout, name)
    return rule


def _towards_client(path: Path, noticing: int, phase: str) -> Rule:
    if not path.hops[noticing].known:
        return _UNKNOWN
    if phase == "idle" and _shares(path.hops[noticing]):
        return _NOT_LINKED
    socket = path.side(noticing, towards_client=False)
    return _noticed(socket, path, noticing, unacknowledged=phase == "sending")


def _noticed(socket: Socket, path: Path, index: int, unacknowledged: bool) -> Rule:
    """When this side of a hop gives up a peer that is silent; an idle timeout of the program may come first."""
    os = path.hops[index].os
    if unacknowledged:
        return in_flight(socket.settings(), os, socket.keepalive).until(socket.idle_timeout, "idle_timeout")
    rule = silent(socket.settings(), os) if socket.keepalive else _NEVER
    return rule.until(socket.idle_timeout, "idle_timeout")


def _shares(hop: Hop) -> bool:
    """Whether a pooler gives the backend of an idle client to others."""
    return hop.kind == "pgbouncer" and hop.pool_mode != "session"
