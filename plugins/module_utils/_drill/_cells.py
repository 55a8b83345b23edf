# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cells of a drill, a pure room: which phase x fault there are, what each is promised, the verdict on what was seen."""

from __future__ import annotations

import dataclasses
import typing as t

from .. import _detection, _duration, _promises, _settings
from .._errors import Failure
from .._settings import OsValues, Settings

#: Added to each bound: the backend's own way out on a busy host, beside the kernel's slack, which the bound has.
TOLERANCE = 1.0

PHASES = {
    "server": (
        "idle",
        "idle_unacknowledged",
        "executing",
        "executing_cpu",
        "lock_wait",
        "sending",
        "idle_in_transaction",
        "authenticating",
    ),
    "client": ("idle", "waiting", "sending", "connecting"),
}


def _server_phases_but(*phases: str) -> tuple[str, ...]:
    return tuple(phase for phase in PHASES["server"] if phase not in phases)


#: The faults that each side can be drilled for, and the phases in which each makes sense.
_CELLS: dict[str, dict[str, tuple[str, ...]]] = {
    "server": {
        "process_died": _server_phases_but("idle_unacknowledged"),
        "peer_vanished": PHASES["server"],
        "path_forgot_flow": _server_phases_but("authenticating"),
        "probes_dropped": ("idle", "executing", "idle_in_transaction"),
        "short_outage": ("idle", "executing", "sending"),
        "slow_reader": ("sending",),
    },
    "client": {"peer_vanished": PHASES["client"]},
}
#: These end a session; the others are to be survived.
SURVIVABLE = ("short_outage", "slow_reader")
#: Faults that only a process with CAP_NET_ADMIN can make.
PRIVILEGED = ("path_forgot_flow", "probes_dropped")

#: The phases that promises are made for go by other names where a drill knows two ways into one of them.
_PROMISED_AS = {"executing_cpu": "executing"}
#: What a libpq client waits for is, for its kernel, what the server's kernel waits for in the phase beside it.
_CLIENT_AS = {"idle": "idle", "waiting": "idle", "sending": "sending"}
#: Seconds that Linux takes for net.ipv4.tcp_syn_retries = 6: 1 + 2 + 4 + ... + 64.
SYN_SECONDS = 127.0


@dataclasses.dataclass(frozen=True)
class Cell:
    """One phase x fault of one side."""

    side: str
    phase: str
    fault: str

    @property
    def survivable(self) -> bool:
        """Whether the session is to live on."""
        return self.fault in SURVIVABLE

    def __str__(self) -> str:
        return f"{self.phase} x {self.fault}"


class Expected(t.NamedTuple):
    """Seconds as `_promises.Promise` has them; of a survivable fault, the longest that is promised to be survived."""

    seconds: float | None
    bound: float | None
    formula: str


class Seen(t.NamedTuple):
    """What the watch came to. Times are seconds after the fault.

    *gone_at* is when the session was first seen to be gone, None if it never was; *alive_at* when it was last seen
    there, None where it could not be watched. Of a survivable fault *answered* says whether the session still worked
    afterwards, *lasted* how long it was.
    """

    gone_at: float | None
    alive_at: float | None
    answered: bool = False
    lasted: float | None = None


def choose(side: str, phases: t.Sequence[str], faults: t.Sequence[str]) -> list[Cell]:
    """The cells of *phases* and *faults*; empty ones stand for all phases, and all faults without privileges.

    Raises Failure ``unknown_phase``, ``unknown_fault`` or ``no_cell``.
    """
    possible = _CELLS[side]
    _check("phase", phases, PHASES[side], side)
    _check("fault", faults, list(possible), side)
    wanted = faults or [fault for fault in possible if fault not in PRIVILEGED]
    cells = [
        Cell(side, phase, fault)
        for phase in PHASES[side]
        for fault in possible
        if fault in wanted and phase in possible[fault] and (not phases or phase in phases)
    ]
    if not cells:
        ways = "; ".join(f"{fault}: {', '.join(possible[fault])}" for fault in wanted)
        raise Failure(
            "no_cell",
            f"a drill of phases {', '.join(phases)} and faults {', '.join(faults)}",
            "no such fault can happen in such a phase",
            f"The phases of each fault are: {ways}.",
        )
    return cells


def _check(what: str, asked: t.Sequence[str], known: t.Sequence[str], side: str) -> None:
    strange = [name for name in asked if name not in known]
    if strange:
        raise Failure(
            f"unknown_{what}",
            f"{what}s: {', '.join(asked)}",
            f"there is no {what} {', '.join(strange)} on the side {side}",
            f"Choose out of {', '.join(known)}.",
        )


def expect(cell: Cell, settings: Settings, os: OsValues) -> Expected:
    """What *settings*, those in force for the very session, promise for a *cell* of the side server."""
    if cell.fault == "slow_reader":
        limit = settings.tcp_user_timeout / 1000 or None
        return Expected(limit, limit, "user_timeout")
    if cell.fault == "short_outage":
        if cell.phase == "sending":
            survived, formula = _detection.in_flight_outage_survived(settings, os), "in_flight_outage"
        else:
            survived, formula = _detection.idle_outage_survived(settings, os), "idle_outage"
        return Expected(survived, survived, formula)
    # A path that forgot the flow, or drops the probes, is at worst as silent as a peer that has vanished.
    fault = "process_died" if cell.fault == "process_died" else "peer_vanished"
    promise = _promises.promise(_PROMISED_AS.get(cell.phase, cell.phase), fault, settings, os)
    return Expected(promise.seconds, promise.bound, promise.formula)


@dataclasses.dataclass(frozen=True)
class ClientOptions:
    """What a libpq client's own socket has: *keepalive* is SO_KEEPALIVE, *connect_timeout* in seconds (0 is none)."""

    keepalive: bool
    settings: Settings
    connect_timeout: int


def expect_of_client(cell: Cell, options: ClientOptions, os: OsValues) -> Expected:
    """What a client's own socket options promise for a *cell* of the side client."""
    timeout = options.settings.tcp_user_timeout / 1000
    if cell.phase == "connecting":
        limits = [
            (float(options.connect_timeout), "connect_timeout"),
            (timeout, "user_timeout"),
            (SYN_SECONDS, "syn_retries"),
        ]
        seconds, formula = min(limit for limit in limits if limit[0])
        return Expected(seconds, seconds * _settings.SLACK, formula)
    if cell.phase != "sending" and not options.keepalive:
        return Expected(None, None, "no_keepalive")
    promise = _promises.promise(_CLIENT_AS[cell.phase], "peer_vanished", options.settings, os)
    return Expected(promise.seconds, promise.bound, promise.formula)


def default_length(cell: Cell, expected: Expected, patience: float) -> float:
    """Seconds that a survivable fault lasts when nobody said: what is promised, or what the patience has room for."""
    room = max(1.0, patience / 4)
    # The clock of a user timeout starts when the window closes, which is not when the client stops to read.
    part = 0.9 if cell.fault == "short_outage" else 0.8
    return room if expected.seconds is None else min(room, part * expected.seconds)


def judge(cell: Cell, expected: Expected, seen: Seen) -> tuple[str | None, str]:
    """The *outcome* (gone, still_there, survived, lost, None) and the *verdict*.

    Verdicts are kept, broken, beyond_patience, not_promised and not_possible.
    """
    if seen.alive_at is None:
        return None, "not_possible"
    if cell.survivable:
        if seen.answered:
            return "survived", "kept"
        promised = expected.bound is None or (seen.lasted or 0.0) <= expected.bound
        return "lost", "broken" if promised else "not_promised"
    late = expected.bound is not None and seen.alive_at > expected.bound + TOLERANCE
    if seen.gone_at is None:
        return "still_there", "broken" if late else "beyond_patience"
    if expected.bound is None:
        return "gone", "not_promised"
    return "gone", "broken" if late else "kept"


def describe(expected: Expected, seen: Seen, outcome: str | None) -> str:
    """The outcome in one line."""
    if outcome is None:
        return "before a login the server's end is seen on its own host only"
    promise = "nothing bounds it" if expected.seconds is None else f"promised {_duration.human(expected.seconds)}"
    if outcome == "gone":
        return f"gone after {_seconds(seen.gone_at or 0.0)}, {promise}"
    if outcome == "still_there":
        alive = seen.alive_at or 0.0
        if expected.seconds is None:
            promise = "nothing would end it"
        elif alive < expected.seconds:
            promise = f"would take {_duration.human(expected.seconds)}"
        return f"still there after {_seconds(alive)}, {promise}"
    if outcome == "survived":
        return f"survived {_seconds(seen.lasted or 0.0)}"
    longest = "any" if expected.seconds is None else f"up to {_seconds(expected.seconds)}"
    when = "" if seen.gone_at is None else f" {_seconds(seen.gone_at)} after it began"
    return f"lost{when}; it lasted {_seconds(seen.lasted or 0.0)}, {longest} is promised to be survived"


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else _duration.human(value)
