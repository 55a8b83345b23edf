# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""connection_info beside what the server and the kernel say themselves, on real servers of each major."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from support import Cluster, Session, places, run_module

from ansible_collections.pgharden.connection.plugins.module_utils import _info

if t.TYPE_CHECKING:
    from conftest import NewCluster

ONE = pytest.mark.parametrize("major", [17])
as_root = pytest.mark.skipif(not places.is_root(), reason="other users and namespaces need root")

SOCKET = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
HARDENED = dict(zip(SOCKET, ("60", "10", "6", "120000"), strict=True))
Result = dict[str, t.Any]


def info(cluster: Cluster, way: str = "unix", *, network: Cluster | None = None, **options: t.Any) -> Result:
    """Run the module; it must neither end with a traceback nor tell a secret."""
    login = {"login_host": cluster.host} if way == "tcp" else {"login_unix_socket": str(cluster.socket_dir)}
    run = {key: options.pop(key) for key in ("check", "as_user") if key in options}
    args = {"login_port": cluster.port, **login, **options}
    result = run_module(network or cluster, "connection_info", args, **run)
    secret = options.get("login_password")
    assert "exception" not in result, result
    assert not secret or secret not in json.dumps({**result, "invocation": None})
    assert result.get("changed", False) is False
    return result


def alter_system(cluster: Cluster, settings: t.Mapping[str, t.Any]) -> None:
    for name, value in settings.items():
        cluster.query(f"ALTER SYSTEM SET {name} = '{value}'")
    cluster.reload()


def keepalive(cluster: Cluster, session: Session) -> float:
    """What ss says is left of the keepalive timer on the server's side of a session."""
    deadline = time.monotonic() + 60  # for what hangs
    while True:
        (socket,) = [
            one for one in cluster.sockets() if (one.local_port, one.peer_port) == (cluster.port, session.local_port)
        ]
        if socket.timer == "keepalive" and socket.seconds is not None:
            return socket.seconds
        assert time.monotonic() < deadline


def session_settings(cluster: Cluster, names: t.Iterable[str], **conn: t.Any) -> dict[str, str]:
    sql = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
    return dict(cluster.query(sql, (list(names),), tcp=True, **conn))


def test_what_is_configured_is_what_a_tcp_session_gets(cluster: Cluster, major: int) -> None:
    alter_system(cluster, HARDENED)
    for way, through in (("unix", "new_session"), ("tcp", "login")):
        result = info(cluster, way)
        assert (result["rc"], result["server_down"], result["reason"]) == (0, False, None)
        server, effective = result["server"], result["effective"]
        assert server["version_num"] // 10000 == major
        assert (server["data_directory"], server["config_file"]) == (str(cluster.data_dir), str(cluster.config_file))
        assert (server["superuser"], server["in_recovery"], server["unreadable"]) == (True, False, [])
        known = [
            row[0] for row in cluster.query("SELECT name FROM pg_settings WHERE name = ANY(%s)", (list(_info.NAMES),))
        ]
        assert sorted(result["settings"]) == sorted(known)
        assert {name: result["settings"][name]["value"] for name in SOCKET} == HARDENED
        for name in SOCKET:
            line = cluster.query("SELECT sourcefile, sourceline FROM pg_file_settings WHERE name = %s", (name,))[0]
            row = result["settings"][name]
            assert row["layers"]["session"] == {"value": HARDENED[name], "source": "configuration file"}
            assert (row["source"], row["sourcefile"], row["sourceline"]) == ("configuration file", *line)
        assert effective["through"] == through
        assert effective["settings"] == session_settings(cluster, effective["settings"])
        assert {name: effective["settings"][name] for name in SOCKET} == HARDENED
        assert effective["kernel"]["timer"] == "keepalive"
        with cluster.session() as session:
            assert abs(effective["kernel"]["seconds"] - keepalive(cluster, session)) < 10
        assert 50 < effective["kernel"]["seconds"] <= 60 * 1.125
        assert result["kernel"]["of_server"] is True
        idle = [row for row in result["promises"] if (row["phase"], row["fault"]) == ("idle", "peer_vanished")]
        assert [row["seconds"] for row in idle] == [120]


def test_values_that_nobody_configured(cluster: Cluster) -> None:
    cluster.set_sysctl("net.ipv4.tcp_keepalive_time", 1234)
    result = info(cluster)
    for name, row in result["settings"].items():
        boot, default = cluster.query("SELECT boot_val, reset_val FROM pg_settings WHERE name = %s", (name,))[0]
        assert row["layers"]["session"]["value"] == default
        if row["source"] == "default":
            assert (row["value"], row["layers"]["file"]) == (boot, [])
    assert result["settings"]["tcp_keepalives_idle"]["value"] == "0"
    assert result["effective"]["settings"]["tcp_keepalives_idle"] == "1234"
    assert result["kernel"]["sysctls"]["net.ipv4.tcp_keepalive_time"]["value"] == "1234"
    (idle,) = [row for row in result["promises"] if (row["phase"], row["fault"]) == ("idle", "peer_vanished")]
    assert idle["seconds"] == 1234 + 9 * 75


def test_overrides_are_shown_by_layer_and_do_not_hide_what_is_configured(cluster: Cluster) -> None:
    alter_system(cluster, HARDENED)
    cluster.query("CREATE ROLE reader LOGIN")
    cluster.query("CREATE DATABASE shop")
    for place, value in (
        ("ROLE postgres", 71),
        ("ROLE reader", 72),
        ("DATABASE shop", 73),
        ("ROLE reader IN DATABASE shop", 74),
        ("ROLE ALL", 75),
    ):
        cluster.query(f"ALTER {place} SET tcp_keepalives_idle = {value}")
    result = info(cluster)
    row = result["settings"]["tcp_keepalives_idle"]
    assert (row["value"], row["source"]) == ("60", "configuration file")
    layers = row["layers"]
    assert sorted(layers["role"], key=lambda one: one["value"]) == [
        {"role": "postgres", "value": "71"},
        {"role": "reader", "value": "72"},
        {"role": None, "value": "75"},
    ]
    assert layers["database"] == [{"database": "shop", "value": "73"}]
    assert layers["role_in_database"] == [{"role": "reader", "database": "shop", "value": "74"}]
    assert layers["session"] == {"value": "71", "source": "user"}
    assert {one["value"] for one in row["shadowed_by"]} == {"71", "72", "73", "74", "75"}
    assert result["effective"]["settings"]["tcp_keepalives_idle"] == "71"
    assert session_settings(cluster, SOCKET) == {name: result["effective"]["settings"][name] for name in SOCKET}
    # a value that only the login has is not taken for the server's
    cluster.query("ALTER SYSTEM RESET tcp_keepalives_idle")
    cluster.reload()
    row = info(cluster)["settings"]["tcp_keepalives_idle"]
    assert (row["value"], row["source"], row["sourcefile"]) == ("0", "default", None)


def test_a_line_that_loses_to_alter_system(cluster: Cluster) -> None:
    with cluster.config_file.open("a") as file:
        file.write("tcp_keepalives_idle = 2min\n")
    last = len(cluster.config_file.read_text().splitlines())
    alter_system(cluster, {"tcp_keepalives_idle": 90})
    row = info(cluster)["settings"]["tcp_keepalives_idle"]
    assert row["value"] == "90"
    first, second = row["layers"]["file"]
    assert first == {"value": "2min", "sourcefile": str(cluster.config_file), "sourceline": last, "applied": False}
    assert (second["value"], second["sourcefile"], second["applied"]) == ("90", str(cluster.auto_conf), True)
    (shadow,) = row["shadowed_by"]
    assert (shadow["kind"], shadow["value"], shadow["sourcefile"]) == ("alter system", "90", str(cluster.auto_conf))


def test_a_value_that_the_kernel_refuses(cluster: Cluster) -> None:
    with cluster.config_file.open("a") as file:
        file.write("tcp_keepalives_idle = 40000\n")
    cluster.reload()
    result = info(cluster)
    assert result["settings"]["tcp_keepalives_idle"]["value"] == "40000"
    assert result["effective"]["settings"]["tcp_keepalives_idle"] == "7200"
    assert result["effective"]["kernel"]["seconds"] > 7000
    with cluster.session() as session:
        assert keepalive(cluster, session) > 7000
    (idle,) = [row for row in result["promises"] if (row["phase"], row["fault"]) == ("idle", "peer_vanished")]
    assert idle["seconds"] == 7200 + 9 * 75


def test_sessions_and_what_is_stale(cluster: Cluster, major: int) -> None:
    cluster.query("CREATE ROLE patient LOGIN")
    cluster.query("ALTER ROLE patient SET tcp_keepalives_idle = '10min'")
    patient = cluster.session(user="patient")
    stale = cluster.session(application_name="stale")
    alter_system(cluster, HARDENED)
    fresh = cluster.session(application_name="fresh")
    fresh.execute("BEGIN")
    busy = cluster.session(tcp=False)
    busy.send("SELECT pg_sleep(60)")
    deadline = time.monotonic() + 60  # for what hangs
    while not cluster.query("SELECT 1 FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND state = 'active'"):
        assert time.monotonic() < deadline
    sessions = info(cluster)["sessions"]
    counts = {key: sessions[key] for key in ("total", "over_tcp", "idle", "idle_in_transaction", "active")}
    assert counts == {"total": 4, "over_tcp": 3, "idle": 2, "idle_in_transaction": 1, "active": 1}
    assert keepalive(cluster, stale) > 7000
    assert [one["pid"] for one in sessions["stale"]] == [stale.pid]
    assert {row["datname"] for row in sessions["databases"]} == {"postgres", "template0", "template1"}
    assert ("sessions_abandoned" in sessions["databases"][0]) == (major >= 14)
    stale.execute("SELECT 1")
    assert keepalive(cluster, stale) <= 60 * 1.125
    assert 500 < keepalive(cluster, patient) <= 600 * 1.125
    assert info(cluster)["sessions"]["stale"] == []


@ONE
def test_nothing_is_changed(cluster: Cluster) -> None:
    def state() -> list[t.Any]:
        files = {path: path.read_bytes() for path in cluster.data_dir.glob("*.conf")}
        settings = cluster.query("SELECT name, reset_val, source FROM pg_settings ORDER BY 1")
        sysctls = cluster.run(["sh", "-c", "cat /proc/sys/net/ipv4/tcp_*; ls -lR --full-time /etc/sysctl.d"])
        return [files, settings, sysctls.stdout]

    alter_system(cluster, HARDENED)
    before, logged = state(), cluster.log()
    plain = info(cluster)
    checked = info(cluster, check=True)
    # The sockets and sessions differ from run to run; processes called like a pooler are other tests' and come and go.
    passing = dict.fromkeys(("effective", "sessions", "poolers"))
    assert plain["kernel"].pop("counters").keys() == checked["kernel"].pop("counters").keys()
    assert plain["server"].pop("date") <= checked["server"].pop("date")  # it may be midnight
    assert {**plain, **passing} == {**checked, **passing}
    assert state() == before
    assert cluster.log() == logged


def test_a_login_that_is_no_superuser(cluster: Cluster) -> None:
    alter_system(cluster, HARDENED)
    cluster.query("CREATE ROLE plain LOGIN")
    session = cluster.session()
    for way in ("unix", "tcp"):
        result = info(cluster, way, login_user="plain")
        server = result["server"]
        assert (server["superuser"], server["config_file"], server["data_directory"]) == (False, None, None)
        assert [row["privilege"].split()[-1] for row in server["unreadable"]] == [
            "pg_show_all_file_settings()",
            "pg_monitor)",
            "pg_monitor)",
        ]
        assert {name: result["settings"][name]["value"] for name in SOCKET} == HARDENED
        assert result["settings"]["tcp_keepalives_idle"]["layers"]["file"] is None
        assert {name: result["effective"]["settings"][name] for name in SOCKET} == HARDENED
        assert result["sessions"]["total"] == 0
    cluster.query("GRANT pg_monitor TO plain")
    result = info(cluster, login_user="plain")
    assert [row["privilege"].split()[0] for row in result["server"]["unreadable"]] == ["superuser,"]
    assert result["server"]["config_file"] == str(cluster.config_file)
    row = result["settings"]["tcp_keepalives_idle"]
    assert (row["source"], row["sourcefile"]) == ("configuration file", str(cluster.auto_conf))
    assert result["sessions"]["total"] == 1
    cluster.query("ALTER ROLE plain SET tcp_keepalives_idle = 80")
    row = info(cluster, login_user="plain")["settings"]["tcp_keepalives_idle"]
    assert (row["value"], row["source"], row["layers"]["session"]["value"]) == (None, None, "80")
    session.close()
    if cluster.major >= 15:
        cluster.query("GRANT SELECT ON pg_file_settings TO plain")
        cluster.query("GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() TO plain")
        result = info(cluster, login_user="plain")
        assert (result["server"]["unreadable"], result["settings"]["tcp_keepalives_idle"]["value"]) == ([], "60")


def test_a_server_that_is_down(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major)
    cluster.stop()
    for way in ("unix", "tcp"):
        # that it is tried again is shown in test_connect_retry
        result = info(cluster, way, connect_retry="off")
        assert (result["rc"], result["server"], result["server_down"]) == (0, None, True)
        assert "No such file" in result["reason"] or "refused" in result["reason"]
        assert result["kernel"]["sysctls"]["net.ipv4.tcp_keepalive_time"]["value"] == "7200"
        assert result["kernel"]["of_server"] is None
        failed = info(cluster, way, require_server=True, connect_retry="off")
        assert (failed["rc"], failed["failure"]["code"], failed["failure"]["down"]) == (1, "login_failed", True)


def test_a_standby(cluster: Cluster, new_cluster: NewCluster, major: int) -> None:
    cluster.query("CREATE ROLE reader LOGIN")
    cluster.query("ALTER ROLE reader SET tcp_keepalives_idle = 72")
    standby = new_cluster(major, standby_of=cluster, conf="tcp_keepalives_idle = 66")
    result = info(standby)
    assert (result["server"]["in_recovery"], result["effective"]["through"]) == (True, "new_session")
    row = result["settings"]["tcp_keepalives_idle"]
    assert (row["value"], row["layers"]["role"]) == ("66", [{"role": "reader", "value": "72"}])
    assert result["effective"]["settings"]["tcp_keepalives_idle"] == "66"


@ONE
@as_root
def test_without_a_password_for_tcp_a_bare_connection_shows_the_keepalive(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, auth="peer+scram")
    alter_system(cluster, HARDENED)
    result = info(cluster, login_user=cluster.superuser, login_os_user=cluster.os_user)
    effective = result["effective"]
    assert (effective["through"], effective["host"], effective["settings"]) == ("bare_connection", "127.0.0.1", None)
    assert "password" in effective["reason"]
    assert effective["kernel"]["timer"] == "keepalive"
    assert 50 < effective["kernel"]["seconds"] <= 60 * 1.125
    assert result["kernel"]["of_server"] is True
    assert {name: result["settings"][name]["value"] for name in SOCKET} == HARDENED
    # the password of the login is for TCP too
    login = {"login_os_user": cluster.os_user, "login_password": cluster.password}
    effective = info(cluster, **login)["effective"]
    assert (effective["through"], effective["settings"]["tcp_keepalives_idle"]) == ("new_session", "60")
    effective = info(cluster, **{**login, "login_password": "an-0ther-Secret"})["effective"]
    assert (effective["through"], effective["kernel"]["timer"]) == ("bare_connection", "keepalive")
    assert "password authentication failed" in effective["reason"]


@ONE
def test_a_login_that_is_refused_is_a_failure(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, auth="scram")
    for way in ("unix", "tcp"):
        result = info(cluster, way, login_password="an-0ther-Secret")
        assert (result["rc"], result["failure"]["code"], result["failure"]["down"]) == (1, "login_failed", False)


@ONE
def test_a_server_without_tcp(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf="listen_addresses = ''")
    result = info(cluster)
    assert result["effective"] == {
        "through": None,
        "host": None,
        "settings": None,
        "kernel": None,
        "reason": "listen_addresses is empty",
    }
    # by the process behind its socket, where that may be looked at
    assert result["kernel"]["of_server"] is not False


@ONE
def test_another_server_behind_the_same_address(cluster: Cluster, new_cluster: NewCluster, major: int) -> None:
    alter_system(cluster, HARDENED)
    other = new_cluster(major, conf="tcp_keepalives_idle = 33")
    result = info(cluster, network=other)
    assert result["settings"]["tcp_keepalives_idle"]["value"] == "60"
    assert (result["effective"]["through"], result["effective"]["settings"]) == (None, None)
    assert "127.0.0.1: another server answers there" in result["effective"]["reason"]
    assert result["kernel"]["of_server"] is not True


# Listens in one network, connects in another: a server on another host, as far as this one's kernel can tell.
RELAY = """
import os, socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
handle = os.open(f"/proc/{sys.argv[1]}/ns/net", os.O_RDONLY)
def copy(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)
os.setns(handle)
while True:
    client, _address = listener.accept()
    server = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for pair in ((client, server), (server, client)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


@ONE
@as_root
def test_a_server_on_another_host(cluster: Cluster, new_cluster: NewCluster, major: int) -> None:
    cluster.set_sysctl("net.ipv4.tcp_keepalive_time", 1234)
    alter_system(cluster, {"tcp_keepalives_interval": 11})
    here = new_cluster(major)
    here.set_sysctl("net.ipv4.tcp_keepalive_time", 4321)
    argv = here.argv([sys.executable, "-c", RELAY, str(cluster.namespace.pid), str(cluster.port)])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as relay:
        try:
            assert relay.stdout
            port = int(relay.stdout.readline())
            result = info(cluster, "tcp", network=here, login_port=port)
        finally:
            relay.kill()
    assert result["kernel"]["sysctls"]["net.ipv4.tcp_keepalive_time"]["value"] == "4321"
    assert result["kernel"]["of_server"] is False
    assert (result["effective"]["through"], result["effective"]["kernel"]) == ("login", None)
    assert result["effective"]["settings"]["tcp_keepalives_idle"] == "1234"
    (idle,) = [row for row in result["promises"] if (row["phase"], row["fault"]) == ("idle", "peer_vanished")]
    assert idle["seconds"] == 1234 + 9 * 11


@ONE
def test_poolers(cluster: Cluster, tmp_path: Path) -> None:
    program = shutil.copy(shutil.which("sleep") or "/bin/sleep", tmp_path / "pgcat")
    with cluster.session(application_name="PgBouncer"), cluster.session(application_name="app - 10.0.0.7:51234"):
        process = subprocess.Popen([program, "60"])
        try:
            found = {(row["name"], row["seen_in"]): row["evidence"] for row in info(cluster)["poolers"]}
        finally:
            process.kill()
            process.wait()
    assert found["pgbouncer", "pg_stat_activity"] == "application_name PgBouncer"
    assert found["pgbouncer or odyssey", "pg_stat_activity"] == "application_name app - 10.0.0.7:51234"
    assert str(process.pid) in found["pgcat", "processes"]
    assert not [key for key in found if key[1] == "login"]


@ONE
def test_sysctls_of_the_next_boot(cluster: Cluster) -> None:
    line = "echo '# ours\\nnet.ipv4.tcp_retries2 = 8' >/etc/sysctl.d/90-test.conf"
    loser = "echo 'net.ipv4.tcp_retries2 = 7' >/etc/sysctl.d/20-other.conf"
    cluster.run(["sh", "-c", f"{line}; {loser}"], check=True)
    cluster.set_sysctl("net.ipv4.tcp_retries2", 9)
    sysctls = info(cluster)["kernel"]["sysctls"]
    assert sysctls["net.ipv4.tcp_retries2"] == {
        "value": "9",
        "reason": None,
        "persistent": {"value": "8", "file": "/etc/sysctl.d/90-test.conf", "line": 2},
        "overridden": [{"value": "7", "file": "/etc/sysctl.d/20-other.conf", "line": 1}],
    }
    for key, row in sysctls.items():
        assert row["value"] == cluster.get_sysctl(key)


@ONE
@as_root
def test_where_proc_sys_is_read_only(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major)
    cluster.run(["sh", "-ec", "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys"], check=True)
    row = info(cluster)["kernel"]["sysctls"]["net.ipv4.tcp_keepalive_time"]
    assert (row["value"], row["reason"]) == ("7200", "read_only")


@ONE
def test_an_error_in_the_files_and_a_restart_that_is_due(cluster: Cluster) -> None:
    alter_system(cluster, {"max_connections": 77})
    with cluster.config_file.open("a") as file:
        file.write("no_such_parameter = 1\n")
    result = info(cluster)
    row = result["settings"]["max_connections"]
    assert (row["value"], row["layers"]["session"]["value"], row["pending_restart"]) == ("77", "100", True)
    fatal = [one for one in result["server"]["configuration_errors"] if one["fatal"]]
    assert [(one["name"], one["sourcefile"]) for one in fatal] == [("no_such_parameter", str(cluster.config_file))]
