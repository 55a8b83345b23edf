# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline, a pure room: settings to what happens, and when, from a peer that vanishes to a backend that is gone."""

from __future__ import annotations

import typing as t

from .._detection import keepalive_seconds
from .._promises import promise
from .._settings import OsValues, Settings, effective_keepalive, user_timeout

#: The phases worth a line of their own; waiting for a lock is as executing.
PHASES = ("idle", "idle_unacknowledged", "executing", "sending", "idle_in_transaction")


def timeline(phase: str, settings: Settings, os: OsValues) -> dict[str, t.Any]:
    """``events``, pairs of name and seconds after a peer has vanished in *phase*, the earliest first.

    The names are ``first_probe``, ``last_probe``, ``user_timeout`` (it is over; the kernel acts when its next timer
    fires), ``noticed`` (by the kernel, of a backend that is executing: that asks at its next check) and ``gone``.
    ``seconds`` and ``bound`` are those of the promise; where they are None the session stays, and the events end with
    what is known.
    """
    last = promise(phase, "peer_vanished", settings, os)
    events: list[list[t.Any]] = []
    if phase in ("idle", "executing", "idle_in_transaction"):
        idle, interval, _count = effective_keepalive(settings, os)
        noticed = keepalive_seconds(settings, os)
        events = [["first_probe", float(idle)], ["last_probe", noticed - interval], ["noticed", noticed]]
    if last.seconds is not None:
        events = [*([name, at] for name, at in events if at < last.seconds), ["gone", last.seconds]]
    passed = settings.tcp_user_timeout / 1000
    if user_timeout(settings, os) and passed <= events[-1][1]:
        events = sorted([["user_timeout", passed], *events], key=lambda event: t.cast(float, event[1]))
    return {"phase": phase, "events": events, "seconds": last.seconds, "bound": last.bound, "formula": last.formula}


def timelines(settings: Settings, os: OsValues) -> list[dict[str, t.Any]]:
    """The timeline of each of `PHASES`."""
    return [timeline(phase, settings, os) for phase in PHASES]
