# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A healthy and busy server: clients that reconnect, a load balancer's health checks; nothing of it is a loss."""

from __future__ import annotations

import collections
import contextlib
import shutil
import socket
import subprocess
import time
import typing as t

import pytest
from lab.clients import program
from lab.hosts import ROUTER, Host
from lab.lab import PORT, Lab, Setup
from lab.proxies import haproxy
from support import Unavailable, places, run_module

pytestmark = [
    pytest.mark.skipif(not places.is_root(), reason="namespaces and captures need root"),
    pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed"),
]

Result = dict[str, t.Any]
#: What a server may log of connections: both, one, none.
LOGGING = {
    "all": {},
    "no ends": {"log_disconnections": "off"},
    "nothing": {"log_connections": "off", "log_disconnections": "off"},
}
SECONDS = 6


@pytest.fixture(scope="module", params=[(15, "all"), (15, "no ends"), (15, "nothing"), (18, "all")])
def busy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[tuple[Lab, str]]:
    """A lab in which all that has happened, and what its server logs."""
    major, logging = request.param
    try:
        pgbench = program("pgbench")
    except Unavailable as problem:
        pytest.skip(str(problem))
    with Lab(Setup(major=major, conf=LOGGING[logging]), tmp_path_factory.mktemp("busy")) as lab:
        lab.cluster.run([pgbench, "-h", lab.cluster.socket_dir, "-U", "postgres", "-i", "-q", "postgres"], check=True)
        with contextlib.ExitStack() as stack:
            address = stack.enter_context(
                haproxy(
                    lab,
                    *("timeout client 1h", "timeout server 1h", "option pgsql-check user postgres"),
                    server_options="check inter 300ms fall 1000",  # a busy machine may not answer three of them in time
                )
            )
            clients = [
                bench(lab.network.client, lab.server, "-S", "-C"),
                bench(lab.network.client, lab.server),
                bench(lab.network.client, address, "-S", "-C"),
            ]
            while any(one.poll() is None for one in clients):
                check(lab.network.router, lab.server)
                time.sleep(0.3)
            assert [one.returncode for one in clients] == [0, 0, 0]
        time.sleep(6)  # until it is clear that no login follows the last of the checks
        lab._captures["server"].stop()
        yield lab, logging


def bench(host: Host, server: tuple[str, int], *options: str) -> subprocess.Popen[bytes]:
    address, port = server
    argv = [program("pgbench"), "-h", address, "-p", str(port), "-U", "postgres", "-n", "-c", "2", "-T", str(SECONDS)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return host.start([*argv, *options, "postgres"], **quiet)


def check(host: Host, server: tuple[str, int]) -> None:
    """A load balancer's check of the port alone."""
    connection: socket.socket = host.connect(server)
    connection.close()


def diagnose(lab: Lab, **options: t.Any) -> Result:
    result = run_module(lab.cluster, "diagnosis_info", {"server_port": PORT, **options})
    assert (result["rc"], result["problems"]) == (0, [])
    return result


def assert_healthy(result: Result, *noise: str) -> None:
    wrong = [row for row in result["losses"] if not row["harmless"]]
    assert wrong == []
    assert (result["healthy"], result["suspects"]) == (True, [])
    assert set(noise) <= {row["cause"] for row in result["causes"]}


def test_log_and_what_the_server_shows(busy: tuple[Lab, str]) -> None:
    lab, logging = busy
    login = {"login_unix_socket": str(lab.cluster.socket_dir), "login_port": lab.cluster.port, "watch": "1s"}
    result = diagnose(lab, **login)
    assert str(lab.cluster.log_file) in result["sources"]["logs"]
    assert_healthy(result, *(["health_check"] if logging != "nothing" else []))
    assert (result["connections"]["seen"] > 50) == (logging != "nothing")


def test_the_capture(busy: tuple[Lab, str]) -> None:
    lab, _logging = busy
    capture = {"path": str(lab.directory / "server.pcap"), "side": "server"}
    result = diagnose(lab, captures=[capture])
    assert_healthy(result, "health_check", "normal_close")
    # Of the router are the checks, and what clients sent through the proxy.
    of_router = collections.Counter(row["cause"] for row in result["losses"] if row["address"] == ROUTER[4][1])
    assert of_router["health_check"] >= 2 * SECONDS


def test_both(busy: tuple[Lab, str]) -> None:
    lab, _logging = busy
    capture = {"path": str(lab.directory / "server.pcap"), "side": "server"}
    result = diagnose(lab, captures=[capture], log_files=[str(lab.cluster.log_file)])
    assert_healthy(result, "health_check", "normal_close")


def test_the_proxys_log(busy: tuple[Lab, str]) -> None:
    lab, _logging = busy
    log = lab.directory / "haproxy.log"
    assert "postgresql/one" in log.read_text()
    assert_healthy(diagnose(lab, pooler_logs=[str(log)], log_files=[str(lab.cluster.log_file)]))
