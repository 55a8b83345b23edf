# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden and server_settings on members of a real Patroni cluster: what is set for the whole server is Patroni's."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from _hardening import profile
from _patronis import auto_conf, config, in_force, started
from support import run_module
from support.patronis import Patroni, Patronis

Result = dict[str, t.Any]
TIMEOUT = "tcp_user_timeout"


@pytest.fixture(scope="module")
def patronis() -> t.Iterator[Patronis]:
    with started(2) as cluster:
        yield cluster


@pytest.fixture
def run(patronis: Patronis, tmp_path: Path) -> t.Callable[..., Result]:
    """A module on the host of a member; no result is a traceback."""

    def module(name: str, member: Patroni, *, check: bool = False, **options: t.Any) -> Result:
        file = {} if name == "server_settings" else {"revert_file": str(tmp_path / f"{member.name}.json")}
        if name == "harden":
            options["policy"] = profile("web")
        login = {"login_host": "127.0.0.1", "login_port": member.port}
        result = run_module(patronis.cluster, name, {**login, **file, **options}, check=check)
        assert "exception" not in result, result
        return result

    return module


def state(patronis: Patronis) -> list[t.Any]:
    files = [(one.data_dir / "postgresql.conf").read_bytes() for one in patronis.members]
    return [config(patronis), files, [auto_conf(one) for one in patronis.members]]


def test_the_whole_server_is_left_to_patroni(patronis: Patronis, run: t.Callable[..., Result]) -> None:
    before = state(patronis)
    patronis.leader.query("CREATE ROLE plain LOGIN")
    leader, standby = patronis.members
    file = {"apply_through": "config_file", "config_file": str(leader.data_dir / "postgresql.conf")}
    plain = {"login_user": "plain", "scope": "server"}
    for member, options in (
        (leader, {}),
        (leader, {"check": True, **file}),
        (leader, plain),
        (standby, {"layers": ["os", "server"]}),
    ):
        refused = run("harden", member, **{"layers": ["server"], **options})
        assert refused["failure"]["code"] == "managed_by_patroni", (member.name, options)
        assert refused["failure"]["sign"] == "parameters"
    for member, options in ((leader, file), (standby, {}), (standby, {"login_user": "plain"})):
        refused = run("server_settings", member, settings={TIMEOUT: "71s"}, **options)
        assert refused["failure"]["code"] == "managed_by_patroni", (member.name, options)
        assert "pgharden.connection.patroni" in refused["msg"]
    assert state(patronis) == before
    # Also where the server is down, and only its file tells.
    refused = run("server_settings", leader, settings={TIMEOUT: "71s"}, **file, login_port=1)
    assert refused["failure"]["sign"] == "file"


def test_databases_roles_and_the_kernel_are_not_patronis(patronis: Patronis, run: t.Callable[..., Result]) -> None:
    leader, standby = patronis.members
    leader.query("CREATE ROLE owner LOGIN")
    leader.query("CREATE DATABASE shop OWNER owner")
    assert run("harden", leader, layers=["os"])["changed"]
    result = run("harden", leader, layers=["server"], login_user="owner")
    assert result["scope"]["databases"] == ["shop"], result
    names = list(result["plan"]["server"])
    sql = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"

    def values() -> list[dict[str, str]]:
        connection = {"user": "owner", "dbname": "shop", "tcp": True}
        return [dict(patronis.cluster.query(sql, (names,), port=one.port, **connection)) for one in patronis.members]

    assert values()[0][TIMEOUT] == "71000"
    # By replication, on the standby too, where there is then nothing to do.
    for _turn in range(100):
        if values()[0] == values()[1]:
            break
        leader.query("SELECT pg_sleep(0.1)")
    assert values()[0] == values()[1]
    assert run("harden", standby, layers=["server"], login_user="owner")["changed"] is False
    assert in_force(standby, [TIMEOUT]) == {TIMEOUT: "0"}
    # What somebody has set behind its back can be taken away.
    leader.query(f"ALTER SYSTEM SET {TIMEOUT} = '5s'")
    assert run("server_settings", leader, settings={TIMEOUT: None})["changed"]
    assert auto_conf(leader) == ""
    assert "failure" not in run("revert", leader, login_user="owner")
    assert values()[0][TIMEOUT] == "0"
