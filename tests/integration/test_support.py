# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The throwaway servers are what the other tests take them for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import psycopg2
import pytest
from _settings import alive, wait_until
from support import Cluster, available_majors, places, run_module, run_playbook
from support.sockets import seconds

if t.TYPE_CHECKING:
    from conftest import NewCluster

KEEPALIVE_TIME = "net.ipv4.tcp_keepalive_time"


def test_every_major_is_itself(cluster: Cluster, major: int) -> None:
    assert cluster.query("SHOW server_version_num")[0][0].startswith(str(major))
    assert cluster.query("SHOW config_file") == [(str(cluster.config_file),)]
    assert cluster.query("SHOW data_directory") == [(str(cluster.data_dir),)]
    assert cluster.auto_conf.exists()


def test_a_tcp_session_shows_its_timer(cluster: Cluster) -> None:
    cluster.query("ALTER SYSTEM SET tcp_keepalives_idle = 90")
    cluster.reload()
    with cluster.session() as session:
        assert session.execute("SELECT pg_backend_pid(), inet_client_port()") == [(session.pid, session.local_port)]
        (socket,) = [s for s in cluster.sockets() if s.local_port == cluster.port and s.peer_port == session.local_port]
        deadline = time.monotonic() + 10
        while socket.timer != "keepalive":  # until the last answer is acknowledged, the retransmission's timer runs
            assert time.monotonic() < deadline
            (socket,) = [s for s in cluster.sockets() if s.peer_port == session.local_port]
        assert socket.state == "ESTAB"
        assert socket.seconds is not None
        assert 80 < socket.seconds <= 90


def test_a_session_is_left_alone_and_raises_what_the_server_says(cluster: Cluster) -> None:
    with cluster.session() as session, cluster.session() as other:
        other.execute("SELECT pg_advisory_lock(1)")
        session.send("SELECT pg_advisory_lock(1), 1")
        with pytest.raises(TimeoutError):
            session.receive(timeout=0.05)
        other.execute("SELECT pg_advisory_unlock(1)")
        assert session.receive() == [("", 1)]
        with pytest.raises(psycopg2.errors.DivisionByZero):
            session.execute("SELECT 1 / 0")
        session.kill()
    wait_until(lambda: not cluster.query("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (session.pid,)))


def test_sysctls_are_private(cluster: Cluster) -> None:
    ours = Path("/proc/sys/net/ipv4/tcp_keepalive_time")
    before = ours.read_text()
    cluster.set_sysctl(KEEPALIVE_TIME, 77)
    assert cluster.get_sysctl(KEEPALIVE_TIME) == "77"
    assert ours.read_text() == before
    assert cluster.query("SHOW tcp_keepalives_idle", tcp=True) == [("77",)]


def test_persistent_sysctls_are_private(cluster: Cluster) -> None:
    mine = "/etc/sysctl.d/99-test-of-the-harness.conf"
    cluster.run(["touch", mine], check=True)
    assert not Path(mine).exists()
    assert cluster.run(["test", "-e", mine]).returncode == 0


def test_reset_puts_everything_back(cluster: Cluster) -> None:
    def state() -> list[t.Any]:
        files = {path: path.read_bytes() for path in cluster.data_dir.glob("*.conf")}
        sql = "SELECT (SELECT array_agg(rolname ORDER BY 1) FROM pg_roles), (SELECT array_agg(datname ORDER BY 1) FROM"
        settings = (
            "SELECT name, reset_val, sourcefile, sourceline FROM pg_settings WHERE name !~ 'transaction' ORDER BY 1"
        )
        return [
            files,
            cluster.query(f"{sql} pg_database), (SELECT array_agg(setconfig) FROM pg_db_role_setting)"),
            cluster.query(settings),
            cluster.get_sysctl(KEEPALIVE_TIME),
        ]

    before = state()
    for statement in (
        "ALTER SYSTEM SET tcp_keepalives_idle = 1",
        "ALTER SYSTEM SET max_connections = 40",
        "CREATE ROLE mine LOGIN SUPERUSER",
        "CREATE DATABASE mine OWNER mine",
        "ALTER ROLE mine IN DATABASE mine SET work_mem = '1MB'",
        "ALTER ROLE postgres SET work_mem = '1MB'",
        "ALTER DATABASE postgres SET work_mem = '1MB'",
        "ALTER ROLE ALL SET work_mem = '1MB'",
    ):
        cluster.query(statement)
    cluster.set_sysctl(KEEPALIVE_TIME, 77)
    cluster.config_file.unlink()
    cluster.config_file.symlink_to("elsewhere")
    (cluster.data_dir / "conf.d").mkdir()
    cluster.hba_file.write_text("nonsense")
    session = cluster.session(dbname="mine", user="mine")
    cluster.pause()
    cluster.reset()
    assert state() == before
    assert session.process.poll() is not None
    cluster.stop()
    cluster.reset()
    assert state() == before


@pytest.mark.parametrize("layout", ["datadir", "debian"])
def test_peer_authentication_knows_the_users_of_this_machine(new_cluster: NewCluster, major: int, layout: str) -> None:
    cluster = new_cluster(major, auth="peer+scram", layout=layout)
    with cluster.session(tcp=False) as session:
        assert session.execute("SELECT current_user") == [("postgres",)]
    assert cluster.query("SELECT current_user", tcp=True) == [("postgres",)]
    with pytest.raises(psycopg2.OperationalError, match="password"):
        cluster.query("SELECT 1", tcp=True, password="wrong")
    if places.is_root():
        with pytest.raises(psycopg2.OperationalError, match=r"[Pp]eer authentication failed"):
            cluster.session(tcp=False, as_user="root")


def test_the_debian_layout_keeps_its_files_apart(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, layout="debian", conf="work_mem = '5MB'")
    (cluster.config_dir / "conf.d" / "mine.conf").write_text("tcp_keepalives_idle = 33\n")
    (cluster.config_dir / "conf.d" / "mine.conf").chmod(0o644)
    cluster.reload()
    assert cluster.query("SHOW tcp_keepalives_idle", tcp=True) == [("33",)]
    assert cluster.query("SHOW work_mem") == [("5MB",)]
    assert not (cluster.data_dir / "postgresql.conf").exists()
    assert cluster.query("SHOW hba_file") == [(str(cluster.hba_file),)]
    cluster.reset()
    assert not list((cluster.config_dir / "conf.d").iterdir())


def test_tls_where_asked(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, tls=True, auth="scram")
    assert cluster.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", tcp=True) == [(True,)]
    with pytest.raises(psycopg2.OperationalError, match=r"no encryption|SSL off"):
        cluster.query("SELECT 1", tcp=True, sslmode="disable")


def test_a_standby_streams(cluster: Cluster, new_cluster: NewCluster, major: int) -> None:
    standby = new_cluster(major, standby_of=cluster, auth="scram")
    assert standby.query("SELECT pg_is_in_recovery()") == [(True,)]
    # It is open for sessions before it has asked for what comes next.
    wait_until(lambda: cluster.query("SELECT state FROM pg_stat_replication") == [("streaming",)])


def test_stop_and_start_again(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major)
    cluster.set_sysctl(KEEPALIVE_TIME, 77)
    cluster.stop()
    assert not cluster.running
    cluster.start_again()
    assert cluster.query("SHOW tcp_keepalives_idle", tcp=True) == [("77",)]


def test_everything_is_gone_afterwards(major: int, new_cluster: NewCluster) -> None:
    cluster = new_cluster(major)
    cluster.session()
    pids = [cluster.postmaster_pid, cluster.namespace.pid]
    cluster.close()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not cluster.directory.exists()
    assert not containers_of(cluster.directory)


@pytest.mark.parametrize(("number", "frozen"), [(signal.SIGINT, False), (signal.SIGKILL, True)])
def test_everything_is_gone_after_a_violent_end(major: int, number: int, frozen: bool, new_cluster: NewCluster) -> None:
    new_cluster(major).close()  # so that a missing major is skipped, and its image is built, out here
    code = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started to ignore it
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from support import Cluster
cluster = Cluster.start({major})
session = cluster.session()
if {frozen}:
    cluster.pause()
print(cluster.directory, cluster.postmaster_pid, cluster.namespace.pid, flush=True)
os.kill(os.getpid(), {int(number)})
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=180,
    )
    assert done.returncode == -number
    directory, *pids = done.stdout.split()
    wait_until(
        lambda: not (Path(directory).exists() or any(map(alive, map(int, pids))) or containers_of(Path(directory)))
    )


@pytest.mark.parametrize("wheel", [16, 18])
def test_the_wheel_is_not_taken_for_tls(wheel: int) -> None:
    assert wheel not in available_majors({"tls"}) or available_majors({"tls"})[wheel].kind != "wheel"


def test_a_playbook_runs_on_the_servers_host(new_cluster: NewCluster, tmp_path: Path) -> None:
    playbook = tmp_path / "play.yml"
    playbook.write_text(
        "[{hosts: all, gather_facts: false, tasks: [{command: cat /proc/sys/net/ipv4/tcp_keepalive_time}]}]"
    )
    cluster = new_cluster(18)
    cluster.set_sysctl(KEEPALIVE_TIME, 77)
    done = run_playbook(cluster, playbook, "-v")
    assert done.rc == 0, done.stdout + done.stderr
    assert '"stdout": "77"' in done.stdout


def test_a_module_runs_on_the_servers_host(new_cluster: NewCluster) -> None:
    cluster = new_cluster(18)
    result = run_module(cluster, "tcp_sysctl", {"settings": {"no_such_key": 1}})
    assert result["rc"] == 1
    assert result["failed"]
    with pytest.raises(RuntimeError, match="no_such_module"):
        run_module(cluster, "no_such_module", {})


def test_the_times_of_ss() -> None:
    printed = ["119min", "1min59sec", "59sec", "430ms", "8.123ms", ""]
    assert [seconds(text) for text in printed] == [7140, 119, 59, 0.43, 8.123, 0]


def containers_of(directory: Path) -> str:
    """Containers that this cluster left."""
    try:
        return subprocess.run(
            ["docker", "ps", "--all", "--quiet", f"--filter=name={places.PREFIX}{directory.name}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    except FileNotFoundError:
        return ""
