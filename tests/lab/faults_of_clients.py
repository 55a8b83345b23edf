# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases: clients that exit, vanish, reboot, or do not read."""

from __future__ import annotations

import time

from .cases import case
from .hosts import CLIENT, LabError
from .lab import Lab
from .phases import ANY_LOSS, BY_CLIENT, EOF_IN_TRANSACTION, FLOOD, LOST, RESET, RST, SEND_TIMED_OUT, TIMED_OUT, begin
from .starvation import Starved

CHECKED = {"client_connection_check_interval": "1s"}


@case("client_exited", arguments={"phase": "idle"}, rises=("sessions_abandoned",), never=ANY_LOSS)
@case("client_exited", "ipv6", arguments={"phase": "idle"}, rises=("sessions_abandoned",), never=ANY_LOSS, family=6)
@case("client_exited", "tls", arguments={"phase": "idle", "line": RESET}, rises=("sessions_abandoned",), tls=True)
@case(
    "client_exited",
    "in_transaction",
    arguments={"phase": "in_transaction", "line": EOF_IN_TRANSACTION},
    rises=("sessions_abandoned",),
    log_tells=True,
)
@case(
    "client_exited",
    "in_transaction_tls",
    arguments={"phase": "in_transaction", "line": EOF_IN_TRANSACTION},
    rises=("sessions_abandoned",),
    tls=True,
)
@case("client_exited", "executing", arguments={"phase": "executing"}, rises=("sessions_abandoned",), never=ANY_LOSS)
@case(
    "client_exited",
    "executing_checked",
    arguments={"phase": "executing", "line": LOST},
    rises=("sessions_fatal",),
    conf=CHECKED,
)
@case("client_exited", "copying_in", arguments={"phase": "copying_in", "line": EOF_IN_TRANSACTION}, log_tells=True)
@case("client_exited", "sending", arguments={"phase": "sending", "line": LOST}, rises=("sessions_fatal",))
def client_exited(lab: Lab, phase: str, line: str = "") -> None:
    """The process is killed; its kernel closes the connection."""
    client = lab.connect()
    begin(client, phase)
    lab.fault()
    client.kill()
    lab.lost(client, "client_exited", within=10)
    if line:
        lab.logged(line)


@case("client_vanished", "idle", arguments={"phase": "idle", "line": TIMED_OUT}, rises=("sessions_abandoned",))
@case(
    "client_vanished",
    "idle_tls",
    arguments={"phase": "idle", "line": TIMED_OUT},
    rises=("sessions_abandoned",),
    tls=True,
    conf={"tcp_user_timeout": 5000},
)
@case(
    "client_vanished",
    "in_transaction",
    arguments={"phase": "in_transaction", "line": EOF_IN_TRANSACTION},
    rises=("sessions_abandoned",),
)
@case("client_vanished", "executing", arguments={"phase": "executing", "line": LOST}, rises=("sessions_fatal",))
@case(
    "client_vanished",
    "executing_checked",
    arguments={"phase": "executing", "line": LOST},
    rises=("sessions_fatal",),
    conf=CHECKED,
)
@case(
    "client_vanished",
    "sending",
    arguments={"phase": "sending", "line": SEND_TIMED_OUT},
    rises=("sessions_fatal",),
    conf={"tcp_user_timeout": 5000},
)
def client_vanished(lab: Lab, phase: str, line: str) -> None:
    """The client's host is gone, no packet comes from there any more."""
    client = lab.connect()
    begin(client, phase)
    lab.fault()
    lab.client_vanishes()
    client.kill()
    lab.lost(client, "client_vanished", within=15)
    lab.logged(line)
    if lab.rose("TCPAbortOnTimeout") and lab.packets("server", f"src host {lab.address} and icmp"):
        raise LabError("the path said something")


@case("client_rebooted", "idle", arguments={"phase": "idle", "line": RESET}, rises=("sessions_abandoned",))
@case(
    "client_rebooted",
    "executing",
    arguments={"phase": "executing", "line": LOST},
    rises=("sessions_fatal",),
    conf=CHECKED,
)
def client_rebooted(lab: Lab, phase: str, line: str) -> None:
    """The client's host comes back without its connections, and says so when it is asked."""
    client = lab.connect()
    begin(client, phase)
    lab.fault()
    lab.client_vanishes(and_returns=True)
    client.kill()
    lab.lost(client, "client_rebooted", within=10)
    lab.logged(line)
    if not lab.packets("server", f"src host {client.seen_as[0]} and {RST}"):
        raise LabError("the client's host has not refused the connection that it does not know")


@case("client_unreachable", rises=("sessions_fatal",), conf={"tcp_user_timeout": 6000}, log_tells=True)
def client_unreachable(lab: Lab) -> None:
    """The router finds that the client does not answer, and tells the server, which has data in flight."""
    client = lab.connect()
    begin(client, "sending")
    lab.fault()
    lab.client_vanishes()
    lab.network.unlearn()
    client.kill()
    lab.lost(client, "client_unreachable", within=15)
    lab.logged("could not send data to client: No route to host")


@case("slow_reader_cut", rises=("sessions_fatal",), conf={"tcp_user_timeout": 4000})
@case("slow_reader_cut", "tls", rises=("sessions_fatal",), conf={"tcp_user_timeout": 5000}, tls=True)
def slow_reader_cut(lab: Lab) -> None:
    """The client does not read; its kernel answers, with a closed window."""
    client = lab.connect()
    lab.fault()
    client.send(FLOOD)
    lab.active(client)
    client.freeze()
    lab.lost(client, "slow_reader_cut", within=15)
    lab.logged(SEND_TIMED_OUT)
    if not lab.packets("server", f"dst host {lab.address} and tcp[14:2] == 0 and tcp[tcpflags] == tcp-ack"):
        raise LabError("the client's window was never closed")
    client.thaw()
    client.fails("server closed the connection unexpectedly")
    time.sleep(0.3)


@case(
    "client_starved",
    "login",
    conf={"authentication_timeout": "3s", "scram_iterations": 1_000_000},
    hba=("host all locked all scram-sha-256",),
    major=16,
)
def client_starved_login(lab: Lab) -> None:
    """The client's host has so little processor left that the answer to the server's question comes too late."""
    lab.cluster.query("CREATE ROLE locked LOGIN PASSWORD 'known'")
    client = lab.connect()
    with Starved(lab.network.client, share=0.2) as starved:
        starved.wait_for_pressure(22)
        starved.take(client.process.pid)
        lab.fault()
        client.send("\\connect -reuse-previous=on 'user=locked password=known'")
        lab.logged("canceling authentication due to timeout", seconds=20)
        lab.hosts.append(starved.look(CLIENT[4]))
        if client.errors():
            raise LabError(f"the client knew before: {client.errors()}")
    client.fails("canceling authentication due to timeout|server closed the connection", 60)
    lab.losses += lab.attempts("client_starved")
    acknowledged = lab.packets("server", f"{BY_CLIENT} and port {lab.losses[0].port} and tcp[tcpflags] == tcp-ack")
    if len(acknowledged) < 2:
        raise LabError("the client's kernel has not answered")


@case("client_starved", "reading", rises=("sessions_fatal",), conf={"tcp_user_timeout": 5000})
def client_starved_reading(lab: Lab) -> None:
    """The client's host has so little processor left that the result is not read."""
    client = lab.connect()
    with Starved(lab.network.client, share=0.001) as starved:
        starved.wait_for_pressure(22)
        lab.fault()
        client.send(FLOOD)
        lab.active(client)
        starved.take(client.process.pid)
        lab.lost(client, "client_starved", within=60)
        lab.hosts.append(starved.look(client.seen_as[0]))
    lab.logged(SEND_TIMED_OUT)
    client.fails("server closed the connection unexpectedly", 60)


@case("healthy", "slow_reader", never=ANY_LOSS, conf={"tcp_user_timeout": 9000})
def healthy_slow_reader(lab: Lab) -> None:
    """The client does not read for a while, then goes on, in time."""
    client = lab.connect()
    lab.fault()
    client.send(FLOOD)
    lab.active(client)
    client.freeze()
    time.sleep(5)
    client.thaw()
    client.ask("SELECT 1", 30)
    client.quit()
    lab.fine(client, "normal_close")
