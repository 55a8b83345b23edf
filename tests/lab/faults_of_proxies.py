# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases: a proxy or a pooler between client and server closes connections."""

from __future__ import annotations

import re
import time

from .cases import case
from .hosts import wait
from .lab import Lab
from .phases import begin
from .proxies import haproxy, pgbouncer

LONG = ("timeout client 1h", "timeout server 1h")


@case("proxy_idle_timeout", "idle", arguments={"phase": "idle"}, programs=("haproxy",))
@case("proxy_idle_timeout", "executing", arguments={"phase": "executing"}, programs=("haproxy",))
@case("proxy_idle_timeout", "tls", arguments={"phase": "idle"}, programs=("haproxy",), tls=True)
def proxy_idle_timeout(lab: Lab, phase: str) -> None:
    """The proxy sees no data for too long and closes both sides; keepalive probes are no data."""
    with haproxy(lab, "timeout client 5s", "timeout server 5s") as address:
        client = lab.connect(address=address)
        begin(client, phase)
        lab.fault()
        lab.lost(client, "proxy_idle_timeout", within=15)
        wait("the proxy's own words", lambda: re.search(r" [cs]D ", _said(lab, "haproxy")))


@case("proxy_lost_client", programs=("haproxy",))
def proxy_lost_client(lab: Lab) -> None:
    """The client's host vanishes; the proxy notices by its keepalive and closes the server's side."""
    keepalive = ("option clitcpka", "clitcpka-idle 3s", "clitcpka-intvl 1s", "clitcpka-cnt 3")
    with haproxy(lab, *LONG, *keepalive) as address:
        client = lab.connect(address=address)
        begin(client, "idle")
        lab.fault()
        lab.client_vanishes()
        client.kill()
        lab.lost(client, "proxy_lost_client", within=15)
        wait("the proxy's own words", lambda: re.search(r" C[CD] ", _said(lab, "haproxy")))


@case("health_check", "haproxy", programs=("haproxy",))
def health_check_haproxy(lab: Lab) -> None:
    """A real load balancer looks at the port, while a client works through it."""
    lab.fault()
    with haproxy(lab, *LONG, server_options="check inter 500ms") as address:
        client = lab.connect(address=address)
        time.sleep(3)
        client.quit()
        lab.fine(client, "normal_close")
    lab.harmless += lab.attempts("health_check", "server")


@case("pooler_closed", "server_idle_timeout", arguments={"why": "server idle timeout"}, programs=("pgbouncer",))
@case("pooler_closed", "server_lifetime", arguments={"why": "server lifetime over"}, programs=("pgbouncer",))
def pooler_closed_server(lab: Lab, why: str) -> None:
    """The pooler closes a connection to the server that nobody used, or that has become too old."""
    option = {"server idle timeout": "server_idle_timeout = 3", "server lifetime over": "server_lifetime = 3"}[why]
    with pgbouncer(lab, option, "pool_mode = transaction") as address:
        client = lab.connect(address=address)
        lab.fault()
        lab.lost(client, "pooler_closed", within=15)
        wait("the pooler's own words", lambda: why in _said(lab, "pgbouncer"))
        client.quit()


@case("pooler_closed", "client_idle_timeout", programs=("pgbouncer",))
def pooler_closed_client(lab: Lab) -> None:
    """The pooler closes the connection of a client that asks nothing."""
    with pgbouncer(lab, "client_idle_timeout = 3", "pool_mode = transaction") as address:
        client = lab.connect(address=address)
        lab.fault()
        wait("the pooler's own words", lambda: "client_idle_timeout" in _said(lab, "pgbouncer"), 15)
        client.send("SELECT 1")
        client.fails("client_idle_timeout|server closed the connection unexpectedly")
        lab.lost(client, "pooler_closed")


@case("pooler_closed", "query_wait_timeout", programs=("pgbouncer",))
def pooler_closed_waiting(lab: Lab) -> None:
    """The pooler has no free connection for too long and closes the client's that waits for one."""
    with pgbouncer(lab, "query_wait_timeout = 2", "default_pool_size = 1", "max_client_conn = 9") as address:
        busy = lab.connect(address=address)
        busy.send("SELECT pg_sleep(6)")
        lab.fault()
        waiting = lab.connect(address=address, wait_for_login=False)
        waiting.send("SELECT 1")
        waiting.fails("query_wait_timeout", 15)
        lab.losses += lab.attempts("pooler_closed", "client", *address)
        busy.receive()
        busy.quit()
        lab.fine(busy, "normal_close")


@case("pooler_closed", "shut_down", programs=("pgbouncer",))
def pooler_shut_down(lab: Lab) -> None:
    """The pooler is stopped, with everything that goes through it."""
    with pgbouncer(lab) as address:
        client = lab.connect(address=address)
        begin(client, "executing")
        lab.fault()
    lab.lost(client, "pooler_closed", within=15)


def _said(lab: Lab, name: str) -> str:
    return (lab.directory / lab.other_logs[name]).read_text()
