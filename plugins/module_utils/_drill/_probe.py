# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe, the first connection of a drill: it shows whether a drill can work here at all."""

from __future__ import annotations

import time

from .. import _poolers
from .._database import Database
from .._errors import Failure
from . import _sql
from ._cells import Cell
from ._client import Event
from ._connections import Connections

_PROBE = Cell("server", "probe", "peer_vanished")


def probe(database: Database, connections: Connections, server_started: float) -> Event:
    """What the first session says of itself and the server. Raises Failure where no drill can work.

    *server_started* is when the server of the watching session was started.
    """
    began = time.monotonic()
    session = _try_cut(connections)
    elapsed = time.monotonic() - began
    if session["server_started"] != server_started:
        raise Failure(
            "another_server",
            f"a drill at {connections.host}, port {connections.port}",
            "another server answers there than the one that is logged in to",
            "Correct target_host, or login_host and login_port.",
        )
    shared = session["pid"] == database.ask("asking for the process", _sql.PID)
    if shared or session["client_addr"] is None or _poolers.by_age(session["age"], elapsed):
        raise Failure(
            "pooler_in_between",
            f"a drill at {connections.host}, port {connections.port}",
            "a pooler is in between: the server process is not this connection's own",
            "Log in to the server itself; the pooler's own connections are drilled that way too.",
        )
    return session


def _try_cut(connections: Connections) -> Event:
    """What the session of a client says that was cut for a moment, to see whether nothing arrives then."""
    conninfo = connections.conninfo
    client = connections.start(_PROBE, 0)
    events: dict[str, Event] = {}

    def await_event(name: str, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while name not in events and "error" not in events and client.pid and time.monotonic() < deadline:
            for event in client.receive():
                events[event["event"]] = event
            time.sleep(0.005)
        return name in events

    if await_event("ready", 10):
        client.connect()
    if not await_event("connected", 2 * conninfo["connect_timeout"]):
        found = events.get("error", {}).get("found", "no connection came about")
        raise Failure(
            "login_failed",
            f"logging in over TCP to {client.job.conninfo['host']}, port {connections.port}, as {conninfo['user']}",
            found,
            "Let pg_hba.conf admit 192.0.2.0/24, listen_addresses be *, and a firewall let it in."
            if client.job.link
            else "Give login_host and a login that works over TCP; a role without any privilege will do.",
        )
    session = events["connected"]
    connections.local = (session["client_addr"], session["client_port"]) in connections.sockets()
    client.tell("fault")
    await_event("fault", 10)
    client.tell("use")
    heard = await_event("answered", 0.5)
    client.tell("heal")
    if heard or not await_event("answered", 10):
        found = "its packets still arrive" if heard else "the connection did not come back"
        raise Failure(
            "no_cut",
            f"cutting a connection to {connections.host} with IP_MINTTL = 255",
            f"{found}: the peer, or a proxy on the way, sends with a TTL of 255",
            "Use method namespace on the server's own host, or drill from another one.",
        )
    client.end(2)
    return session


def notes(session: Event, local: bool, side: str) -> list[str]:
    """What to know of the way there and of the server's kernel, which a *local* server shares with this host."""
    found = []
    if (session["client_addr"], session["client_port"]) != tuple(session["local"]):
        found.append(
            f"The server sees a connection come from {session['client_addr']}:{session['client_port']} that left "
            f"here as {session['local'][0]}:{session['local'][1]}. If that is NAT, all is well; if it is a proxy, "
            "the proxy's own timers count: drill from the proxy's host."
        )
    if side == "server" and not local:
        found.append(
            "The server's kernel cannot be asked from here; its tcp_retries2 is taken to be 15, Linux's default."
        )
    return found
