# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""haproxy: what the hop says of health checks, beside what a real HAProxy says that it does."""

from __future__ import annotations

import csv
import io
import typing as t
from pathlib import Path

import pytest
from _haproxy import NEEDED, ONE, Proxy
from support import Cluster

pytestmark = NEEDED

CONFIG = """\
global
    stats socket {directory}/admin.sock mode 600 level admin
defaults
    mode tcp
    timeout connect 4s
    timeout client 30s
    timeout server 30s
    default-server inter 700 fall 4
listen leaders
    bind 127.0.0.1:{port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server rise 5 port 8008 on-marked-down shutdown-sessions
    server one 127.0.0.1:{server} check
    server two 127.0.0.1:{server} check fall 6
"""
_ASK = """
import socket, sys
console = socket.socket(socket.AF_UNIX)
console.connect(sys.argv[1])
console.sendall(b"show stat\\n")
while text := console.recv(65536):
    sys.stdout.write(text.decode())
"""


@pytest.fixture
def proxy(cluster: Cluster, tmp_path: Path) -> t.Iterator[Proxy]:
    tmp_path.chmod(0o755)
    with Proxy(cluster, tmp_path, CONFIG) as proxy:
        yield proxy


@ONE
def test_checks_are_those_that_haproxy_makes(proxy: Proxy) -> None:
    proxy.start()
    told = proxy.cluster.run(["python3", "-c", _ASK, str(proxy.directory / "admin.sock")], check=True).stdout
    rows = [row for row in csv.DictReader(io.StringIO(told.removeprefix("# "))) if row["svname"] in ("one", "two")]
    assert [row["check_fall"] for row in rows] == ["4", "6"]
    (checks,) = proxy.harden(check=True)["hop"]["checks"]
    assert checks["servers"] == len(rows)
    assert checks["fall"] == max(int(row["check_fall"]) for row in rows)
    assert checks["rise"] == max(int(row["check_rise"]) for row in rows) == 5
    assert (checks["kind"], checks["uri"], checks["ports"]) == ("http", "/primary", [8008])
    assert (checks["interval"], checks["patience"], checks["ends_sessions"]) == (700, 700, True)
