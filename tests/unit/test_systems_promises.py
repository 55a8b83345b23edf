# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Promises on macOS, FreeBSD and Windows: by their own arithmetic, held against simulations of the kernels' timers."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import (
    _broken_promises,
    _detection,
    _in_force,
    _policy,
    _promises,
    _timers,
)
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._path import _hops
from ansible_collections.pgharden.connection.plugins.module_utils._path import _promises as _path_promises
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues, Settings
from ansible_collections.pgharden.connection.plugins.module_utils._systems import _table

BSD = ("freebsd", "darwin")
SERIES = st.tuples(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12))
HEARD = st.lists(st.integers(1, 500), max_size=5).map(sorted)


def of(system: str) -> OsValues:
    return OsValues.of_system(system)


def simulated(
    system: str, series: tuple[int, int, int], heard: t.Sequence[int], silent: range, step: int = 1
) -> int | None:
    """When a kernel gives up a peer that sent something at the times *heard* and is *silent* for that range of times.

    FreeBSD: tcp_timer_keep(); what arrives does not move the timer, which looks for itself when it fires. macOS:
    tcp_timers(), TCPT_KEEP; whatever arrives arms it anew. Times are in units of 1/*step* seconds.
    """
    idle, interval, count = series[0] * step, series[1] * step, series[2]
    received, timer, coming = 0, idle, list(heard)
    while timer < silent.stop + 1000 * (idle + interval):
        if coming and coming[0] < timer:
            now = coming.pop(0)
            if now not in silent:
                received = now
                timer = now + idle if system == "darwin" else timer
            continue
        now, quiet = timer, timer - received
        if system == "freebsd" and quiet < idle:
            timer = now + idle - quiet
        elif quiet >= idle + count * interval:
            return now
        else:
            timer = now + interval
            if now not in silent:
                received = now
                timer = now + idle if system == "darwin" else timer
                if now > silent.stop:
                    return None
    return None


@given(st.sampled_from(BSD), SERIES, HEARD, st.integers(0, 600))
def test_no_simulated_loss_is_noticed_later_than_promised(
    system: str, series: tuple[int, int, int], heard: list[int], fault: int
) -> None:
    promise = _promises.promise("idle", "peer_vanished", Settings(*series), of(system))
    gone = simulated(system, series, heard, range(fault + 1, 10**7))
    assert gone is not None and promise.seconds is not None
    assert gone - fault <= promise.seconds
    assert promise.bound == promise.seconds * 1.125


@given(st.sampled_from(BSD), SERIES)
def test_the_promise_is_what_the_worst_simulated_loss_takes(system: str, series: tuple[int, int, int]) -> None:
    step = 10
    idle, interval, _count = (value * step for value in series)
    # Heard right after the timer was armed, or so long before it fires that the next one is a whole interval later.
    worst = 0
    for last in (1, idle + 1, idle + interval - max(idle, interval) + 1):
        gone = simulated(system, series, [last], range(last + 1, 10**7), step)
        assert gone is not None
        worst = max(worst, gone - last)
    promised = _detection.keepalive_seconds(Settings(*series), of(system)) * step
    assert promised - 1 <= worst <= promised


@given(st.sampled_from(BSD), SERIES, HEARD, st.integers(0, 600), st.integers(1, 400))
def test_outages_that_are_survived_for_certain(
    system: str, series: tuple[int, int, int], heard: list[int], start: int, length: int
) -> None:
    if length < _detection.idle_outage_survived(Settings(*series), of(system)):
        assert simulated(system, series, heard, range(start, start + length)) is None


@given(st.sampled_from(BSD), st.floats(0.03, 60))
def test_retransmissions_whatever_the_round_trip(name: str, timeout: float) -> None:
    """TCP_REXMTVAL is at least 30 ms, each distance at most 64 s; given up when the thirteenth has passed."""
    system = _table.SYSTEMS[name]
    sent = list(itertools.accumulate(min(64.0, timeout * times + 0.2) for times in system.backoff))
    assert len(sent) == 13
    assert sent[-1] <= _table.longest_retransmissions(system) == 832
    assert sent[-2] >= _table.shortest_retransmissions(system) - 1e-9


@pytest.mark.parametrize(
    ("system", "settings", "seconds"),
    [
        ("linux", (), 7875),
        ("freebsd", (), 7800),
        ("darwin", (), 7800),
        ("windows", (), 7210),
        *[(system, (60, 5, 3), 75) for system in ("linux", *BSD)],
        # Windows: the count is always 10; idle and interval are set together, the other one to 2 h or 1 s.
        ("windows", (60, 5, 3), 110),
        ("windows", (60, 0, 3), 70),
        ("windows", (0, 5, 3), 7250),
        # An interval above idle is the period of a quiet session, but on macOS.
        ("freebsd", (10, 60, 2), 180),
        ("darwin", (10, 60, 2), 130),
        # Above what the system takes its own values stay.
        ("linux", (40_000, 10, 2), 7220),
        ("darwin", (40_000, 10, 2), 40_020),
        ("darwin", (4_294_968, 10, 2), 7220),
        ("windows", (2_147_484, 5, 3), 7250),
    ],
)
def test_totals_of_each_system(system: str, settings: tuple[int, ...], seconds: int) -> None:
    assert _detection.keepalive_seconds(Settings(*settings), of(system)) == seconds


def test_the_values_of_the_registry_count_where_the_server_sets_neither() -> None:
    registry = OsValues.of_system("windows", {"KeepAliveTime": 60_000, "KeepAliveInterval": "5000"})
    assert registry == OsValues(60, 5, 10, system="windows")
    assert _detection.keepalive_seconds(Settings(), registry) == 110
    assert _detection.keepalive_seconds(Settings(tcp_keepalives_idle=30), registry) == 40


@pytest.mark.parametrize("system", ["freebsd", "darwin", "windows"])
def test_a_user_timeout_does_nothing_where_there_is_none(system: str) -> None:
    plain, with_timeout = Settings(60, 10, 6), Settings(60, 10, 6, tcp_user_timeout=1000)
    assert _promises.promises(with_timeout, of(system)) == _promises.promises(plain, of(system))
    patient = _policy.parse({"slow_reader_grace": "30s"})
    assert not _broken_promises.broken(patient, with_timeout, of(system))
    assert _broken_promises.broken(patient, with_timeout)


@pytest.mark.parametrize("system", BSD)
def test_keepalive_of_bsd_runs_while_data_is_on_its_way(system: str) -> None:
    quick = _promises.promise("sending", "peer_vanished", Settings(60, 10, 6), of(system))
    assert (quick.seconds, quick.formula) == (120, "keepalive")
    slow = _promises.promise("sending", "peer_vanished", Settings(), of(system))
    assert (slow.seconds, slow.bound, slow.formula) == (832, 936, "retransmissions")
    assert _detection.in_flight_outage_survived(Settings(60, 10, 2), of(system)) == 10
    longest = _detection.in_flight_outage_survived(Settings(60, 10, 20), of(system))
    assert longest == pytest.approx(63.81 if system == "freebsd" else 15.81)


def test_a_client_on_a_mac_counts_by_the_arithmetic_of_macos() -> None:
    def client(**socket: t.Any) -> dict[str, float | None]:
        side = _hops.Socket(**socket)
        hops = (_hops.Hop("client", "app", server_side=side, os=of("darwin")), _hops.Hop("server", "db"))
        found = _path_promises.promises(_hops.Path(hops, (_hops.Leg(),)))
        return {row.phase: row.seconds for row in found if row.end == "client"}

    probed = client(idle=10, interval=60, count=2, user_timeout=5000)
    assert (probed["waiting"], probed["sending"]) == (130, 130)
    assert client(keepalive=False)["sending"] == 832
    assert client(keepalive=False)["waiting"] is None
    assert _hops.Hop.of(_hops.Hop("client", os=of("darwin")).as_dict()).os == of("darwin")


def test_what_windows_does_with_data_on_its_way_is_not_known() -> None:
    sending = _promises.promise("sending", "peer_vanished", Settings(60, 5), of("windows"))
    assert (sending.seconds, sending.bound, sending.formula) == (None, None, "unknown")
    assert sending.as_dict()["text"] == "not known"
    assert _detection.in_flight_outage_survived(Settings(60, 5), of("windows")) == 0
    sender = _promises.promise("replicating", "peer_vanished", Settings(60, 5), of("windows"))
    assert (sender.seconds, sender.formula) == (60, "wal_sender_timeout")
    policy = _policy.parse({"detect_dead_peer_within": "200s", "stop_orphaned_query_within": "off"})
    rows = _broken_promises.broken(policy, Settings(60, 5), of("windows"))
    assert {(row.phase, row.promised) for row in rows} == {
        ("idle_unacknowledged", "not known"),
        ("sending", "not known"),
    }


def test_a_path_is_kept_open_by_the_first_probe_that_comes_for_certain() -> None:
    assert _detection.path_open_seconds(Settings(10, 60, 2), of("darwin")) == 1.125 * 10
    assert _detection.path_open_seconds(Settings(10, 60, 2), of("freebsd")) == 1.125 * 60


def test_a_system_that_is_not_known_is_reckoned_with_as_linux() -> None:
    other = dataclasses.replace(OsValues(), system="other")
    assert _promises.promises(Settings(60, 10, 6, 5000), other) == _promises.promises(Settings(60, 10, 6, 5000))


# ---- timers


POLICIES = st.fixed_dictionaries(
    {"detect_dead_peer_within": st.integers(12, 900).map(lambda seconds: f"{seconds}s")},
    optional={
        "tolerate_outage_of": st.integers(1, 120).map(lambda seconds: f"{seconds}s"),
        "path_idle_limit": st.integers(10, 600).map(lambda seconds: f"{seconds}s"),
        "survive_lost_probes": st.integers(0, 12),
    },
)


@given(POLICIES)
def test_a_plan_for_windows_keeps_the_policy_of_idle_sessions_or_says_that_it_cannot(given: dict[str, t.Any]) -> None:
    policy = _policy.parse(given)
    try:
        timers = _timers.solve(policy, "windows")
    except Failure as failure:
        assert failure.code == "policy_conflict"
        keys = failure.details["keys"]
        assert keys and set(keys) <= {*given, "survive_lost_probes"}
        if len(keys) != 2:
            assert "always sends 10 probes" in failure.found
        for key, bound in failure.details["bounds"].items():
            if bound is not None:
                _timers.solve(_policy.parse({**given, key: bound}), "windows")
        return
    assert timers.count == 10
    settings = Settings(timers.idle or 0, timers.interval or 0)
    # What Windows does with data on its way is not known; all else is promised.
    kept = [row for row in _broken_promises.broken(policy, settings, of("windows")) if row.phase in ("", "idle")]
    assert not kept


def test_a_deadline_too_short_for_ten_probes_is_named_with_the_one_that_is_possible() -> None:
    with pytest.raises(Failure, match="always sends 10 probes") as caught:
        _timers.solve(_policy.parse({"detect_dead_peer_within": "12s"}), "windows")
    assert caught.value.details["keys"] == ["detect_dead_peer_within"]
    bound = caught.value.details["bounds"]["detect_dead_peer_within"]
    assert _timers.solve(_policy.parse({"detect_dead_peer_within": bound}), "windows").count == 10


def test_more_probes_lost_than_windows_sends_cannot_be_planned_for() -> None:
    with pytest.raises(Failure, match="always sends 10 probes"):
        _timers.solve(_policy.parse({"detect_dead_peer_within": "600s", "survive_lost_probes": 12}), "windows")


# ---- in force


def test_the_system_of_a_server_is_in_its_version() -> None:
    builds = {
        "PostgreSQL 17.2 on x86_64-pc-linux-gnu, compiled by gcc (GCC) 13.3.0, 64-bit": "linux",
        "PostgreSQL 17.0 on aarch64-apple-darwin23.6.0, compiled by Apple clang version 15.0.0, 64-bit": "darwin",
        "PostgreSQL 16.4 on amd64-portbld-freebsd14.0, compiled by FreeBSD clang version 16.0.6, 64-bit": "freebsd",
        "PostgreSQL 16.1 on x86_64-unknown-openbsd7.4, compiled by OpenBSD clang version 13.0.0, 64-bit": "other",
        "PostgreSQL 15.3, compiled by Visual C++ build 1934, 64-bit": "windows",
        "PostgreSQL 17.2 on x86_64-windows, compiled by msvc-19.42.34435, 64-bit": "windows",
    }
    assert {build: _in_force.platform(build) for build in builds} == builds


def test_what_will_be_in_force_is_told_in_the_names_of_linux() -> None:
    made = _in_force.foreseen(of("darwin"), {"net.inet.tcp.keepidle": 60_000, "net.inet.tcp.keepcnt": 3})
    assert made == OsValues(60, 75, 3, system="darwin")
    linux = _in_force.foreseen(OsValues(), {"net.ipv4.tcp_keepalive_intvl": 5, "net.ipv4.tcp_retries2": 8})
    assert linux == OsValues(7200, 5, 9, 8)


def test_this_host_is_asked_in_its_own_way() -> None:
    assert _in_force.this_system() == "linux"
    assert _in_force.kernel().system == "linux"
