# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""diagnosis_info on hosts without a server: a pooler's, whose log it finds by itself, and a client's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest
from lab.hosts import Host, wait
from lab.lab import PORT, Lab, Setup
from lab.proxies import haproxy, pgbouncer
from support import places
from support.modules import module_argv, module_input

pytestmark = pytest.mark.skipif(not places.is_root(), reason="namespaces and other processes' files need root")

Result = dict[str, t.Any]


def diagnose(host: Host, **options: t.Any) -> Result:
    """What the module finds on a host of the lab."""
    done = subprocess.run(
        host.argv(module_argv(None, "diagnosis_info")),
        input=module_input({"watch": "100ms", **options}),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return t.cast(Result, json.loads(done.stdout))


@pytest.fixture
def lab(tmp_path: Path) -> t.Iterator[Lab]:
    with Lab(Setup(), tmp_path) as lab:
        yield lab


def listener(lab: Lab, name: str) -> int:
    """The process of that name on the router."""
    found = lab.network.router.run(["ss", "-Htlnp"])
    return next(int(line.partition("pid=")[2].partition(",")[0]) for line in found.splitlines() if f'"{name}"' in line)


@pytest.mark.skipif(not shutil.which("pgbouncer"), reason="pgbouncer is not installed")
@pytest.mark.parametrize("how", ["absolute", "included", "standard error"])
def test_a_poolers_host(lab: Lab, how: str) -> None:
    directory = lab.cluster.directory
    log = directory / "bouncer.log"
    log.touch()
    shutil.chown(log, places.server_user().pw_name)
    more = directory / "more.ini"
    more.write_text(f"logfile = {log}\n")
    more.chmod(0o644)
    setting = {"absolute": f"logfile = {log}", "included": f"%include {more}", "standard error": ""}[how]
    with pgbouncer(lab, "client_idle_timeout = 2", "pool_mode = transaction", setting) as address:
        path = log if setting else lab.directory / "pgbouncer.log"
        client = lab.connect(address=address)
        client.ask("SELECT 1")
        wait("the pooler's own words", lambda: "client_idle_timeout" in path.read_text(), 15)
        router = lab.network.router
        result = diagnose(router)
        assert (result["server"], result["sources"]["logs"], result["problems"]) == (None, [str(path)], [])
        assert [(row["cause"], row["port"]) for row in result["losses"]] == [("pooler_closed", client.local[1])]
        assert "client_idle_timeout" in result["losses"][0]["evidence_for"][0]
        assert result["sockets"] == [
            {"address": lab.address, "port": PORT, "open": 1, "connecting": 0, "closed_by_server": 0, "unanswered": 0}
        ]
        assert result["host"]["run_queue"] >= 0
        assert (result["statistics"]["seconds"] > 0, result["look"]["databases"]) == (True, {})
        assert result["look"]["kernel"].keys() >= {"TCPTimeouts", "RetransSegs"}
        without = diagnose(router, find_pooler_logs=False)
        assert (without["sources"]["logs"], without["losses"], without["healthy"]) == ([], [], True)
        # The server ends the session while the pooler is not able to notice.
        pooler = listener(lab, "pgbouncer")
        os.kill(pooler, signal.SIGSTOP)
        try:
            lab.cluster.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_addr IS NOT NULL")
            assert wait("it in the sockets", lambda: diagnose(router)["sockets"][0]["closed_by_server"]) == 1
        finally:
            os.kill(pooler, signal.SIGCONT)


@pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed")
def test_a_proxys_host(lab: Lab) -> None:
    """Its standard output and error are one file here, as where systemd appends to one."""
    with haproxy(lab, "timeout client 2s", "timeout server 1h") as address:
        client = lab.connect(address=address)
        client.ask("SELECT 1")
        log = lab.directory / "haproxy.log"
        wait("the proxy's own words", lambda: " cD " in log.read_text(), 15)
        result = diagnose(lab.network.router, login_port=1, server_port=PORT)
        assert (result["sources"]["logs"], result["problems"]) == ([str(log)], [])
        assert [(row["cause"], row["port"]) for row in result["losses"]] == [("proxy_idle_timeout", client.local[1])]


def test_a_clients_host(lab: Lab) -> None:
    host = lab.network.client
    client = lab.connect()
    client.ask("SELECT 1")
    neighbour = lab.address.rpartition(".")[0] + ".99"
    lab.network.rule(f"ip daddr {neighbour} drop")  # or the router would say, after 3 s, that nobody has that address
    attempt: socket.socket = host.inside(socket.socket)
    with attempt:
        attempt.setblocking(False)
        attempt.connect_ex((neighbour, PORT))
        found = {row["address"]: row for row in diagnose(host)["sockets"]}
    assert (found[lab.address]["open"], found[lab.address]["connecting"], found[lab.address]["unanswered"]) == (1, 0, 0)
    assert (found[neighbour]["open"], found[neighbour]["connecting"]) == (0, 1)
    # Nobody answers any more.
    lab.network.rule("ip saddr 10.62.0.0/16 drop")
    client.send("SELECT 2")

    def unanswered() -> bool:
        return any(row["unanswered"] for row in diagnose(host)["sockets"])

    wait("it in the sockets", unanswered, 30)
