# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was installed runs, and has what profile web comes to: asked of the programs and of their sockets."""

from __future__ import annotations

import os
import subprocess
import typing as t

import pytest
from support import machine, sockets

#: A client of HAProxy, and how the kernel sees both ends.
CLIENT = """
import socket, subprocess, time
connection = socket.create_connection(("127.0.0.1", 5433))
time.sleep(0.5)
print(subprocess.run({command}, capture_output=True, text=True, check=True).stdout)
"""
WEB = {
    "tcp_keepalive": "1",
    "tcp_keepidle": "35",
    "tcp_keepintvl": "6",
    "tcp_keepcnt": "6",
    "tcp_user_timeout": "71000",
}


@pytest.mark.parametrize("name", ["haproxy", "pgbouncer"])
def test_service_runs_now_and_after_a_boot(host: t.Any, name: str) -> None:
    service = host.service(name)
    assert service.is_running
    assert service.is_enabled


def test_pgbouncer_has_it_in_force(host: t.Any) -> None:
    console = "psql --no-psqlrc -At -h /var/run/postgresql -p 6432 -U pgbouncer pgbouncer -c 'SHOW CONFIG'"
    told = host.check_output(f"cd / && runuser -u postgres -- {console}").splitlines()
    in_force = dict(line.split("|")[:2] for line in told)
    assert {name: in_force[name] for name in WEB} == WEB


def test_haproxy_has_it_on_a_new_socket(host: t.Any) -> None:
    told = sockets.parse(host.check_output("python3 -c %s", CLIENT.format(command=sockets.COMMAND)))
    (socket,) = (one for one in told if one.local_port == 5433 and one.state == "ESTAB")
    assert socket.timer == "keepalive"
    assert socket.seconds is not None and 30 < socket.seconds <= 35 * machine.SLACK


def test_psql_reads_the_service(host: t.Any) -> None:
    file = host.check_output("pg_config --sysconfdir 2>/dev/null || echo /etc/postgresql-common") + "/pg_service.conf"
    assert "keepalives_idle=35" in host.file(file).content_string
    assert host.run("psql 'service=app host=127.0.0.1 port=1' -c ''").stderr.count("Connection refused") == 1


def test_a_trial_run_with_all_of_it_changes_nothing() -> None:
    command = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "--check"]
    playbook = os.path.join(os.environ["MOLECULE_SCENARIO_DIRECTORY"], "converge.yml")
    done = subprocess.run([*command, playbook], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout, done.stdout
