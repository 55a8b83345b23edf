# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Causes of lost connections, a pure room: the catalogue. Ids are stable; docs/causes has a page for each."""

from __future__ import annotations

import typing as t


class Cause(t.NamedTuple):
    """*prevented_by* names settings, or keys of a policy of ours; empty where no setting helps. *harmless*: no loss.

    *behind* are causes that may have brought it about, which are worth a word however likely they are beside it.
    """

    title: str
    remedy: str
    prevented_by: tuple[str, ...] = ()
    harmless: bool = False
    behind: tuple[str, ...] = ()


CAUSES: dict[str, Cause] = {
    "client_exited": Cause(
        "the client's process ended without saying goodbye",
        "Have the application close its connections when it stops (deployments, scale-in, workers that are killed).",
    ),
    "client_vanished": Cause(
        "the client's host, or the whole path to it, went silent for good",
        "Nothing to mend at the server; keepalive and tcp_user_timeout decide how soon it is noticed.",
        ("detect_dead_peer_within", "stop_orphaned_query_within"),
    ),
    "client_rebooted": Cause(
        "the client's host was restarted, and knew the connection no longer",
        "See why the host restarted; keepalive decides how soon it is noticed.",
        ("detect_dead_peer_within",),
    ),
    "client_unreachable": Cause(
        "a router said that the client's host cannot be reached",
        "See the host, its address and the routes to it.",
    ),
    "slow_reader_cut": Cause(
        "the client was alive but did not read its result, and tcp_user_timeout ended it",
        "Give such roles a longer tcp_user_timeout, or fetch in portions.",
        ("slow_reader_grace", "slow_reader_roles"),
        behind=("client_starved",),
    ),
    "client_starved": Cause(
        "the client's host was so short of processor, memory or I/O that the client was too late",
        "Give the client's host, or its container, more of it, or have it do less at a time.",
        ("connect_within", "slow_reader_grace"),
    ),
    "middlebox_forgot_flow": Cause(
        "a firewall, NAT or load balancer forgot the idle connection and drops its packets",
        "Send keepalive probes more often than the device's idle limit, at either end, or raise that limit.",
        ("path_idle_limit",),
    ),
    "middlebox_reset": Cause(
        "a firewall, NAT or load balancer reset the connection",
        "Send keepalive probes more often than the device's idle limit, at either end, or raise that limit.",
        ("path_idle_limit",),
    ),
    "keepalive_probes_filtered": Cause(
        "a device on the path drops bare keepalive probes, so that living sessions look dead",
        "Let the probes through; until then keepalive has to be longer than any idle time.",
    ),
    "one_way_loss": Cause(
        "packets got through in one direction only",
        "Look for asymmetric routes, and for filters on the way from the client to the server.",
    ),
    "path_mtu_blackhole": Cause(
        "large packets vanish on the path, and nobody says so",
        "Let ICMP 'fragmentation needed' through, lower the MTU, or set net.ipv4.tcp_mtu_probing = 1.",
    ),
    "outage_outlasted_timers": Cause(
        "the path was down for longer than the timers tolerate, and came back",
        "Tolerate outages of that length.",
        ("tolerate_outage_of",),
    ),
    "proxy_idle_timeout": Cause(
        "a proxy's idle timeout ended the session (keepalive probes do not count there)",
        "Raise the proxy's timeouts (HAProxy: timeout client, timeout server) above the longest idle time.",
    ),
    "proxy_lost_client": Cause(
        "a proxy ended the server's side because it had lost the client",
        "Look at the proxy's other side; this one is its consequence.",
    ),
    "pooler_closed": Cause(
        "the pooler closed the connection by one of its own limits",
        "Expected of a pooler; see server_idle_timeout, server_lifetime, client_idle_timeout, query_wait_timeout.",
    ),
    "server_crash": Cause(
        "a server process crashed, and the server ended all sessions",
        "See the lines before it in the server's log, and the kernel's log: for want of memory lower work_mem, "
        "shared_buffers or the number of connections, and set vm.overcommit_memory = 2.",
    ),
    "server_shutdown": Cause("the server was shut down", "See who stopped it, and when."),
    "backend_terminated": Cause("somebody ended the session: pg_terminate_backend, or a signal", "Ask who did it."),
    "idle_session_timeout": Cause(
        "idle_session_timeout ended the session",
        "Raise it for this role, or have the pool close its idle connections before.",
        ("close_idle_session_after",),
    ),
    "idle_in_transaction_timeout": Cause(
        "idle_in_transaction_session_timeout ended the session",
        "Mend the application: a transaction must not be left open.",
        ("close_idle_in_transaction_after",),
    ),
    "transaction_timeout": Cause(
        "transaction_timeout ended the session",
        "Shorten the transaction, or raise the limit for this role.",
        ("close_transaction_after",),
    ),
    "statement_timeout": Cause(
        "statement_timeout ended the statement; the session goes on", "Shorten the statement, or raise the limit."
    ),
    "walsender_timeout": Cause(
        "a standby, or another receiver of WAL, did not answer within wal_sender_timeout",
        "See the receiver and the path to it.",
        ("detect_dead_standby_within",),
    ),
    "socket_destroyed": Cause("somebody destroyed the socket on the server's host (ss -K)", "Ask who did it."),
    "server_vanished": Cause(
        "the server's host, or the whole path to it, went silent",
        "See the server's host and the path; the client's keepalive and tcp_user_timeout decide how soon it notices.",
        ("keepalives_idle", "tcp_user_timeout"),
    ),
    "server_reset": Cause(
        "the server's host reset a connection that it did not know any longer",
        "A pool used a connection that the server's side had closed: test connections before use, or limit their age.",
    ),
    "server_hung": Cause(
        "the server's kernel answered, but PostgreSQL did not",
        "See what keeps the server: I/O, locks, memory, a stopped process.",
    ),
    "connect_no_answer": Cause(
        "the server's host did not answer a connection attempt",
        "See whether the host is up, and whether a firewall drops the port.",
        ("connect_timeout",),
    ),
    "connect_refused": Cause("nothing listens on that port", "Start the server, or correct host and port."),
    "connect_rejected_by_firewall": Cause("a firewall rejected the connection attempt", "Have the port opened."),
    "connect_unreachable": Cause(
        "there is no route to the server's host, or it is down", "See the host, its address and the routes to it."
    ),
    "authentication_timeout": Cause(
        "the client did not finish its login in time",
        "See whether the client, or the path, is slow; port scanners do this too.",
        ("connect_within",),
        behind=("client_starved",),
    ),
    "too_many_clients": Cause(
        "all of the server's connections were taken",
        "Use a pooler, raise max_connections, and see whether dead sessions take them.",
        ("detect_dead_peer_within",),
    ),
    "not_postgresql": Cause(
        "something that does not speak PostgreSQL's protocol connected: a port scan, HTTP, a health check",
        "Find out who it is; a health check should use pg_isready or a plain TCP check.",
    ),
    "health_check": Cause(
        "a connection that was opened and closed without a login: a load balancer's health check",
        "Nothing to do.",
        harmless=True,
    ),
    "normal_close": Cause("the client closed the connection properly", "Nothing to do.", harmless=True),
    "survived_outage": Cause("packets were lost, and the connection survived", "Nothing to do.", harmless=True),
    "healthy": Cause("the connection works", "Nothing to do.", harmless=True),
}

#: Idle limits of devices (seconds) and who has them; published values, see docs/causes.md.
IDLE_LIMITS: tuple[tuple[int, str], ...] = (
    (240, "Azure Load Balancer, NAT Gateway or Firewall"),
    (300, "DigitalOcean NAT, Azure Firewall (east-west)"),
    (350, "AWS NLB, NAT gateway, Network Firewall or security group tracking"),
    (600, "Google Cloud VPC"),
    (900, "IPVS (kube-proxy, Docker swarm)"),
    (1200, "Google Cloud NAT"),
    (1800, "Juniper SRX, RDS Proxy"),
    (3600, "Cisco ASA, Palo Alto, FortiGate"),
)


def device(silence: float) -> tuple[int, str] | None:
    """The device whose idle limit lies at or just below a *silence* in seconds."""
    near = [row for row in IDLE_LIMITS if row[0] - 5 <= silence <= row[0] * 1.1]
    return near[0] if near else None
