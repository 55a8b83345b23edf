# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux: the layouts of Red Hat's, SUSE's and Alpine's packages without systemd, asked of server, kernel and files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

import psycopg2
import pytest
from _hardening import profile, wait_for
from _linux import ALPINE, HAPROXY, LABEL, PGBOUNCER, RED_HAT, SUSE, Family, Machine, missing
from support import run_module
from support.places import COLLECTIONS

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
FAMILIES = pytest.mark.parametrize("family", [RED_HAT, SUSE, ALPINE], ids=lambda one: one.name)
WEB = profile("web")
#: What profile web comes to; a second witness beside the plan.
IDLE, INTERVAL, COUNT, USER_TIMEOUT = "35", "6", "6", "71000"
Factory = t.Callable[..., Machine]


@pytest.fixture
def machine_of() -> t.Iterator[Factory]:
    machines: list[Machine] = []

    def start(family: Family, **options: t.Any) -> Machine:
        machines.append(Machine.of(family, **options))
        return machines[-1]

    yield start
    for one in machines:
        one.close()


def fresh(machine: Machine) -> tuple[str, ...]:
    """The TCP settings of a fresh session over TCP: what the kernel has on its socket."""
    names = [f"tcp_keepalives_{part}" for part in ("idle", "interval", "count")]
    rows = dict(machine.query("SELECT name, setting FROM pg_settings", tcp=True))
    return (*(rows[name] for name in names), rows["tcp_user_timeout"])


HARDENED = (IDLE, INTERVAL, COUNT, USER_TIMEOUT)
#: What a login says where psycopg2 is not there.
NO_LIBRARY = """
import sys
sys.modules["psycopg2"], sys.prefix = None, sys.base_prefix
from ansible_collections.pgharden.connection.plugins.module_utils import _errors, _login
try:
    _login.connect(_login.Login())
except _errors.Failure as failure:
    print(failure.remedy)
"""


@FAMILIES
def test_server(machine_of: Factory, family: Family) -> None:
    """No option says where anything is: socket, OS user, revert file and log are found."""
    machine = machine_of(family)
    first = machine.path(machine.main_file)
    os.setxattr(first, "security.selinux", LABEL)
    found, status, before = first.read_bytes(), first.stat(), fresh(machine)

    done = machine.module("harden", policy=WEB)
    assert done.get("changed") is True, done
    assert fresh(machine) == HARDENED
    assert machine.get_sysctl("net.ipv4.tcp_keepalive_time") == IDLE
    assert machine.path("/etc/sysctl.d/90-pgharden-connection.conf").exists()
    assert first.read_bytes() == found  # ALTER SYSTEM has a file of its own
    assert machine.path(done["revert_file"]).exists()
    assert done["revert_file"].startswith("/var/lib/pgharden-connection/")
    assert machine.module("harden", policy=WEB)["changed"] is False
    told = machine.module("connection_info")
    assert told["server"]["data_directory"] == family.data
    assert told["kernel"]["of_server"] is True
    assert machine.module("revert")["changed"] is True
    assert fresh(machine) == before

    options = {"apply_through": "config_file", "config_file": machine.main_file, "layers": ["server"]}
    done = machine.module("harden", policy=WEB, **options)
    assert done.get("changed") is True, done
    assert fresh(machine) == HARDENED
    # It was replaced where it lies, also behind a link, and everything that it was known by has stayed.
    assert machine.path(machine.main_file) == first
    assert first.read_bytes() != found
    assert (machine.root / machine.main_file.lstrip("/")).is_symlink() is bool(family.config)
    now = first.stat()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (
        status.st_uid,
        status.st_gid,
        stat.S_IMODE(status.st_mode),
    )
    assert now.st_ino != status.st_ino
    assert os.getxattr(first, "security.selinux") == LABEL
    assert machine.module("revert")["changed"] is True
    assert first.read_bytes() == found
    assert os.getxattr(first, "security.selinux") == LABEL

    with pytest.raises(psycopg2.Error, match="nobody"), machine.session(user="nobody_at_all", password="none"):
        pass
    wait_for(lambda: "nobody_at_all" in machine.logged())
    told = machine.run(
        [sys.executable, "-c", NO_LIBRARY], env={**os.environ, "PYTHONPATH": str(COLLECTIONS)}, check=True
    )
    assert f"({family.install}" in told.stdout
    assert sys.executable in told.stdout
    diagnosed = machine.module("diagnosis_info", watch="0s")
    assert diagnosed["problems"] == [], diagnosed["problems"]
    (log,) = diagnosed["sources"]["logs"]
    assert log == family.log if family.log.startswith("/") else log == f"{family.data}/{family.log}"
    # A login that may not ask where the log is: what the processes have open tells.
    machine.query(f"CREATE ROLE app LOGIN PASSWORD '{machine.password}'")
    login = {"login_host": "127.0.0.1", "login_user": "app", "login_password": machine.password}
    assert machine.module("diagnosis_info", watch="0s", **login)["sources"]["logs"] == [log]


@pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer")
def test_pgbouncer(machine_of: Factory) -> None:
    """As PGDG's package for Red Hat and SUSE: OS user pgbouncer, sockets in /tmp, a log of its own."""
    machine = machine_of(RED_HAT)
    ini = "/etc/pgbouncer/pgbouncer.ini"
    machine.put("/etc/pgbouncer/userlist.txt", f'"postgres" "{machine.password}"\n', "pgbouncer")
    machine.put(
        ini,
        """\
[databases]
app = host=127.0.0.1 dbname=postgres
[pgbouncer]
logfile = /var/log/pgbouncer/pgbouncer.log
pidfile = /run/pgbouncer/pgbouncer.pid
listen_addr = 127.0.0.1
listen_port = 6432
auth_type = trust
auth_file = /etc/pgbouncer/userlist.txt
admin_users = postgres
;unix_socket_dir = /tmp
""",
        "pgbouncer",
    )
    assert PGBOUNCER
    machine.start_program([PGBOUNCER, "-d", "-u", "pgbouncer", ini], 6432)
    (pid,) = machine.path("/run/pgbouncer/pgbouncer.pid").read_text().split()
    before = machine.path(ini).read_bytes()
    done = machine.module("pgbouncer", policy=WEB)
    assert done.get("changed") is True, done
    assert done["notes"] == []  # its console has answered: the child that logged in was OS user pgbouncer
    rows = dict(row[:2] for row in machine.query("SHOW CONFIG", tcp=True, port=6432, dbname="pgbouncer"))
    assert (rows["tcp_keepidle"], rows["tcp_keepintvl"], rows["tcp_keepcnt"], rows["tcp_user_timeout"]) == HARDENED
    status = machine.path(ini).stat()
    assert machine.run(["stat", "-c", "%U:%G %a", ini], check=True).stdout.strip() == "pgbouncer:pgbouncer 640"
    assert os.getxattr(machine.path(ini), "security.selinux") == LABEL
    assert machine.module("pgbouncer", policy=WEB)["changed"] is False
    # Without its console SIGHUP does.
    done = machine.module("pgbouncer", policy={**WEB, "detect_dead_peer_within": "60s"}, reload_through="signal")
    assert done["changed"] is True
    wait_for(lambda: "SIGHUP" in machine.path("/var/log/pgbouncer/pgbouncer.log").read_text())
    diagnosed = machine.module("diagnosis_info", watch="0s", find_pooler_logs=True)
    assert "/var/log/pgbouncer/pgbouncer.log" in diagnosed["sources"]["logs"]
    assert machine.module("revert", revert_file=done["revert_file"])["changed"] is True
    assert machine.path(ini).read_bytes() == before
    assert machine.path("/run/pgbouncer/pgbouncer.pid").read_text().split() == [pid]
    assert status.st_size != len(before)


@pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy")
@pytest.mark.parametrize("way", ["master", "daemon"])
def test_haproxy(machine_of: Factory, way: str) -> None:
    """Red Hat's files and master; a daemon without one, as OpenRC has it: a reload is a signal, or a new process."""
    machine = machine_of(RED_HAT if way == "master" else ALPINE)
    cfg = "/etc/haproxy/haproxy.cfg"
    machine.put(
        cfg,
        """\
global
    log         127.0.0.1 local2
    chroot      /var/lib/haproxy
    maxconn     400
    user        haproxy
    group       haproxy
    daemon
    stats socket /var/lib/haproxy/stats
defaults
    mode                    tcp
    log                     global
    timeout connect         10s
    timeout client          1m
    timeout server          1m
listen postgres
    bind 127.0.0.1:6432
    server one 127.0.0.1:5432
""",
        "root",
    )
    before = machine.path(cfg).read_bytes()
    options = ["-W", "-f", cfg, "-f", "/etc/haproxy/conf.d"] if way == "master" else ["-D", "-f", cfg]
    assert HAPROXY
    machine.start_program([HAPROXY, *options, "-p", "/run/haproxy.pid"], 6432)

    def timer() -> float:
        """Seconds to the first probe to a client that has just come."""
        with machine.session(port=6432) as session:
            found = [one for one in machine.sockets() if one.local_port == 6432 and one.peer_port == session.local_port]
            return found[0].seconds or 0 if found[0].timer == "keepalive" else 0

    assert timer() == 0
    done = machine.module("haproxy", policy=WEB)
    assert done.get("changed") is True, done
    assert wait_for(timer) <= int(IDLE)
    assert os.getxattr(machine.path(cfg), "security.selinux") == LABEL
    assert machine.module("haproxy", policy=WEB)["changed"] is False
    assert machine.module("revert", revert_file=done["revert_file"])["changed"] is True
    assert machine.path(cfg).read_bytes() == before
    wait_for(lambda: timer() == 0)


def test_a_server_whose_paths_are_not_ours(machine_of: Factory) -> None:
    """As in a container, with its sockets in a directory that it shares: from here its log is below its own root."""
    machine = machine_of(RED_HAT)
    login = {"login_unix_socket": str(machine.socket_dir), "login_os_user": machine.os_user}
    assert not Path(RED_HAT.data).exists()
    with machine.session() as session:
        machine.query("SELECT pg_terminate_backend(%s)", [session.pid])
        wait_for(lambda: "administrator command" in machine.logged())
    found = run_module(None, "diagnosis_info", {**login, "watch": "0s"})
    assert found["problems"] == []
    assert found["sources"]["logs"] == [f"/proc/{machine.postmaster_pid}/root{RED_HAT.data}/log"]
    assert [row["cause"] for row in found["causes"]] == ["backend_terminated"]
    # Check mode, because here is the real machine.
    done = run_module(None, "harden", {**login, "policy": WEB, "revert_file": f"{machine.directory}/r"}, check=True)
    assert set(done["changes"]) == {"server: ALTER SYSTEM"}
    assert "net.ipv4.tcp_keepalive_time" in {row["setting"] for row in done["unsupported"] if row["layer"] == "os"}


# ---- sockets that libpq does not look for


def test_a_server_with_sockets_in_tmp_alone_is_found(machine_of: Factory) -> None:
    machine = machine_of(RED_HAT, sockets=["/tmp"])
    told = machine.module("connection_info", require_server=True)
    assert told["server"]["data_directory"] == RED_HAT.data
    # Nobody is asked who is not meant: that would be another server.
    told = machine.module("connection_info", require_server=True, login_port=5433)
    assert told["failure"]["code"] == "login_failed"
    assert told["failure"]["remedy"].endswith("This host has sockets of servers in /tmp, port 5432.")
    assert machine.module("connection_info", login_unix_socket="/run/postgresql")["server_down"] is True


ROGUE = """
import os, pwd, socket, sys
path = "/tmp/.s.PGSQL.5432"
with socket.socket(socket.AF_UNIX) as listener:
    nobody = pwd.getpwnam("nobody")
    os.setegid(nobody.pw_gid), os.seteuid(nobody.pw_uid)
    listener.bind(path)
    listener.listen()  # it is now that the kernel notes who is the peer
    os.seteuid(0)
    os.chown(path, pwd.getpwnam(sys.argv[1]).pw_uid, -1)
    os.chmod(path, 0o777)
    print("ready", flush=True)
    while True:
        connection, _address = listener.accept()
        print("connected", connection.recv(9), flush=True)
"""


@pytest.mark.parametrize(("owner", "told"), [("nobody", ""), ("postgres", "connected b''\n")])
def test_whoever_makes_a_socket_in_tmp_gets_no_login(machine_of: Factory, owner: str, told: str) -> None:
    machine = machine_of(RED_HAT)
    machine.stop()
    argv = machine.argv([sys.executable, "-c", ROGUE, owner])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as rogue:
        try:
            assert rogue.stdout
            assert rogue.stdout.readline() == "ready\n"
            result = machine.module("connection_info", require_server=True, login_password="s3cret-Of-The-Login")
            assert result["failure"]["code"] == "login_failed", result
            assert ("requirepeer" in result["failure"]["found"]) is (owner == "postgres")
        finally:
            rogue.kill()
        assert rogue.stdout.read() == told
