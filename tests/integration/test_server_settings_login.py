# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_settings and every way to be let in or not: it works, or there is one clear error, and no secret in it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import typing as t
from pathlib import Path

import psycopg2
import pytest
from _settings import apply, as_root, in_force, one_major, over_socket, over_tcp, refuse, run, state, wait_until
from support import Cluster, available_majors, certificates, run_playbook

if t.TYPE_CHECKING:
    from conftest import NewCluster

IDLE = "tcp_keepalives_idle"
WRONG = "wr0ng-Secret-Of-The-Test"
#: For logins that are bound to fail; that others are tried again is shown in test_connect_retry.
ONCE = {"connect_retry": "off"}

with_tls = pytest.mark.parametrize("major", [min(available_majors({"tls"}), default=15)])


@pytest.fixture(scope="module")
def locked() -> t.Iterator[Cluster]:
    """Passwords over TCP, peer authentication over the Unix socket; nothing here changes it for good."""
    with Cluster.start(15, auth="peer+scram") as cluster:
        yield cluster


@as_root
def test_peer_authentication_as_another_os_user(locked: Cluster) -> None:
    assert apply(locked, {IDLE: 60}, login_os_user=locked.os_user)["changed"]
    # Root over a Unix socket can only mean that.
    assert not apply(locked, {IDLE: 60})["changed"]
    assert not apply(locked, {IDLE: 60}, as_user=locked.os_user)["changed"]
    assert in_force(locked, IDLE) == ["60"]
    message = refuse(locked, {IDLE: 70}, "login_failed", login_os_user="nobody")
    assert "login_os_user" in message
    refuse(locked, {IDLE: 70}, "cannot_switch_user", login_os_user="no_such_user")
    before = state(locked)
    result = run(locked, {IDLE: 70}, as_user="nobody", login_os_user=locked.os_user)
    assert result["failure"]["code"] == "cannot_switch_user"
    assert state(locked) == before
    apply(locked, {IDLE: None})


def test_passwords(locked: Cluster) -> None:
    access = over_tcp(locked)
    for secret in ({"login_password": locked.password}, {"connect_params": {"password": locked.password}}):
        result = apply(locked, {"work_mem": "5MB"}, **access, **secret)
        assert locked.password not in json.dumps(result)
    apply(locked, {"work_mem": None}, **access, login_password=locked.password)
    for secret in ({"login_password": WRONG}, {"connect_params": {"password": WRONG}}):
        for user in ("postgres", "no_such_role"):
            result = run(locked, {IDLE: 60}, **access, **secret, login_user=user)
            assert result["failure"]["code"] == "login_failed"
            assert "password authentication failed" in result["msg"]
            assert WRONG not in json.dumps(result)
    assert "login_password" in refuse(locked, {IDLE: 60}, "login_failed", **access)
    # A connection string is secret as a whole.
    result = run(locked, {IDLE: 60}, **access, connect_params={"dsn": f"password={WRONG}"})
    assert result["failure"]["code"] == "login_failed"
    assert WRONG not in json.dumps(result)


@pytest.mark.parametrize(
    "secret", [{"login_password": WRONG}, {"connect_params": {"password": WRONG, "sslpassword": WRONG}}]
)
def test_the_most_talkative_run_tells_no_password(locked: Cluster, tmp_path: Path, secret: dict[str, t.Any]) -> None:
    task = {"pgharden.connection.server_settings": {**over_tcp(locked), "settings": {IDLE: 60}, **secret}}
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    done = run_playbook(locked, playbook, "-vvvv", "--diff")
    assert done.rc == 2
    assert "password authentication failed" in done.stdout
    assert WRONG not in done.stdout + done.stderr


@one_major
def test_nobody_of_that_name(cluster: Cluster) -> None:
    assert "login_user" in refuse(cluster, {IDLE: 60}, "login_failed", login_user="no_such_role")
    assert "login_db" in refuse(cluster, {IDLE: 60}, "login_failed", login_db="no_such_db")
    message = refuse(cluster, {IDLE: 60}, "login_failed", login_host="127.0.0.1", login_port=5, **ONCE)
    assert "login_port" in message
    refuse(cluster, {IDLE: 60}, "login_failed", login_unix_socket="/nowhere", **ONCE)
    refuse(cluster, {IDLE: 60}, "login_failed", connect_params={"no_such_keyword": 1})


@with_tls
def test_tls_is_all_that_is_let_in(new_cluster: NewCluster, major: int, tmp_path: Path) -> None:
    cluster = new_cluster(major, tls=True, auth="scram")
    access = {**over_tcp(cluster), "login_password": cluster.password}
    full = {**access, "ssl_mode": "verify-full"}
    assert apply(cluster, {IDLE: 60}, **full, ca_cert=str(cluster.ca_file))["changed"]
    assert not apply(cluster, {IDLE: 60}, **full, ca_cert=str(cluster.ca_file))["changed"]
    assert not apply(cluster, {IDLE: 60}, **access)["changed"]
    assert in_force(cluster, IDLE) == ["60"]
    other = cluster.directory / "other.pem"
    other.write_bytes(certificates.make.__wrapped__().authority)
    for wrong, told in (
        ({**full, "ca_cert": str(other)}, "certificate verify failed|signature failure"),  # depending on the OpenSSL
        ({**full, "ca_cert": "/nowhere.pem"}, "does not exist"),
        ({**full, "ca_cert": str(cluster.ca_file), "login_host": "127.0.0.2"}, "no pg_hba.conf entry|does not match"),
        ({**access, "ssl_mode": "disable"}, "no pg_hba.conf entry|no encryption"),
    ):
        message = refuse(cluster, {IDLE: 70}, "login_failed", **wrong)
        assert any(part in message for part in told.split("|")), message
        assert cluster.password not in message


@one_major
def test_the_server_is_full(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf="max_connections = 6\nsuperuser_reserved_connections = 2\nmax_wal_senders = 0\n")
    cluster.query("CREATE ROLE plain LOGIN")
    before = state(cluster)
    with contextlib.ExitStack() as stack:
        sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        first = stack.enter_context(cluster.session(tcp=False))
        # Servers count a session for a moment after its end.
        wait_until(lambda: first.execute(sessions) == [(1,)])
        for _turn in range(5):
            stack.callback(psycopg2.connect(**cluster.conninfo()).close)
        path = str(cluster.config_file)
        for options in ({}, {"apply_through": "config_file", "config_file": path}, {"login_user": "plain"}):
            result = run(cluster, {IDLE: 60}, **ONCE, **options)
            assert result["failure"]["code"] == "login_failed"
            assert "Free a connection" in result["msg"]
    wait_until(lambda: cluster.query(sessions) == [(1,)])
    assert state(cluster) == before


@one_major
def test_the_server_does_not_answer(cluster: Cluster) -> None:
    before = state(cluster)
    cluster.pause()
    for access in (over_tcp(cluster), over_socket(cluster)):
        result = run(cluster, {IDLE: 60}, connect_params={"connect_timeout": 2}, **ONCE, **access)
        assert result["failure"]["code"] == "login_failed"
        assert "hangs" in result["msg"]
    cluster.resume()
    assert state(cluster) == before


@one_major
def test_the_server_is_starting(cluster: Cluster) -> None:
    cluster.stop()
    go = cluster.data_dir / "go"
    wait = f"until [ -e {go} ]; do sleep 0.05; done; false"
    (cluster.data_dir / "standby.signal").touch()
    with cluster.config_file.open("a") as file:
        file.write(f"restore_command = '{wait}'\n")
    before = state(cluster)
    starting = threading.Thread(target=cluster.start_again)
    starting.start()
    try:
        path = str(cluster.config_file)

        def login() -> str:
            try:
                psycopg2.connect(**cluster.conninfo()).close()
            except psycopg2.OperationalError as error:
                return str(error)
            return ""

        wait_until(lambda: re.search("starting up|not yet accepting", login()))
        for options in ({}, {"apply_through": "config_file", "config_file": path}, {"role": "postgres"}):
            result = run(cluster, {IDLE: 60}, **ONCE, **options)
            assert result["failure"]["code"] == "login_failed"
            assert "Wait until the server has started" in result["msg"]
    finally:
        go.touch()
        starting.join()
    assert state(cluster)[0] == before[0]


@one_major
def test_shutting_down_or_down(cluster: Cluster) -> None:
    cluster.stop()
    for access in (over_tcp(cluster), over_socket(cluster)):
        assert "Start the server" in refuse(cluster, {IDLE: 60}, "login_failed", **ONCE, **access)
    cluster.start_again()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
@one_major
def test_databases_of_other_encodings(cluster: Cluster, encoding: str) -> None:
    cluster.query(f"CREATE DATABASE other ENCODING '{encoding}' TEMPLATE template0")
    with cluster.config_file.open("ab") as file:
        file.write(b"application_name = 'caf\xe9'\n")
    assert apply(cluster, {IDLE: 60}, login_db="other")["changed"]
    assert not apply(cluster, {IDLE: 60}, login_db="other")["changed"]
    assert apply(cluster, {"log_line_prefix": "\u00e4 %m "}, login_db="other")["changed"]
    assert not apply(cluster, {"log_line_prefix": "\u00e4 %m "}, login_db="other")["changed"]
