# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill as a user starts it: the table, and the files of a run before hardening and of one after it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import threading
import typing as t
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from support import Cluster, run_playbook
from support.modules import PlaybookResult

pytestmark = pytest.mark.parametrize("major", [17])
DRILL = "pgharden.connection.drill"
SHORT = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "4s",
    "client_connection_check_interval": "1s",
}
#: Seconds; the longest promise of those settings is 5.2 s, at worst 6 s.
PATIENCE = 12


class Fleet:
    """An inventory of several names for one machine, and the directory that its user works in."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.reports = directory / "reports"
        self.variables: dict[str, t.Any] = {
            "drill_login_unix_socket": str(cluster.socket_dir),
            "drill_login_port": cluster.port,
            "drill_log_file": str(cluster.log_file),
            "drill_patience": f"{PATIENCE}s",
        }
        self.hosts: dict[str, dict[str, t.Any]] = {"db1": {}}

    def play(self, *arguments: str, playbook: str | Path = DRILL) -> PlaybookResult:
        inventory = self.directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": self.hosts, "vars": self.variables}}))
        result = run_playbook(self.cluster, playbook, *arguments, inventory=inventory, cwd=self.directory)
        assert "Traceback" not in result.stdout + result.stderr
        assert max(map(len, table(result)), default=0) <= 100
        return result

    def report(self, host: str = "db1") -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.reports / f"drill-{host}.json").read_bytes()))

    def configure(self, **settings: str) -> None:
        for name, value in settings.items():
            self.cluster.query(f"ALTER SYSTEM SET {name} = '{value}'")
        self.cluster.reload()


def table(result: PlaybookResult) -> list[str]:
    """The lines that the role's report printed, of the last batch."""
    _before, found, after = result.stdout.rpartition("TASK [pgharden.connection.drill : Show what was measured]")
    lines = after.splitlines()[1:] if found else []
    end = next((number for number, line in enumerate(lines) if line.startswith(("ok:", "fatal:", "[ERROR]"))), 0)
    return [line for line in lines[:end] if line and not line.startswith("task path:")]


def cells(lines: list[str]) -> list[str]:
    """The rows of the table."""
    return [" ".join(line.split()) for line in lines if line[:2] == "  " and line[2:3].isalpha() and "  " in line[2:]]


@pytest.fixture
def fleet(cluster: Cluster, tmp_path: Path) -> Fleet:
    return Fleet(cluster, tmp_path)


def test_before_hardening_and_after_it(fleet: Fleet) -> None:
    before = fleet.play("-e", "drill_patience=3s")
    assert before.rc == 0, before.stdout
    assert "idle peer vanished 2 h 11 min 2 h 27 min still there beyond patience" in cells(table(before))
    assert "executing process died never still there beyond patience" in cells(table(before))
    first = fleet.report()
    assert first["before"] is None
    assert first["after"]["settings"]["tcp_user_timeout"] == 0

    fleet.configure(**SHORT)
    after = fleet.play()
    assert after.rc == 0, after.stdout
    assert "changed=0" in after.stdout
    assert after.stderr == ""
    lines = table(after)
    assert lines[0].startswith("db1: PostgreSQL 17.")
    assert lines[1] == "  in force: keepalive 2 s, 1 s, 2 times; user timeout 4 s; check interval 1 s"
    assert lines[-1].endswith("kept, 0 broken")
    # Told by the server itself, in its log, and by the clock: 4 s, timers late by 1/8, a second for a busy machine.
    assert any("could not receive data from client: Connection timed out" in line for line in lines)
    report = fleet.report()
    assert report["before"] == first["after"]
    assert report["after"]["settings"]["tcp_user_timeout"] == 4000
    (idle,) = (cell for cell in report["after"]["cells"] if (cell["phase"], cell["fault"]) == ("idle", "peer_vanished"))
    assert (idle["promised"], idle["verdict"]) == (4, "kept")
    assert 2 < idle["measured"] < 6

    picture = ElementTree.parse(fleet.reports / "drill-db1.svg").getroot()
    groups = [one for one in picture.iter() if one.get("class") == "cell"]
    assert len(groups) == len(report["after"]["cells"]) == len(report["before"]["cells"])
    for group in groups:
        assert [one.get("class") for one in group if one.tag.endswith("}g")] == ["before", "after"]
    # Nothing of the drill is left behind.
    assert fleet.cluster.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") == [(1,)]


def test_only_some_cells_and_no_files_in_check_mode(fleet: Fleet) -> None:
    fleet.configure(**SHORT)
    some = ("-e", "drill_phases=idle,executing", "-e", "drill_faults=peer_vanished")
    check = fleet.play("--check", *some)
    assert check.rc == 0, check.stdout
    assert cells(table(check)) == ["idle peer vanished 4 s 4.5 s", "executing peer vanished 5 s 5.6 s"]
    assert table(check)[-1] == "2 to be drilled, all side by side, for as long as the patience of 12 s"
    assert not fleet.reports.exists()

    done = fleet.play(*some, "--tags", "drill")
    assert done.rc == 0, done.stdout
    assert [(cell["phase"], cell["verdict"]) for cell in fleet.report()["after"]["cells"]] == [
        ("idle", "kept"),
        ("executing", "kept"),
    ]
    assert "TASK" not in fleet.play("--tags", "other").stdout


def failed(result: PlaybookResult) -> dict[str, bool]:
    """What Ansible's recap says of each host."""
    recap = [line for line in result.stdout.partition("PLAY RECAP")[2].splitlines()[1:] if line]
    return {line.split()[0]: "failed=1" in line for line in recap}


def heads(result: PlaybookResult) -> list[str]:
    """The hosts of the tables of all batches."""
    return re.findall(r"^(\w+): (?:PostgreSQL|failed)", result.stdout, re.MULTILINE)


def test_a_host_that_cannot_be_drilled_beside_those_that_can(fleet: Fleet) -> None:
    fleet.configure(**SHORT)
    fleet.hosts = {"bad": {"drill_login_port": 1}, "db1": {}, "db2": {}}
    result = fleet.play("-e", "drill_phases=idle", "-e", "drill_faults=process_died")
    assert (result.rc, failed(result)) == (2, {"bad": True, "db1": False, "db2": False})
    assert heads(result) == ["bad", "db1", "db2"]
    assert "bad: failed, see above: " in result.stdout
    assert "Start the server, or correct login_unix_socket and login_port." in result.stdout
    assert result.stdout.count("2 kept, 0 broken") == 1
    assert result.stdout.count("fatal: [bad]") == 1
    assert {path.name for path in fleet.reports.iterdir()} == {
        f"drill-{host}.{ending}" for host in ("db1", "db2") for ending in ("json", "svg")
    }


FROZEN = "SELECT pid FROM pg_stat_activity WHERE usename = 'frozen' AND state = 'idle in transaction'"


@contextlib.contextmanager
def frozen(cluster: Cluster) -> t.Iterator[list[int]]:
    """Stops the process of each transaction that the role frozen leaves idle, for longer than the patience of 7 s.

    A busy machine may need the rest until the fault, and to look again; the drill tidies up for 5 s.
    """
    cluster.query("CREATE ROLE frozen LOGIN")
    pids: list[int] = []
    ended = threading.Event()

    def freeze() -> None:
        with cluster.session(tcp=False) as session:
            while not ended.wait(0.05):
                for (pid,) in session.execute(FROZEN):
                    if pid not in pids:
                        os.kill(pid, signal.SIGSTOP)
                        pids.append(pid)
                        threading.Timer(11, os.kill, (pid, signal.SIGCONT)).start()

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        yield pids
    finally:
        ended.set()
        thread.join()


def test_a_broken_promise_is_reported_beside_those_that_were_kept_and_the_host_fails(fleet: Fleet) -> None:
    fleet.configure(**SHORT)
    fleet.hosts = {"db1": {}, "db2": {"drill_login_user": "frozen"}, "db3": {}}
    arguments = (
        "drill_phases=idle_in_transaction",
        "drill_faults=peer_vanished",
        "drill_patience=7s",
        "drill_serial=2",
    )
    with frozen(fleet.cluster) as pids:
        result = fleet.play(*(word for one in arguments for word in ("-e", one)))
    assert len(pids) == 1  # the fault of it
    assert (result.rc, failed(result)) == (2, {"db1": False, "db2": True, "db3": False})
    assert heads(result) == ["db1", "db2", "db3"]  # each once, although there were two batches
    assert "idle in transaction peer vanished 4 s 4.5 s still there BROKEN" in cells(result.stdout.splitlines())
    assert "1 kept, 1 broken" in result.stdout.splitlines()
    assert "1 kept, 0 broken" in result.stdout.splitlines()
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("fatal: "))
    assert line.startswith("fatal: [db2]: ")
    words = r"1 of 1 promises were not kept\. idle_in_transaction x peer_vanished: still there after [7-9]\."
    assert re.search(words, line)
    assert len(line) < 300  # not all of the result
    verdicts = [fleet.report(host)["after"]["cells"][0]["verdict"] for host in ("db1", "db2", "db3")]
    assert verdicts == ["kept", "broken", "kept"]
    picture = (fleet.reports / "drill-db2.svg").read_text()
    assert 'class="after broken"' in picture


def test_a_playbook_of_their_own_that_reports_always(fleet: Fleet) -> None:
    """Without the role: the drill itself fails, and Ansible no longer counts the host among its batch."""
    fleet.configure(**SHORT)
    login = {"login_unix_socket": str(fleet.cluster.socket_dir), "login_user": "frozen", "patience": "7s"}
    drill = {**login, "phases": "idle_in_transaction", "faults": "peer_vanished"}
    report = {"variable": "mine", "directory": "reports"}
    block = {
        "block": [{DRILL: drill, "register": "mine"}],
        "always": [{"pgharden.connection.drill_report": report, "run_once": True}],
    }
    path = fleet.directory / "site.yml"
    path.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [block]}]))
    with frozen(fleet.cluster):
        result = fleet.play(playbook=path)
    assert (result.rc, failed(result)) == (2, {"db1": True})
    assert "0 kept, 1 broken" in result.stdout.splitlines()
    assert fleet.report()["after"]["cells"][0]["verdict"] == "broken"


def test_a_file_in_the_way_and_another_directory(fleet: Fleet) -> None:
    one = ("-e", "drill_phases=idle", "-e", "drill_faults=process_died")
    fleet.reports.mkdir()
    (fleet.reports / "drill-db1.json").write_text('{"of": "somebody else"}')
    fleet.hosts = {"db1": {}, "db2": {}}
    refused = fleet.play(*one)
    assert refused.rc == 2
    assert "drill-db1.json: what is there is no report of a drill of db1" in refused.stdout
    assert table(refused)[-1] == "2 kept, 0 broken"
    assert (fleet.reports / "drill-db1.json").read_text() == '{"of": "somebody else"}'
    assert fleet.report("db2")["after"]["cells"][0]["verdict"] == "kept"
    elsewhere = fleet.play(*one, "-e", "drill_report_dir=of/mine", "--limit", "db1")
    assert elsewhere.rc == 0, elsewhere.stdout
    assert (fleet.directory / "of/mine/drill-db1.svg").is_file()
    none = fleet.play(*one, "-e", "drill_report_dir=", "--limit", "db1")
    assert (none.rc, table(none)[-1]) == (0, "1 kept, 0 broken")


def test_the_role_in_a_playbook(fleet: Fleet) -> None:
    include = {"ansible.builtin.include_role": {"name": DRILL}, "vars": {"drill_phases": "idle,sending"}}
    play = {"hosts": "all", "gather_facts": False, "tasks": [include]}
    fleet.variables |= {"drill_faults": ["process_died"], "drill_login_password": "hunter2-Of-The-Fleet"}
    path = fleet.directory / "site.yml"
    path.write_text(yaml.safe_dump([play]))
    result = fleet.play("-vvv", playbook=path)
    assert result.rc == 0, result.stdout
    assert "hunter2" not in result.stdout + result.stderr + (fleet.reports / "drill-db1.json").read_text()
    assert [cell["phase"] for cell in fleet.report()["after"]["cells"]] == ["idle", "sending"]
    play["tasks"] = [{**include, "vars": {"drill_login_port": "many"}}]
    path.write_text(yaml.safe_dump([play]))
    wrong = fleet.play(playbook=path)
    assert (wrong.rc, "drill_login_port" in wrong.stdout) == (2, True)
