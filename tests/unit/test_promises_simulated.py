# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of promises against a simulation of the kernel's timers: never exceeded, and no longer than need be."""

from __future__ import annotations

import random
import typing as t
from fractions import Fraction

import _tcp_timers
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import _detection, _promises
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues, Settings


def sockets(idle: int, interval: int, count: int, user_timeout: int = 0) -> Settings:
    return Settings(idle, interval, count, user_timeout)


SERIES = st.builds(
    _tcp_timers.Series,
    st.integers(1, 100),
    st.integers(1, 100),
    st.integers(1, 12),
    st.one_of(st.just(0), st.integers(1, 400_000), st.integers(1, 400).map(lambda seconds: seconds * 1000)),
)
NEVER_LATE = Fraction(0)
LATEST = Fraction(1, 8)


def lateness(chance: random.Random, kind: str) -> _tcp_timers.Late:
    if kind == "random":
        return lambda: Fraction(chance.randint(0, 64), 512)
    return lambda: LATEST if kind == "latest" else NEVER_LATE


def moments(chance: random.Random, series: _tcp_timers.Series) -> tuple[list[Fraction], Fraction]:
    """When the peer was heard, and when the fault strikes: sometimes right after, sometimes in a long silence."""
    span = 8 * (series.idle + series.interval)
    heard = sorted(Fraction(chance.randint(0, 100 * span), 100) for _turn in range(chance.randint(0, 4)))
    latest = heard[-1] if heard else Fraction(0)
    return heard, latest + Fraction(chance.choice([1, chance.randint(1, 100 * span)]), 100)


KINDS = st.sampled_from(["random", "latest", "never"])


@given(SERIES, KINDS, st.randoms(use_true_random=False))
def test_no_simulated_loss_is_noticed_later_than_promised(
    series: _tcp_timers.Series, kind: str, chance: random.Random
) -> None:
    promise = _promises.promise("idle", "peer_vanished", sockets(*series))
    heard, fault = moments(chance, series)
    gone = _tcp_timers.keepalive(series, lateness(chance, kind), heard, fault)
    assert gone is not None and promise.bound is not None and promise.seconds is not None
    assert gone - fault <= (promise.seconds if kind == "never" else promise.bound) + 1e-9


@given(SERIES)
def test_the_promise_is_what_the_worst_simulated_loss_takes(series: _tcp_timers.Series) -> None:
    seconds = Fraction(_detection.keepalive_seconds(sockets(*series), OsValues())).limit_denominator(1000)
    step, period = Fraction(1, 10_000), max(series.idle, series.interval)
    # The second probe of a quiet session comes at idle + period; the peer is heard so long before that.
    starts = {
        Fraction(series.idle),
        period - step,
        *(seconds - series.interval * count - step for count in range(2, 500)),
    }
    worst = Fraction(0)
    for start in starts:
        if series.idle <= start <= period:
            heard = Fraction(series.idle + period) - start
            gone = _tcp_timers.keepalive(series, lambda: NEVER_LATE, [heard], heard + step)
            assert gone is not None
            worst = max(worst, gone - heard)
    assert seconds - 2 * step <= worst <= seconds


@given(SERIES.filter(lambda series: not series.user_timeout and series.interval <= series.idle))
def test_the_bound_is_what_the_latest_timers_take(series: _tcp_timers.Series) -> None:
    gone = _tcp_timers.keepalive(series, lambda: LATEST, [], Fraction(1, 1000))
    assert gone == Fraction(_promises.promise("idle", "peer_vanished", sockets(*series)).bound or 0)


@given(SERIES, KINDS, st.randoms(use_true_random=False), st.integers(1, 1000))
def test_no_simulated_outage_shorter_than_promised_ends_an_idle_session(
    series: _tcp_timers.Series, kind: str, chance: random.Random, part: int
) -> None:
    survived = Fraction(_detection.idle_outage_survived(sockets(*series), OsValues())).limit_denominator(10_000)
    heard, begin = moments(chance, series)
    length = survived * part / 1000 - Fraction(1, 1_000_000)
    assert length <= 0 or _tcp_timers.keepalive(series, lateness(chance, kind), heard, begin, begin + length) is None


@given(SERIES.filter(lambda series: not series.user_timeout))
def test_an_outage_a_little_longer_than_promised_can_end_an_idle_session(series: _tcp_timers.Series) -> None:
    survived = Fraction(_detection.idle_outage_survived(sockets(*series), OsValues()))
    begin = series.idle - Fraction(1, 1000)  # just before the first probe
    gone = _tcp_timers.keepalive(series, lambda: NEVER_LATE, [], begin, begin + survived + Fraction(1, 100))
    assert gone is not None


def test_late_timers_cost_probes_where_a_user_timeout_decides() -> None:
    series, begin = _tcp_timers.Series(60, 5, 3, 75_000), Fraction(59)
    late: t.Iterator[Fraction] = iter([LATEST, *[NEVER_LATE] * 9])
    assert _tcp_timers.keepalive(series, lambda: next(late), [], begin, Fraction(73)) == Fraction(155, 2)
    assert _tcp_timers.keepalive(series, lambda: NEVER_LATE, [], begin, Fraction(69)) is None


TIMEOUTS = st.integers(1000, 2_000_000)
RTOS = st.integers(200, 400).map(lambda milliseconds: Fraction(milliseconds, 1000))


@given(TIMEOUTS, RTOS, KINDS, st.randoms(use_true_random=False))
def test_simulated_data_in_flight_keeps_to_the_promises(
    timeout: int, rto: Fraction, kind: str, chance: random.Random
) -> None:
    settings, late = Settings(tcp_user_timeout=timeout), lateness(chance, kind)
    gone = _tcp_timers.in_flight(timeout, 15, late, Fraction(1, 5))
    assert gone is not None
    assert gone <= Fraction(_promises.promise("sending", "peer_vanished", settings).bound or 0) + Fraction(1, 10**6)
    survived = _detection.in_flight_outage_survived(settings, OsValues())
    assert survived == 0 or _tcp_timers.in_flight(timeout, 15, late, rto, Fraction(survived)) is None


@given(st.integers(1, 15), KINDS, st.randoms(use_true_random=False))
def test_simulated_retransmissions_keep_to_the_promises(retries: int, kind: str, chance: random.Random) -> None:
    os, rto = OsValues(tcp_retries2=retries), Fraction(1, 5)
    gone = _tcp_timers.in_flight(0, retries, lateness(chance, kind), rto)
    promise = _promises.promise("sending", "peer_vanished", Settings(), os)
    assert gone is not None and promise.seconds is not None and promise.bound is not None
    assert promise.seconds <= gone <= promise.bound + 1e-9
    survived = Fraction(_detection.in_flight_outage_survived(Settings(), os)) - Fraction(1, 10**6)
    assert _tcp_timers.in_flight(0, retries, lateness(chance, kind), rto, survived) is None
