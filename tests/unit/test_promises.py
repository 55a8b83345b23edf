# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of promises: against what was measured, and in themselves.

Measured on Linux 6.18 with PostgreSQL 15.18, see docs/promises.md. K is 4/1/3 (idle, interval, count).
"""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import (
    _broken_promises,
    _detection,
    _policy,
    _promises,
    _settings,
)
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues, Settings

#: The sampling of the measurements: every 30 ms, printed with one decimal.
READING = 0.1


def sockets(idle: int, interval: int, count: int, user_timeout: int = 0, **others: int) -> Settings:
    return Settings(idle, interval, count, user_timeout, **others)


K = {"idle": 4, "interval": 1, "count": 3}
D: dict[str, int] = {"idle": 0, "interval": 0, "count": 0}


@pytest.mark.parametrize(
    ("series", "formula", "measured"),
    [
        ((6, 2, 3, 0), 12, 12.1),
        ((6, 2, 1, 0), 8, 8.0),
        ((6, 2, 3, 5000), 8, 8.0),
        ((6, 2, 3, 9000), 10, 10.0),
        ((6, 2, 3, 12_000), 12, 12.1),
        ((6, 2, 3, 30_000), 30, 30.2),
        ((60, 5, 3, 0), 75, 76.6),
        ((60, 5, 3, 30_000), 65, 66.4),
        ((60, 10, 3, 0), 90, 92.4),
        ((4, 1, 3, 0), 7, 7.3),
        ((4, 1, 3, 6000), 6, 6.2),
        ((0, 0, 0, 0), 7875, None),  # not waited for
        ((0, 0, 0, 6000), 7275, None),
    ],
)
def test_a_silent_idle_peer_is_noticed_when_it_was_measured(
    series: tuple[int, int, int, int], formula: float, measured: float | None
) -> None:
    for phase in ("idle", "idle_in_transaction"):
        promise = _promises.promise(phase, "peer_vanished", sockets(*series))
        assert promise.seconds == formula
        assert promise.bound == formula * 1.125
        assert promise.formula == ("keepalive_user_timeout" if series[3] else "keepalive")
        assert measured is None or promise.seconds <= measured <= promise.bound


@pytest.mark.parametrize(
    ("settings", "os", "phase", "fault", "shortest", "longest", "since"),
    [
        # Whole tables of runs: shortest and longest time, and how long at most the peer had been silent before.
        (sockets(**K), OsValues(), "idle", "peer_vanished", 5.4, 6.3, 1.8),
        (sockets(**K, user_timeout=6000), OsValues(), "idle", "peer_vanished", 4.2, 5.2, 1.8),
        (sockets(**K), OsValues(), "idle_in_transaction", "peer_vanished", 5.3, 6.3, 1.8),
        (
            sockets(2, 1, 2, 0, client_connection_check_interval=500),
            OsValues(),
            "executing",
            "peer_vanished",
            4.5,
            4.5,
            0,
        ),
        (sockets(**K, client_connection_check_interval=2000), OsValues(), "executing", "peer_vanished", 5.6, 7.1, 3.8),
        (sockets(**K, client_connection_check_interval=2000), OsValues(), "lock_wait", "peer_vanished", 5.8, 7.1, 3.8),
        (sockets(**D, client_connection_check_interval=2000), OsValues(), "executing", "process_died", 0.3, 2.2, 2),
        (sockets(**D, user_timeout=6000), OsValues(), "sending", "peer_vanished", 6.3, 6.73, 0),
        (sockets(**D, user_timeout=5000), OsValues(), "sending", "peer_vanished", 5.4, 5.4, 0),
        (sockets(**D, user_timeout=20_000), OsValues(), "sending", "peer_vanished", 20.5, 20.5, 0),
        (sockets(**D, user_timeout=8000), OsValues(), "sending", "peer_vanished", 8.2, 8.2, 0),
        (sockets(**D, user_timeout=4000), OsValues(), "idle_unacknowledged", "peer_vanished", 4.24, 4.24, 0),
        # A result sent 2 s after the fault.
        (sockets(**K, user_timeout=6000), OsValues(), "idle_unacknowledged", "peer_vanished", 5.7, 6.6, 0.4),
        # tcp_retries2; the longer times are those of a closed window.
        (sockets(60, 5, 3), OsValues(), "sending", "peer_vanished", 938, 938, 0),
        (sockets(**K), OsValues(), "idle_unacknowledged", "peer_vanished", 939, 941, 0),
        (sockets(**K), OsValues(), "sending", "peer_vanished", 939, 1072, 0),
        (sockets(**D), OsValues(tcp_retries2=3), "sending", "peer_vanished", 3.4, 7.0, 0),
        (sockets(**D), OsValues(tcp_retries2=5), "sending", "peer_vanished", 13.2, 20.5, 0),
        (sockets(**D), OsValues(tcp_retries2=6), "sending", "peer_vanished", 26.5, 41.4, 0),
        (sockets(**D, wal_sender_timeout=6000), OsValues(), "replicating", "peer_vanished", 5.3, 6.0, 0.7),
        # A router that forgot the flow and drops.
        (sockets(**K), OsValues(), "idle", "path_forgot_flow", 5.4, 6.2, 1.8),
        (sockets(**K, user_timeout=6000), OsValues(), "idle_unacknowledged", "path_forgot_flow", 5.9, 6.6, 0.4),
        (sockets(**D), OsValues(), "idle", "process_died", 0.01, 0.08, 0),
    ],
)
def test_measured_times_lie_within_the_promise(
    settings: Settings, os: OsValues, phase: str, fault: str, shortest: float, longest: float, since: float
) -> None:
    promise = _promises.promise(phase, fault, settings, os)
    assert promise.seconds is not None and promise.bound is not None
    assert promise.seconds - since - READING <= shortest
    assert longest <= promise.bound + READING


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("idle_session_timeout", "idle"),
        ("idle_session_timeout", "idle_unacknowledged"),
        ("idle_in_transaction_session_timeout", "idle_in_transaction"),
        ("transaction_timeout", "idle_in_transaction"),
        ("transaction_timeout", "executing"),
        ("transaction_timeout", "lock_wait"),
        ("wal_sender_timeout", "replicating"),
    ],
)
def test_a_timeout_of_the_session_is_promised_where_it_comes_first(name: str, phase: str) -> None:
    server = Settings(**{"wal_sender_timeout": 0, name: 3000})
    promise = _promises.promise(phase, "peer_vanished", server)
    assert (promise.seconds, promise.bound, promise.formula) == (3, 3.375, name)
    late = dataclasses.replace(server, **{name: 2_000_000_000}, client_connection_check_interval=1000)
    assert _promises.promise(phase, "peer_vanished", late).formula != name


def test_nothing_ends_a_statement_without_a_check_interval() -> None:
    for fault in _promises.FAULTS:
        promise = _promises.promise("executing", fault, sockets(**K, user_timeout=6000))
        assert (promise.seconds, promise.bound, promise.formula) == (None, None, "end_of_statement")
        assert promise.as_dict()["text"] == "never"


def test_a_well_known_article_said_at_most_500_seconds() -> None:
    server = sockets(300, 10, 10, client_connection_check_interval=100_000)
    promise = _promises.promise("executing", "peer_vanished", server)
    assert (promise.seconds, promise.formula) == (500, "keepalive+check_interval")


def test_start_up_packet_and_authentication_have_a_timer_each() -> None:
    promise = _promises.promise("authenticating", "peer_vanished", Settings())
    assert (promise.seconds, promise.bound) == (60, 135)
    assert _promises.promise("authenticating", "process_died", Settings()).bound == 0


@pytest.mark.parametrize(
    ("retries", "seconds"), [(0, 0.2), (3, 3.0), (5, 12.6), (6, 25.4), (9, 204.6), (10, 324.6), (15, 924.6)]
)
def test_tcp_retries2_in_seconds(retries: int, seconds: float) -> None:
    assert _detection.retransmission_seconds(retries) == pytest.approx(seconds)


def test_zero_and_what_the_kernel_refuses_leave_the_kernels_values() -> None:
    os = OsValues(600, 30, 5)
    assert _settings.effective_keepalive(Settings(), os) == (600, 30, 5)
    assert _settings.effective_keepalive(sockets(32767, 32767, 127), os) == (32767, 32767, 127)
    assert _settings.effective_keepalive(sockets(32768, 32768, 128), os) == (600, 30, 5)
    assert _settings.effective_keepalive(sockets(40_000, 5, 128), OsValues()) == (7200, 5, 9)


def test_settings_are_taken_from_what_a_server_of_any_version_says() -> None:
    rows = {"tcp_keepalives_idle": 60, "transaction_timeout": None, "work_mem": 4096}
    assert Settings.of(rows) == Settings(tcp_keepalives_idle=60)


@pytest.mark.parametrize(
    ("idle", "interval", "limit", "lived"),
    [
        (4, 1, 8, True),
        (7, 1, 8, True),
        (8, 1, 8, False),
        (9, 1, 8, False),
        (15, 1, 8, False),
        (60, 10, 60, False),
        (60, 10, 61, False),
        (60, 10, 62, True),
        (60, 10, 63, True),
        (135, 10, 140, False),
        (135, 10, 150, True),
        (4, 7, 8, True),
        (4, 12, 8, False),
        (4, 0, 8, False),  # the default interval is 75 s
    ],
)
def test_a_path_is_promised_to_stay_open_only_where_it_did(idle: int, interval: int, limit: int, lived: bool) -> None:
    server = sockets(idle, interval, 3)
    promise = _promises.promise("idle", "path_forgot_flow", server, path_idle_limit=limit * 1000)
    if promise.formula == "path_kept_open":
        assert lived
        assert promise.bound == 0
    assert (promise.formula == "path_kept_open") == (max(idle, interval or 75) * 1.125 < limit)
    # A reply that is on its way is lost whatever the keepalive does.
    assert (
        _promises.promise("sending", "path_forgot_flow", server, path_idle_limit=limit * 1000).formula
        != promise.formula
    )


@pytest.mark.parametrize(
    ("settings", "idle", "in_flight"),
    [
        # idle: 3 s outages ended sessions; in flight: see the retransmission times 0.2, 0.6, 1.5, 3.1, 6.5 s
        (sockets(4, 1, 3), 2, 804.6),
        (sockets(4, 1, 3, 6000), 1, 2.35),  # 2.1 s survived, 3.7 s not
        (sockets(4, 1, 3, 7000), 2, 2.82),  # 3.7 and 5.2 s survived
        (sockets(4, 1, 3, 1000), 0, 0),
        (sockets(60, 5, 3, 75_000), 5, 34.82),
        (sockets(60, 5, 3, 600_000), 526.875, 464),
        (sockets(4, 12, 3, 60_000), 36, 27.76),
    ],
)
def test_outages_that_are_survived_for_certain(settings: Settings, idle: float, in_flight: float) -> None:
    assert _detection.idle_outage_survived(settings, OsValues()) == pytest.approx(idle)
    assert _detection.in_flight_outage_survived(settings, OsValues()) == pytest.approx(in_flight, abs=0.01)


SETTINGS = st.builds(
    Settings,
    st.integers(0, 40_000),
    st.integers(0, 40_000),
    st.integers(0, 140),
    *[st.one_of(st.just(0), st.integers(1, 2**31 - 1)) for _turn in range(5)],
    st.integers(1, 600),
    st.one_of(st.just(0), st.integers(1, 2**31 - 1)),
)


@given(SETTINGS, st.one_of(st.none(), st.integers(1, 10_000_000)))
def test_every_phase_and_fault_has_one_promise_in_order(settings: Settings, limit: int | None) -> None:
    rows = _promises.promises(settings, path_idle_limit=limit)
    assert [(row.phase, row.fault) for row in rows] == [(p, f) for p in _promises.PHASES for f in _promises.FAULTS]
    for row in rows:
        assert (row.seconds is None) == (row.bound is None)
        assert row.seconds is None or row.bound is None or 0 <= row.seconds <= row.bound
        assert row.formula
        json.dumps(row.as_dict())


#: Longer settings are noticed later, nothing else being changed: idle time, interval and count where the count decides,
#: each timeout above 0 always. With a user timeout the interval is not among them: 60/5 and 75 s is 75 s, 60/8 is 76 s,
#: 60/15 is 75 s again.
MONOTONE = [
    ("tcp_keepalives_idle", 32767, True),
    ("tcp_keepalives_interval", 32767, True),
    ("tcp_keepalives_count", 127, True),
    *[
        (name, 2**31 - 1, False)
        for name in (
            "tcp_user_timeout",
            "client_connection_check_interval",
            "idle_session_timeout",
            "idle_in_transaction_session_timeout",
            "transaction_timeout",
            "wal_sender_timeout",
        )
    ],
    ("authentication_timeout", 600, False),
]


@given(SETTINGS, st.sampled_from(MONOTONE), st.data())
def test_a_longer_setting_never_promises_earlier(
    settings: Settings, row: tuple[str, int, bool], data: st.DataObject
) -> None:
    name, most, by_count = row
    one, other = sorted(data.draw(st.tuples(*[st.integers(1, most)] * 2), label=name))
    if by_count:
        settings = dataclasses.replace(settings, tcp_user_timeout=0)
    shorter, longer = (_promises.promises(dataclasses.replace(settings, **{name: value})) for value in (one, other))
    for before, after in zip(shorter, longer, strict=True):
        for earlier, later in ((before.seconds, after.seconds), (before.bound, after.bound)):
            assert later is None or (earlier is not None and earlier <= later + 1e-6)


def test_an_operator_reads_which_key_is_broken_where_and_by_how_much() -> None:
    policy = _policy.parse(
        {
            "path_idle_limit": "350s",
            "detect_dead_peer_within": "90s",
            "tolerate_outage_of": "20min",
            "slow_reader_grace": "30s",
            "connect_within": "60s",
            "close_idle_session_after": "1h",
            "detect_dead_standby_within": "60s",
        }
    )
    rows = [(row.key, row.wanted, row.promised, row.phase) for row in _broken_promises.broken(policy, Settings())]
    assert ("detect_dead_peer_within", "90s", "2 h 27 min", "idle") in rows
    assert ("detect_dead_peer_within", "90s", "19 min 35 s", "sending") in rows
    assert ("detect_dead_peer_within", "90s", "never", "executing") in rows
    assert ("connect_within", "60s", "135 s", "authenticating") in rows
    assert ("detect_dead_standby_within", "60s", "68 s", "replicating") in rows
    assert ("path_idle_limit", "350s", "2 h 16 min", "idle") in rows
    assert ("tolerate_outage_of", "20min", "10 min", "idle") in rows
    assert ("tolerate_outage_of", "20min", "13 min 25 s", "sending") in rows
    assert ("close_idle_session_after", "1h", "never", "") in rows
    assert not any(row[0] == "slow_reader_grace" for row in rows)
    short = _broken_promises.broken(policy, Settings(tcp_user_timeout=30_000, idle_session_timeout=3_600_000))
    assert {row.key: row.promised for row in short}["slow_reader_grace"] == "30 s"
    assert "close_idle_session_after" not in {row.key for row in short}
    longer = _broken_promises.broken(policy, Settings(idle_session_timeout=3_600_001))
    assert {row.key: row.promised for row in longer}["close_idle_session_after"] == "60 min"


def test_the_key_for_orphaned_statements_is_the_one_that_was_stated() -> None:
    server = sockets(35, 6, 6, 71_000)
    for given_, key in (
        ({}, "detect_dead_peer_within"),
        ({"stop_orphaned_query_within": "2min"}, "stop_orphaned_query_within"),
    ):
        policy = _policy.parse({"detect_dead_peer_within": "90s", **given_})
        assert {row.key for row in _broken_promises.broken(policy, server)} == {key}
    assert not _broken_promises.broken(
        _policy.parse({"detect_dead_peer_within": "90s", "stop_orphaned_query_within": "off"}), server
    )
