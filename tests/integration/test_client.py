# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""client: libpq reads the service file that was edited, and the kernel shows what its sockets have."""

from __future__ import annotations

import json
import pwd
import re
import subprocess
import sys
import textwrap
import typing as t
from pathlib import Path

import pytest
from _hardening import SYSCTLS, profile
from support import Cluster, run_module

POLICY = profile("web", close_pooled_connection_after="5min", replace_pooled_connection_after="30min")
SERVICES = """\
# of the applications
[app]
host=127.0.0.1
user=postgres
dbname=postgres
keepalives_idle=600

[quiet]
host=127.0.0.1
password=s3cret-in-the-file
"""
ONE = pytest.mark.parametrize("major", [17])
#: Connects as asked, says what the kernel has on the socket, and waits until its input ends.
CONNECT = """
    import json, socket, sys
    import psycopg2
    connection = psycopg2.connect(sys.argv[1])
    client = socket.socket(fileno=connection.fileno())
    names = ["SO_KEEPALIVE", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"]
    levels = [socket.SOL_SOCKET] + [socket.IPPROTO_TCP] * 4
    options = [client.getsockopt(level, getattr(socket, name)) for level, name in zip(levels, names)]
    print(json.dumps([client.getsockname()[1], options]), flush=True)
    sys.stdin.read()
"""


class Machine:
    """A host with applications: the one of a throwaway server, since the network is its own."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory
        self.service_file = directory / "pg_service.conf"
        self.service_file.write_text(SERVICES)
        self.service_file.chmod(0o640)
        self.revert_file = directory / "revert.json"

    def client(self, *, check: bool = False, as_user: str | None = None, **options: t.Any) -> dict[str, t.Any]:
        """Run the module; it must not end with a traceback."""
        args = {"policy": POLICY, "revert_file": str(self.revert_file), **options}
        result = run_module(
            self.cluster, "client", args, check=check, as_user=as_user, env={"PGSYSCONFDIR": str(self.directory)}
        )
        assert "exception" not in result, result
        return result

    def connect(self, conninfo: str) -> subprocess.Popen[str]:
        """A client of libpq, which stays."""
        script = textwrap.dedent(CONNECT)
        return subprocess.Popen(
            self.cluster.argv(["env", f"PGSYSCONFDIR={self.directory}", sys.executable, "-c", script, conninfo]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def options(self, conninfo: str) -> tuple[list[int], float]:
        """The options of a socket that libpq opens, by the kernel, and the seconds that ss sees on its timer."""
        with self.connect(conninfo) as client:
            assert client.stdin and client.stdout
            port, options = json.loads(client.stdout.readline())
            timers = [
                one.seconds for one in self.cluster.sockets() if one.local_port == port and one.timer == "keepalive"
            ]
            client.stdin.close()
        assert timers and timers[0] is not None
        return options, timers[0]


@pytest.fixture
def machine(cluster: Cluster, tmp_path: Path) -> Machine:
    return Machine(cluster, tmp_path)


def wanted_options(plan: dict[str, str]) -> list[int]:
    names = ["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"]
    return [int(plan[name]) for name in names]


@ONE
def test_libpq_gives_its_sockets_what_the_service_says(machine: Machine) -> None:
    before, _seconds = machine.options("service=app")
    assert before[1] == 600
    result = machine.client()
    plan = result["plan"]["settings"]
    assert (result["rc"], result["changed"]) == (0, True)
    options, seconds = machine.options("service=app")
    assert options == wanted_options(plan)
    assert 0 < seconds <= int(plan["keepalives_idle"]) * 1.125 + 1  # the kernel rounds a timer up
    assert result["hop"]["server_side"] == {
        "keepalive": True,
        "idle": options[1],
        "interval": options[2],
        "count": options[3],
        "user_timeout": options[4],
        "idle_timeout": 0,
    }
    # nothing but lines of ours has changed
    old = [line for line in SERVICES.splitlines() if not line.startswith("keepalives")]
    new = machine.service_file.read_text().splitlines()
    assert [line for line in new if not re.match(r"keepalives|tcp_user|connect_t", line)] == old
    assert machine.service_file.stat().st_mode & 0o777 == 0o640
    assert [machine.cluster.get_sysctl(name) for name in SYSCTLS] == [str(number) for number in options[1:4]]
    assert "s3cret" not in json.dumps(result)


@ONE
def test_check_mode_and_a_second_run_change_nothing(machine: Machine) -> None:
    kernel = [machine.cluster.get_sysctl(name) for name in SYSCTLS]
    checked = machine.client(check=True)
    assert machine.service_file.read_text() == SERVICES
    assert [machine.cluster.get_sysctl(name) for name in SYSCTLS] == kernel
    assert not machine.revert_file.exists()
    real = machine.client()
    for key in ("changed", "diff", "changes", "hop", "services", "unsupported"):
        assert checked[key] == real[key], key
    after = machine.service_file.read_bytes()
    again = machine.client()
    assert (again["changed"], again["diff"], again["changes"]) == (False, [], {})
    assert again["hop"] == real["hop"]
    assert machine.service_file.read_bytes() == after


@ONE
def test_named_services_alone_and_a_new_one(machine: Machine) -> None:
    result = machine.client(services=["app", "new"], layers=["service_file"])
    assert set(result["services"]) == {"app", "new"}
    quiet = machine.service_file.read_text().partition("[quiet]")[2].partition("[new]")[0]
    assert quiet == SERVICES.partition("[quiet]")[2]
    options, _seconds = machine.options("service=new host=127.0.0.1 user=postgres dbname=postgres")
    assert options == wanted_options(result["plan"]["settings"])


@ONE
def test_revert_puts_everything_back(machine: Machine) -> None:
    kernel = [machine.cluster.get_sysctl(name) for name in SYSCTLS]
    env_file = machine.directory / "app.env"
    snippets = [{"driver": "libpq", "path": str(env_file), "format": "env"}]
    assert machine.client(snippets=snippets)["changed"]
    assert machine.client(policy={**POLICY, "detect_dead_peer_within": "60s"}, snippets=snippets)["changed"]
    login = {"login_host": machine.cluster.host, "login_port": machine.cluster.port}
    done = run_module(machine.cluster, "revert", {"revert_file": str(machine.revert_file), **login})
    assert (done["rc"], done["changed"]) == (0, True), done
    assert machine.service_file.read_text() == SERVICES
    assert not env_file.exists()
    assert [machine.cluster.get_sysctl(name) for name in SYSCTLS] == kernel


@ONE
def test_revert_leaves_what_others_wrote_since(machine: Machine) -> None:
    machine.client(layers=["service_file"])
    with machine.service_file.open("a") as file:
        file.write("[later]\nhost=there\nkeepalives_idle=7\n")
    login = {"login_host": machine.cluster.host, "login_port": machine.cluster.port}
    run_module(machine.cluster, "revert", {"revert_file": str(machine.revert_file), **login})
    text = machine.service_file.read_text()
    assert text.startswith(SERVICES)
    assert "[later]\nhost=there\n" in text


@ONE
@pytest.mark.parametrize("check", [True, False])
def test_a_snippet_that_has_no_directory_is_found_before_anything_changes(machine: Machine, check: bool) -> None:
    kernel = [machine.cluster.get_sysctl(name) for name in SYSCTLS]
    nowhere = str(machine.directory / "not-there" / "app.env")
    result = machine.client(check=check, snippets=[{"driver": "libpq", "path": nowhere, "format": "env"}])
    assert result["failed"]
    assert result["failure"]["code"] == "no_directory"
    assert machine.service_file.read_text() == SERVICES
    assert [machine.cluster.get_sysctl(name) for name in SYSCTLS] == kernel
    assert not machine.revert_file.exists()


@ONE
def test_the_only_variable_of_libpq_is_read_by_it(machine: Machine) -> None:
    """An env file is one that a shell and systemd read alike; libpq then gives up after so many seconds."""
    env_file = machine.directory / "app.env"
    machine.client(
        layers=["service_file"],
        policy={**POLICY, "connect_within": "2250ms"},
        snippets=[{"driver": "libpq", "path": str(env_file), "format": "env"}],
    )
    # a socket that is listened on by nobody who accepts
    script = textwrap.dedent("""
        import psycopg2, socket, sys, time
        deaf = socket.create_server(("127.0.0.1", 0))
        start = time.monotonic()
        try:
            psycopg2.connect(host="127.0.0.1", port=deaf.getsockname()[1], user="x")
        except psycopg2.OperationalError as error:
            print(time.monotonic() - start, error)
    """)
    command = f"set -a; . {env_file}; exec {sys.executable} -c '{script.replace(chr(39), chr(34))}'"
    done = machine.cluster.run(["sh", "-c", command], check=True)
    waited, _space, error = done.stdout.partition(" ")
    assert "timeout expired" in error
    assert 1.5 < float(waited) < 20  # 2 s; the rest is for a machine that is loaded


@ONE
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"driver": "pgjdb"}, "unknown_driver"),
        ({"overrides": {"keepalives_idle": 0}}, "bad_override"),
        ({"overrides": {"keepalives_idel": 9}}, "bad_override"),
        ({"services": ["a]b"]}, "bad_service"),
        ({"snippets": [{"driver": "pgjdbc", "path": "/tmp/x", "format": "env"}]}, "no_prefix"),
        ({"snippets": [{"driver": "libpq", "path": "/tmp/x", "format": "env"}] * 2}, "twice"),
    ],
)
def test_bad_input_changes_nothing(machine: Machine, options: dict[str, t.Any], code: str) -> None:
    result = machine.client(**options)
    assert result["failed"]
    assert result["failure"]["code"] == code
    assert machine.service_file.read_text() == SERVICES


@ONE
def test_a_snippet_in_the_place_of_the_service_file_changes_nothing(machine: Machine) -> None:
    link = machine.directory / "link"
    link.symlink_to(machine.service_file)
    result = machine.client(snippets=[{"driver": "libpq", "path": str(link), "format": "env"}])
    assert result["failure"]["code"] == "twice"
    assert machine.service_file.read_text() == SERVICES
    assert not machine.revert_file.exists()


@ONE
def test_what_the_driver_cannot_set_is_said(machine: Machine) -> None:
    result = machine.client(driver="asyncpg", layers=["service_file"])
    assert result["hop"]["server_side"]["keepalive"] is False
    assert {"keepalives", "tcp_user_timeout"} <= {row["setting"] for row in result["unsupported"]}


@ONE
def test_connections_on_old_options_are_listed(machine: Machine) -> None:
    with machine.connect("service=app keepalives_idle=3000") as client:
        assert client.stdin and client.stdout
        port, _options = json.loads(client.stdout.readline())
        result = machine.client(layers=["service_file"])
        client.stdin.close()
    rows = {row["local"]: row for row in result["stale_sockets"]}
    assert f"127.0.0.1:{port}" in rows
    assert rows[f"127.0.0.1:{port}"]["timer"] == "keepalive"


@ONE
def test_a_user_without_rights_gets_a_service_file_of_his_own(machine: Machine) -> None:
    user = machine.cluster.os_user
    home = machine.cluster.directory / "home"
    home.mkdir()
    # In the mount namespace of the cluster alone.
    script = 'chown "$1" "$2" && mount --bind "$2" "$3"'
    machine.cluster.run(["sh", "-c", script, "sh", user, str(home), pwd.getpwnam(user).pw_dir], check=True)
    try:
        args = {"policy": POLICY, "service_scope": "user", "services": ["mine"]}
        result = run_module(machine.cluster, "client", args, as_user=user, env={"XDG_STATE_HOME": ""})
    finally:
        machine.cluster.run(["umount", pwd.getpwnam(user).pw_dir], check=True)
    assert result["rc"] == 0, result
    written = home / ".pg_service.conf"
    assert written.read_text().startswith("[mine]\nkeepalives=1\n")
    assert written.owner() == user
    assert {row["layer"] for row in result["unsupported"]} == {"os"}
