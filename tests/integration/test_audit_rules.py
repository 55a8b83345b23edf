# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of an audit on real servers: what is provoked there is found, and a hardened server is at peace."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import typing as t
from pathlib import Path

import psycopg2
import pytest
from _hardening import Host, NewCluster, profile, wait_for
from support import Cluster, Session, run_module

from ansible_collections.pgharden.connection.plugins.module_utils import _policy
from ansible_collections.pgharden.connection.plugins.module_utils._audit import _look, _rules
from ansible_collections.pgharden.connection.plugins.module_utils._database import Database
from ansible_collections.pgharden.connection.plugins.module_utils._findings import Finding

ONE = pytest.mark.parametrize("major", [17])
WEB = _policy.parse({}, profile("web"))
KEEPALIVE = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
#: Processes called like a pooler are those of other tests, and 13 and 14 have come to their end while others have not.
PASSING = ("PGC702", "PGC704")
#: Probes that go unanswered are seen soon, and the session stays all the same.
IMPATIENT = "tcp_keepalives_idle = 1\ntcp_keepalives_interval = 1\ntcp_keepalives_count = 100\n"
#: The log as it is by default.
LOGGING = {"PGC601", "PGC602", "PGC603", "PGC606"}


def findings(
    cluster: Cluster, way: str = "tcp", policy: _policy.Policy | None = None, **options: t.Any
) -> list[Finding]:
    login = {"login_host": cluster.host} if way == "tcp" else {"login_unix_socket": str(cluster.socket_dir)}
    result = run_module(cluster, "connection_info", {"login_port": cluster.port, **login, **options})
    assert not result.get("failed"), result
    assert cluster.password not in json.dumps({**result, "invocation": None})
    return [one for one in _rules.findings(result, policy) if one.id not in PASSING]


def ids(cluster: Cluster, way: str = "tcp", policy: _policy.Policy | None = None, **options: t.Any) -> set[str]:
    return {one.id for one in findings(cluster, way, policy, **options)}


def alter_system(cluster: Cluster, settings: t.Mapping[str, t.Any]) -> None:
    for name, value in settings.items():
        cluster.query(f"ALTER SYSTEM SET {name} = '{value}'")
    cluster.reload()


def keepalive(*values: t.Any) -> dict[str, t.Any]:
    return dict(zip(KEEPALIVE, values, strict=False))


def append(cluster: Cluster, line: str) -> int:
    """Add a line to postgresql.conf; its number."""
    with cluster.config_file.open("a") as file:
        file.write(f"{line}\n")
    return len(cluster.config_file.read_text().splitlines())


def cut(cluster: Cluster, session: Session) -> None:
    """Drop whatever the server sends to that session, on the client's way in."""
    rules = "add table inet audit; add chain inet audit input { type filter hook input priority 0; }; "
    cluster.run(["nft", f"{rules} add rule inet audit input tcp dport {session.local_port} drop"], check=True)


def of_version(major: int) -> set[str]:
    return {"PGC701"} if major < 17 else set()


def test_a_server_that_nobody_has_touched(cluster: Cluster, major: int) -> None:
    expected = {"PGC120", "PGC124", "PGC132", "PGC206", "PGC207"} | LOGGING | of_version(major)
    expected |= {"PGC130"} if major >= 14 else set()
    assert ids(cluster, "unix") == expected
    assert ids(cluster) == expected
    broken = {one.where for one in findings(cluster, policy=WEB) if one.id == "PGC140"}
    assert {"detect_dead_peer_within", "path_idle_limit", "close_idle_in_transaction_after", "connect_within"} <= broken


def test_a_hardened_server_is_at_peace(cluster: Cluster, major: int, tmp_path: Path) -> None:
    result = Host(cluster, tmp_path).harden()
    assert not result.get("failed"), result
    for way in ("unix", "tcp"):
        # only what a diagnosis would like the log to tell, and what 13 cannot do
        expected = LOGGING | of_version(major) | ({"PGC141"} if major == 13 else set())
        assert ids(cluster, way, WEB) == expected
        assert ids(cluster, way) == expected - {"PGC141"}
    for name, value in (("log_connections", "on"), ("log_disconnections", "on"), ("log_line_prefix", "%m [%p] %r %e ")):
        cluster.query(f"ALTER SYSTEM SET {name} = '{value}'")
    cluster.reload()
    assert ids(cluster, policy=WEB) == expected - LOGGING


WRONG: list[tuple[dict[str, t.Any], set[str]]] = [
    (keepalive(40_000, 10, 6), {"PGC105", "PGC120", "PGC126"}),
    (keepalive(60, 10, 200), {"PGC105", "PGC127"}),
    (keepalive(60, 90, 5, "510s"), {"PGC121"}),
    (keepalive(60, 10, 2, "80s"), {"PGC122"}),
    (keepalive(5, 2, 3, "11s"), {"PGC123", "PGC131"}),
    (keepalive(60, 10, 6, "10min"), {"PGC125"}),
    (keepalive(60, 10, 6, "30s"), {"PGC126"}),
    (keepalive(60, 10, 6, "90s"), {"PGC127"}),
    (keepalive(60, 10, 6, "0"), {"PGC124"}),
    (keepalive(60, 10, 6, 30), {"PGC104"}),
    ({"client_connection_check_interval": 30}, {"PGC104"}),
    ({"authentication_timeout": "10min"}, {"PGC134"}),
    ({"transaction_timeout": "1min", "statement_timeout": "2min"}, {"PGC135"}),
    ({"wal_sender_timeout": 0, "wal_receiver_timeout": 0}, {"PGC503", "PGC504"}),
    ({"wal_receiver_status_interval": 0}, {"PGC505"}),
    ({"log_min_messages": "fatal"}, {"PGC608"}),
    ({"log_line_prefix": ""}, {"PGC603", "PGC604", "PGC605", "PGC606"}),
    ({"max_connections": 50}, {"PGC106"}),
    ({"idle_in_transaction_session_timeout": 0}, {"PGC132"}),
]


@ONE
def test_wrong_values(cluster: Cluster) -> None:
    sound = {
        **keepalive(60, 10, 6, "120s"),
        "client_connection_check_interval": "10s",
        "idle_in_transaction_session_timeout": "5min",
        "log_line_prefix": "%m [%p] %r %e ",
        "log_connections": "on",
        "log_disconnections": "on",
    }
    assert run_sound(cluster, sound) == {"PGC206"}
    found = [(settings, run_sound(cluster, {**sound, **settings}) - {"PGC206"}) for settings, _expected in WRONG]
    assert found == WRONG
    alter_system(cluster, {"max_connections": 50})
    (waiting,) = [one for one in findings(cluster) if one.id == "PGC106"]
    assert (waiting.where, waiting.evidence.partition(": ")[2]) == ("max_connections", "50 instead of 100")


def run_sound(cluster: Cluster, settings: t.Mapping[str, t.Any]) -> set[str]:
    cluster.query("ALTER SYSTEM RESET ALL")
    alter_system(cluster, settings)
    return ids(cluster)


@ONE
def test_a_policy_that_is_stricter_than_what_is_in_force(cluster: Cluster, tmp_path: Path) -> None:
    Host(cluster, tmp_path).harden()
    limits = {"path_idle_limit": "30s"}, {"path_idle_limit": "60s"}, {"detect_dead_peer_within": "20s"}
    expected = {"PGC128", "PGC140"}, {"PGC129"}, {"PGC140"}
    for limit, wanted in zip(limits, expected, strict=True):
        assert ids(cluster, policy=_policy.parse(limit)) - LOGGING == wanted


def test_files(cluster: Cluster, major: int) -> None:
    number = append(cluster, "tcp_user_timeout = 45s")
    alter_system(cluster, {"tcp_user_timeout": "2min"})
    (loser,) = [one for one in findings(cluster) if one.id == "PGC101"]
    assert f"{cluster.config_file}:{number} (45s): loses to {cluster.auto_conf}:" in loser.evidence
    number = append(cluster, "authentication_timeout = 50")
    assert [one.where for one in findings(cluster) if one.id == "PGC110"] == ["authentication_timeout"]
    cluster.reload()
    assert "PGC110" not in ids(cluster)
    number = append(cluster, "tcp_keepalives_idle = nonsense")
    assert [one.where for one in findings(cluster) if one.id == "PGC109"] == [f"{cluster.config_file}:{number}"]
    number = append(cluster, "idle_replication_slot_timeout = 60" if major < 18 else "wal_sender_shutdown_timeout = 60")
    assert [one.where for one in findings(cluster) if one.id == "PGC108"] == [f"{cluster.config_file}:{number}"]
    number = append(cluster, "no_such_parameter = 1")
    assert [one.where for one in findings(cluster) if one.id == "PGC107"] == [f"{cluster.config_file}:{number}"]


@ONE
def test_line_of_initdbs_that_loses_is_nobodys(cluster: Cluster) -> None:
    alter_system(cluster, {"max_connections": 50, "lc_messages": "POSIX"})
    losers = "SELECT name FROM pg_file_settings WHERE NOT applied AND name IN ('max_connections', 'lc_messages')"
    assert {name for (name,) in cluster.query(losers)} == {"max_connections", "lc_messages"}
    assert "PGC101" not in ids(cluster)
    # Somebody has been at it since.
    text = cluster.config_file.read_text()
    cluster.config_file.write_text(text.replace("\nmax_connections = 100", "\nmax_connections = 99"))
    assert [one.where for one in findings(cluster) if one.id == "PGC101"] == ["max_connections"]


@ONE
def test_overrides(cluster: Cluster, tmp_path: Path) -> None:
    Host(cluster, tmp_path).harden()
    cluster.query("CREATE ROLE reader LOGIN")
    cluster.query("ALTER ROLE reader SET tcp_user_timeout = 0")
    cluster.query("ALTER DATABASE postgres SET idle_session_timeout = 300")
    found = {(one.id, one.where) for one in findings(cluster)} - {(id, "") for id in LOGGING}
    assert {
        ("PGC102", "tcp_user_timeout"),
        ("PGC103", "tcp_user_timeout, role reader"),
        ("PGC102", "idle_session_timeout"),
        ("PGC104", "idle_session_timeout, database postgres"),
    } == {one for one in found if one[0] not in LOGGING}
    cluster.query("ALTER DATABASE postgres RESET ALL")
    cluster.query("ALTER ROLE reader SET tcp_user_timeout = '20s'")
    patient = _policy.parse({"slow_reader_roles": ["reader"]}, profile("web"))
    assert ("PGC131", "tcp_user_timeout, role reader") in {(o.id, o.where) for o in findings(cluster, policy=patient)}
    cluster.query("ALTER ROLE ALL SET tcp_user_timeout = 30")
    (whole,) = [one for one in findings(cluster) if one.id == "PGC104"]
    assert (whole.where, "30ms (ALTER ROLE ALL)" in whole.evidence) == ("tcp_user_timeout", True)


@ONE
def test_an_override_of_the_login_itself(cluster: Cluster, tmp_path: Path) -> None:
    Host(cluster, tmp_path).harden()
    cluster.query("CREATE ROLE reader LOGIN")
    ((idle,),) = cluster.query("SELECT reset_val::int FROM pg_settings WHERE name = 'tcp_keepalives_idle'")
    cluster.query(f"ALTER ROLE reader SET tcp_keepalives_idle = '{idle:#x}'")
    # What others have it cannot know; that is no reason to say that nobody has a keepalive.
    own = [one.id for one in findings(cluster, policy=WEB, login_user="reader", login_db="postgres")]
    assert set(own) - LOGGING == {"PGC102", "PGC706"}
    cluster.query("ALTER ROLE reader SET tcp_keepalives_idle = '0x9C40'")
    assert ("PGC105", "tcp_keepalives_idle, role reader") in {(one.id, one.where) for one in findings(cluster)}


@pytest.mark.parametrize("major", [18])
def test_logging_as_it_was_written(cluster: Cluster) -> None:
    for value, expected in (("NO", {"PGC602"}), ("receipt", set()), ("on", set())):
        alter_system(cluster, {"log_connections": value})
        assert ids(cluster) & {"PGC602"} == expected, value
    alter_system(cluster, {"log_line_prefix": "", "log_destination": "syslog"})
    assert ids(cluster) & {"PGC603", "PGC604", "PGC605", "PGC606"} == {"PGC603", "PGC606"}


@ONE
def test_the_kernel(cluster: Cluster) -> None:
    files = {"/etc/sysctl.d/20-some.conf": 7, "/etc/sysctl.d/50-other.conf": 8}
    for path, value in files.items():
        cluster.run(["sh", "-c", f"echo net.ipv4.tcp_retries2 = {value} >{path}"], check=True)
    cluster.set_sysctl("net.ipv4.tcp_retries2", 5)
    found = {one.id: one for one in findings(cluster) if one.id.startswith("PGC2")}
    assert set(found) == {"PGC204", "PGC205", "PGC206", "PGC207", "PGC208"}
    assert "20-some.conf:1 (7): /etc/sysctl.d/50-other.conf:1 (8)" in found["PGC204"].evidence
    cluster.set_sysctl("net.ipv4.tcp_keepalive_time", 60)
    assert {"PGC206", "PGC207"} & ids(cluster) == set()


@ONE
def test_a_dead_client_that_holds_a_lock(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf=IMPATIENT)
    holder, waiter = cluster.session(application_name="holder"), cluster.session(application_name="waiter")
    cluster.query("CREATE TABLE t ()")
    holder.execute("BEGIN")
    holder.execute("LOCK TABLE t")
    waiter.send("TABLE t")
    cut(cluster, holder)
    wait_for(lambda: "PGC304" in ids(cluster))
    (blocked,) = [one for one in findings(cluster) if one.id == "PGC304"]
    assert blocked.evidence.startswith(f"pid {holder.pid}, role postgres, database postgres, holder")
    assert f"pid {waiter.pid}" in blocked.evidence
    assert "PGC305" in ids(cluster)


@ONE
def test_a_standby_that_does_not_answer(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf=IMPATIENT)
    with cluster.session(replication="database", application_name="s2") as standby:
        assert "PGC508" not in ids(cluster)
        cut(cluster, standby)
        wait_for(lambda: "PGC508" in ids(cluster))
        (silent,) = [one for one in findings(cluster) if one.id == "PGC508"]
        assert silent.where == "standby s2"


@ONE
def test_a_client_that_does_not_read(cluster: Cluster) -> None:
    session = cluster.session()
    session.send("SELECT repeat('x', 100000) FROM generate_series(1, 20000)")
    # Only what has been asked for can be left unread.
    wait_for(
        lambda: cluster.query("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'", (session.pid,))
    )
    os.kill(session.process.pid, signal.SIGSTOP)
    wait_for(lambda: "PGC306" in ids(cluster))
    session.kill()


@ONE
def test_stale_sessions_and_few_connections(new_cluster: NewCluster, major: int, tmp_path: Path) -> None:
    cluster = new_cluster(major, conf="max_connections = 9\nmax_wal_senders = 0\n")
    opened = [cluster.session() for _number in range(5)]
    Host(cluster, tmp_path).harden()
    found = {one.id: one for one in findings(cluster)}
    assert {"PGC301", "PGC307"} <= set(found)
    assert found["PGC301"].evidence.startswith(
        f"5: pid {opened[0].pid}, role postgres, database postgres, from 127.0.0.1"
    )
    assert "5 sessions, 5 of them idle, of 6" in found["PGC307"].evidence


@ONE
def test_how_long_sessions_are_idle(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """With shorter limits than an hour and a minute, since nobody waits that long."""
    idle, waiting = cluster.session(application_name="idle"), cluster.session(application_name="waiting")
    waiting.execute("BEGIN")
    database = Database(psycopg2.connect(**cluster.conninfo()))
    try:
        notable = _look.of_server(database, cluster.port)["notable"]
        assert (notable["rows"], set(notable["counts"].values())) == ([], {0})
        monkeypatch.setattr(_look, "_IDLE", 0)
        monkeypatch.setattr(_look, "_IDLE_IN_TRANSACTION", 0)
        notable = _look.of_server(database, cluster.port)["notable"]
        monkeypatch.setattr(_look, "_SHOWN", 1)
        shown = _look.of_server(database, cluster.port)["notable"]
    finally:
        database.close()
    assert notable["counts"] == {"silent": 0, "blocked": 0, "idle_in_transaction": 1, "not_reading": 0, "idle": 1}
    assert [(row["pid"], row["reasons"]) for row in notable["rows"]] == [
        (waiting.pid, ["idle_in_transaction"]),
        (idle.pid, ["idle"]),
    ]
    assert "query" not in notable["rows"][0]
    assert ([row["pid"] for row in shown["rows"]], shown["counts"]) == ([waiting.pid], notable["counts"])
    facts = {"server": {"version_num": 170000}, "sessions": {"notable": notable}}
    assert {"PGC302", "PGC303"} <= {one.id for one in _rules.findings(facts)}


@ONE
def test_how_sessions_ended(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major)
    for number in range(102):
        connection = psycopg2.connect(**cluster.conninfo())
        connection.autocommit = True
        cursor = connection.cursor()
        if number % 3 == 0:
            with socket.socket(fileno=os.dup(connection.fileno())) as behind_its_back:
                behind_its_back.shutdown(socket.SHUT_RDWR)
        else:
            sql = "SELECT pg_terminate_backend(pg_backend_pid())"
            with pytest.raises(psycopg2.Error):
                cursor.execute(sql if number % 3 == 1 else "SET idle_session_timeout = 1; SELECT pg_sleep(0.01)")
                while True:
                    cursor.execute("SELECT 1, pg_sleep(0)")
        connection.close()
    wait_for(lambda: {"PGC308", "PGC309", "PGC310"} <= ids(cluster))


@ONE
def test_a_slot_that_a_standby_has_copied(new_cluster: NewCluster, major: int) -> None:
    primary = new_cluster(major, conf="wal_level = logical")
    primary.query("SELECT pg_create_physical_replication_slot('standby', true)")
    primary.query("SELECT pg_create_logical_replication_slot('copied', 'pgoutput', false, false, true)")
    standby = new_cluster(major, standby_of=primary, conf="wal_level = logical")
    ((conninfo,),) = standby.query("SELECT current_setting('primary_conninfo')")
    wanted = {"primary_conninfo": f"{conninfo} dbname=postgres", "primary_slot_name": "standby"}
    for name, value in {**wanted, "hot_standby_feedback": "on"}.items():
        standby.query(f"ALTER SYSTEM SET {name} = $value${value}$value$")
    standby.reload()

    def copied() -> bool:
        primary.query("SELECT pg_log_standby_snapshot()")
        primary.query("SELECT pg_replication_slot_advance('copied', pg_current_wal_lsn())")
        with contextlib.suppress(psycopg2.Error):  # an error where the standby has not got as far yet
            standby.query("SELECT pg_sync_replication_slots()")
        return bool(standby.query("SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary"))

    wait_for(copied)
    assert "PGC506" not in ids(standby)
    assert {one.where for one in findings(primary) if one.id == "PGC506"} == {"slot copied"}


@ONE
def test_replication(new_cluster: NewCluster, major: int) -> None:
    primary = new_cluster(major, auth="scram", hba=None)
    primary.query("SELECT pg_create_physical_replication_slot('left', true)")
    standby = new_cluster(major, auth="scram", standby_of=primary)
    login = {"login_password": primary.password}
    unused = [one for one in findings(primary, **login) if one.id == "PGC506"]
    assert [one.where for one in unused] == ["slot left"]
    assert "the server keeps WAL for it" in unused[0].evidence
    primary.query("SELECT pg_create_physical_replication_slot('never')")
    (never,) = [one for one in findings(primary, **login) if one.where == "slot never"]
    assert "no WAL is kept for it so far" in never.evidence
    wait_for(lambda: standby.query("SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'"))
    # its conninfo is a Unix socket's, with a password
    assert not {"PGC501", "PGC502", "PGC507"} & ids(standby, **login)
    conninfo = f"host=192.0.2.1 user=postgres password={primary.password} keepalives_idle=0"
    alter_system(standby, {"primary_conninfo": conninfo})
    wait_for(lambda: {"PGC501", "PGC502", "PGC507"} <= ids(standby, **login))
    (bare,) = [one for one in findings(standby, **login) if one.id == "PGC501"]
    assert "tcp_user_timeout, connect_timeout" in bare.evidence
    conninfo = (
        f"postgresql://postgres:{primary.password}@192.0.2.1/?keepalives_idle=60&tcp_user_timeout=9&connect_timeout=5"
    )
    alter_system(standby, {"primary_conninfo": conninfo})
    assert not {"PGC501", "PGC502"} & ids(standby, **login)
    cluster_role = "CREATE ROLE plain LOGIN PASSWORD 'plain'"
    primary.query(cluster_role)
    found = {one.id for one in findings(primary, login_user="plain", login_password="plain")}
    assert "PGC706" in found


@ONE
@pytest.mark.parametrize("place", ["DATABASE postgres", "ROLE pool", "ROLE pool IN DATABASE postgres"])
def test_poolers(cluster: Cluster, place: str) -> None:
    cluster.query("CREATE ROLE pool LOGIN")
    cluster.query(f"ALTER {place} SET idle_session_timeout = '10min'")
    with cluster.session(user="pool", application_name="pgbouncer") as session:
        assert session.execute("SHOW idle_session_timeout") == [("10min",)]
        (closing,) = [one for one in findings(cluster) if one.id == "PGC133"]
        assert closing.where == f"idle_session_timeout, {place.lower()}"
        # What it says is what helps.
        cluster.query(closing.remedy.partition(";")[0])
        assert "PGC133" not in ids(cluster)
    with cluster.session(user="pool", application_name="pgbouncer") as session:
        assert session.execute("SHOW idle_session_timeout") == [("0",)]


@ONE
def test_servers_that_cannot_be_judged(new_cluster: NewCluster, major: int) -> None:
    alone = new_cluster(major, conf="listen_addresses = ''\n")
    assert ids(alone, "unix") == {"PGC130", "PGC132", "PGC206", "PGC705"} | LOGGING
    assert ids(alone, "unix", WEB) == {"PGC130", "PGC132", "PGC140", "PGC206", "PGC705"} | LOGGING
    alone.stop()
    assert ids(alone, "unix", WEB) == {"PGC206", "PGC707"}
