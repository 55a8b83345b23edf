# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardening in stages: the first host is drilled, and whatever fails there keeps the others as they are."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from conftest import NewCluster
from support import Cluster, run_playbook
from support.modules import PlaybookResult

MAJOR = 17
#: Short enough to wait for.
POLICY = {
    "path_idle_limit": "10s",
    "detect_dead_peer_within": "8s",
    "stop_orphaned_query_within": "8s",
    "tolerate_outage_of": "1s",
    "slow_reader_grace": "2s",
    "connect_within": "10s",
    "close_idle_in_transaction_after": "off",
}


class Stages:
    """Two servers in one network, the first to go and one of the others."""

    def __init__(self, first: Cluster, second: Cluster, directory: Path) -> None:
        self.clusters, self.directory = (first, second), directory
        self.variables: dict[str, t.Any] = {
            "harden_layers": ["server"],
            "harden_policy": POLICY,
            "harden_become": False,
            "drill_phases": ["idle"],
            "drill_faults": ["peer_vanished"],
            "drill_report_dir": "",
        }

    def play(self, *arguments: str) -> PlaybookResult:
        hosts = {}
        for name, cluster in zip(("first", "second"), self.clusters, strict=True):
            logins = {f"{role}_login_unix_socket": str(cluster.socket_dir) for role in ("harden", "drill")}
            revert_file = str(self.directory / name / "revert.json")
            hosts[name] = {**logins, "harden_revert_file": revert_file}
        inventory = self.directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": self.variables}}))
        # The drill asks the server of the network that this runs in: the first one's.
        return run_playbook(
            self.clusters[0], "pgharden.connection.staged", *arguments, inventory=inventory, cwd=self.directory
        )

    def hardened(self) -> list[bool]:
        """What the servers themselves say."""
        query = "SELECT count(*) FROM pg_file_settings WHERE name = 'tcp_user_timeout' AND applied"
        return [bool(cluster.query(query)[0][0]) for cluster in self.clusters]


@pytest.fixture
def stages(new_cluster: NewCluster, tmp_path: Path) -> Stages:
    tmp_path.chmod(0o755)
    return Stages(new_cluster(MAJOR), new_cluster(MAJOR), tmp_path)


def test_all_are_hardened_when_the_drill_of_the_first_keeps_its_promise(stages: Stages) -> None:
    result = stages.play()
    assert result.rc == 0, result.stdout
    assert "1 kept, 0 broken" in result.stdout
    assert stages.hardened() == [True, True]


def test_a_drill_that_fails_keeps_the_others_as_they_are(stages: Stages) -> None:
    stages.variables["drill_login_user"] = "nobody_there"
    result = stages.play()
    assert result.rc == 2
    assert stages.hardened() == [True, False]


def test_a_host_that_cannot_be_hardened_keeps_the_others_as_they_are(stages: Stages) -> None:
    stages.clusters[0].query("ALTER SYSTEM SET tcp_keepalives_idle = 5")
    stages.variables["harden_overrides"] = {"no_such_parameter": 1}
    assert stages.play().rc == 2
    assert stages.hardened() == [False, False]


def test_without_a_canary_there_are_stages_all_the_same(stages: Stages) -> None:
    stages.variables["harden_overrides"] = {"no_such_parameter": 1}
    result = stages.play("-e", "harden_canary=0")
    assert result.rc == 2
    assert "fatal: [first]" in result.stdout and "[second]" not in result.stdout


def test_in_check_mode_nothing_is_cut(stages: Stages) -> None:
    result = stages.play("--check")
    assert result.rc == 0
    assert "drilled from" not in result.stdout
    assert stages.hardened() == [False, False]
