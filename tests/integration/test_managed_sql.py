# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statements for managed services, run by an owner who is no superuser, and seen in fresh sessions over TCP."""

from __future__ import annotations

import typing as t

import psycopg2
import pytest
from support import Cluster

from ansible_collections.pgharden.connection.plugins.module_utils import _duration
from ansible_collections.pgharden.connection.plugins.module_utils._managed import _parameters, _snippets
from ansible_collections.pgharden.connection.plugins.module_utils._managed._service import SERVER_WIDE
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters

DATABASE = 'app "1"'
OWNER, READER = "owner", 'slow "reader"'
PASSWORD = "s3cret-Of-The-Owner"
SETTINGS = "SELECT name, reset_val, setting, source FROM pg_settings WHERE name = ANY (%s)"
POLICY: dict[str, t.Any] = {
    "slow_reader_roles": [READER],
    "slow_reader_grace": "5min",
    "close_idle_session_after": "2h",
    "close_idle_in_transaction_after": "10min",
    "close_transaction_after": "1h",
}


def of_owner(cluster: Cluster, database: str, role: str = OWNER) -> dict[str, t.Any]:
    return {"tcp": True, "user": role, "password": PASSWORD, "dbname": database}


@pytest.fixture
def limited(cluster: Cluster) -> Cluster:
    """A server with an owner who may as much as the administrator of a managed service: CREATEDB and CREATEROLE."""
    cluster.query(f"CREATE ROLE owner LOGIN CREATEDB CREATEROLE NOSUPERUSER PASSWORD '{PASSWORD}'")
    cluster.query('CREATE DATABASE "app ""1""" OWNER owner')
    cluster.query(f'CREATE ROLE "slow ""reader""" LOGIN PASSWORD \'{PASSWORD}\'', **of_owner(cluster, "postgres"))
    return cluster


@pytest.mark.parametrize("major", [13, 18])
@pytest.mark.parametrize("service", ["neon", "supabase"])
def test_the_owner_runs_them_and_fresh_sessions_have_them(limited: Cluster, major: int, service: str) -> None:
    plan = _filters.plan(POLICY, profile="replication", version=major)
    found = _parameters.parameters(plan, service, [DATABASE])
    (file,) = _snippets.render(found, "sql", "project")
    with limited.session(**of_owner(limited, DATABASE)) as session:
        for statement in file.content.splitlines():
            session.execute(statement)
    by_sql = set(plan["server"]) - set(SERVER_WIDE) - {row["name"] for row in found["parameters"]}
    assert {"tcp_keepalives_idle", "tcp_user_timeout", "idle_in_transaction_session_timeout"} <= by_sql
    rows = limited.query(SETTINGS, [sorted(by_sql)], **of_owner(limited, DATABASE))
    # What the server makes of the planned text; over TCP setting is what the socket of the session has.
    wanted = {name: base(name, plan["server"][name]) for name in by_sql}
    assert {name: (reset_val, setting, source) for name, reset_val, setting, source in rows} == {
        name: (value, value, "database") for name, value in wanted.items()
    }
    ((_name, _reset_val, setting, source),) = limited.query(
        SETTINGS, [["tcp_user_timeout"]], **of_owner(limited, DATABASE, READER)
    )
    assert (setting, source) == (base("tcp_user_timeout", plan["roles"][READER]["tcp_user_timeout"]), "user")
    assert int(setting) > int(wanted["tcp_user_timeout"])
    ((_name, _reset_val, _setting, source),) = limited.query(
        SETTINGS, [["tcp_keepalives_idle"]], **of_owner(limited, "postgres")
    )
    assert source == "default", "another database is as it was"


def base(name: str, text: str) -> str:
    """A planned text as pg_settings shows it."""
    if name == "tcp_keepalives_count":
        return text
    return str(_duration.parse(name, text) // (1000 if name.startswith("tcp_keepalives") else 1))


@pytest.mark.parametrize("major", [18])
def test_what_is_left_out_no_owner_may_set(limited: Cluster, major: int) -> None:
    """Or else the catalogue would call impossible what is not."""
    for name in SERVER_WIDE:
        with pytest.raises(psycopg2.errors.CantChangeRuntimeParam):
            limited.query(f'ALTER DATABASE "app ""1""" SET {name} = \'20\'', **of_owner(limited, DATABASE))
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        limited.query("ALTER SYSTEM SET tcp_user_timeout = '20s'", **of_owner(limited, DATABASE))
