# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/scale.md, executed: the execution environment's files, ansible-runner, and a host that audits itself."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from conftest import NewCluster

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
#: ansible-pull goes to no host of another name; systemd has it as %H.
HOST = platform.node()
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
    "ANSIBLE_LOCALHOST_WARNING": "false",
}


def block(first_line: str) -> str:
    """The block of the page that begins with this line."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = (one for one in blocks if one.startswith(first_line))
    return t.cast("str", found)


def run(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def login(new_cluster: NewCluster, tmp_path: Path) -> dict[str, t.Any]:
    tmp_path.chmod(0o755)
    cluster = new_cluster(17)
    return {"audit_become": False, "audit_login_unix_socket": str(cluster.socket_dir)}


def test_ansible_builder_finds_what_the_collection_needs(tmp_path: Path) -> None:
    # As an installed collection has it, below ansible_collections.
    collections = tmp_path / "collections" / "ansible_collections" / "pgharden"
    collections.mkdir(parents=True)
    shutil.copytree(ROOT / "meta", collections / "connection" / "meta")
    shutil.copy(ROOT / "galaxy.yml", collections / "connection")
    found = yaml.safe_load(run([str(BIN / "ansible-builder"), "introspect", str(tmp_path / "collections")], tmp_path))
    assert [one for one in found["python"] if one.startswith("psycopg2-binary")]
    assert any(one.startswith("openssh-client ") for one in found["system"])

    (tmp_path / "execution-environment.yml").write_text(block("# execution-environment.yml"), encoding="utf-8")
    run([str(BIN / "ansible-builder"), "create"], tmp_path)
    assert "pgharden.connection" in (tmp_path / "context" / "_build" / "requirements.yml").read_text(encoding="utf-8")
    (recipe,) = (tmp_path / "context").glob("*file")  # Containerfile or Dockerfile, after the runtime that is there
    assert "FROM" in recipe.read_text(encoding="utf-8")


def test_ansible_runner_runs_the_audit(login: dict[str, t.Any], tmp_path: Path) -> None:
    for name in ("inventory", "env"):
        (tmp_path / name).mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(
        yaml.safe_dump({"all": {"hosts": {"db1": {"ansible_connection": "local", **login}}}})
    )
    (tmp_path / "env" / "extravars").write_text(json.dumps({"audit_report_dir": str(tmp_path / "reports")}))
    command = ["ansible-runner", "run", str(tmp_path), "-p", "pgharden.connection.audit"]
    assert "1 host, by their worst" in run([str(BIN / command[0]), *command[1:]], tmp_path)
    assert json.loads((tmp_path / "reports" / "audit.json").read_bytes())["hosts"][0]["status"] == "ok"


def test_a_host_audits_itself_and_the_collector_shows_it(login: dict[str, t.Any], tmp_path: Path) -> None:
    repository = tmp_path / "databases"
    repository.mkdir()
    reports = tmp_path / "audits" / HOST / "reports"
    playbook = block("# audit-here.yml").replace("/var/lib/pgharden-connection/reports", str(reports))
    (repository / "audit-here.yml").write_text(playbook, encoding="utf-8")
    for command in (
        ["init", "--quiet"],
        ["add", "."],
        ["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "--message=x"],
    ):
        run(["git", *command], repository)
    start = re.search(r"^ExecStart=/usr/bin/ansible-pull (.*)$", PAGE, re.MULTILINE)
    assert start
    arguments = start[1].replace("https://git.example.com/databases.git", repository.as_uri()).replace("%H", HOST)
    pull = ["ansible-pull", "--directory", str(tmp_path / "checkout"), "--extra-vars", json.dumps(login)]
    run([str(BIN / pull[0]), *pull[1:], *arguments.split()], tmp_path)
    assert json.loads((reports / "audit.json").read_bytes())["hosts"][0]["host"] == HOST

    collector = block("- hosts: localhost").replace("/srv/audits", str(tmp_path / "audits"))
    (tmp_path / "collect.yml").write_text(collector, encoding="utf-8")
    assert HOST in run([str(BIN / "ansible-playbook"), "collect.yml"], tmp_path)
    collected = json.loads((tmp_path / "reports" / "audit.json").read_bytes())
    assert [one["host"] for one in collected["hosts"]] == [HOST]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for ending in ("service", "timer"):
        text = block(f"# /etc/systemd/system/pgharden-audit.{ending}")
        # What is started need not be installed here.
        text = re.sub(r"/usr/bin/(ansible-pull|rsync)", "/bin/true", text)
        (tmp_path / f"pgharden-audit.{ending}").write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "pgharden-audit.timer")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if "pgharden-audit" in line]) == (0, [])
