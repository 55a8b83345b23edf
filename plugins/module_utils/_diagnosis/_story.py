# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stories, a pure room: lines of logs and flows of captures, put together to one loss for each connection.

Connections that ended well are counted and forgotten, so that memory grows with the losses and not with the log.
"""

from __future__ import annotations

import typing as t

from ._facts import Flow, LogEvent, Loss

#: Kinds that concern the server as a whole.
GLOBAL = ("server_process_died", "shutdown_request", "shut_down", "started", "recovered", "configuration_reloaded")
#: Of these, what no session outlives.
_ENDS_ALL = ("server_process_died", "started", "recovered")
#: Kinds that open a session, close it, or only accompany it.
_QUIET = ("connection_received", "authenticated", "disconnected", "option_refused", "cancelled", "lock_timeout")
#: A session that is refused or goes on is no loss of a connection, unless more is known.
_OPENING = "connection_received"
#: Clocks of hosts, and the time that a server takes to write its line, may be so far apart (seconds).
_APART = 5.0
#: So many events of one session are kept.
_MOST_EVENTS = 20


class Stories:
    """Takes events and flows in any order within each source; `losses` puts them together."""

    def __init__(self) -> None:
        self.world: list[LogEvent] = []
        self.connections = 0
        self.normal_closes = 0
        self._open: dict[t.Any, list[LogEvent]] = {}
        self._lost: list[list[LogEvent]] = []
        self._flows: list[Flow] = []

    # ---- logs

    def event(self, event: LogEvent) -> None:
        """A line of a log, in the order of its file."""
        if event.kind in GLOBAL:
            self.world.append(event)
            if event.kind in _ENDS_ALL or event.detail == "immediate":
                self._end_all(event)
            return
        if event.kind == "starting_up":
            self._lost.append([event])  # a client that was refused has a process of a moment
            return
        key = event.session or event.pid
        if event.kind == _OPENING:
            self._finish(key)
            self.connections += 1
        events = self._open.setdefault(key, [])
        if len(events) < _MOST_EVENTS:
            events.append(event)
        if event.kind == "disconnected":
            self._finish(key)

    def _end_all(self, event: LogEvent) -> None:
        """The server ended every session, none of which logs a word then."""
        for key in list(self._open):
            if "authenticated" in [one.kind for one in self._open[key]]:
                self._open[key].append(event)
            self._finish(key)

    def _finish(self, key: t.Any) -> None:
        events = self._open.pop(key, None)
        if not events:
            return
        kinds = [event.kind for event in events]
        if any(kind not in _QUIET for kind in kinds):
            self._lost.append(events)
        elif "authenticated" in kinds or "disconnected" in kinds:
            self.normal_closes += 1
        elif len(kinds) == 1 and events[0].kind == _OPENING:
            self._lost.append(events)  # opened, and nothing ever came of it

    # ---- captures

    def flow(self, flow: Flow) -> None:
        """A connection of a capture."""
        self._flows.append(flow)

    # ---- together

    def losses(self) -> list[Loss]:
        """One for each connection, those that a capture shows to be sound included."""
        for key in list(self._open):
            # still open when the log ended, which is no loss
            if any(event.kind not in _QUIET for event in self._open[key]):
                self._finish(key)
        groups = _by_connection(self._flows)
        losses = []
        for events in self._lost:
            flows = _take(groups, events)
            losses.append(_loss(events, flows))
        losses += [_loss([], flows) for flows in groups]
        return sorted(losses, key=lambda loss: loss.time or 0.0)


def _loss(events: list[LogEvent], flows: list[Flow]) -> Loss:
    address = next((event.address for event in events if event.address), None)
    port = next((event.port for event in events if event.port), None)
    if flows and not address:
        address = flows[0].client[0]
    if flows and not port:
        port = flows[0].client[1]
    times = [event.time for event in events if event.time and event.kind not in _QUIET]
    times += [event.time for event in events if event.time]
    ends = [flow.closed_at or flow.ended for flow in flows]
    when = times[0] if times else min(ends) if ends else None
    return Loss(
        when, address, port, next((event.pid for event in events if event.pid), None), tuple(events), tuple(flows)
    )


def _by_connection(flows: list[Flow]) -> list[list[Flow]]:
    """The same connection as several captures have it: by its ends, or behind NAT by port and time."""
    groups: list[list[Flow]] = []
    for flow in sorted(flows, key=lambda one: one.began):
        for group in groups:
            if any(_same(flow, other) for other in group):
                group.append(flow)
                break
        else:
            groups.append([flow])
    return groups


def _same(one: Flow, other: Flow) -> bool:
    if one.file == other.file or one.client[1] != other.client[1] or one.server[1] != other.server[1]:
        return False
    overlap = one.began - _APART <= other.ended and other.began - _APART <= one.ended
    same_start = not (one.syn and other.syn) or abs(one.began - other.began) < _APART
    return overlap and same_start and (one.client[0] == other.client[0] or one.server[0] == other.server[0])


def _take(groups: list[list[Flow]], events: list[LogEvent]) -> list[Flow]:
    """The flows of a session, taken out of *groups*: those of its client's port at its time."""
    port = next((event.port for event in events if event.port), None)
    times = [event.time for event in events if event.time]
    if not port or not times:
        return []
    address = next((event.address for event in events if event.address), None)
    for group in groups:
        for flow in group:
            at_the_time = flow.began - _APART <= max(times) and min(times) <= flow.ended + _APART
            if flow.client[1] == port and at_the_time and (flow.side != "server" or flow.client[0] == address):
                groups.remove(group)
                return group
    return []
