# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project's machines: primary and standby go on replicating, and all their sockets are hardened."""

from __future__ import annotations

import os
import subprocess
import typing as t

import pytest
from support import machine, sockets

#: Runs on the application host: a connection as its driver opens it, and how the kernel sees it.
APPLICATION = """
import psycopg2, subprocess, time
connection = psycopg2.connect(host="primary", user="application", dbname="postgres")
connection.cursor().execute("SELECT 1")
time.sleep(0.3)
print(subprocess.run({command}, capture_output=True, text=True, check=True).stdout)
"""


@pytest.fixture(scope="module")
def role(variables: dict[str, t.Any]) -> str:
    """What this machine is for."""
    return t.cast("str", variables["inventory_hostname"])


def test_the_installed_collection_is_the_one_that_is_used() -> None:
    command = ["ansible-doc", "--list_files", "--type=module", "pgharden.connection"]
    told = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    assert told
    assert all(f" {os.environ['MOLECULE_EPHEMERAL_DIRECTORY']}/collections/" in line for line in told.splitlines())


def test_servers_keep_the_policy_of_their_group(host: t.Any, role: str) -> None:
    if role == "application":
        assert host.run("systemctl is-active postgresql@17-main").stdout.strip() == "inactive"
        return
    session = machine.session(host)
    assert session.timers() == (20, 4, 6, 44)
    assert session.value("idle_in_transaction_session_timeout") == 600_000
    assert (session.value("wal_sender_timeout"), session.value("wal_receiver_timeout")) == (53_000, 53_000)
    assert session.socket.timer == "keepalive"
    assert session.socket.seconds is not None and session.socket.seconds <= 20 * machine.SLACK + 1


def test_standby_streams_on_over_hardened_sockets(host: t.Any, role: str) -> None:
    if role == "application":
        return
    query = "SELECT client_port FROM pg_stat_replication WHERE state = 'streaming'"
    if role == "standby":
        query = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming' AND pg_is_in_recovery()"
    answer = host.check_output(f'cd / && runuser -u postgres -- psql --no-psqlrc -Atc "{query}"')
    if role == "standby":
        assert answer == "1"
        return
    table = sockets.parse(host.check_output(" ".join(sockets.COMMAND)))
    (sender,) = (one for one in table if one.peer_port == int(answer))
    # It was open before: the sender takes the options with the reload.
    assert sender.seconds is not None and sender.seconds <= 20 * machine.SLACK + 1


def test_the_application_s_own_sockets_are_hardened(host: t.Any, role: str) -> None:
    if role != "application":
        return
    told = host.check_output("python3 -c %s", APPLICATION.format(command=sockets.COMMAND))
    (own,) = (one for one in sockets.parse(told) if one.peer_port == 5432)
    assert own.timer == "keepalive"
    assert own.seconds is not None and own.seconds <= 35 * machine.SLACK + 1


def test_the_other_role_s_settings_stand_beside_ours(host: t.Any, role: str) -> None:
    idle = 35 if role == "application" else 20
    assert host.sysctl("net.ipv4.tcp_keepalive_time") == idle
    assert host.sysctl("net.ipv4.tcp_fin_timeout") == 30
    assert machine.boot_values(host)[0] == idle
