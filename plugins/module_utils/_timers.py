# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timers, a pure room of the plan: the small optimisation from durations to idle, interval, count and timeouts.

The keepalive series of a planned socket has one length, T = idle + interval * count, and tcp_user_timeout is set to
that same length, so that a silent peer is noticed after T whether data is in flight or not, and the count means what
it says (with a user timeout in force Linux ignores it). T is as long as the policy allows, because a longer series
survives longer outages; about half of it waits and half of it probes. Where the system has its own count (Windows
sends 10 probes, whatever is asked for), the series is planned with that.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing as t

from . import _duration
from ._detection import RETRANSMISSION_MS, RTO_MAX, in_flight_outage_survived
from ._errors import Failure
from ._policy import Policy
from ._settings import KERNEL_LIMITS, LINUX, SLACK, Settings
from ._systems import _table

#: Seconds; no plan is laxer than the kernel's own tcp_keepalive_time.
_LONGEST_IDLE = 7200
#: Seconds and numbers that people like to read; those between them gain nothing.
_INTERVALS = (*range(1, 7), 8, 10, 12, 15, 20, 30, 45, 60, 75, 90, 120, 150, 180, 240, 300, 450, 600, 900, 1200, 1800)
_MOST = KERNEL_LIMITS["tcp_keepalives_count"]
_COUNTS = (*range(2, 25), 30, 40, 50, 60, 80, 100, _MOST)
#: Seconds without a network that data in flight survives by tcp_retries2 alone.
_LINUX_SURVIVES = in_flight_outage_survived(Settings(), LINUX)
#: client_connection_check_interval in milliseconds: rarer than 30 s gains nothing, oftener than 1 s is wasteful.
_CHECK_INTERVALS = (30_000, 20_000, 15_000, 10_000, 5000, 3000, 2000, 1000)


#: idle, interval, count
Series = t.Tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Timers:
    """Idle and interval in seconds, user timeout and check interval in milliseconds. None: nothing is asked for."""

    idle: int | None = None
    interval: int | None = None
    count: int | None = None
    user_timeout: int | None = None
    check_interval: int | None = None


def solve(policy: Policy, platform: str = "linux") -> Timers:
    """The timers that keep *policy* on a server of *platform*.

    Raises Failure ``policy_conflict`` that names two durations and their bounds.
    """
    system = _table.arithmetic(platform)
    fixed = None if system.count_is_settable else system.defaults[2]
    timers = _find(policy, fixed)
    if timers is None:
        raise _conflict(policy, fixed)
    return timers


def _find(policy: Policy, fixed: int | None) -> Timers | None:
    """*fixed* is the count where nobody can choose it."""
    orphan, detect = policy.orphan_limit, policy.detect_dead_peer_within or 0
    if not orphan and not detect:
        return _without_deadline(policy, fixed)
    checks = [c for c in _CHECK_INTERVALS if c <= max(1000, orphan // 10)] if orphan else [0]
    # The preferred check interval comes first; a tight policy gets a shorter one rather than a conflict.
    for check in checks[:1] + checks[-1:]:
        series = _series(policy, _shortest_total(policy), _longest_total(policy, check), fixed)
        if series:
            return _with_user_timeout(series, check)
    return None


def _with_user_timeout(series: Series, check: int | None = None) -> Timers:
    idle, interval, count = series
    return Timers(idle, interval, min(count, _MOST), (idle + interval * count) * 1000, check)


def _without_deadline(policy: Policy, fixed: int | None) -> Timers | None:
    """Nothing has to be noticed in time: a user timeout could only end sessions that the policy wants to live."""
    outage = policy.tolerate_outage_of or 0
    if not policy.path_idle_limit and not outage:
        return Timers(user_timeout=0) if policy.slow_reader_grace else Timers()
    shortest = outage // 1000 + 4  # with a probe each second until after the outage
    longest = max(2 * _idle_cap(policy), 4 * shortest, policy.survive_lost_probes + 2)
    series = _series(policy, shortest, longest, fixed)
    if series and series[2] <= _MOST and outage <= _LINUX_SURVIVES * 1000:
        return Timers(*series, user_timeout=0)
    # The outage outlasts Linux's own limits on probes or retransmissions; a user timeout takes the place of both.
    shortest = _shortest_total(policy)
    series = _series(policy, shortest, max(shortest, longest), fixed)
    return _with_user_timeout(series) if series else None


def _longest_total(policy: Policy, check: int) -> int:
    """Seconds that T may last at most, the kernel's slack allowed for."""
    limits = []
    if policy.detect_dead_peer_within:
        limits.append(policy.detect_dead_peer_within / SLACK - RETRANSMISSION_MS)
    if policy.orphan_limit:
        limits.append(policy.orphan_limit / SLACK - check)
    return int(min(limits) // 1000)


def _shortest_total(policy: Policy) -> int:
    """Seconds that T must last at least, because the user timeout of the same length ends healthy sessions too."""
    shortest = 1
    if policy.grace_for_all:
        shortest = policy.grace_for_all // 1000 + 1
    if policy.tolerate_outage_of:
        # See in_flight_outage_survived: the first retransmission after the outage must come before the timeout.
        outage = policy.tolerate_outage_of / 1000
        shortest = max(shortest, math.ceil(outage + SLACK * min(outage, RTO_MAX)) + 1)
    return shortest


def _idle_cap(policy: Policy) -> int:
    """Seconds; half the path's limit is the usual planning rule, and leaves room for a middlebox that is less exact."""
    return min(policy.path_idle_limit // 2000, _LONGEST_IDLE) if policy.path_idle_limit else _LONGEST_IDLE


def _series(policy: Policy, shortest: int, longest: int, fixed: int | None) -> Series | None:
    """The best series with shortest <= T <= longest that keeps path and outage, or None where there is none."""
    cap = _idle_cap(policy)
    # A probe each second to the end is what survives most; where that does not keep the policy, nothing does.
    if _longest_idle(policy, 1, longest - 1, cap) < 1 or longest < max(shortest, policy.survive_lost_probes + 2, 3):
        return None
    longest = min(longest, max(shortest, 12 * cap))
    candidates = [
        (_cost(longest, *series), series)
        for interval in _INTERVALS
        for series in _with_interval(policy, interval, shortest, longest, cap, fixed)
    ]
    # With a count of one's own there always is one here; a fixed one may fit nowhere.
    return min(candidates)[1] if candidates else None


def _with_interval(
    policy: Policy, interval: int, shortest: int, longest: int, cap: int, fixed: int | None
) -> t.Iterator[Series]:
    """The series with this *interval* that are worth a look: each count, with the longest idle time that it allows."""
    fewest, most = max(2, policy.survive_lost_probes + 1), longest // interval - 1
    for count in (fixed,) if fixed else {*_COUNTS, fewest, most}:
        # The interval must not exceed idle, or it becomes the probe period.
        smallest = max(interval, shortest - interval * count)
        largest = min(_longest_idle(policy, interval, count, cap), longest - interval * count)
        if fewest <= count <= most and smallest <= largest:
            rounded = largest - largest % 5
            yield (rounded if rounded >= max(smallest, 20) else largest), interval, count


def _longest_idle(policy: Policy, interval: int, count: int, cap: int) -> int:
    """Seconds that a series may wait before its first probe at most; too few, or none, where it can never do."""
    limits = [cap]
    if policy.path_idle_limit:
        # SLACK * (idle + lost * interval) < path
        limits.append((policy.path_idle_limit - 1) // 1125 - policy.survive_lost_probes * interval)
    if policy.tolerate_outage_of:
        # See idle_outage_survived: span = T - SLACK * (idle + interval) must reach either the outage, or so far over
        # one interval less than the outage that one more fits.
        outage = policy.tolerate_outage_of / 1000
        span = min(outage, SLACK * interval * (outage // interval))
        limits.append(math.ceil((interval * (count - SLACK) - span) / (SLACK - 1)) - 1)
    return min(limits)


def _cost(longest: int, idle: int, interval: int, count: int) -> float:
    total = idle + interval * count
    return (
        abs(2 * idle - total) / total
        + 0.06 * abs(count - 6)
        + (0 if idle % 5 == 0 or idle < 20 else 0.15)
        + (longest - total) / longest
    )


#: The keys that can exclude one another.
_EXCLUDING = (
    "detect_dead_peer_within",
    "stop_orphaned_query_within",
    "path_idle_limit",
    "tolerate_outage_of",
    "slow_reader_grace",
    "survive_lost_probes",
)
#: These are easier to keep the longer they are, the others the shorter.
_DEADLINES = ("detect_dead_peer_within", "stop_orphaned_query_within", "path_idle_limit")


def _conflict(policy: Policy, fixed: int | None) -> Failure:
    stated = [key for key in _EXCLUDING if getattr(policy, key)]
    bounds = {key: _bound(policy, key, fixed) for key in stated}
    # A fixed count can make one key impossible by itself.
    sizes = (1, 2) if fixed else (2,)
    groups = [group for size in sizes for group in itertools.combinations(stated, size)]
    groups = [group for group in groups if _find(_only(policy, stated, group), fixed) is None]
    groups = [group for group in groups if len(group) == min(map(len, groups))]
    # Of several pairs the one to name is that whose change makes all the rest possible too. Without any it is the
    # fixed count that leaves room for each two of them, but not for all.
    keys = max(groups, key=lambda group: sum(bounds[key] is not None for key in group)) if groups else tuple(stated)
    ways = [_way(key, bound) for key in keys if (bound := bounds[key]) is not None]
    if ways:
        remedy = f"With the rest of the policy as it is, choose {' or '.join(ways)}."
    else:
        remedy = f"Others collide too, change more than one: {', '.join(' with '.join(group) for group in groups)}."
    if "slow_reader_grace" in keys:
        remedy += " Or name the roles that read slowly in slow_reader_roles: only their sessions then get the grace."
    with_count = f" on a system that always sends {fixed} probes" if fixed else ""
    what = "these two cannot both hold" if len(keys) == 2 else "this cannot hold"
    return Failure(
        "policy_conflict",
        " and ".join(f"{key}: {_show(key, getattr(policy, key))}" for key in keys),
        f"{what}{with_count}, in every phase and with the kernel's timer slack of 1/8",
        remedy,
        keys=list(keys),
        bounds={key: None if (bound := bounds[key]) is None else _show(key, bound) for key in keys},
    )


def _only(policy: Policy, stated: list[str], group: tuple[str, ...]) -> Policy:
    """The policy with nothing asked for by the *stated* keys that are not in *group*."""
    others: dict[str, t.Any] = {key: 0 for key in stated if key not in group}
    return dataclasses.replace(policy, **others)


def _way(key: str, bound: int) -> str:
    return f"{key} {_direction(key)} {_show(key, bound)}" if bound else f"{key} off"


def _direction(key: str) -> str:
    return "of at least" if key in _DEADLINES else "of at most"


def _show(key: str, value: int) -> str:
    return str(value) if key == "survive_lost_probes" else _duration.spell(value)


def _bound(policy: Policy, key: str, fixed: int | None) -> int | None:
    """The value nearest to the stated one with which everything holds, the rest as it is; None if there is none."""

    def holds(value: int) -> bool:
        changed: dict[str, t.Any] = {key: value}
        return _find(dataclasses.replace(policy, **changed), fixed) is not None

    grain = 1 if key == "survive_lost_probes" else 1000
    stated = getattr(policy, key)
    if _direction(key) == "of at most":
        bad, good = -(-stated // grain), 0
    else:
        bad, good = stated // grain, _duration.LONGEST // grain
    if not holds(good * grain):
        return None
    while abs(good - bad) > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if holds(middle * grain) else (good, middle)
    return good * grain
