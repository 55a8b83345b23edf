# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgbouncer: logins, signals, and runs that fail: one clear error, everything as it was, in the file and in force."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import psycopg2
import pytest
from _hardening import wait_for
from _pgbouncers import WEB, Pooler
from support import Cluster, run_module
from support.pgbouncers import ADMIN_PASSWORD, PgBouncer

pytestmark = [
    pytest.mark.parametrize("major", [15]),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of another user's PgBouncer"),
]
TCP = {"login_host": "127.0.0.1", "login_user": "postgres", "login_password": ADMIN_PASSWORD}


@pytest.fixture
def pooler(cluster: Cluster, tmp_path: Path) -> t.Iterator[Pooler]:
    one = Pooler(cluster, tmp_path)
    yield one
    one.pgbouncer.stop()


def configure(pooler: Pooler, settings: str) -> None:
    pooler.pgbouncer.write(pooler.pgbouncer.config_file.name, pooler.pgbouncer.config(settings))


# ---- how to log in


@pytest.mark.parametrize("login", [TCP, {**TCP, "login_host": None}], ids=["tcp", "unix"])
def test_a_login_with_a_password(pooler: Pooler, login: dict[str, t.Any]) -> None:
    pooler.pgbouncer.start()
    result = pooler.harden(**login)
    assert result.get("changed"), result
    assert {name: pooler.pgbouncer.config_in_force()[name] for name in WEB} == WEB
    # The module's own connection, which is older than the reload, is none that somebody has to replace.
    assert result["stale_sockets"] == []


@pytest.mark.parametrize(
    "login",
    [
        {**TCP, "login_password": "wrong"},
        {**TCP, "login_user": "nobody-there"},
        {**TCP, "login_user": "app"},
        {**TCP, "login_port": 6431},
        {"login_os_user": "nobody"},
    ],
    ids=["password", "user", "no admin", "port", "OS user"],
)
def test_a_login_that_fails_is_one_clear_error(pooler: Pooler, login: dict[str, t.Any]) -> None:
    pooler.pgbouncer.start()
    before = pooler.state()
    for check in (True, False):
        result = pooler.harden(check=check, **login)
        assert (result["rc"], result["failure"]["code"]) == (1, "login_failed")
        assert "PgBouncer" in result["msg"]
        assert "wrong" not in result["msg"]
    assert pooler.state() == before


def test_who_may_only_look_cannot_reload(pooler: Pooler) -> None:
    configure(pooler, "stats_users = app\n")
    pooler.pgbouncer.start()
    before = pooler.state()
    result = pooler.harden(**{**TCP, "login_user": "app"})
    assert result["failure"]["code"] == "console_refused"
    assert "everything was put back" in result["msg"]
    assert pooler.state() == before
    assert "RELOAD" not in pooler.pgbouncer.log()


def test_another_pgbouncer_than_the_one_of_the_file_is_not_reloaded(pooler: Pooler) -> None:
    other = PgBouncer(pooler.cluster)
    pooler.pgbouncer.start()
    result = pooler.harden(config_file=str(other.config_file), **TCP)
    assert result["failure"]["code"] == "other_pgbouncer"
    other.write(other.config_file.name, other.config().replace("6432", "6433"))
    other.start()
    try:
        result = run_module(pooler.cluster, "pgbouncer", {"policy": {}, "revert_file": str(pooler.revert_file)})
        assert result["failure"]["code"] == "several_pgbouncers"
        assert str(other.config_file) in result["msg"]
    finally:
        other.stop()


# ---- SIGHUP


@pytest.mark.parametrize("asked", ["signal", "auto"])
def test_where_there_is_no_console_a_signal_does_it(pooler: Pooler, asked: str) -> None:
    if asked == "auto":
        configure(pooler, "unix_socket_dir =\n")
    pooler.pgbouncer.start()
    result = pooler.harden(reload_through=asked)
    assert result["changed"], result
    assert any("SIGHUP" in note for note in result["notes"])
    assert result["idle_backends"] is None
    # The module has waited until new connections have the new options.
    with pooler.pgbouncer.session() as client:
        client.execute("SELECT 1")
        assert {leg: [5 < one <= 36 for one in seconds] for leg, seconds in pooler.timers().items()} == {
            "client": [True],
            "server": [True],
        }
    assert {name: pooler.pgbouncer.config_in_force()[name] for name in WEB} == WEB
    assert "RELOAD command" not in pooler.pgbouncer.log()
    assert not pooler.harden(reload_through=asked)["changed"]


def test_a_signal_that_has_no_effect_is_a_failure(pooler: Pooler) -> None:
    """PgBouncer stops at a line before ours, and says so in its log alone."""
    pooler.pgbouncer.start()
    configure(pooler, "server_lifetime = 10min\n")
    before = pooler.state()
    result = pooler.harden(reload_through="signal")
    assert result["failure"]["code"] == "not_in_force"
    assert "everything was put back" in result["msg"]
    after = pooler.state()
    assert after["files"] == before["files"]
    assert not after["record"]


# ---- half-way


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        ({"no_such_setting": 1}, "unknown_setting"),
        ({"tcp_keepidle": 40000}, "bad_value"),
        ({"tcp_keepcnt": 128}, "bad_value"),
        ({"server_lifetime": "1\nlisten_port = 1"}, "bad_value"),
        ({"server_lifetime": "10min"}, "bad_value"),
        ({"listen_port": "6432 ; as ever"}, "bad_value"),
        ({"pool_mode": "sometimes"}, "not_in_force"),
    ],
)
def test_a_value_that_pgbouncer_does_not_take(pooler: Pooler, overrides: dict[str, t.Any], code: str) -> None:
    pooler.pgbouncer.start()
    before = pooler.state()
    result = pooler.harden(overrides=overrides)
    assert (result["rc"], result["failure"]["code"]) == (1, code)
    assert pooler.state() == before
    with pooler.pgbouncer.session() as client:
        assert client.execute("SELECT 1") == [(1,)]


def test_what_the_kernel_refuses_would_have_closed_pgbouncer(pooler: Pooler) -> None:
    """Why tcp_keepidle = 40000 is an error of ours: PgBouncer takes it, and then no connection over TCP at all."""
    pooler.pgbouncer.start()
    configure(pooler, "tcp_keepidle = 40000\n")
    pooler.pgbouncer.hang_up()
    with pytest.raises(psycopg2.OperationalError, match=r"closed the connection|Connection refused"):
        wait_for(lambda: pooler.pgbouncer.console("SHOW VERSION") == [])


@pytest.mark.parametrize(
    "line",
    ["nonsense", "no_such_setting = 1", "%include /nowhere/at/all.ini", "[unknown]"],
)
def test_a_file_that_pgbouncer_could_not_read_is_not_touched(pooler: Pooler, line: str) -> None:
    pooler.pgbouncer.start()
    configure(pooler, f"{line}\n")
    before = pooler.state()
    for check in (True, False):
        result = pooler.harden(check=check)
        assert result["failure"]["code"] == "bad_config_file"
        content = pooler.pgbouncer.config_file.read_text().splitlines()
        assert f"{pooler.pgbouncer.config_file}:{content.index(line) + 1}:" in result["msg"]
    assert pooler.state() == before


@pytest.mark.parametrize("options", [{}, {"reload_through": "signal", "reload": False}])
@pytest.mark.parametrize("running", [True, False])
def test_a_port_with_a_comment_behind_it_is_one_clear_error(
    pooler: Pooler, running: bool, options: dict[str, t.Any]
) -> None:
    """PgBouncer knows no such comments; one that was started before runs on until it is restarted."""
    if running:
        pooler.pgbouncer.start()
    content = pooler.pgbouncer.config().replace("listen_port = 6432", "listen_port = 6432 ; as ever")
    pooler.pgbouncer.write(pooler.pgbouncer.config_file.name, content)
    before = pooler.state()
    result = pooler.harden(**options)
    assert result["failure"]["code"] == "bad_config_file"
    assert "listen_port = 6432 ; as ever is no number" in result["msg"]
    assert pooler.state() == before


@pytest.mark.parametrize("where", ["above", "below"])
def test_a_line_of_others_that_stops_the_reload_leaves_everything_in_force(pooler: Pooler, where: str) -> None:
    """Nobody can tell that the value is bad until PgBouncer has read it, and has lost what comes after it."""
    configure(pooler, "max_client_conn = 55\n")
    pooler.pgbouncer.start()
    bad, rest = "server_login_retry = soon\n", "max_client_conn = 55\nquery_timeout = 77\n"
    ours = "".join(f"{name} = 1\n" for name in ("tcp_keepalive", *WEB))
    configure(pooler, bad + ours + rest if where == "above" else ours + bad + rest)
    before = pooler.state()
    assert before["in force"]["max_client_conn"] == "55"
    # All that this policy asks for has a line already: below it is in force, and yet the run must not leave it so.
    result = pooler.harden({"detect_dead_peer_within": "90s"})
    assert result["failure"]["code"] == "not_in_force", result
    assert "everything was put back" in result["msg"]
    assert pooler.state() == before


def test_a_file_that_cannot_be_replaced(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    os.link(pooler.pgbouncer.config_file, pooler.pgbouncer.directory / "second.name")
    before = pooler.state()
    result = pooler.harden()
    assert result["failure"]["code"] == "hard_linked"
    assert pooler.state() == before


def test_a_file_that_pgbouncer_may_not_read(pooler: Pooler) -> None:
    """Root can write it; PgBouncer cannot read it, keeps what it has and answers RELOAD with success."""
    pooler.pgbouncer.start()
    pooler.harden()
    pooler.pgbouncer.config_file.chmod(0o000)
    before = pooler.state()
    result = pooler.harden(overrides={"tcp_keepidle": 50})
    assert result["failure"]["code"] == "not_in_force", result
    assert pooler.state() == before
