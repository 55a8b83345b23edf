# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the solver: what collides and what would have to change, and which timers it prefers."""

from __future__ import annotations

import dataclasses
import itertools
import typing as t

import _policies
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import (
    _broken_promises,
    _detection,
    _duration,
    _policy,
    _settings,
    _timers,
)
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

#: The keys that can exclude one another, without those that are one setting by themselves.
KEYS = (*_policies.DEADLINES, "tolerate_outage_of", "slow_reader_grace")


def solve(**policy: t.Any) -> _timers.Timers:
    return _timers.solve(_policy.parse(policy))


def conflict(policy: _policy.Policy) -> Failure | None:
    try:
        _timers.solve(policy)
    except Failure as failure:
        assert failure.code == "policy_conflict"
        return failure
    return None


def changed(policy: _policy.Policy, key: str, value: int) -> _policy.Policy:
    values: dict[str, t.Any] = {key: value}
    return dataclasses.replace(policy, **values)


@pytest.mark.parametrize(
    ("policy", "keys", "bounds", "remedy"),
    [
        (
            {"detect_dead_peer_within": "30s", "stop_orphaned_query_within": "off", "slow_reader_grace": "30s"},
            ["detect_dead_peer_within", "slow_reader_grace"],
            {"detect_dead_peer_within": "36s", "slow_reader_grace": "25s"},
            "choose detect_dead_peer_within of at least 36s or slow_reader_grace of at most 25s. Or name the roles",
        ),
        (
            {"stop_orphaned_query_within": "60s", "tolerate_outage_of": "5min"},
            ["stop_orphaned_query_within", "tolerate_outage_of"],
            {"stop_orphaned_query_within": "492s", "tolerate_outage_of": "24s"},
            "choose stop_orphaned_query_within of at least 492s or tolerate_outage_of of at most 24s.",
        ),
        (
            {"path_idle_limit": "10s", "survive_lost_probes": 10},
            ["path_idle_limit", "survive_lost_probes"],
            {"path_idle_limit": "13s", "survive_lost_probes": "7"},
            "choose path_idle_limit of at least 13s or survive_lost_probes of at most 7.",
        ),
        (  # a probe each second takes 22 s
            {"detect_dead_peer_within": "20s", "survive_lost_probes": 20},
            ["detect_dead_peer_within", "survive_lost_probes"],
            {"detect_dead_peer_within": "26s", "survive_lost_probes": "14"},
            "choose detect_dead_peer_within of at least 26s or survive_lost_probes of at most 14.",
        ),
        (  # nothing is left of the tolerance
            {"detect_dead_peer_within": "4500ms", "tolerate_outage_of": "2s"},
            ["detect_dead_peer_within", "tolerate_outage_of"],
            {"detect_dead_peer_within": "8s", "tolerate_outage_of": "0"},
            "choose detect_dead_peer_within of at least 8s or tolerate_outage_of off.",
        ),
        (  # the pair is named whose change makes the rest possible too
            {"detect_dead_peer_within": "60s", "tolerate_outage_of": "1h", "slow_reader_grace": "2h"},
            ["detect_dead_peer_within", "tolerate_outage_of"],
            {"detect_dead_peer_within": "8103s", "tolerate_outage_of": None},
            "With the rest of the policy as it is, choose detect_dead_peer_within of at least 8103s.",
        ),
        (
            {
                "detect_dead_peer_within": "60s",
                "stop_orphaned_query_within": "2min",
                "tolerate_outage_of": "1h",
                "slow_reader_grace": "2h",
            },
            ["detect_dead_peer_within", "tolerate_outage_of"],
            {"detect_dead_peer_within": None, "tolerate_outage_of": None},
            "Others collide too, change more than one: detect_dead_peer_within with tolerate_outage_of, "
            "detect_dead_peer_within with slow_reader_grace, stop_orphaned_query_within with tolerate_outage_of, "
            "stop_orphaned_query_within with slow_reader_grace.",
        ),
    ],
)
def test_a_conflict_names_two_keys_and_what_each_would_have_to_be(
    policy: dict[str, t.Any], keys: list[str], bounds: dict[str, str | None], remedy: str
) -> None:
    failure = conflict(_policy.parse(policy))
    assert failure is not None
    assert failure.details == {"keys": keys, "bounds": bounds}
    assert remedy in failure.remedy
    assert failure.asked == " and ".join(f"{key}: {policy[key]}" for key in keys)


@given(_policies.policies(KEYS))
def test_the_bounds_of_a_conflict_are_true(policy: _policy.Policy) -> None:
    failure = conflict(policy)
    if failure is None:
        return
    keys = failure.details["keys"]
    assert len(set(keys)) == 2 and list(failure.details["bounds"]) == keys
    assert all(getattr(policy, key) for key in keys)
    alone = _policy.Policy(survive_lost_probes=0)
    for key in keys:
        alone = changed(alone, key, getattr(policy, key))
    if policy.stop_orphaned_query_within is not None and alone.stop_orphaned_query_within is None:
        alone = changed(alone, "stop_orphaned_query_within", 0)
    assert conflict(alone) or conflict(dataclasses.replace(alone, slow_reader_roles=policy.slow_reader_roles))
    for key, text in failure.details["bounds"].items():
        if text is None:
            continue
        number = key == "survive_lost_probes"
        bound, grain = (int(text), 1) if number else (_duration.parse(key, text), 1000)
        assert conflict(changed(policy, key, bound)) is None
        tighter = bound - grain if key in _policies.DEADLINES else bound + grain
        assert conflict(changed(policy, key, tighter))


SMALL = st.builds(
    _policy.Policy,
    path_idle_limit=st.none() | st.integers(3000, 20_000),
    detect_dead_peer_within=st.integers(4500, 16_000),
    stop_orphaned_query_within=st.none() | st.just(0) | st.integers(4500, 20_000),
    tolerate_outage_of=st.none() | st.integers(1, 8000),
    slow_reader_grace=st.none() | st.integers(1, 14_000),
    survive_lost_probes=st.integers(0, 12),
)


@given(SMALL)
@hypothesis_settings(max_examples=50)
def test_a_conflict_is_one_that_no_settings_of_whole_seconds_keep_the_policy(policy: _policy.Policy) -> None:
    if not conflict(policy):
        return
    for idle, interval, timeout in itertools.product(range(1, 14), range(1, 14), range(1, 15)):
        settings = _settings.Settings(idle, interval, 9, timeout * 1000, 1000)
        # With fewer probes than may get lost, a lost one ends the session.
        shortest = idle + interval * (policy.survive_lost_probes + 1)
        if _detection.keepalive_seconds(settings, _settings.OsValues()) >= shortest:
            assert _broken_promises.broken(policy, settings)


def laxer(policy: _policy.Policy, key: str, by: int) -> _policy.Policy:
    value = getattr(policy, key) or 0
    if key in _policies.DEADLINES:
        return changed(policy, key, min(value + by * 1000, _duration.LONGEST) if value and by else 0)
    return changed(policy, key, max(0, value - by * (1 if key == "survive_lost_probes" else 1000)))


@given(_policies.policies(KEYS), st.sampled_from([*_policies.DEADLINES, *_policies.TOLERANCES]), st.integers(0, 3000))
def test_asking_for_less_never_makes_a_conflict(policy: _policy.Policy, key: str, by: int) -> None:
    # A deadline of 0 is off, the laxest of all; but without stop_orphaned_query_within the other deadline counts twice.
    if conflict(policy) is None:
        assert conflict(laxer(policy, key, by)) is None


@given(_policies.policies(KEYS))
def test_the_interval_never_exceeds_idle_and_all_stays_in_what_linux_takes(policy: _policy.Policy) -> None:
    if conflict(policy):
        return
    timers = _timers.solve(policy)
    assert timers == _timers.solve(policy)
    if timers.idle is not None:
        assert timers.interval is not None and timers.count is not None
        assert 1 <= timers.interval <= timers.idle <= 7200
        assert max(2, policy.survive_lost_probes + 1) <= timers.count <= 127
        assert not policy.path_idle_limit or timers.idle * 2000 <= policy.path_idle_limit
    assert timers.user_timeout is None or 0 <= timers.user_timeout <= _duration.LONGEST
    assert timers.check_interval is None or timers.check_interval == 0 or 1000 <= timers.check_interval <= 30_000


def test_a_user_timeout_lasts_as_long_as_the_series_so_that_the_count_means_what_it_says() -> None:
    timers = solve(detect_dead_peer_within="90s", path_idle_limit="350s")
    assert timers == _timers.Timers(35, 6, 6, 71_000, 5000)
    assert solve(stop_orphaned_query_within="90s").user_timeout == 71_000


@pytest.mark.parametrize(
    ("policy", "timers"),
    [
        ({}, _timers.Timers()),
        ({"detect_dead_peer_within": "off"}, _timers.Timers()),
        ({"connect_within": "60s"}, _timers.Timers()),
        ({"slow_reader_grace": "30s"}, _timers.Timers(user_timeout=0)),
        ({"path_idle_limit": "240s"}, _timers.Timers(120, 20, 6, 0)),
        ({"path_idle_limit": "3s"}, _timers.Timers(1, 1, 6, 0)),
        ({"tolerate_outage_of": "60s"}, _timers.Timers(7200, 1200, 6, 0)),
    ],
)
def test_without_a_deadline_no_user_timeout_ends_anything(policy: dict[str, t.Any], timers: _timers.Timers) -> None:
    assert solve(**policy) == timers


def test_an_outage_longer_than_linux_itself_survives_needs_a_user_timeout() -> None:
    survived = _detection.in_flight_outage_survived(_settings.Settings(), _settings.OsValues())
    assert solve(tolerate_outage_of="804s").user_timeout == 0
    timeout = solve(tolerate_outage_of="806s").user_timeout
    assert survived < 806 and timeout and timeout > 806_000
    # 127 probes, a second apart, are over before the outage is.
    assert (solve(path_idle_limit="3s", tolerate_outage_of="200s").user_timeout or 0) > 200_000


def test_a_tight_deadline_gets_a_shorter_check_interval_rather_than_a_conflict() -> None:
    assert solve(stop_orphaned_query_within="60s").check_interval == 5000
    assert solve(stop_orphaned_query_within="60s", slow_reader_grace="50s").check_interval == 1000
    assert solve(detect_dead_peer_within="60s", stop_orphaned_query_within="off").check_interval == 0
