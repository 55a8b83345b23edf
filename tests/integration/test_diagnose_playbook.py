# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagnosis as a user starts it: connections of a real server are lost in several ways, and it names each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from conftest import NewCluster
from support import Cluster, run_playbook
from support.modules import PlaybookResult

MAJOR = 17
DIAGNOSE = "pgharden.connection.diagnose"
#: What docs/diagnose.md recommends.
CONF = """
log_line_prefix = '%m [%p] %q%u@%d/%a %r %e '
log_connections = on
log_disconnections = on
"""


class Fleet:
    """An inventory of several names for one machine, and the directory that its user works in."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.reports = directory / "reports"
        self.variables: dict[str, t.Any] = {
            "diagnose_become": False,
            "diagnose_login_unix_socket": str(cluster.socket_dir),
            "diagnose_log_files": [str(cluster.log_file)],
            "diagnose_watch": "1s",
        }
        self.hosts: dict[str, dict[str, t.Any]] = {"db1": {}}

    def play(self, *arguments: str, playbook: str | Path = DIAGNOSE) -> PlaybookResult:
        inventory = self.directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": self.hosts, "vars": self.variables}}))
        result = run_playbook(self.cluster, playbook, *arguments, inventory=inventory, cwd=self.directory)
        assert "Traceback" not in result.stdout + result.stderr
        assert max(map(len, shown(result)), default=0) <= 100
        return result

    def report(self, host: str = "db1") -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.reports / f"diagnosis-{host}.json").read_bytes()))

    def idle_gone(self, pid: int) -> None:
        """Wait until the server process is no more."""
        deadline = time.monotonic() + 60
        while self.cluster.query("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def lose(self) -> dict[str, tuple[int, int | None]]:
        """Lose a connection for each of three causes; its server process and its client's port."""
        lost = {}
        cluster = self.cluster

        session = cluster.session()
        session.execute("BEGIN")
        lost["client_exited"] = session.pid, session.local_port
        session.process.kill()  # and nothing before it, which the client could take for its end
        session.process.wait()
        self.idle_gone(session.pid)

        session = cluster.session()
        lost["backend_terminated"] = session.pid, session.local_port
        cluster.query("SELECT pg_terminate_backend(%s, 5000)", (session.pid,))
        self.idle_gone(session.pid)

        session = cluster.session(options="-c idle_session_timeout=300ms")
        lost["idle_session_timeout"] = session.pid, session.local_port
        self.idle_gone(session.pid)
        return lost


def shown(result: PlaybookResult) -> list[str]:
    """The lines that the role's report printed, of the last batch."""
    _before, found, after = result.stdout.rpartition("TASK [pgharden.connection.diagnose : Show what was found]")
    lines = after.splitlines()[1:] if found else []
    end = next((number for number, line in enumerate(lines) if line.startswith(("ok:", "fatal:", "[ERROR]"))), 0)
    return [line for line in lines[:end] if line and not line.startswith("task path:")]


def causes(result: PlaybookResult) -> set[str]:
    """The harmful ones, by the title lines, which may be wrapped."""
    return set(re.findall(r"^  \d+\. .*?\((\w+)\)$", "\n".join(shown(result)), re.MULTILINE | re.DOTALL))


@pytest.fixture
def fleet(new_cluster: NewCluster, tmp_path: Path) -> Fleet:
    # Not the one that tests share: its log is this test's evidence.
    return Fleet(new_cluster(MAJOR, conf=CONF), tmp_path)


def test_three_causes_and_then_only_what_is_new(fleet: Fleet) -> None:
    lost = fleet.lose()
    result = fleet.play()
    assert result.rc == 0, result.stdout
    assert "changed=0" in result.stdout
    assert result.stderr == ""
    assert causes(result) == set(lost)
    text = "\n".join(shown(result))
    assert re.match(r"db1: PostgreSQL 17\.\d+; 1 log file; \d+ connections logged, \d+ closed normally\n", text)
    assert "nothing wrong" not in text
    assert text.count("     clients: 127.0.0.1 (1)") == 3
    assert "     prevented by: close_idle_session_after of harden_policy" in text
    report = fleet.report()
    assert (report["schema"], report["host"], report["result"]["healthy"]) == (1, "db1", False)
    harmful = [loss for loss in report["result"]["losses"] if not loss["harmless"]]
    assert {loss["cause"]: (loss["pid"], loss["port"]) for loss in harmful} == lost
    for loss in harmful:
        assert loss["confidence"] >= 0.7, loss  # the server itself says each of them
        assert abs(loss["time"] - time.time()) < 120
    page = (fleet.reports / "diagnosis-db1.md").read_text("utf-8")
    assert len(re.findall(r"^\| 20\d\d-", page, re.MULTILINE)) == 3

    # A duration before now, in which nothing happened.
    time.sleep(2)
    later = fleet.play("-e", "diagnose_since=1s", "-e", "diagnose_report_dir=")
    assert (later.rc, causes(later)) == (0, set())
    assert "  nothing wrong" in shown(later)
    again = fleet.play("-e", "diagnose_since=1h", "--tags", "diagnose")
    assert causes(again) == set(lost)
    assert "TASK" not in fleet.play("--tags", "other").stdout


def test_check_mode_finds_the_same_and_writes_nothing(fleet: Fleet) -> None:
    lost = fleet.lose()
    result = fleet.play("--check")
    assert (result.rc, causes(result)) == (0, set(lost))
    assert not fleet.reports.exists()


def test_a_busy_and_healthy_server_with_its_noise_whose_log_is_found_by_itself(
    new_cluster: NewCluster, tmp_path: Path
) -> None:
    fleet = Fleet(new_cluster(MAJOR, conf=f"{CONF}logging_collector = on\n"), tmp_path)
    del fleet.variables["diagnose_log_files"]
    for number in range(20):
        with fleet.cluster.session() as session:
            session.execute("SELECT 1")
        if number % 2:
            check = "import socket; socket.create_connection(('127.0.0.1', 5432)).close()"
            fleet.cluster.run(["python3", "-c", check], check=True)
    time.sleep(6)  # those of the last 5 s may still be about to log in
    result = fleet.play()
    assert result.rc == 0, result.stdout
    assert causes(result) == set()
    assert "  nothing wrong" in shown(result)
    assert "  harmless: 10 health checks" in shown(result)
    head = r"db1: PostgreSQL 17\.\d+; 1 log file; \d+ connections logged, (\d+) closed normally, 10 without a login"
    found = re.fullmatch(head, shown(result)[0])
    assert found, shown(result)[0]
    assert int(found[1]) >= 20  # those of this test, and those that it asked the server over
    assert fleet.report()["result"]["healthy"] is True
    assert "**Nothing wrong.**" in (fleet.reports / "diagnosis-db1.md").read_text("utf-8")


def test_files_that_somebody_sent(fleet: Fleet) -> None:
    """No server, no login, no namespace of one: the log was copied, and lies beside a file that is none."""
    lost = fleet.lose()
    case = fleet.directory / "case-17"
    case.mkdir()
    (case / "postgresql.log").write_text(fleet.cluster.log())
    (case / "core").write_bytes(bytes(range(256)) * 64)
    fleet.variables = {"diagnose_become": False, "diagnose_log_files": str(case)}
    result = fleet.play()
    assert (result.rc, causes(result)) == (0, set(lost))
    assert "PostgreSQL 17" not in shown(result)[0]
    assert any(line.startswith("  problem: ") and "core" in line for line in shown(result))


def test_a_host_that_cannot_be_looked_at_beside_those_that_can(fleet: Fleet) -> None:
    fleet.lose()
    fleet.hosts = {"bad": {"diagnose_login_port": 1}, "db1": {}, "db2": {}}
    result = fleet.play()
    assert result.rc == 2
    recap = [line for line in result.stdout.partition("PLAY RECAP")[2].splitlines()[1:] if line]
    assert {line.split()[0]: "failed=1" in line for line in recap} == {"bad": True, "db1": False, "db2": False}
    heads = re.findall(r"^(\w[\w, ]*): (?:PostgreSQL|failed)", "\n".join(shown(result)), re.MULTILINE)
    assert heads[0] == "bad"
    assert {host for head in heads for host in head.split(", ")} == {"bad", "db1", "db2"}
    assert "Start the server, or correct login_unix_socket and login_port." in result.stdout
    assert {path.name for path in fleet.reports.iterdir()} == {
        f"diagnosis-{host}.{ending}" for host in ("db1", "db2") for ending in ("json", "md")
    }
    # One batch after the other: each host once.
    serial = fleet.play("-e", "diagnose_serial=1", "-e", "diagnose_since=1h", "-e", "diagnose_hosts=db1:db2")
    assert re.findall(r"^(\w+): PostgreSQL", serial.stdout, re.MULTILINE) == ["db1", "db2"]


def test_the_role_in_a_playbook_and_what_it_keeps_to_itself(fleet: Fleet) -> None:
    with (
        fleet.cluster.session(application_name="\x1b[31m<b>app</b>") as session,
        pytest.raises(Exception, match="zero"),
    ):
        session.execute("SELECT 'secret-Of-The-Client', 1/0")
    fleet.lose()
    include = {"ansible.builtin.include_role": {"name": DIAGNOSE}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [include]}
    fleet.variables["diagnose_login_password"] = "hunter2-Of-The-Fleet"
    path = fleet.directory / "site.yml"
    path.write_text(yaml.safe_dump([play]))
    result = fleet.play("-vvv", playbook=path)
    assert result.rc == 0, result.stdout
    assert "secret-Of-The-Client" in fleet.cluster.log()
    everything = result.stdout + result.stderr + "".join(path.read_text("utf-8") for path in fleet.reports.iterdir())
    for secret in ("secret-Of-The-Client", "hunter2", "\x1b"):
        assert secret not in everything
    play["tasks"] = [{**include, "vars": {"diagnose_captures": [{"path": "/tmp/x.pcap", "side": "middle"}]}}]
    path.write_text(yaml.safe_dump([play]))
    wrong = fleet.play(playbook=path)
    assert (wrong.rc, "side" in wrong.stdout) == (2, True)


def test_clients_and_poolers_beside_the_server(fleet: Fleet) -> None:
    """Hosts of the inventory on which no server listens."""
    lost = fleet.lose()
    fleet.hosts = {"app1": {"diagnose_login_port": 5999, "diagnose_server_port": 5432}, "db1": fleet.variables}
    fleet.variables = {"diagnose_become": False, "diagnose_watch": "1s"}
    with fleet.cluster.session():
        result = fleet.play()
    assert (result.rc, causes(result)) == (0, set(lost))
    assert "app1: no PostgreSQL server here" in shown(result)
    report = fleet.report("app1")["result"]
    assert (report["server"], report["statistics"]["databases"]) == (None, {})
    assert [(row["port"], row["open"]) for row in report["sockets"]] == [(5432, 1)]
    page = (fleet.reports / "diagnosis-app1.md").read_text("utf-8")
    assert "no PostgreSQL server here" in page


#: Does what a client can do to get words into a log, and is killed in a transaction.
TALKER = """
import os, signal, sys, time, psycopg2
secret, conninfo = sys.argv[1:]
def ask(statement, *values, **options):
    connection = psycopg2.connect(conninfo, application_name=secret, **options)
    connection.autocommit = True
    try:
        connection.cursor().execute(statement, values)
    except psycopg2.Error:
        pass
    return connection
ask(f"CREATE ROLE talker LOGIN PASSWORD '{secret}'")
ask("SELECT %s::int", secret)
ask(f"DO $$ BEGIN RAISE LOG 'connection to client lost: {secret}' USING DETAIL = '{secret}'; END $$")
ask(f"CREATE TEMP TABLE x (a text UNIQUE); INSERT INTO x VALUES ('{secret}'), ('{secret}')")
ask(f"PREPARE p(text) AS SELECT $1, pg_sleep(9); EXECUTE p('{secret}')", options="-c statement_timeout=100ms")
idle = ask(f"BEGIN; SELECT '{secret}'", options="-c idle_in_transaction_session_timeout=100ms")
nobody, url = f"user='password={secret}'", f"dbname='postgres://app:{secret}@db/shop'"
for wrong in (nobody, url, f"password='{secret}' user=talker"):
    try:
        psycopg2.connect(f"{conninfo} {wrong}")
    except psycopg2.Error:
        pass
lost = ask(f"BEGIN; SELECT '{secret}'")
time.sleep(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_word_of_a_client_gets_out(new_cluster: NewCluster, tmp_path: Path) -> None:
    """From log, capture with payload and a look at the server, to terminal, JSON and Markdown."""
    talkative = "log_statement = all\nlog_min_error_statement = debug5\nlog_parameter_max_length = -1\n"
    talkative += "log_parameter_max_length_on_error = -1\nlog_error_verbosity = verbose\nlog_duration = on\n"
    fleet = Fleet(new_cluster(MAJOR, conf=f"{CONF}{talkative}"), tmp_path)
    cluster, secret = fleet.cluster, "hunter2-Planted-Everywhere"
    path = tmp_path / "payload.pcap"
    dump = subprocess.Popen(
        cluster.argv(["tcpdump", "-i", "lo", "--immediate-mode", "-U", "-Z", "root", "-w", path, "port 5432"]),
        stderr=subprocess.PIPE,
    )
    assert dump.stderr
    assert any(b"listening on" in line for line in dump.stderr)
    conninfo = " ".join(f"{key}='{value}'" for key, value in cluster.conninfo(tcp=True, sslmode="disable").items())
    assert cluster.run([sys.executable, "-c", TALKER, secret, conninfo]).returncode
    time.sleep(2)
    dump.terminate()
    dump.communicate()
    assert cluster.log().count(secret) > 10
    assert path.read_bytes().count(secret.encode()) > 5
    fleet.variables["diagnose_captures"] = [{"path": str(path), "side": "server"}]
    result = fleet.play("-vvv")
    assert result.rc == 0, result.stdout
    assert {loss["cause"] for loss in fleet.report()["result"]["losses"]} >= {"idle_in_transaction_timeout"}
    everything = result.stdout + result.stderr + "".join(path.read_text("utf-8") for path in fleet.reports.iterdir())
    assert "payload.pcap" in everything
    assert secret not in everything


def test_a_file_in_the_way(fleet: Fleet) -> None:
    fleet.reports.mkdir()
    (fleet.reports / "diagnosis-db1.json").write_text('{"of": "somebody else"}')
    fleet.hosts = {"db1": {}, "db2": {}}
    result = fleet.play()
    assert result.rc == 2
    assert "diagnosis-db1.json: what is there is no report of a diagnosis of db1" in result.stdout
    assert "  nothing wrong" in shown(result)
    assert (fleet.reports / "diagnosis-db1.json").read_text() == '{"of": "somebody else"}'
    assert fleet.report("db2")["result"]["healthy"] is True
