# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook diagnose over a server, a client's host that is short of processor, and hosts that fail."""

from __future__ import annotations

import json
import re
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from lab.cases import Skipped
from lab.hosts import CLIENT
from lab.lab import Lab, Setup
from lab.starvation import Starved
from support import places, run_playbook

pytestmark = pytest.mark.skipif(not places.is_root(), reason="control groups and other hosts' networks need root")

#: As Ansible finds the client's host: its network, and the pressure of the control group in the place of the machine's.
INTERPRETER = """#!/bin/sh -eu
exec nsenter --net=/proc/{pid}/ns/net unshare --mount sh -euc \\
    'mount --bind {group}/cpu.pressure /proc/pressure/cpu; exec "$@"' sh {python} "$@"
"""
CONF = {"authentication_timeout": "3s", "scram_iterations": 1_000_000}


def play(lab: Lab, hosts: dict[str, dict[str, t.Any]], *arguments: str) -> tuple[int, dict[str, t.Any]]:
    """The exit code, and what came of the host db."""
    inventory = lab.directory / "hosts.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": {"diagnose_become": False}}}))
    playbook = "pgharden.connection.diagnose"
    done = run_playbook(lab.cluster, playbook, *arguments, inventory=inventory, cwd=lab.directory)
    assert "Traceback" not in done.stdout + done.stderr
    path = lab.directory / "reports" / "diagnosis-db.json"
    result = t.cast("dict[str, t.Any]", json.loads(path.read_text())["result"])
    path.unlink()
    shown = done.stdout.rpartition(" : Show what was found]")[2]
    assert all(re.search(rf"^[\w, ]*\b{name}\b[\w, ]*: ", shown, re.MULTILINE) for name in hosts), done.stdout
    return done.rc, result


def test_a_client_whose_host_was_short_of_processor(tmp_path: Path) -> None:
    with Lab(Setup(major=16, conf=CONF, hba=("host all locked all scram-sha-256",)), tmp_path) as lab:
        lab.cluster.query("CREATE ROLE locked LOGIN PASSWORD 'known'")
        client = lab.connect()
        try:
            starved = Starved(lab.network.client, share=0.2)
        except Skipped as skipped:
            pytest.skip(str(skipped))
        with starved:
            starved.wait_for_pressure(22)
            starved.take(client.process.pid)
            client.send("\\connect -reuse-previous=on 'user=locked password=known'")
            lab.logged("canceling authentication due to timeout", seconds=20)
            interpreter = tmp_path / "python"
            group, holder = starved.pressure, lab.network.client.namespace.pid
            interpreter.write_text(INTERPRETER.format(pid=holder, group=group, python=sys.executable))
            interpreter.chmod(0o755)
            db = {
                "diagnose_login_unix_socket": str(lab.cluster.socket_dir),
                "diagnose_log_files": [str(lab.cluster.log_file)],
                "diagnose_watch": "1s",
            }
            hosts = {
                "a_bad_one": {"ansible_python_interpreter": "/nowhere/python"},
                "another_bad_one": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
                "app": {"ansible_python_interpreter": str(interpreter), "diagnose_login_port": 5999},
                "db": db,
            }
            # One run names the cause, by the client's address.
            rc, found = play(lab, hosts)
            (loss,) = [row for row in found["losses"] if not row["harmless"]]
            told = f"the client's host {CLIENT[4]}: processes waited for cpu "
            assert (rc > 0, loss["cause"], loss["address"]) == (True, "client_starved", CLIENT[4]), loss
            assert any(text.startswith(told) for text in loss["evidence_for"]), loss
            # The server alone cannot know.
            rc, found = play(lab, {"app": hosts["app"], "db": db}, "-e", "diagnose_clients=")
            (loss,) = [row for row in found["losses"] if not row["harmless"]]
            assert (rc, loss["cause"]) == (0, "authentication_timeout"), loss
