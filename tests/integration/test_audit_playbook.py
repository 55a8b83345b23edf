# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit as a user starts it: a real server before hardening, after it, and after somebody has changed it."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml
from conftest import NewCluster
from support import Cluster, run_playbook
from support.modules import PlaybookResult

MAJOR = 17
AUDIT, HARDEN = "pgharden.connection.audit", "pgharden.connection.harden"
SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "audit.schema.json").read_text(encoding="utf-8"))


class Fleet:
    """An inventory of several names for one server, and the directory that its user works in."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self.directory = cluster, directory
        self.reports = directory / "reports"
        self.variables: dict[str, t.Any] = {"harden_layers": ["server"]}
        for role in ("audit", "harden", "revert"):
            self.variables[f"{role}_become"] = False
            self.variables[f"{role}_login_unix_socket"] = str(cluster.socket_dir)
            self.variables[f"{role}_revert_file"] = str(directory / "state" / "revert.json")
        self.hosts: dict[str, dict[str, t.Any]] = {"db1": {}}

    def play(self, playbook: str, *arguments: str) -> PlaybookResult:
        inventory = self.directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": self.hosts, "vars": self.variables}}))
        result = run_playbook(self.cluster, playbook, *arguments, inventory=inventory, cwd=self.directory)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    def report(self) -> dict[str, dict[str, t.Any]]:
        """The hosts of the newest report, by name."""
        report = json.loads((self.reports / "audit.json").read_bytes())
        jsonschema.validate(report, SCHEMA)
        return {host["host"]: host for host in report["hosts"]}


@pytest.fixture
def fleet(new_cluster: NewCluster, tmp_path: Path) -> Fleet:
    tmp_path.chmod(0o755)
    return Fleet(new_cluster(MAJOR), tmp_path)


def ids(host: dict[str, t.Any], *severities: str) -> set[str]:
    return {row["id"] for row in host["findings"] if not severities or row["severity"] in severities}


def log_logins(cluster: Cluster) -> None:
    """Have the server log each login from now on."""
    cluster.query("ALTER SYSTEM SET log_connections = 'on'")
    cluster.reload()


def logins(cluster: Cluster) -> int:
    """How many there were, by the server's log."""
    return cluster.log().count("connection received")


def files_of(cluster: Cluster) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(cluster.data_dir.glob("*.conf"))}


def test_before_and_after_hardening(fleet: Fleet) -> None:
    before = files_of(fleet.cluster)
    first = fleet.play(AUDIT)
    assert first.rc == 0
    assert files_of(fleet.cluster) == before
    found = fleet.report()["db1"]
    assert ids(found, "error", "warning")
    assert found["drift"] is None
    assert f"{found['findings'][0]['id']} {found['findings'][0]['severity']}" in first.stdout

    assert fleet.play(HARDEN).rc == 0
    assert fleet.play(AUDIT).rc == 0
    now = fleet.report()["db1"]
    assert not ids(now, "error")
    assert now["timelines"] == now["wanted"]
    assert now["before"] == found["timelines"]
    assert now["drift"]["settings"] == [] and now["drift"]["profile"] == "web"

    # The server itself says when it stops being so.
    fleet.cluster.query("ALTER SYSTEM SET tcp_user_timeout = 0")
    fleet.cluster.query("SELECT pg_reload_conf()")
    failed = fleet.play(AUDIT, "-e", "audit_fail_on=warning")
    assert failed.rc == 2
    drifted = fleet.report()["db1"]
    (row,) = drifted["drift"]["settings"]
    assert (row["name"], row["found"]) == ("tcp_user_timeout", "0")
    assert "postgresql.auto.conf" in row["where"]
    assert ids(drifted, "warning", "error") - ids(now, "warning", "error")
    assert "1 host has findings of severity warning or worse: db1" in failed.stdout + failed.stderr


def test_every_file_is_there_and_for_its_owner_alone(fleet: Fleet) -> None:
    said = fleet.play(AUDIT).stdout
    assert f"In {fleet.reports}: audit.json, audit.html, audit.md, audit.xml, audit.sarif\n" in said
    names = {path.name for path in fleet.reports.iterdir()}
    assert names == {"audit.json", "audit.html", "audit.md", "audit.xml", "audit.sarif"}
    assert {path.stat().st_mode & 0o777 for path in fleet.reports.iterdir()} == {0o600}
    assert ElementTree.parse(fleet.reports / "audit.xml").getroot().find("testsuite[@name='db1']") is not None


def test_hosts_that_fail_are_reported_beside_the_others(fleet: Fleet) -> None:
    fleet.hosts = {
        "db1": {},
        "refused": {"audit_login_user": "nobody_there"},
        "down": {"audit_login_port": 1},
        "far": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
    }
    result = fleet.play(AUDIT)
    assert result.rc == 4  # a host that cannot be reached
    hosts = fleet.report()
    assert {name: host["status"] for name, host in hosts.items()} == {
        "db1": "ok",
        "refused": "failed",
        "down": "down",
        "far": "failed",
    }
    assert "nobody_there" in hosts["refused"]["reason"]
    assert "4 hosts, by their worst: 2 failed, 1 down" in result.stdout


def test_findings_are_ignored_by_host_and_the_report_says_so(fleet: Fleet) -> None:
    fleet.play(AUDIT)
    known = sorted(ids(fleet.report()["db1"], "error", "warning"))
    ignore = [{"id": id, "reason": f"known since {id}"} for id in known]
    fleet.hosts = {"db1": {"audit_ignore": ignore}, "db2": {}}
    result = fleet.play(AUDIT, "-e", "audit_fail_on=warning")
    assert result.rc == 2
    hosts = fleet.report()
    assert not ids(hosts["db1"], "error", "warning") and ids(hosts["db2"], "error", "warning") == set(known)
    assert {row["reason"] for row in hosts["db1"]["ignored"]} == {f"known since {id}" for id in known}
    assert "1 host has findings of severity warning or worse: db2" in result.stdout + result.stderr


def test_batches_make_one_report(fleet: Fleet) -> None:
    fleet.hosts = {"db1": {}, "db2": {}, "db3": {"audit_login_user": "nobody_there"}, "db4": {}}
    assert fleet.play(HARDEN, "-e", "harden_hosts=db4").rc == 0
    fleet.cluster.query("ALTER SYSTEM SET tcp_user_timeout = 0")
    fleet.cluster.reload()
    fleet.play(AUDIT)
    path = fleet.reports / "audit.json"
    path.write_text(path.read_text().replace(fleet.report()["db4"]["drift"]["since"], "2026-10-31T06:00:00Z"))
    result = fleet.play(AUDIT, "-e", "audit_serial=2", "-e", "audit_fail_on=warning")
    assert result.rc == 2
    hosts = fleet.report()
    assert {name: host["status"] for name, host in hosts.items()} == {
        "db1": "ok",
        "db2": "ok",
        "db3": "failed",
        "db4": "ok",
    }
    # What an earlier audit saw of a host is not lost while others are looked at.
    assert hosts["db4"]["drift"]["since"] == "2026-10-31T06:00:00Z"
    assert (result.stdout + result.stderr).count("findings of severity warning or worse") == 2  # the error, the result
    assert "3 hosts have findings of severity warning or worse: db1" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"audit_ignore": [{"id": "PGC999", "reason": "x"}]}, "no rule has that id"),
        ({"audit_ignore": [{"id": "PGC101"}]}, "it has no reason"),
        ({"audit_ignore": ["PGC101"]}, "ignore PGC101: it is no mapping"),
        ({"audit_ignore": "PGC101"}, "ignore PGC101: it is no mapping"),
        ({"audit_policy": {"detect_dead_peer": "1s"}}, "there is no such key"),
        ({"audit_profile": "nothing"}, "there is no"),
    ],
)
def test_bad_input_is_one_clear_error(fleet: Fleet, variables: dict[str, t.Any], said: str) -> None:
    fleet.hosts = {"db1": variables}
    log_logins(fleet.cluster)
    before = logins(fleet.cluster)
    result = fleet.play(AUDIT)
    assert result.rc == 2
    assert said in result.stdout + result.stderr
    assert logins(fleet.cluster) == before


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ("audit_fail_on=warn", "value of audit_fail_on must be one of: , error, warning, info, got: warn"),
        ("audit_formats=pdf", "value of audit_formats must be one"),
    ],
)
def test_a_report_that_there_is_not_is_one_clear_error(fleet: Fleet, wish: str, said: str) -> None:
    fleet.hosts = {"db1": {}, "db2": {}}
    log_logins(fleet.cluster)
    before = logins(fleet.cluster)
    result = fleet.play(AUDIT, "-e", wish)
    assert result.rc == 2
    assert (result.stdout + result.stderr).count("fatal: [") == 1
    assert said in result.stdout + result.stderr
    assert logins(fleet.cluster) == before
    assert not fleet.reports.exists()


def test_each_host_is_judged_by_its_own_policy(fleet: Fleet) -> None:
    fleet.hosts = {
        "db1": {"audit_policy": {"path_idle_limit": "1h"}},
        "db2": {"harden_policy": {"path_idle_limit": "240s"}},
        "db3": {},
    }
    fleet.play(AUDIT)
    limits = {name: host["path_idle_limit"] for name, host in fleet.report().items()}
    assert limits == {"db1": 3_600_000, "db2": 240_000, "db3": 350_000}


def test_in_check_mode_nothing_is_written(fleet: Fleet) -> None:
    result = fleet.play(AUDIT, "--check")
    assert result.rc == 0 and "by their worst" in result.stdout
    assert not fleet.reports.exists()


def test_a_foreign_file_is_left_alone(fleet: Fleet) -> None:
    fleet.reports.mkdir()
    (fleet.reports / "audit.json").write_text("[]")
    result = fleet.play(AUDIT)
    assert result.rc == 2
    assert os.listdir(fleet.reports) == ["audit.json"]
    assert (fleet.reports / "audit.json").read_text() == "[]"
