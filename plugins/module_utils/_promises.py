# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promises, a pure room: settings, wherever they came from, to worst-case seconds for each phase and fault.

Kernel timers are late at times (see `SLACK`), so each promise has two numbers: *seconds* is the formula, *bound* the
formula with that slack.
"""

from __future__ import annotations

import typing as t

from . import _duration
from ._detection import AT_ONCE, UNKNOWN, Rule, busy, in_flight, path_open_seconds, silent
from ._settings import LINUX, SLACK, OsValues, Settings

PHASES = (
    "idle",
    "idle_unacknowledged",
    "executing",
    "lock_wait",
    "sending",
    "idle_in_transaction",
    "authenticating",
    "replicating",
)
FAULTS = ("process_died", "peer_vanished", "path_forgot_flow")


class Promise(t.NamedTuple):
    """Seconds until the backend of a lost client is gone. None: nothing bounds it. *formula* names the rule."""

    phase: str
    fault: str
    seconds: float | None
    bound: float | None
    formula: str

    def as_dict(self) -> dict[str, t.Any]:
        return {**self._asdict(), "text": in_words(self.seconds, self.formula)}


def in_words(seconds: float | None, formula: str) -> str:
    """A time for people: ``never`` where nothing bounds it, ``not known`` where nobody says what a system does."""
    return "not known" if formula == UNKNOWN else _duration.human(seconds)


def _of_phase(phase: str, fault: str, settings: Settings, os: OsValues) -> Rule:
    died = fault == "process_died"
    noticed, unacknowledged = silent(settings, os), in_flight(settings, os)
    if phase in ("executing", "lock_wait"):
        return busy(AT_ONCE if died else noticed, settings)
    if died:
        return AT_ONCE
    if phase == "idle":
        return noticed.until(settings.idle_session_timeout, "idle_session_timeout")
    if phase == "idle_unacknowledged":
        return unacknowledged.until(settings.idle_session_timeout, "idle_session_timeout")
    if phase == "idle_in_transaction":
        return noticed.until(settings.idle_in_transaction_session_timeout, "idle_in_transaction_session_timeout").until(
            settings.transaction_timeout, "transaction_timeout"
        )
    if phase == "authenticating":
        # Start-up packet and authentication have a timer each.
        return Rule(
            settings.authentication_timeout, settings.authentication_timeout * 2 * SLACK, "authentication_timeout"
        )
    if phase == "replicating":
        return unacknowledged.until(settings.wal_sender_timeout, "wal_sender_timeout")
    return unacknowledged  # sending


def promise(
    phase: str, fault: str, settings: Settings, os: OsValues = LINUX, path_idle_limit: int | None = None
) -> Promise:
    """The worst case of one *phase* and *fault*; *path_idle_limit* in milliseconds where it is known.

    With a known path limit that keepalive stays below, a stateful device does not forget an idle flow: formula
    ``path_kept_open``, 0 seconds.
    """
    quiet = phase in ("idle", "executing", "lock_wait", "idle_in_transaction")
    if (
        fault == "path_forgot_flow"
        and quiet
        and path_idle_limit
        and path_open_seconds(settings, os) * 1000 < path_idle_limit
    ):
        rule = Rule(0, 0, "path_kept_open")
    else:
        rule = _of_phase(phase, fault, settings, os)
    return Promise(phase, fault, rule.seconds, rule.bound, rule.formula)


def promises(settings: Settings, os: OsValues = LINUX, path_idle_limit: int | None = None) -> list[Promise]:
    """Every phase and fault, in the order of `PHASES` and `FAULTS`."""
    return [promise(phase, fault, settings, os, path_idle_limit) for phase in PHASES for fault in FAULTS]
