# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promises, a pure room: settings, wherever they came from, to worst-case seconds for each phase and fault.

The formulas are those of Linux (net/ipv4/tcp_timer.c) and PostgreSQL (tcop/postgres.c); `docs/promises.md` has them
with the measurements that they were checked against. Kernel timers fire up to 1/8 late, never early, so each promise
has two numbers: *seconds* is the formula, *bound* the formula with that slack.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from . import _duration
from ._policy import Policy

SLACK = 1.125
#: The first retransmission on a path of short round trips; tcp_user_timeout counts from there.
RETRANSMISSION_MS = 200
#: Retransmissions double their distance up to this many seconds (RTO_MAX).
RTO_MAX = 120
#: What Linux refuses to put on a socket above these, PostgreSQL accepts all the same (only a LOG line says so).
KERNEL_LIMITS = {"tcp_keepalives_idle": 32767, "tcp_keepalives_interval": 32767, "tcp_keepalives_count": 127}

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


@dataclasses.dataclass(frozen=True)
class OsValues:
    """The kernel's own values, in force wherever PostgreSQL's are 0: seconds, seconds, number, number."""

    tcp_keepalive_time: int = 7200
    tcp_keepalive_intvl: int = 75
    tcp_keepalive_probes: int = 9
    tcp_retries2: int = 15


@dataclasses.dataclass(frozen=True)
class Settings:
    """Values of a session in PostgreSQL's base units: seconds for keepalives and authentication, else milliseconds."""

    tcp_keepalives_idle: int = 0
    tcp_keepalives_interval: int = 0
    tcp_keepalives_count: int = 0
    tcp_user_timeout: int = 0
    client_connection_check_interval: int = 0
    idle_session_timeout: int = 0
    idle_in_transaction_session_timeout: int = 0
    transaction_timeout: int = 0
    authentication_timeout: int = 60
    wal_sender_timeout: int = 60_000

    @classmethod
    def of(cls, values: t.Mapping[str, int | None]) -> Settings:
        """From a mapping that may have other names too, or lack those which an old server does not know."""
        return cls(**{name: value for name in SETTINGS if (value := values.get(name)) is not None})


SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))


class Promise(t.NamedTuple):
    """Seconds until the backend of a lost client is gone. None: nothing bounds it. *formula* names the rule."""

    phase: str
    fault: str
    seconds: float | None
    bound: float | None
    formula: str

    def as_dict(self) -> dict[str, t.Any]:
        return {**self._asdict(), "text": _duration.human(self.seconds)}


class _Rule(t.NamedTuple):
    """A worst case before it belongs to a phase: *seconds*, the *bound* with slack, and the *formula*'s name."""

    seconds: float | None
    bound: float | None
    formula: str

    def until(self, milliseconds: int, formula: str) -> _Rule:
        """The earlier of this and a timeout of the session itself (0 is none)."""
        limit = milliseconds / 1000
        if not milliseconds or (self.bound is not None and self.bound <= limit * SLACK):
            return self
        return _Rule(limit if self.seconds is None else min(limit, self.seconds), limit * SLACK, formula)


_AT_ONCE = _Rule(0, 0, "at_once")


def _slack(seconds: float, formula: str) -> _Rule:
    return _Rule(seconds, seconds * SLACK, formula)


def effective_keepalive(settings: Settings, os: OsValues) -> tuple[int, int, int]:
    """Idle, interval and count in force on a socket: 0, or more than Linux takes, leaves the kernel's own value."""

    def value(name: str, fallback: int) -> int:
        wanted = t.cast(int, getattr(settings, name))
        return wanted if 0 < wanted <= KERNEL_LIMITS[name] else fallback

    return (
        value("tcp_keepalives_idle", os.tcp_keepalive_time),
        value("tcp_keepalives_interval", os.tcp_keepalive_intvl),
        value("tcp_keepalives_count", os.tcp_keepalive_probes),
    )


def keepalive_seconds(settings: Settings, os: OsValues) -> float:
    """Seconds until a silent peer with nothing in flight is given up, at worst.

    idle + interval * count, or with a user timeout UT idle + interval * max(1, ceil((UT - idle) / interval)): the count
    is ignored then. What arrives does not move a timer that runs, so with an interval above idle the first probe comes
    anywhere from idle to interval after it, and the worst of these takes idle's place.
    """
    idle, interval, count = effective_keepalive(settings, os)
    start = float(max(idle, interval))
    if settings.tcp_user_timeout:
        timeout = settings.tcp_user_timeout / 1000
        count = max(1, math.ceil((timeout - idle) / interval))
        if count > 1:
            start = min(start, timeout - interval * (count - 1))  # a later first probe has one interval less to go
    return start + interval * count


def retransmission_seconds(retries: int) -> float:
    """Linux's time for *retries* retransmissions: 0.2 s (RTO_MIN) doubled up to RTO_MAX each."""
    doubled = min(retries, 9)
    return 0.2 * (2 ** (doubled + 1) - 1) + RTO_MAX * (retries - doubled)


def _in_flight(settings: Settings, os: OsValues) -> _Rule:
    if settings.tcp_user_timeout:
        return _slack((settings.tcp_user_timeout + RETRANSMISSION_MS) / 1000, "user_timeout")
    # Given up at the first retransmission after that time, and on a closed window up to one doubling later.
    return _Rule(
        retransmission_seconds(os.tcp_retries2),
        retransmission_seconds(os.tcp_retries2 + 1) * SLACK,
        "retransmissions",
    )


def _silent(settings: Settings, os: OsValues) -> _Rule:
    name = "keepalive_user_timeout" if settings.tcp_user_timeout else "keepalive"
    return _slack(keepalive_seconds(settings, os), name)


def _busy(noticed: _Rule, settings: Settings) -> _Rule:
    """A backend that executes or waits looks at its socket every client_connection_check_interval only."""
    check = settings.client_connection_check_interval / 1000
    if not check:
        rule = _Rule(None, None, "end_of_statement")
    else:
        name = "check_interval" if noticed is _AT_ONCE else f"{noticed.formula}+check_interval"
        rule = _slack(t.cast(float, noticed.seconds) + check, name)
    return rule.until(settings.transaction_timeout, "transaction_timeout")


def path_open_seconds(settings: Settings, os: OsValues, lost_probes: int = 0) -> float:
    """The longest silence on the path of a session, *lost_probes* probes in a row lost, the kernel's slack included."""
    idle, interval, _count = effective_keepalive(settings, os)
    return SLACK * (max(idle, interval) + lost_probes * interval)


def _of_phase(phase: str, fault: str, settings: Settings, os: OsValues) -> _Rule:
    died = fault == "process_died"
    silent, in_flight = _silent(settings, os), _in_flight(settings, os)
    if phase in ("executing", "lock_wait"):
        return _busy(_AT_ONCE if died else silent, settings)
    if died:
        return _AT_ONCE
    if phase == "idle":
        return silent.until(settings.idle_session_timeout, "idle_session_timeout")
    if phase == "idle_unacknowledged":
        return in_flight.until(settings.idle_session_timeout, "idle_session_timeout")
    if phase == "idle_in_transaction":
        return silent.until(settings.idle_in_transaction_session_timeout, "idle_in_transaction_session_timeout").until(
            settings.transaction_timeout, "transaction_timeout"
        )
    if phase == "authenticating":
        # Start-up packet and authentication have a timer each.
        return _Rule(
            settings.authentication_timeout, settings.authentication_timeout * 2 * SLACK, "authentication_timeout"
        )
    if phase == "replicating":
        return in_flight.until(settings.wal_sender_timeout, "wal_sender_timeout")
    return in_flight  # sending


def promise(
    phase: str, fault: str, settings: Settings, os: OsValues = OsValues(), path_idle_limit: int | None = None
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
        rule = _Rule(0, 0, "path_kept_open")
    else:
        rule = _of_phase(phase, fault, settings, os)
    return Promise(phase, fault, rule.seconds, rule.bound, rule.formula)


def promises(settings: Settings, os: OsValues = OsValues(), path_idle_limit: int | None = None) -> list[Promise]:
    """Every phase and fault, in the order of `PHASES` and `FAULTS`."""
    return [promise(phase, fault, settings, os, path_idle_limit) for phase in PHASES for fault in FAULTS]


def idle_outage_survived(settings: Settings, os: OsValues) -> float:
    """Seconds; an idle session survives for certain any outage shorter than the span from first to last probe.

    Late timers do not shorten that span where the count decides. A user timeout ends the series by the clock, so that
    the later the first probe, the fewer follow.
    """
    idle, interval, count = effective_keepalive(settings, os)
    if not settings.tcp_user_timeout:
        return float((count - 1) * interval)
    # From the first probe at its latest to one late interval before the timeout; but the span is whole intervals too.
    span = settings.tcp_user_timeout / 1000 - SLACK * (max(idle, interval) + interval)
    return max(0.0, span, float(math.ceil(span / (SLACK * interval)) * interval))


def in_flight_outage_survived(settings: Settings, os: OsValues) -> float:
    """Seconds; an outage is survived for certain when a retransmission comes between its end and the limit.

    Retransmissions double their distance: the next one after an outage of L comes at most min(L, RTO_MAX) later, and
    the kernel's slack. One second is left for the first distance, which grows with the round trip.
    """
    if settings.tcp_user_timeout:
        limit = settings.tcp_user_timeout / 1000 - 1
        return max(0.0, limit / (1 + SLACK), limit - RTO_MAX * SLACK)
    return retransmission_seconds(os.tcp_retries2 - 1)


class Broken(t.NamedTuple):
    """A key of the policy that settings do not keep: *wanted* and *promised* in words, *phase* where it shows."""

    key: str
    wanted: str
    promised: str
    phase: str = ""


def broken(policy: Policy, settings: Settings, os: OsValues = OsValues()) -> list[Broken]:
    """What of *policy* the settings in force do not keep; an empty list means that all of it is promised."""
    return [*_late(policy, settings, os), *_fragile(policy, settings, os), *_not_closed(policy, settings)]


def _late(policy: Policy, settings: Settings, os: OsValues) -> t.Iterator[Broken]:
    """A loss that is noticed too late."""
    limits = dict.fromkeys(PHASES[:6], ("detect_dead_peer_within", policy.detect_dead_peer_within))
    limits["executing"] = limits["lock_wait"] = (policy.orphan_key, policy.orphan_limit)
    limits["authenticating"] = ("connect_within", policy.connect_within)
    limits["replicating"] = ("detect_dead_standby_within", policy.detect_dead_standby_within)
    for phase, (key, limit) in limits.items():
        for fault in ("process_died", "peer_vanished"):
            worst = promise(phase, fault, settings, os)
            if limit and (worst.bound is None or round(worst.bound * 1000) > limit):
                yield Broken(key, _duration.spell(limit), _duration.human(worst.bound), phase)
                break


def _fragile(policy: Policy, settings: Settings, os: OsValues) -> t.Iterator[Broken]:
    """A healthy session that is lost."""
    if policy.path_idle_limit:
        silence = path_open_seconds(settings, os, policy.survive_lost_probes)
        if silence * 1000 >= policy.path_idle_limit:
            yield Broken("path_idle_limit", _duration.spell(policy.path_idle_limit), _duration.human(silence), "idle")
    if policy.tolerate_outage_of:
        for phase, survived in (
            ("idle", idle_outage_survived(settings, os)),
            ("sending", in_flight_outage_survived(settings, os)),
        ):
            if survived * 1000 < policy.tolerate_outage_of:
                wanted = _duration.spell(policy.tolerate_outage_of)
                yield Broken("tolerate_outage_of", wanted, _duration.human(survived), phase)
    if 0 < settings.tcp_user_timeout <= policy.grace_for_all:
        promised = _duration.human(settings.tcp_user_timeout / 1000)
        yield Broken("slow_reader_grace", _duration.spell(policy.grace_for_all), promised, "sending")


def _not_closed(policy: Policy, settings: Settings) -> t.Iterator[Broken]:
    """A session that is not closed although the policy says so."""
    for key, name in CLOSING.items():
        wanted, value = getattr(policy, key), getattr(settings, name)
        if wanted and not 0 < value <= wanted:
            yield Broken(key, _duration.spell(wanted), _duration.human(value / 1000 if value else None))


#: Policy keys that are one timeout of the server.
CLOSING = {
    "close_idle_session_after": "idle_session_timeout",
    "close_idle_in_transaction_after": "idle_in_transaction_session_timeout",
    "close_transaction_after": "transaction_timeout",
}
