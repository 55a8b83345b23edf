# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of policies and of the profiles as files; what they are planned to is tested with the plan."""

from __future__ import annotations

import typing as t
from pathlib import Path

import _policies
import pytest
import yaml
from hypothesis import given

from ansible_collections.pgharden.connection.plugins.module_utils import _duration, _policy
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

PROFILES = sorted((Path(__file__).parents[2] / "plugins" / "plugin_utils" / "profiles").glob("*.yml"))


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_key_of_a_profile_can_be_overridden_alone_and_taken_away(path: Path) -> None:
    profile = yaml.safe_load(path.read_text(encoding="utf-8"))
    plain = _policy.parse({}, profile).as_dict()
    for key in _policy.DURATIONS:
        assert _policy.parse({key: "77s"}, profile).as_dict() == {**plain, key: "77s"}
        assert _policy.parse({key: False}, profile).as_dict() == {**plain, key: "off"}
        without = {name: value for name, value in plain.items() if name != key}
        assert _policy.parse({key: None}, profile).as_dict() == without
    assert _policy.parse({"survive_lost_probes": "3"}, profile).survive_lost_probes == 3
    assert _policy.parse({"slow_reader_roles": ["b", "a", "b"]}, profile).slow_reader_roles == ("b", "a")


def test_profiles_are_those_that_are_documented() -> None:
    assert [path.stem for path in PROFILES] == ["analytics", "cloud_nat", "interactive", "pooled", "replication", "web"]


def test_an_empty_policy_asks_for_nothing() -> None:
    policy = _policy.parse({})
    assert policy.as_dict() == {"survive_lost_probes": 1, "slow_reader_roles": []}
    assert policy.orphan_limit == 0


def refused(given: dict[t.Any, t.Any]) -> Failure:
    with pytest.raises(Failure) as caught:
        _policy.parse(given)
    return caught.value


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("detect_dead_peers_within", " (did you mean detect_dead_peer_within?)"),
        ("tolerate_outage", " (did you mean tolerate_outage_of?)"),
        ("x", ""),
        (5, ""),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_and_all_keys(key: t.Any, hint: str) -> None:
    for value in ("60s", None):
        failure = refused({key: value})
        assert failure.code == "unknown_policy_key"
        assert failure.found == f"there is no such key{hint}"
        assert failure.details["key"] == key
        assert all(known in failure.remedy for known in _policy.KEYS)


@pytest.mark.parametrize("key", _policy.DURATIONS)
def test_a_number_without_a_unit_is_refused_for_every_key(key: str) -> None:
    failure = refused({key: 60})
    assert (failure.code, failure.details["key"]) == ("bad_duration", key)
    assert "no unit" in failure.found


@pytest.mark.parametrize(
    ("key", "value", "remedy"),
    [
        ("path_idle_limit", "2999ms", "Write 3s or more, or off."),
        ("detect_dead_peer_within", "4s", "Write 4500ms or more, or off."),
        ("stop_orphaned_query_within", "4499ms", "Write 4500ms or more, or off."),
        ("connect_within", "2s", "Write 2250ms or more, or off."),
        ("detect_dead_standby_within", "1s", "Write 2s or more, or off."),
        ("tolerate_outage_of", "23d", "Write 22d or less, or off."),
        ("slow_reader_grace", "23d", "Write 22d or less, or off."),
        ("survive_lost_probes", 21, "how many probes"),
        ("survive_lost_probes", -1, "how many probes"),
        ("survive_lost_probes", "²", "how many probes"),
        ("survive_lost_probes", True, "how many probes"),
        ("survive_lost_probes", 1.5, "how many probes"),
        ("slow_reader_roles", "reporting", "[reporting, backup]"),
        ("slow_reader_roles", ["reporting", ""], "[reporting, backup]"),
        ("slow_reader_roles", [1], "[reporting, backup]"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_with_what_can(key: str, value: t.Any, remedy: str) -> None:
    failure = refused({key: value})
    assert (failure.code, failure.details["key"]) == ("bad_policy_value", key)
    assert remedy in failure.remedy


@pytest.mark.parametrize("key", [*_policies.SHORTEST, *_policies.LONGEST])
def test_the_extremes_themselves_are_taken(key: str) -> None:
    for extreme in (_policies.SHORTEST.get(key, 1), _policies.LONGEST.get(key, _duration.LONGEST)):
        assert getattr(_policy.parse({key: f"{extreme}ms"}), key) == extreme


def test_a_dead_peer_must_be_noticed_in_a_statement_too_unless_said_otherwise() -> None:
    assert _policy.parse({"detect_dead_peer_within": "60s"}).orphan_limit == 60_000
    assert (
        _policy.parse({"detect_dead_peer_within": "60s", "stop_orphaned_query_within": "5min"}).orphan_limit == 300_000
    )
    assert _policy.parse({"detect_dead_peer_within": "60s", "stop_orphaned_query_within": "off"}).orphan_limit == 0


def test_named_roles_take_the_grace_for_slow_readers_from_all_others() -> None:
    grace = {"slow_reader_grace": "30s"}
    assert _policy.parse(grace).grace_for_all == 30_000
    assert _policy.parse({**grace, "slow_reader_roles": ["reporting"]}).grace_for_all == 0
    assert _policy.parse({}).grace_for_all == 0


@given(_policies.policies())
def test_a_policy_is_read_back_from_what_it_says_of_itself(policy: _policy.Policy) -> None:
    assert _policy.parse(policy.as_dict()) == policy
