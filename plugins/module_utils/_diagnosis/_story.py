# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stories, a pure room: lines of logs and flows of captures, put together to one loss for each connection.

Connections that ended well are counted and forgotten, so that memory grows with the losses and not with the log.
"""

from __future__ import annotations

import bisect
import math
import typing as t

from ._facts import Flow, LogEvent, Loss

#: Kinds that concern the server as a whole.
GLOBAL = (
    "server_process_died",
    "shutdown_request",
    "shut_down",
    "started",
    "recovered",
    "configuration_reloaded",
    "killed_for_memory",
)
#: How kinds of a pooler's or a proxy's lines begin.
BETWEEN = ("pooler_", "proxy_")
#: Of these, what no session outlives.
_ENDS_ALL = ("server_process_died", "started", "recovered")
#: Kinds that open a session, close it, or only accompany it.
_QUIET = ("connection_received", "authenticated", "disconnected", "option_refused", "cancelled", "lock_timeout")
#: After these a session may go on.
_GOES_ON = (*_QUIET, "statement_timeout", "recovery_conflict")
_OPENING = "connection_received"
#: Clocks of hosts, and the time that a server takes to write its line, may be so far apart (seconds).
_APART = 5.0
#: A session's last words come together; what comes so much later is of another with the same process number.
_LAST_WORDS = 60.0
#: A session says these at once after it could not receive, or send.
_FOLLOWS = ("connection_lost", "eof_in_transaction", "protocol_lost")
_AT_ONCE, _NEXT = 0.1, 3
#: So many events of one session are kept, so many open sessions, and so many connections of which nothing came.
_MOST_EVENTS = 20
_MOST_OPEN = 20_000
_MOST_EMPTY = 1000
#: Without log_disconnections nobody knows which of the sessions so far were open. Of so few most were.
_FEW = 20

_Group = t.List[Flow]


class Stories:
    """Takes events and flows in any order within each source; `losses` puts them together.

    Only what happened between *since* and *until* counts; lines before may still say who it was that was lost later.
    """

    def __init__(self, since: float | None = None, until: float | None = None) -> None:
        self.world: list[LogEvent] = []
        self.connections = 0
        self.normal_closes = 0
        self.empty = 0  # opened, and nothing came of it
        self._since = -math.inf if since is None else since
        self._until = math.inf if until is None else until
        self._latest = 0.0
        self._open: dict[t.Any, list[LogEvent]] = {}
        self._lost: list[list[LogEvent]] = []
        self._between: list[LogEvent] = []
        self._flows: list[Flow] = []
        self._down = False
        self._tells_logins = self._tells_ends = False  # log_connections and log_disconnections are on

    # ---- logs

    def event(self, event: LogEvent) -> None:
        """A line of a log, in the order of its file."""
        if event.kind.startswith(BETWEEN):
            self.between(event)
            return
        self._latest = max(self._latest, event.time or 0.0)
        if event.kind in GLOBAL:
            self.world.append(event)
            if event.kind in _ENDS_ALL or event.detail == "immediate":
                self._end_all(event)
            return
        key = event.session or event.pid or (event.port and (event.address, event.port))
        if not key:
            if event.kind not in _QUIET:
                self._of_nobody(event)
            return
        if event.kind == _OPENING or _is_of_another(event, self._open.get(key)):
            self._finish(key)
        if event.kind == _OPENING and self._counts(event.time):
            self.connections += 1
        self._tells_logins |= event.kind == "authenticated"
        self._tells_ends |= event.kind == "disconnected"
        events = self._open.setdefault(key, [])
        events.append(event)
        if len(events) > _MOST_EVENTS:
            del events[_MOST_EVENTS // 2]
        if event.kind == "disconnected":
            self._finish(key)
        elif len(self._open) > _MOST_OPEN:
            self._finish(next(iter(self._open)))

    def _of_nobody(self, event: LogEvent) -> None:
        """A prefix does not say whose line it is; what always comes with another line belongs to the one before."""
        before = self._lost[-1] if self._lost else []
        if (
            event.kind in _FOLLOWS
            and before
            and before[-1].kind.startswith(("receive_", "send_"))
            and not (before[-1].pid or before[-1].session)
            and abs((event.time or 0.0) - (before[-1].time or 0.0)) <= _AT_ONCE
            and (event.time is not None or event.line - before[-1].line <= _NEXT)
        ):
            before.append(event)
        else:
            self._lost.append([event])

    def _counts(self, time: float | None) -> bool:
        return time is None or self._since <= time <= self._until

    def _end_all(self, event: LogEvent) -> None:
        """The server ended every session; from version 14 on none of them logs a word then."""
        open_sessions = [events for events in self._open.values() if any(one.kind == "authenticated" for one in events)]
        all_known = self._tells_logins and self._tells_ends
        if all_known or (event.kind != "started" and len(open_sessions) <= _FEW):
            for events in open_sessions:
                if not any(one.kind in GLOBAL for one in events):
                    events.append(event)
        else:
            open_sessions = []
        is_crash = _is_crash(event, all_known)
        if is_crash and not (self._down or open_sessions):
            died = int(event.number) if event.number else None
            self._lost.append([event._replace(pid=died)])  # nothing else says that it happened
        if is_crash or open_sessions or event.kind != "recovered":  # one such line tells little, the next may tell more
            self._down = event.kind != "started"
        if event.kind == "started":
            for key, events in list(self._open.items()):
                if events[-1].kind == _OPENING and not self._is_abandoned(events):
                    del self._open[key]  # it was logging in
                self._finish(key)

    def _is_abandoned(self, events: list[LogEvent]) -> bool:
        """Whether a connection has had the time for a login, and none came."""
        return events[-1].kind == _OPENING and (events[-1].time or self._latest) < self._latest - _APART

    def _finish(self, key: t.Any) -> None:
        events = self._open.pop(key, None)
        if not events:
            return
        kinds = {event.kind for event in events}
        if not kinds.issubset(_QUIET):
            self._lost.append(events)
        elif not self._counts(events[-1].time):
            return
        elif kinds & {"authenticated", "disconnected"}:
            self.normal_closes += 1
        elif kinds == {_OPENING} and self._tells_logins:
            self.empty += 1
            if self.empty <= _MOST_EMPTY:
                self._lost.append(events)

    @property
    def told_between(self) -> bool:
        """Whether there was a line of a pooler's or a proxy's log."""
        return bool(self._between)

    def between(self, event: LogEvent) -> None:
        """A line of a pooler's or a proxy's log."""
        self._between.append(event)

    # ---- captures

    def flow(self, flow: Flow) -> None:
        """A connection of a capture."""
        self._flows.append(flow)

    # ---- together

    def losses(self) -> list[Loss]:
        """One for each connection, those that a capture shows to be sound included."""
        for key, events in list(self._open.items()):
            # a session that was open when the log ended is no loss
            if self._is_abandoned(events) or any(event.kind not in _QUIET for event in events):
                self._finish(key)
        groups = _by_connection(self._flows)
        found = _assigned(self._lost, groups)
        taken = {id(group) for group in found}
        losses = [_loss(events, group) for events, group in zip(self._lost, found)]
        losses += [_loss([], group) for group in groups if id(group) not in taken]
        losses = _with_those_between(losses, self._between)
        return sorted((loss for loss in losses if self._counts(loss.time)), key=lambda loss: loss.time or 0.0)


def _with_those_between(losses: list[Loss], events: list[LogEvent]) -> list[Loss]:
    """What a pooler or proxy says of a connection goes to its loss, or is one by itself."""
    by_end: dict[tuple[str | None, int | None], list[int]] = {}
    for index, loss in enumerate(losses):
        by_end.setdefault((loss.address, loss.port), []).append(index)
    found = list(losses)
    for event in events:
        near = by_end.get((event.address, event.port), []) if event.port else []
        same = [index for index in near if abs((found[index].time or 0.0) - (event.time or 0.0)) <= _APART]
        if same:
            found[same[0]] = found[same[0]]._replace(events=(*found[same[0]].events, event))
        else:
            found.append(_loss([event], []))
    return found


def _is_of_another(event: LogEvent, events: list[LogEvent] | None) -> bool:
    """Whether the session of *events* was another one, whose process had the same number."""
    if not events or event.kind == "disconnected":
        return False
    if event.port and any(one.port not in (None, event.port) for one in events):
        return True
    last = events[-1]
    return last.kind not in _GOES_ON and bool(last.time and event.time and event.time - last.time > _LAST_WORDS)


def _is_crash(event: LogEvent, all_sessions_known: bool) -> bool:
    """Whether sessions may have been lost of which the log has nothing."""
    if event.kind == "recovered":
        return "interrupted" not in event.text  # a restored backup starts with that too
    return event.kind == "server_process_died" or (event.kind != "started" and not all_sessions_known)


def _loss(events: list[LogEvent], flows: _Group) -> Loss:
    address = next((event.address for event in events if event.address), None)
    port = next((event.port for event in events if event.port), None)
    if flows and not address:
        address = flows[0].client[0]
    if flows and not port:
        port = flows[0].client[1]
    by_weight = sorted(events, key=lambda event: (event.kind in _QUIET, event.kind in _GOES_ON))
    times = [event.time for event in by_weight if event.time]
    ends = [_end(flow) for flow in flows]
    when = times[0] if times else min(ends) if ends else None
    pid = next((event.pid for event in events if event.pid), None)
    return Loss(when, address, port, pid, tuple(events), tuple(flows))


def _end(flow: Flow) -> float:
    return flow.closed_at or flow.ended


# ---- the same connection in several captures


def _by_connection(flows: list[Flow]) -> list[_Group]:
    """The same connection as several captures have it: by both its ends, then behind NAT by one end and its ports."""
    groups = [[flow] for flow in sorted(flows, key=lambda one: (one.began, one.file, one.side, repr(one)))]
    return _merged(_merged(groups, translated=False), translated=True)


def _merged(groups: list[_Group], translated: bool) -> list[_Group]:
    merged: list[_Group] = []
    by_ports: dict[tuple[int, int], list[_Group]] = {}
    for group in groups:
        near = by_ports.setdefault((group[0].client[1], group[0].server[1]), [])
        same = next((other for other in near if _are_same(group, other, translated)), None)
        if same is None:
            near.append(group)
            merged.append(group)
        else:
            same += group
    return merged


def _are_same(group: _Group, other: _Group, translated: bool) -> bool:
    if {flow.file for flow in group} & {flow.file for flow in other}:
        return False
    return any(_is_same(one, another, translated) for one in group for another in other)


def _is_same(one: Flow, other: Flow, translated: bool) -> bool:
    overlap = one.began - _APART <= other.ended and other.began - _APART <= one.ended
    same_start = not (one.syn and other.syn) or abs(one.began - other.began) < _APART
    ends = (one.client[0] == other.client[0], one.server[0] == other.server[0])
    return overlap and same_start and (any(ends) if translated else all(ends))


# ---- the same connection in logs and captures


def _assigned(sessions: list[list[LogEvent]], groups: list[_Group]) -> list[_Group]:
    """For each session its flows: those of its client's port at its time. Without a port, what ended at its end."""
    by_port: dict[int, list[_Group]] = {}
    for group in groups:
        by_port.setdefault(group[0].client[1], []).append(group)
    found: list[_Group] = []
    for events in sessions:
        port = next((event.port for event in events if event.port), None)
        near = by_port.get(port, []) if port else []
        fitting = [(fit, index) for index, group in enumerate(near) if (fit := _fit(group, events)) is not None]
        found.append(near.pop(min(fitting)[1]) if fitting else [])
    _assign_by_time(sessions, [group for some in by_port.values() for group in some], found)
    return found


def _assign_by_time(sessions: list[list[LogEvent]], groups: list[_Group], found: list[_Group]) -> None:
    """Flows for sessions whose lines have no port, where only one session and one connection ended in that moment."""
    ends = sorted((_end(flow), index) for index, group in enumerate(groups) for flow in group if _was_lost(flow))
    claims: dict[int, list[int]] = {}
    for number, events in enumerate(sessions):
        times = [event.time for event in events if event.time]
        if times and not any(event.port for event in events):
            first, last = (bisect.bisect(ends, (max(times) + apart, -1)) for apart in (-_APART, _APART))
            address = next((event.address for event in events if event.address), None)
            near = {index for _end_of_it, index in ends[first:last]}
            fitting = [index for index in near if address in (None, groups[index][0].client[0])]
            for index in fitting:
                claims.setdefault(index, []).extend([number] * len(fitting))
    for index, numbers in claims.items():
        if len(numbers) == 1:
            found[numbers[0]] = groups[index]


def _fit(group: _Group, events: list[LogEvent]) -> tuple[bool, float] | None:
    """How well flows fit to a session with their port, the less the better; None if they cannot be the same."""
    times = [event.time for event in events if event.time]
    address = next((event.address for event in events if event.address), None)
    fits = [
        (flow.client[0] != address, abs(_end(flow) - max(times)))
        for flow in group
        if times
        and flow.began - _APART <= max(times)
        and min(times) <= flow.ended + _APART
        and (flow.side != "server" or flow.client[0] == address)
    ]
    return min(fits) if fits else None


def _was_lost(flow: Flow) -> bool:
    return flow.established and not (flow.terminate or flow.truncated)
