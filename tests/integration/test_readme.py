# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's part for a user's own fleet, as it is printed, with the tarball in the place of Galaxy."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import NewCluster
from support import Cluster, places
from support.sources import MAJORS, available_majors

README = (places.REPOSITORY / "README.md").read_text(encoding="utf-8")
BINARIES = Path(sys.executable).parent


def block(heading: str, language: str) -> str:
    """The first fenced block of that language under a heading of the README."""
    section = README.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found, f"the README has no {language} block under {heading}"
    return found[1]


@pytest.fixture
def fleet(new_cluster: NewCluster, tmp_path: Path) -> tuple[Cluster, dict[str, str]]:
    """A server, a directory with its inventory, and the environment of a user who has just installed Ansible."""
    cluster = new_cluster(max(available_majors(), default=MAJORS[-1]))
    login = " ".join(
        f"{role}_login_unix_socket={cluster.socket_dir} {role}_become=false {role}_revert_file={tmp_path}/revert.json"
        for role in ("harden", "revert", "drill", "audit")
    )
    # The whole drill waits for timers of over a minute; a killed client of a busy server is noticed within seconds.
    login += " drill_phases=executing,idle drill_faults=process_died"
    (tmp_path / "inventory").write_text(
        f"[databases]\ndb1 ansible_connection=local ansible_python_interpreter={sys.executable} {login}\n"
    )
    environment = {
        "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    return cluster, environment


def shell(fleet: tuple[Cluster, dict[str, str]], directory: Path, command: str) -> str:
    """Run a command of the README as a user does; it has to succeed."""
    cluster, environment = fleet
    done = cluster.run(["bash", "-c", command], cwd=directory, env=environment, check=False)
    assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


def idle(cluster: Cluster) -> str:
    """The keepalive idle time on a fresh session's socket."""
    return str(cluster.query("SELECT setting FROM pg_settings WHERE name = 'tcp_keepalives_idle'", tcp=True)[0][0])


def leave_only_what_collections_may_use(installed: Path) -> None:
    """The community package's rule: a collection works without any file outside of these directories."""
    for path in installed.iterdir():
        if path.name not in ("meta", "playbooks", "plugins", "roles"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def test_fleet_commands_and_playbook(fleet: tuple[Cluster, dict[str, str]], tmp_path: Path) -> None:
    cluster = fleet[0]
    install, check, harden, drill, audit, revert = block("Use it", "sh").splitlines()
    shell(fleet, places.REPOSITORY, f"{sys.executable} tools/tarball.py --output-path {tmp_path}")
    (tarball,) = tmp_path.glob("*.tar.gz")
    shell(fleet, tmp_path, install.replace("pgharden.connection", str(tarball)))
    leave_only_what_collections_may_use(tmp_path / "collections" / "ansible_collections" / "pgharden" / "connection")

    assert "+tcp_keepalives_idle = " in shell(fleet, tmp_path, check)
    assert idle(cluster) == "7200"

    assert "2 h 11 min →" in shell(fleet, tmp_path, harden)
    web = idle(cluster)
    assert int(web) < 350
    assert "nothing to change" in shell(fleet, tmp_path, harden)

    assert "2 kept, 0 broken" in shell(fleet, tmp_path, drill)
    assert (tmp_path / "reports" / "drill-db1.svg").is_file()

    assert "1 host, by their worst: " in shell(fleet, tmp_path, audit)
    assert "idle" in (tmp_path / "reports" / "audit.html").read_text()

    shell(fleet, tmp_path, revert)
    assert idle(cluster) == "7200"

    for role in ("backup", "reporting"):
        cluster.query(f"CREATE ROLE {role} LOGIN")
    (tmp_path / "site.yml").write_text(block("Use it", "yaml"))
    shell(fleet, tmp_path, "ansible-playbook -i inventory site.yml")
    assert int(idle(cluster)) < int(web)
    timeout = "SELECT setting FROM pg_settings WHERE name = 'tcp_user_timeout'"
    ordinary, backup = (int(cluster.query(timeout, tcp=True, user=user)[0][0]) for user in ("postgres", "backup"))
    assert ordinary < 60_000 < 600_000 < backup
