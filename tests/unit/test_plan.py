# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of plans: what is planned keeps the policy, or the plan says what it cannot keep there and why."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import _policies
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import _broken_promises, _plan, _policy
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

PROFILES = sorted((Path(__file__).parents[2] / "plugins" / "plugin_utils" / "profiles").glob("*.yml"))
VERSIONS = range(13, 20)
#: The keys that a setting serves, as docs/profiles.md has them; a plan that lacks the setting names the first stated.
_SERIES = {"detect_dead_peer_within", "path_idle_limit", "tolerate_outage_of", "stop_orphaned_query_within"}
SERVED = {
    "tcp_keepalives_count": _SERIES,
    "tcp_user_timeout": _SERIES,
    "client_connection_check_interval": {"stop_orphaned_query_within", "detect_dead_peer_within"},
    "idle_session_timeout": {"close_idle_session_after"},
    "transaction_timeout": {"close_transaction_after"},
}
RANGES = {
    "tcp_keepalives_idle": (1, 32767),
    "tcp_keepalives_interval": (1, 32767),
    "tcp_keepalives_count": (1, 127),
    "authentication_timeout": (1, 600),
    "net.ipv4.tcp_keepalive_time": (1, 32767),
    "net.ipv4.tcp_keepalive_intvl": (1, 32767),
    "net.ipv4.tcp_keepalive_probes": (1, 127),
}


def plan(version: int = 18, platform: str = "linux", **policy: t.Any) -> _plan.Plan:
    return _plan.make(_policy.parse(policy), _plan.Facts(version, platform))


def planned(policy: _policy.Policy, facts: _plan.Facts) -> _plan.Plan | None:
    try:
        return _plan.make(policy, facts)
    except Failure as failure:
        assert failure.code == "policy_conflict"
        return None


@given(_policies.policies(), st.sampled_from([17, 18, 19]))
def test_what_is_planned_keeps_the_policy(policy: _policy.Policy, version: int) -> None:
    made = planned(policy, _plan.Facts(version))
    if made:
        assert not made.unsupported
        assert _broken_promises.broken(policy, _policies.settings_of(made.server)) == []


@given(_policies.policies(), st.sampled_from(VERSIONS), st.sampled_from(["linux", "darwin", "freebsd", "windows"]))
def test_what_is_not_kept_is_explained(policy: _policy.Policy, version: int, platform: str) -> None:
    made = planned(policy, _plan.Facts(version, platform))
    if made is None:
        return
    explained = set().union(*(SERVED[row.setting] for row in made.unsupported if row.layer == "server"))
    broken = {row.key for row in _broken_promises.broken(policy, _policies.settings_of(made.server))}
    assert broken <= explained
    for row in made.unsupported:
        assert row.reason and row.setting not in made.server and row.setting not in made.os
        assert getattr(policy, row.key), "a key that nothing was said about"
        if row.layer == "server":
            assert row.key in SERVED[row.setting]


@given(_policies.policies(), st.sampled_from(VERSIONS))
def test_every_setting_stays_in_its_range_and_the_plan_is_always_the_same(policy: _policy.Policy, version: int) -> None:
    made = planned(policy, _plan.Facts(version))
    if made is None:
        return
    assert made == planned(policy, _plan.Facts(version))
    values: dict[str, int] = {**made.os}
    for server in (made.server, *made.roles.values()):
        values.update({name: _policies.value_of(name, text) for name, text in server.items()})
        for name in server:
            lowest, highest = RANGES.get(name, (0, 2**31 - 1))
            assert lowest <= values[name] <= highest
    assert not made.os or values["tcp_keepalives_interval"] <= values["tcp_keepalives_idle"]
    json.dumps(made.as_dict())


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", VERSIONS)
def test_profiles_are_kept(path: Path, version: int) -> None:
    policy = _policy.parse({}, yaml.safe_load(path.read_text(encoding="utf-8")))
    made = _plan.make(policy, _plan.Facts(version))
    broken = {row.key for row in _broken_promises.broken(policy, _policies.settings_of(made.server))}
    missing = {row.setting for row in made.unsupported}
    if version >= 14:
        assert not broken and not missing
    else:
        assert "stop_orphaned_query_within" in broken
        assert broken <= {row.key for row in made.unsupported}
        assert missing <= {"client_connection_check_interval", "idle_session_timeout"}
    assert bool(made.notes) == (version > 18)


def test_a_plan_in_full() -> None:
    made = plan(
        path_idle_limit="350s",
        detect_dead_peer_within="90s",
        tolerate_outage_of="10s",
        connect_within="60s",
        close_idle_in_transaction_after="5min",
        close_idle_session_after="off",
        close_transaction_after="1h",
        detect_dead_standby_within="60s",
    )
    assert made.server == {
        "tcp_keepalives_idle": "35s",
        "tcp_keepalives_interval": "6s",
        "tcp_keepalives_count": "6",
        "tcp_user_timeout": "71s",
        "client_connection_check_interval": "5s",
        "idle_in_transaction_session_timeout": "5min",
        "idle_session_timeout": "0",
        "transaction_timeout": "1h",
        "authentication_timeout": "26s",
        "wal_sender_timeout": "53s",
        "wal_receiver_timeout": "53s",
    }
    assert made.os == {
        "net.ipv4.tcp_keepalive_time": 35,
        "net.ipv4.tcp_keepalive_intvl": 6,
        "net.ipv4.tcp_keepalive_probes": 6,
    }
    assert not made.unsupported and not made.roles and not made.notes


def test_nothing_said_nothing_planned() -> None:
    assert plan() == _plan.Plan()
    assert plan(connect_within="off", detect_dead_standby_within="off") == _plan.Plan()


def test_only_the_layers_asked_for_are_planned() -> None:
    policy = _policy.parse({"detect_dead_peer_within": "90s"})
    assert not _plan.make(policy, _plan.Facts(18), ["os"]).server
    assert not _plan.make(policy, _plan.Facts(18), ["server"]).os


def test_roles_that_read_slowly_get_a_longer_user_timeout_and_others_a_short_one() -> None:
    grace = {"detect_dead_peer_within": "90s", "slow_reader_grace": "10min"}
    made = plan(**grace, slow_reader_roles=["reporting", "backup"])
    assert made.server["tcp_user_timeout"] == "71s"
    assert made.roles == {role: {"tcp_user_timeout": "601s"} for role in ("reporting", "backup")}
    assert "reporting, backup" in made.notes[0] and "10 min 1 s instead of 71 s" in made.notes[0]
    # Long enough for them already, nothing to lengthen, no such setting.
    assert not plan(detect_dead_peer_within="90s", slow_reader_grace="60s", slow_reader_roles=["reporting"]).roles
    assert not plan(slow_reader_grace="60s", slow_reader_roles=["reporting"]).roles
    assert not plan(**grace, slow_reader_roles=["reporting"], platform="darwin").roles
    assert not plan(detect_dead_peer_within="90s", slow_reader_roles=["reporting"]).roles
    # Its own exceptions for roles surprise nobody, those of others do.
    own, other, all_roles = ({"role": role, "value": "1min"} for role in ("backup", "app", None))
    assert made.surprises("tcp_user_timeout", [own, other, all_roles]) == [other, all_roles]
    assert made.surprises("tcp_keepalives_idle", [own]) == [own]


EVERYTHING = {
    "path_idle_limit": "350s",
    "detect_dead_peer_within": "90s",
    "stop_orphaned_query_within": "2min",
    "close_idle_session_after": "1h",
    "close_transaction_after": "1h",
}


@pytest.mark.parametrize(
    ("version", "platform", "missing"),
    [
        (13, "linux", {"client_connection_check_interval", "idle_session_timeout", "transaction_timeout"}),
        (14, "linux", {"transaction_timeout"}),
        (16, "linux", {"transaction_timeout"}),
        (17, "linux", set()),
        (19, "linux", set()),
        (14, "darwin", {"tcp_user_timeout", "client_connection_check_interval", "transaction_timeout"}),
        (18, "darwin", {"tcp_user_timeout"}),
        (18, "windows", {"tcp_user_timeout", "tcp_keepalives_count", "client_connection_check_interval"}),
        (18, "other", {"tcp_user_timeout"}),
    ],
)
def test_what_version_and_platform_lack_is_listed_with_its_reason(
    version: int, platform: str, missing: set[str]
) -> None:
    made = plan(version, platform, **EVERYTHING)
    rows = {row.setting: row for row in made.unsupported if row.layer == "server"}
    assert set(rows) == missing
    assert not missing & set(made.server)
    for row in rows.values():
        assert str(version) in row.reason or platform in row.reason.lower()
    of_os = [row.setting for row in made.unsupported if row.layer == "os"]
    assert bool(made.os) == (platform != "other") != bool(of_os)


def test_a_policy_that_asks_nothing_of_the_kernel_lacks_nothing_anywhere() -> None:
    for platform in ("linux", "darwin", "freebsd", "windows", "other"):
        assert not plan(platform=platform, connect_within="5s").os
        assert not [row for row in plan(platform=platform, connect_within="5s").unsupported if row.layer == "os"]


@pytest.mark.parametrize("platform", ["freebsd", "darwin"])
def test_macos_and_freebsd_get_their_own_settings_in_milliseconds(platform: str) -> None:
    policy = {"detect_dead_peer_within": "90s", "stop_orphaned_query_within": "off"}
    time, intvl, probes = (plan(**policy).os[f"net.ipv4.tcp_keepalive_{name}"] for name in ("time", "intvl", "probes"))
    assert plan(platform=platform, **policy).os == {
        "net.inet.tcp.keepidle": 1000 * time,
        "net.inet.tcp.keepintvl": 1000 * intvl,
        "net.inet.tcp.keepcnt": probes,
    }


def test_windows_is_planned_with_the_ten_probes_that_it_sends() -> None:
    made = plan(18, "windows", detect_dead_peer_within="90s", stop_orphaned_query_within="off")
    idle, interval = made.os["KeepAliveTime"], made.os["KeepAliveInterval"]
    assert set(made.os) == {"KeepAliveTime", "KeepAliveInterval"}
    assert 0 < idle + 10 * interval <= 90_000 / 1.125
    assert made.server["tcp_keepalives_idle"] == f"{idle // 1000}s"


def test_a_wish_for_0_is_kept_by_a_server_that_lacks_the_setting() -> None:
    made = plan(13, "darwin", close_idle_session_after="off", close_transaction_after="off", slow_reader_grace="60s")
    assert made == _plan.Plan()
    assert plan(13, detect_dead_peer_within="90s", stop_orphaned_query_within="off").unsupported == []


def test_the_key_of_a_missing_setting_is_one_that_was_stated() -> None:
    (row,) = plan(13, detect_dead_peer_within="90s").unsupported
    assert (row.setting, row.key) == ("client_connection_check_interval", "detect_dead_peer_within")
    rows = plan(18, "windows", stop_orphaned_query_within="90s").unsupported
    assert {row.key for row in rows} == {"stop_orphaned_query_within"}


def test_start_up_and_authentication_get_half_each_and_no_more_than_the_server_takes() -> None:
    assert plan(connect_within="2250ms").server == {"authentication_timeout": "1s"}
    assert plan(connect_within="2h").server == {"authentication_timeout": "10min"}


def test_versions_that_are_too_old_or_newer_than_known() -> None:
    with pytest.raises(Failure) as caught:
        plan(12)
    assert caught.value.code == "unsupported_version"
    assert "13" in caught.value.found
    assert "newer than 18" in plan(19).notes[0]
