# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the plans of hops: what a policy becomes in each program's own names and units."""

from __future__ import annotations

import re
from pathlib import Path

import _policies
import pytest
import yaml
from hypothesis import given

from ansible_collections.pgharden.connection.plugins.module_utils import _plan, _policy, _timers
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._path import _plans

PROFILES = sorted((Path(__file__).parents[2] / "plugins" / "plugin_utils" / "profiles").glob("*.yml"))
WEB = {"path_idle_limit": "350s", "detect_dead_peer_within": "90s", "connect_within": "60s"}
NEWEST = (99, 0)


def milliseconds(text: str) -> int:
    """HAProxy's own reading of a time: no unit is milliseconds."""
    number, unit = re.fullmatch(r"(\d+)([a-z]*)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[unit]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_hop_gets_the_timers_of_the_server(path: Path) -> None:
    policy = _policy.parse({}, yaml.safe_load(path.read_text(encoding="utf-8")))
    server = _plan.make(policy, _plan.Facts(17)).server
    idle, interval, count, user = (
        _policies.value_of(name, server[name])
        for name in (
            "tcp_keepalives_idle",
            "tcp_keepalives_interval",
            "tcp_keepalives_count",
            "tcp_user_timeout",
        )
    )
    client = _plans.client(policy)
    assert [client[f"keepalives_{key}"] for key in ("idle", "interval", "count")] == [idle, interval, count]
    assert client["tcp_user_timeout"] == user
    bouncer = _plans.pgbouncer(policy, NEWEST).settings
    keys = ("tcp_keepalive", "tcp_keepidle", "tcp_keepintvl", "tcp_keepcnt", "tcp_user_timeout")
    assert [int(bouncer[key]) for key in keys] == [1, idle, interval, count, user]
    proxy = _plans.haproxy(policy, NEWEST).settings
    for side in ("clitcpka", "srvtcpka"):
        assert proxy[f"option {side}"] == ""
        assert milliseconds(proxy[f"{side}-idle"]) == idle * 1000
        assert milliseconds(proxy[f"{side}-intvl"]) == interval * 1000
        assert proxy[f"{side}-cnt"] == str(count)
    assert milliseconds(proxy["tcp-ut"]) == user


def test_an_empty_policy_asks_nothing_of_client_and_pooler() -> None:
    policy = _policy.parse({})
    assert _plans.client(policy) == {}
    assert _plans.pgbouncer(policy, NEWEST).settings == {}


def test_haproxy_lets_sessions_idle_although_the_policy_says_nothing() -> None:
    # Otherwise its own timeouts, a minute in most examples, end what keepalive keeps alive.
    names = [f"timeout {name}" for name in ("client", "server", "tunnel")]
    assert _plans.haproxy(_policy.parse({}), NEWEST).settings == dict.fromkeys(names, "1d")


def test_haproxy_waits_as_long_as_the_longest_that_the_policy_allows() -> None:
    both = {"close_idle_session_after": "10min", "close_transaction_after": "5min"}
    for key, expected in (
        ("close_idle_session_after", "2h"),
        # The server, or the pool, is the first to end it.
        ("close_transaction_after", "121m"),
        ("close_idle_in_transaction_after", "121m"),
        ("close_pooled_connection_after", "121m"),
    ):
        settings = _plans.haproxy(_policy.parse({**both, key: "2h"}), NEWEST).settings
        assert settings["timeout client"] == settings["timeout server"] == expected


@pytest.mark.parametrize("key", ["close_idle_session_after", "close_transaction_after"])
def test_haproxy_does_not_cut_what_one_limit_alone_leaves_open(key: str) -> None:
    """Where idle sessions are closed after ten minutes, a statement may take hours all the same, and vice versa."""
    assert _plans.haproxy(_policy.parse({key: "10min"}), NEWEST).settings["timeout client"] == "1d"
    assert _plans.haproxy(_policy.parse({key: "20d"}), NEWEST).settings["timeout client"] in ("20d", "28801m")
    longest = _plans.haproxy(_policy.parse({key: f"{2**31 - 1}ms"}), NEWEST).settings["timeout client"]
    assert longest == f"{2**31 - 1}ms"


def test_what_libpq_fails_on_is_left_out() -> None:
    client = _plans.client(_policy.parse({**WEB, "path_idle_limit": None, "detect_dead_peer_within": "off"}))
    assert not any(name.startswith("keepalives") for name in client)
    assert "connect_timeout" not in _plans.client(_policy.parse({"connect_within": "off"}))
    # libpq up to 16 makes 2 of 1.
    assert _plans.client(_policy.parse({"connect_within": "2250ms"}))["connect_timeout"] == 2


def test_a_pool_closes_idle_connections_before_the_server_does() -> None:
    def of(**keys: str) -> str | None:
        return _plans.pgbouncer(_policy.parse(keys), NEWEST).settings.get("server_idle_timeout")

    assert of(close_idle_session_after="10min") == "300"
    assert of(close_idle_session_after="10min", close_pooled_connection_after="1min") == "60"
    assert of(close_idle_session_after="off", close_pooled_connection_after="10min") == "600"
    assert of(close_pooled_connection_after="off") == "0"
    assert of(close_idle_session_after="off") is None
    assert of(close_pooled_connection_after="10ms") == "1"  # 0 would be never


def test_a_pooler_that_replaces_no_connection_does_not_replace_each() -> None:
    settings = _plans.pgbouncer(_policy.parse({"replace_pooled_connection_after": "off"}), NEWEST).settings
    assert settings == {"server_lifetime": "31536000"}


def test_pools_of_clients_get_theirs() -> None:
    keys = {"close_pooled_connection_after": "5min", "replace_pooled_connection_after": "1h"}
    client = _plans.client(_policy.parse({**keys, "spare_pooled_connections": 0}))
    assert client == {"pool_max_idle": 300, "pool_max_age": 3600, "pool_min_size": 0}


def test_what_a_version_lacks_is_unsupported() -> None:
    policy = _policy.parse({**WEB, "close_transaction_after": "1h"})
    old = _plans.pgbouncer(policy, (1, 24, 1))
    assert "transaction_timeout" not in old.settings
    (row,) = old.unsupported
    assert (row.setting, row.key) == ("transaction_timeout", "close_transaction_after")
    assert row.reason == "it came with PgBouncer 1.25, the host has 1.24.1"
    assert _plans.pgbouncer(policy, (1, 25)).settings["transaction_timeout"] == "3600"
    assert old.as_dict()["unsupported"] == [row._asdict()]
    proxy = _plans.haproxy(policy, (2, 2))
    assert {row.setting for row in proxy.unsupported} == {
        f"{side}-{key}" for side in ("clitcpka", "srvtcpka") for key in ("idle", "intvl", "cnt")
    }
    assert "option clitcpka" in proxy.settings


def test_roles_that_read_slowly_get_the_grace_on_shared_sockets_where_there_is_room() -> None:
    policy = _policy.parse({**WEB, "slow_reader_grace": "60s", "slow_reader_roles": ["reporting"]})
    plan = _plans.pgbouncer(policy, NEWEST)
    assert int(plan.settings["tcp_user_timeout"]) > 60_000
    assert plan.unsupported == []


def test_roles_that_read_slowly_and_cannot_be_told_apart_are_named() -> None:
    policy = _policy.parse({**WEB, "slow_reader_grace": "10min", "slow_reader_roles": ["reporting"]})
    for plan in (_plans.pgbouncer(policy, NEWEST), _plans.haproxy(policy, NEWEST)):
        (row,) = plan.unsupported
        assert row.key == "slow_reader_grace"
        assert "reporting" in row.reason


@given(_policies.policies())
def test_no_policy_gives_a_value_that_a_program_refuses(policy: _policy.Policy) -> None:
    try:
        _timers.solve(policy)
    except Failure:
        return
    for value in _plans.client(policy).values():
        assert value >= 0
    for name, text in _plans.pgbouncer(policy, NEWEST).settings.items():
        assert 0 <= int(text) < 2**31, name
    for name, text in _plans.haproxy(policy, NEWEST).settings.items():
        if text:
            assert 0 < (int(text) if name.endswith("cnt") else milliseconds(text)) < 2**31, name
