# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection, a pure room: how soon the kernel and a backend notice that a peer is gone, and which outage they sit out.

The formulas are those of the server's system (Linux: net/ipv4/tcp_timer.c) and of PostgreSQL (tcop/postgres.c);
`docs/promises.md` has them with the measurements that they were checked against, on Linux.
"""

from __future__ import annotations

import math
import typing as t

from ._settings import SLACK, OsValues, Settings, effective_keepalive, user_timeout
from ._systems import _table

#: The first retransmission on a path of short round trips; tcp_user_timeout counts from there.
RETRANSMISSION_MS = 200
#: Retransmissions double their distance up to this many seconds (RTO_MAX).
RTO_MAX = 120
#: The name of the rule where nobody has said what a system does.
UNKNOWN = "unknown"


class Rule(t.NamedTuple):
    """A worst case before it belongs to a phase: *seconds*, the *bound* with slack, and the *formula*'s name."""

    seconds: float | None
    bound: float | None
    formula: str

    def until(self, milliseconds: int, formula: str) -> Rule:
        """The earlier of this and a timeout of the session itself (0 is none)."""
        limit = milliseconds / 1000
        if not milliseconds or (self.bound is not None and self.bound <= limit * SLACK):
            return self
        return Rule(limit if self.seconds is None else min(limit, self.seconds), limit * SLACK, formula)


AT_ONCE = Rule(0, 0, "at_once")


def _slack(seconds: float, formula: str) -> Rule:
    return Rule(seconds, seconds * SLACK, formula)


def _first_probe(idle: int, interval: int, os: OsValues) -> int:
    """Seconds until a quiet socket is probed, at worst. An interval above idle delays it where timers run on."""
    return max(idle, interval) if _table.arithmetic(os.system).timer_runs_on else idle


def keepalive_seconds(settings: Settings, os: OsValues) -> float:
    """Seconds until a silent peer with nothing in flight is given up, at worst.

    idle + interval * count, or with a user timeout UT idle + interval * max(1, ceil((UT - idle) / interval)): the count
    is ignored then. What arrives does not move a timer that runs (but on macOS), so with an interval above idle the
    first probe comes anywhere from idle to interval after it, and the worst of these takes idle's place.
    """
    idle, interval, count = effective_keepalive(settings, os)
    start = float(_first_probe(idle, interval, os))
    if user_timeout(settings, os):
        timeout = settings.tcp_user_timeout / 1000
        count = max(1, math.ceil((timeout - idle) / interval))
        if count > 1:
            start = min(start, timeout - interval * (count - 1))  # a later first probe has one interval less to go
    return start + interval * count


def retransmission_seconds(retries: int) -> float:
    """Linux's time for *retries* retransmissions: 0.2 s (RTO_MIN) doubled up to RTO_MAX each."""
    doubled = min(retries, 9)
    return 0.2 * (2 ** (doubled + 1) - 1) + RTO_MAX * (retries - doubled)


def in_flight(settings: Settings, os: OsValues, keepalive: bool = True) -> Rule:
    """A vanished peer that has not acknowledged what was sent; *keepalive* is whether the socket has it on."""
    system = _table.arithmetic(os.system)
    if user_timeout(settings, os):
        return _slack((settings.tcp_user_timeout + RETRANSMISSION_MS) / 1000, "user_timeout")
    if system.backoff:
        # BSD's keepalive counts from what was heard last, whether or not data is on its way.
        longest = _slack(_table.longest_retransmissions(system), "retransmissions")
        probed = silent(settings, os) if keepalive else longest
        return min(probed, longest, key=lambda rule: t.cast(float, rule.bound))
    if system is _table.WINDOWS:
        return Rule(None, None, UNKNOWN)
    # Given up at the first retransmission after that time, and on a closed window up to one doubling later.
    return Rule(
        retransmission_seconds(os.tcp_retries2),
        retransmission_seconds(os.tcp_retries2 + 1) * SLACK,
        "retransmissions",
    )


def silent(settings: Settings, os: OsValues) -> Rule:
    """A vanished peer with nothing in flight: keepalive."""
    name = "keepalive_user_timeout" if user_timeout(settings, os) else "keepalive"
    return _slack(keepalive_seconds(settings, os), name)


def busy(noticed: Rule, settings: Settings) -> Rule:
    """A backend that executes or waits looks at its socket every client_connection_check_interval only."""
    check = settings.client_connection_check_interval / 1000
    if not check or noticed.seconds is None:
        rule = Rule(None, None, "end_of_statement")
    else:
        name = "check_interval" if noticed is AT_ONCE else f"{noticed.formula}+check_interval"
        rule = _slack(noticed.seconds + check, name)
    return rule.until(settings.transaction_timeout, "transaction_timeout")


def path_open_seconds(settings: Settings, os: OsValues, lost_probes: int = 0) -> float:
    """The longest silence on the path of a session, *lost_probes* probes in a row lost, the kernel's slack included."""
    idle, interval, _count = effective_keepalive(settings, os)
    return SLACK * (_first_probe(idle, interval, os) + lost_probes * interval)


def idle_outage_survived(settings: Settings, os: OsValues) -> float:
    """Seconds; an idle session survives for certain any outage shorter than the span from first to last probe.

    Late timers do not shorten that span where the count decides. A user timeout ends the series by the clock, so that
    the later the first probe, the fewer follow.
    """
    idle, interval, count = effective_keepalive(settings, os)
    if not user_timeout(settings, os):
        return float((count - 1) * interval)
    # From the first probe at its latest to one late interval before the timeout; but the span is whole intervals too.
    span = settings.tcp_user_timeout / 1000 - SLACK * (max(idle, interval) + interval)
    return max(0.0, span, float(math.ceil(span / (SLACK * interval)) * interval))


def in_flight_outage_survived(settings: Settings, os: OsValues) -> float:
    """Seconds; an outage is survived for certain when a retransmission comes between its end and the limit.

    Retransmissions double their distance: the next one after an outage of L comes at most min(L, RTO_MAX) later, and
    the kernel's slack. One second is left for the first distance, which grows with the round trip. BSD's keepalive may
    end the session as well; of what Windows does nothing is certain.
    """
    system = _table.arithmetic(os.system)
    if system.backoff:
        return min(idle_outage_survived(settings, os), _table.shortest_retransmissions(system))
    if system is _table.WINDOWS:
        return 0.0
    if user_timeout(settings, os):
        limit = settings.tcp_user_timeout / 1000 - 1
        return max(0.0, limit / (1 + SLACK), limit - RTO_MAX * SLACK)
    return retransmission_seconds(os.tcp_retries2 - 1)
