# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden where something else than the server's files decides: the kernel, and settings of all roles."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from _hardening import Host, NewCluster
from support import Cluster

LISTENER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 5432))
listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
print("ready", flush=True)
kept = []
while True:
    kept.append(listener.accept())
"""


def test_a_kernel_that_does_not_go_by_what_is_configured_is_noticed(new_cluster: NewCluster, tmp_path: Path) -> None:
    """The server says that all is in force; a new connection to its address has the kernel's two hours all the same."""
    cluster = new_cluster(17, conf="listen_addresses = '127.0.0.1,127.0.0.2'")
    cluster.stop()
    argv = cluster.argv([sys.executable, "-c", LISTENER])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout and other.stdout.readline() == "ready\n"
            cluster.start_again()
            host = Host(cluster, tmp_path)
            before = host.files(), host.kernel()
            # with the layer os every new socket would get the same from the kernel
            result = host.harden(way="unix", layers=["server"])
            assert result["failure"]["code"] == "not_in_force"
            assert "s to the first probe" in result["msg"]
            assert "everything was put back" in result["msg"]
            assert (host.files(), host.kernel()) == before
        finally:
            other.kill()


@pytest.mark.parametrize("major", [17])
def test_settings_of_all_roles_outrank_the_plan(cluster: Cluster, tmp_path: Path) -> None:
    host = Host(cluster, tmp_path)
    host.cluster.query("ALTER ROLE ALL SET tcp_user_timeout = '1h'")
    foreseen = host.harden(check=True)
    result = host.harden()
    assert host.settings()["tcp_user_timeout"] == "3600000"
    assert foreseen["promises"] == result["promises"]
    late = {row["phase"]: row["seconds"] for row in result["promises"]["after"] if row["fault"] == "peer_vanished"}
    assert late["sending"] == 3600.2
    assert {row["key"] for row in result["not_kept"]} >= {"detect_dead_peer_within"}
    assert result["shadowed"]["tcp_user_timeout"][0]["kind"] == "all roles"
