# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook of the path, on one host that is client, PgBouncer and server at once, over TCP."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
import yaml
from _haproxy import NEEDED, Proxy
from _hardening import Host
from _pgbouncers import WEB, Pooler
from support import Cluster, run_module, run_playbook
from support.modules import PlaybookResult

pytestmark = [
    pytest.mark.parametrize("major", [17]),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of another user's PgBouncer"),
]
SERVICES = """\
# of the applications
[app]
host=127.0.0.1
"""
HOPS: list[dict[str, t.Any]] = [
    {"kind": "client", "group": "box", "driver": "psycopg2"},
    {"kind": "pgbouncer", "group": "box"},
    {"kind": "server", "group": "box"},
]
KERNEL = ("time", "intvl", "probes")
#: What profile web comes to, for the two others.
SERVICE = {"keepalives_idle": "35", "keepalives_interval": "6", "keepalives_count": "6", "tcp_user_timeout": "71000"}


class Box:
    """A machine with all three, and a directory of the user's with the inventory."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.host = Host(cluster, directory)
        self.pooler = Pooler(cluster, directory)
        self.pooler.revert_file = directory / "pooler.json"
        self.cluster, self.directory = cluster, directory
        self.service_file = directory / "pg_service.conf"
        self.service_file.write_text(SERVICES)
        self.hosts: dict[str, dict[str, t.Any]] = {"box": {}}
        self.variables: dict[str, t.Any] = {
            **{f"harden_{name}": value for name, value in self.host.login("unix").items()},
            "harden_revert_file": str(self.host.revert_file),
            "pgbouncer_config_file": str(self.pooler.pgbouncer.config_file),
            "pgbouncer_revert_file": str(self.pooler.revert_file),
            "client_service_file": str(self.service_file),
            "client_server_port": self.pooler.pgbouncer.port,
            "client_revert_file": str(directory / "client.json"),
            **{f"{role}_become": False for role in ("harden", "pgbouncer", "client")},
            "path_hops": HOPS,
        }

    def play(self, *arguments: str, playbook: str = "pgharden.connection.path") -> PlaybookResult:
        inventory = self.directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": self.hosts, "vars": self.variables}}))
        result = run_playbook(self.cluster, playbook, *arguments, inventory=inventory, cwd=self.directory)
        assert "Traceback" not in result.stdout + result.stderr
        return result

    def revert(self) -> None:
        """By the module itself, once for each record, since these have names of their own here."""
        for role in ("harden", "pgbouncer", "client"):
            options = {"revert_file": self.variables[f"{role}_revert_file"], **self.host.login("unix")}
            result = run_module(self.cluster, "revert", options)
            assert result["changed"], result

    def state(self) -> dict[str, t.Any]:
        state = {**self.host.state(), "pooler": self.pooler.state(), "services": self.service_file.read_bytes()}
        return {**state, "records": sorted(path.name for path in self.directory.glob("*.json"))}

    def report(self) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads((self.directory / "reports" / "path.json").read_text()))


@pytest.fixture
def box(cluster: Cluster, tmp_path: Path) -> t.Iterator[Box]:
    one = Box(cluster, tmp_path)
    one.pooler.pgbouncer.start()
    yield one
    one.pooler.pgbouncer.stop()


def report_lines(result: PlaybookResult) -> list[str]:
    """The lines that the report printed."""
    text = result.stdout.partition("PLAY RECAP")[0].rpartition(" : Show what the path promises]")[2]
    return [line for line in text.splitlines()[1:] if line]


def seconds(report: dict[str, t.Any]) -> dict[tuple[str, str, str], float | None]:
    """What is promised, by what is lost, the end that notices, and the phase."""
    return {(row["lost"], row["end"], row["phase"]): row["seconds"] for row in report["promises"]}


def test_one_run_hardens_every_hop_and_a_check_nothing(box: Box) -> None:
    before = box.state()
    check = box.play("--check")
    assert check.rc == 0, check.stdout
    assert box.state() == before
    assert not (box.directory / "reports").exists()
    done = box.play()
    assert done.rc == 0, done.stdout
    assert [line for line in report_lines(check) if "vanished" in line] == [
        line for line in report_lines(done) if "vanished" in line
    ]
    # The server, PgBouncer and the client, each asked in its own way.
    assert box.host.settings()["tcp_user_timeout"] == WEB["tcp_user_timeout"]
    in_force = box.pooler.pgbouncer.config_in_force()
    assert {name: in_force[name] for name in WEB} == WEB
    assert set(SERVICES.splitlines()) < set(box.service_file.read_text().splitlines())
    assert {f"{name}={value}" for name, value in SERVICE.items()} < set(box.service_file.read_text().splitlines())
    report = box.report()
    assert [row for row in report["findings"] if row["severity"] != "info"] == []
    assert seconds(report)["client box", "backend", "idle_in_transaction"] == 35 + 6 * 6
    assert seconds(report)["server box", "client", "waiting"] == 35 + 6 * 6
    again = box.play()
    assert "changed=0" in again.stdout
    box.revert()
    assert box.state() == before


def test_report_of_the_path_as_it_is_changes_nothing(box: Box) -> None:
    box.variables["path_hops"] = [{**HOPS[0], "path_idle_limit": "350s"}, *HOPS[1:]]
    before = box.state()
    found = box.play("-e", "path_report_only=true", "-e", "path_fail_on=warning")
    assert found.rc == 2, found.stdout
    assert "findings on the path: PGC4" in found.stdout
    assert "changed=0" in found.stdout
    assert box.state() == before
    # As the kernel has it, by which none of the three has anything of its own.
    kernel = {name: int(Path(f"/proc/sys/net/ipv4/tcp_keepalive_{name}").read_text()) for name in KERNEL}
    as_found = kernel["time"] + kernel["probes"] * kernel["intvl"]
    assert seconds(box.report())["client box", "backend", "idle_in_transaction"] == as_found
    assert box.play().rc == 0
    # What is in force counts, not what the policy asks for now.
    as_it_is = box.play("-e", "path_report_only=true", "-e", "{path_policy: {detect_dead_peer_within: 60s}}")
    assert as_it_is.rc == 0, as_it_is.stdout
    assert seconds(box.report())["client box", "backend", "idle_in_transaction"] == 35 + 6 * 6
    assert seconds(box.report())["server box", "client", "waiting"] == 35 + 6 * 6
    assert [row for row in box.report()["findings"] if row["severity"] != "info"] == []
    box.revert()
    assert box.state() == before


@NEEDED
def test_report_of_a_proxy_as_it_is(box: Box, tmp_path: Path) -> None:
    box.pooler.pgbouncer.stop()  # the proxy listens at its port
    tmp_path.chmod(0o755)
    with Proxy(box.cluster, tmp_path) as proxy:
        proxy.start()
        box.variables["path_hops"] = [HOPS[0], {"kind": "haproxy", "group": "box"}, HOPS[2]]
        box.variables |= {"haproxy_config_file": [str(proxy.config_file)], "haproxy_become": False}
        config = proxy.config_file.read_bytes()
        report_only = ["-e", "path_report_only=true"]
        assert box.play(*report_only).rc == 0
        assert proxy.config_file.read_bytes() == config
        assert seconds(box.report())["client box", "backend", "idle"] == 30  # its timeout client
        assert proxy.harden()["changed"]
        assert box.play(*report_only, "-e", "{path_policy: {detect_dead_peer_within: 60s}}").rc == 0
        assert seconds(box.report())["client box", "backend", "idle"] == 35 + 6 * 6


def test_profile_beside_a_playbook_that_is_elsewhere(box: Box) -> None:
    """Not where ansible-playbook is started."""
    own = box.directory / "own"
    own.mkdir()
    (own / "mine.yml").write_text("detect_dead_peer_within: 44s\n")
    playbook = own / "playbook.yml"
    tasks = [{"ansible.builtin.import_role": {"name": "pgharden.connection.path"}}]
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    for more in ([], ["-e", "path_report_only=true"]):
        result = box.play("--check", "-e", "path_profile=mine.yml", *more, playbook=str(playbook))
        assert result.rc == 0, result.stdout


def test_hop_that_fails_leaves_what_the_others_promise(box: Box) -> None:
    box.hosts = {"box": {}, "pool": {"pgbouncer_config_file": str(box.directory / "missing.ini")}}
    box.variables["path_hops"] = [HOPS[0], {"kind": "pgbouncer", "group": "pool"}, HOPS[2]]
    result = box.play()
    assert result.rc == 2
    assert result.stdout.count("fatal: [") == 1
    assert "missing.ini" in result.stdout
    lines = report_lines(result)
    assert any(line.startswith("without a result, and so not in these figures: pool") for line in lines), lines
    (row,) = (row for row in box.report()["promises"] if (row["lost"], row["phase"]) == ("pgbouncer pool", "executing"))
    assert row["noticed_by"] == "server box"
    assert row["bound"] > 35
    assert box.host.settings()["tcp_user_timeout"] == WEB["tcp_user_timeout"]


def test_host_that_is_several_hops_and_fails_as_one_still_has_its_report(box: Box) -> None:
    box.variables["pgbouncer_config_file"] = str(box.directory / "missing.ini")
    result = box.play()
    assert result.rc == 2
    assert result.stdout.count("fatal: [") == 1
    assert any(line.strip().startswith("pgbouncer box vanished") for line in report_lines(result)), result.stdout


@pytest.mark.parametrize(("severity", "rc"), [("error", 0), ("warning", 2)])
def test_findings_fail_the_run_where_that_is_asked_for(box: Box, severity: str, rc: int) -> None:
    box.variables["path_hops"] = [{**HOPS[0], "driver": "asyncpg"}, *HOPS[1:]]
    result = box.play("--check", "-e", f"path_fail_on={severity}")
    assert result.rc == rc, result.stdout
    assert any(line.startswith("PGC407 warning: client box") for line in report_lines(result))
    assert ("findings on the path: PGC407; see above" in result.stdout) == bool(rc)


@pytest.mark.parametrize(
    ("hops", "words"),
    [
        ("client, server", "it is no list of hops"),
        ([], "Begin with one client, end with one server."),
        (HOPS[:2], "it reads client -> pgbouncer"),
        ([HOPS[0], {"kind": "router", "group": "box"}, HOPS[2]], "Kinds are client, haproxy, pgbouncer, server."),
        ([{**HOPS[0], "idle_limit": "5min"}, HOPS[2]], "idle_limit: there is no such key"),
        ([{**HOPS[0], "path_idle_limit": "350"}, HOPS[2]], "path_idle_limit"),
    ],
)
def test_path_that_cannot_be_is_one_clear_error_before_anything_is_changed(box: Box, hops: t.Any, words: str) -> None:
    box.variables["path_hops"] = hops
    before = box.state()
    result = box.play()
    assert result.rc == 2
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("fatal: [box]")]
    assert words in line
    assert box.state() == before
