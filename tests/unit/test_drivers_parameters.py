# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of drivers: rules that hold for all of them, and the units of each. Real ones run in test_drivers.py."""

from __future__ import annotations

import typing as t
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers
from ansible_collections.pgharden.connection.plugins.module_utils._path._driver import LIBPQ, POOL
from ansible_collections.pgharden.connection.plugins.module_utils._path._hops import Socket

WANTED = {
    "keepalives": 1,
    "keepalives_idle": 35,
    "keepalives_interval": 6,
    "keepalives_count": 5,
    "tcp_user_timeout": 65500,
    "connect_timeout": 60,
    "pool_max_idle": 300,
    "pool_max_age": 1800,
    "pool_min_size": 2,
}
OFF = {**WANTED, "tcp_user_timeout": 0, "pool_max_idle": 0, "pool_max_age": 0, "pool_min_size": 0}
DRIVERS = pytest.mark.parametrize("driver", _drivers.DRIVERS)
PLANS = st.fixed_dictionaries(
    {},
    optional={
        "keepalives_idle": st.integers(1, 7200),
        "keepalives_interval": st.integers(1, 1800),
        "keepalives_count": st.integers(2, 127),
        "tcp_user_timeout": st.integers(0, 2**31 - 1),
        "connect_timeout": st.integers(2, 100_000),
        "pool_max_idle": st.integers(0, 100_000),
        "pool_max_age": st.integers(0, 100_000),
        "pool_min_size": st.integers(0, 1000),
    },
).map(lambda plan: {"keepalives": 1, **plan} if "keepalives_idle" in plan else plan)


def flat(values: dict[str, t.Any]) -> list[t.Any]:
    return [one for value in values.values() for one in (flat(value) if isinstance(value, dict) else [value])]


@DRIVERS
@settings(max_examples=25)
@given(plan=PLANS)
def test_each_setting_is_covered_or_said_to_be_missing(driver: str, plan: dict[str, int]) -> None:
    found = _drivers.parameters(plan, driver)
    missing = [row["setting"] for row in found["missing"]]
    assert not set(missing) & set(found["covers"])
    accounted = {*missing, *found["covers"]}
    # Drivers without a pool of their own say nothing about pools, and of what is off nothing can be missing.
    assert {key for key in plan if key in LIBPQ and plan[key]} <= accounted <= set(plan)
    assert all(row["reason"] and row["covered_by"] for row in found["missing"])
    if found["pool"]:
        assert {key for key in plan if key in POOL and plan[key]} <= accounted


@DRIVERS
@settings(max_examples=25)
@given(plan=PLANS)
def test_no_keepalive_time_is_ever_zero(driver: str, plan: dict[str, int]) -> None:
    found = _drivers.parameters(plan, driver)
    for name, value in found["parameters"].items():
        if "keep" in name.lower() and not isinstance(value, dict):
            assert value not in (0, "0", False), name
    assert isinstance(_drivers.socket(plan, driver), Socket)


@DRIVERS
def test_nothing_wanted_is_no_parameter(driver: str) -> None:
    found = _drivers.parameters({}, driver)
    assert (found["parameters"], found["covers"], found["missing"]) == ({}, [], [])
    # What is left are switches without a number, such as the test before a connection is handed out.
    assert all(not isinstance(value, (int, float)) or value is True for value in flat(found["pool"]))


@pytest.mark.parametrize("driver", ["libpq", "psycopg2", "psycopg", "psycopg_pool", "ruby_pg"])
def test_those_of_libpq_are_what_libpq_parses(driver: str) -> None:
    found = _drivers.parameters(WANTED, driver)
    expected = {name: str(WANTED[name]) for name in LIBPQ}
    assert {name: str(value) for name, value in found["parameters"].items()} == expected
    assert parse_dsn(f"postgresql:///?{found['url']}") == expected
    assert not found["snippet"] or parse_dsn(found["snippet"]) == expected


@pytest.mark.parametrize(
    ("driver", "own", "pool"),
    [
        (
            "sqlalchemy+pg8000",
            {"tcp_keepalive": True},
            {"pool_recycle": 1800, "pool_timeout": 60.0, "pool_size": 2, "pool_pre_ping": True, "max_overflow": 13},
        ),
        (
            "asyncpg",
            {
                "timeout": 60.0,
                "server_settings": {
                    "tcp_keepalives_idle": "35",
                    "tcp_keepalives_interval": "6",
                    "tcp_keepalives_count": "5",
                    "tcp_user_timeout": "65500",
                },
            },
            {"min_size": 2, "max_inactive_connection_lifetime": 300.0},
        ),
        (
            "hikaricp",
            {"tcpKeepAlive": True, "connectTimeout": 60, "loginTimeout": 60, "cancelSignalTimeout": 60},
            {
                "keepaliveTime": 35000,
                "maxLifetime": 1_800_000,
                "idleTimeout": 300_000,
                "minimumIdle": 2,
                "connectionTimeout": 60000,
                "validationTimeout": 5000,
            },
        ),
        (
            "npgsql",
            {"Tcp Keepalive": True, "Tcp Keepalive Time": 35, "Tcp Keepalive Interval": 6, "Timeout": 60},
            {"Connection Idle Lifetime": 300, "Connection Lifetime": 1800, "Minimum Pool Size": 2},
        ),
        (
            "node-postgres",
            {"keepAlive": True, "keepAliveInitialDelayMillis": 35000, "connectionTimeoutMillis": 60000},
            {"idleTimeoutMillis": 300_000, "maxLifetimeSeconds": 1800, "min": 2},
        ),
        (
            "tokio-postgres",
            {
                "keepalives": 1,
                "keepalives_idle": 35,
                "keepalives_interval": 6,
                "keepalives_retries": 5,
                "tcp_user_timeout": 66,
                "connect_timeout": 60,
            },
            {},
        ),
        (
            "psqlodbc",
            {
                "KeepaliveTime": 35,
                "KeepaliveInterval": 6,
                "pqopt": "{keepalives_count=5 tcp_user_timeout=65500 connect_timeout=60}",
            },
            {},
        ),
    ],
)
def test_names_units_and_types(driver: str, own: dict[str, t.Any], pool: dict[str, t.Any]) -> None:
    found = _drivers.parameters(WANTED, driver)
    assert (found["parameters"], found["pool"]) == (own, pool)
    assert [type(value) for value in flat(found["parameters"])] == [type(value) for value in flat(own)]


@pytest.mark.parametrize(
    ("driver", "pool"),
    [
        ("psycopg_pool", {"max_idle": 31_536_000, "max_lifetime": 31_536_000, "min_size": 0}),
        ("sqlalchemy+psycopg", {"pool_recycle": -1}),
        ("pgx", {"pool_max_conn_idle_time": "31536000s", "pool_max_conn_lifetime": "31536000s"}),
        ("hikaricp", {"maxLifetime": 0, "idleTimeout": 0}),
        ("npgsql", {"Connection Idle Lifetime": 31_536_000, "Connection Lifetime": 0}),
        ("lib/pq", {"SetConnMaxIdleTime": "0s", "SetMaxIdleConns": 0}),
    ],
)
def test_off_is_never_at_once(driver: str, pool: dict[str, t.Any]) -> None:
    found = _drivers.parameters(OFF, driver)["pool"]
    assert {name: found[name] for name in pool} == pool


def test_no_limit_is_not_taken_for_no_connection() -> None:
    found = _drivers.parameters(OFF, "sqlalchemy+psycopg2")
    assert "pool_size" not in found["pool"]
    assert [row["setting"] for row in found["missing"]] == ["pool_min_size"]


def test_the_rules_of_hikaricp() -> None:
    """HikariConfig.validateNumerics: at least 30 s and 10 s, keepalive and idle time below the life of a connection."""

    def pool(**plan: int) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", _drivers.parameters({**WANTED, **plan}, "hikaricp")["pool"])

    assert pool(keepalives_idle=5)["keepaliveTime"] == 30_000
    assert pool(pool_max_idle=3)["idleTimeout"] == 10_000
    short = pool(pool_max_age=20)
    assert short["maxLifetime"] == 30_000
    assert not {"keepaliveTime", "idleTimeout"} & set(short)
    assert pool(connect_timeout=2)["validationTimeout"] == 1000
    without = dict(WANTED)
    del without["pool_min_size"], without["connect_timeout"]
    found = _drivers.parameters(without, "hikaricp")["pool"]
    assert found["minimumIdle"] == 0
    assert "validationTimeout" not in found


def test_the_rules_of_npgsql() -> None:
    found = _drivers.parameters({**WANTED, "connect_timeout": 5000, "pool_max_idle": 4}, "npgsql")
    assert found["parameters"]["Timeout"] == 1024
    assert found["pool"]["Connection Pruning Interval"] == 4
    assert "Connection Pruning Interval" not in _drivers.parameters(WANTED, "npgsql")["pool"]
    assert _drivers.parameters(OFF, "npgsql")["pool"]["Connection Pruning Interval"] == 3600
    assert found["url"].startswith("Tcp Keepalive=true;Tcp Keepalive Time=35;")


def test_urls_and_snippets() -> None:
    def of(driver: str, plan: dict[str, int] | None = None) -> dict[str, t.Any]:
        return _drivers.parameters(WANTED if plan is None else plan, driver)

    assert dict(parse_qsl(of("pgx")["url"])) == {
        "connect_timeout": "60",
        "pool_max_conn_idle_time": "300s",
        "pool_max_conn_lifetime": "1800s",
        "pool_min_conns": "2",
    }
    assert "Idle: 35 * time.Second, Interval: 6 * time.Second, Count: 5" in of("pgx")["snippet"]
    assert "unix.TCP_USER_TIMEOUT, 65500" in of("lib/pq")["snippet"]
    assert "db.SetConnMaxLifetime(1800 * time.Second)" in of("lib/pq")["snippet"]
    assert of("lib/pq", {})["snippet"]
    assert "TCP_USER_TIMEOUT" not in of("pgx", {})["snippet"]
    assert of("sqlx")["snippet"].endswith("    .min_connections(2)\n    .test_before_acquire(true)")
    assert ".max_lifetime(Duration::from_secs(1800))" in of("sqlx")["snippet"]
    assert of("postgres_fdw")["snippet"].startswith("OPTIONS (ADD keepalives '1', ADD keepalives_idle '35'")
    assert parse_dsn(of("primary_conninfo")["snippet"].split("'")[1])["keepalives_idle"] == "35"
    assert parse_dsn(of("subscription")["snippet"].split("'")[1])["tcp_user_timeout"] == "65500"
    assert "PDO" not in of("pdo_pgsql")["url"]
    assert of("pdo_pgsql")["parameters"]["PDO::ATTR_TIMEOUT"] == 60
    assert "    pool_pre_ping=True," in of("sqlalchemy+asyncpg")["snippet"].splitlines()
    assert of("asyncpg")["url"].startswith("tcp_keepalives_idle=35&")
    assert "dataSource.tcpKeepAlive=true" in of("hikaricp")["snippet"].splitlines()
    assert of("psqlodbc")["snippet"].splitlines()[0] == "KeepaliveTime=35"
    assert of("psqlodbc", {})["parameters"] == {}
    assert of("postgres.js")["url"] == "keep_alive=35&connect_timeout=60&idle_timeout=300&max_lifetime=1800"


@pytest.mark.parametrize(
    ("driver", "bare", "hardened"),
    [
        ("libpq", Socket(), Socket(True, 35, 6, 5, 65500)),
        ("asyncpg", Socket(keepalive=False), Socket(keepalive=False)),
        ("pg8000", Socket(), Socket()),
        ("pgjdbc", Socket(keepalive=False), Socket()),
        ("pgx", Socket(True, 15, 15, 9), Socket(True, 35, 6, 5, 65500)),
        ("node-postgres", Socket(False, 0, 1, 10), Socket(True, 35, 1, 10)),
        ("tokio-postgres", Socket(True, 7200), Socket(True, 35, 6, 5, 65500)),
    ],
)
def test_what_sockets_get(driver: str, bare: Socket, hardened: Socket) -> None:
    assert _drivers.socket({}, driver) == bare
    assert _drivers.socket(WANTED, driver) == hardened


def test_a_driver_that_is_none() -> None:
    with pytest.raises(Failure, match="did you mean pgjdbc") as problem:
        _drivers.parameters(WANTED, "pgjdb")
    assert problem.value.code == "unknown_driver"
    with pytest.raises(Failure, match=r"no such driver\. The drivers are libpq"):
        _drivers.socket(WANTED, "???")
