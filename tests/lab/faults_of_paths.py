# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases: what lies between loses packets, forgets connections or refuses them."""

from __future__ import annotations

import time

from .cases import case
from .forgery import reset_both
from .hosts import ROUTER, LabError
from .lab import CONF, Lab
from .phases import ANY_LOSS, BY_CLIENT, BY_SERVER, RESET, RST, TIMED_OUT, begin

LATE = {"tcp_keepalives_idle": 6}  # later than the device forgets
NEVER = {"tcp_keepalives_idle": 7200}
FORGETS = 3


def forgotten(lab: Lab, client_port: int) -> None:
    """The device really knows the flow no more, and has seen a packet of it since."""
    if f"port={client_port} " in lab.network.flows() or not lab.network.dropped():
        raise LabError(f"the router remembers the flow:\n{lab.network.flows()}")


@case("middlebox_forgot_flow", "server_probes", rises=("sessions_abandoned", "TCPAbortOnTimeout"), conf=LATE)
def middlebox_forgot_flow(lab: Lab) -> None:
    """The server's probes come too late and are dropped."""
    lab.network.forget_idle(FORGETS)
    client = lab.connect()
    begin(client, "idle")
    lab.fault()
    lab.lost(client, "middlebox_forgot_flow", within=15)
    lab.logged(TIMED_OUT)
    forgotten(lab, client.local[1])


@case("middlebox_forgot_flow", "client_asks", conf=NEVER, never=ANY_LOSS)
@case("middlebox_forgot_flow", "client_asks_tls", conf=NEVER, never=ANY_LOSS, tls=True)
def middlebox_forgot_flow_client(lab: Lab) -> None:
    """The client's next query is dropped; the server never knows."""
    lab.network.forget_idle(FORGETS)
    client = lab.connect("tcp_user_timeout=4000")
    begin(client, "idle")
    lab.fault()
    time.sleep(FORGETS + 2)
    client.send("SELECT 1")
    client.fails("Connection timed out", 15)
    lab.lost(client, "middlebox_forgot_flow")
    forgotten(lab, client.local[1])


@case(
    "middlebox_forgot_flow",
    "long_query",
    rises=("sessions_abandoned", "TCPAbortOnTimeout"),
    conf=NEVER | {"tcp_user_timeout": 4000},
)
def middlebox_forgot_flow_result(lab: Lab) -> None:
    """A query takes longer than the device remembers; its result is dropped."""
    lab.network.forget_idle(FORGETS)
    client = lab.connect()
    lab.fault()
    begin(client, "executing")
    lab.lost(client, "middlebox_forgot_flow", within=20)
    lab.logged(TIMED_OUT)
    forgotten(lab, client.local[1])


@case("middlebox_reset", "server_probes", rises=("sessions_abandoned",), conf=LATE)
@case("middlebox_reset", "nat", rises=("sessions_abandoned",), conf=LATE, arguments={"translate": True})
def middlebox_reset(lab: Lab, translate: bool = False) -> None:
    """The server's first probe is refused by the device, later the client's query as well."""
    if translate:
        lab.network.translate()
    lab.network.forget_idle(FORGETS, "reject with tcp reset")
    client = lab.connect()
    begin(client, "idle")
    lab.fault()
    lab.lost(client, "middlebox_reset", within=15)
    lab.logged(RESET)
    client.send("SELECT 1")
    client.fails("server closed the connection unexpectedly")
    forgotten(lab, client.local[1])
    if lab.packets("client", f"{BY_CLIENT} and {RST}"):
        raise LabError("the client has reset its connection itself")


@case("middlebox_reset", "client_asks", conf=NEVER, never=ANY_LOSS)
def middlebox_reset_client(lab: Lab) -> None:
    """The client's next query is refused by the device; the server never knows."""
    lab.network.forget_idle(FORGETS, "reject with tcp reset")
    client = lab.connect()
    begin(client, "idle")
    lab.fault()
    time.sleep(FORGETS + 2)
    client.send("SELECT 1")
    client.fails("server closed the connection unexpectedly")
    lab.lost(client, "middlebox_reset")
    forgotten(lab, client.local[1])
    if lab.packets("server", f"{BY_SERVER} and {RST}"):
        raise LabError("the server has reset the connection itself")


@case("middlebox_reset", "both", rises=("sessions_abandoned",), conf=NEVER, arguments={"ttl": 64})
@case("middlebox_reset", "both_odd_ttl", rises=("sessions_abandoned",), conf=NEVER, arguments={"ttl": 119})
def middlebox_reset_both(lab: Lab, ttl: int) -> None:
    """As some load balancers of clouds do: after the idle time the device resets both ends, unasked."""
    client = lab.connect()
    begin(client, "idle")
    lab.fault()
    time.sleep(FORGETS)
    reset_both(lab.network.router, lab.directory / "server.pcap", client.local, lab.server, ttl)
    lab.lost(client, "middlebox_reset", within=5)
    lab.logged(RESET)
    client.send("SELECT 1")
    client.fails("server closed the connection unexpectedly")


@case("keepalive_probes_filtered", rises=("sessions_abandoned", "TCPAbortOnTimeout"))
def keepalive_probes_filtered(lab: Lab) -> None:
    """The path lets no empty segment of the server pass; a live client is cut."""
    client = lab.connect()
    begin(client, "idle")
    lab.network.rule("iifname s0 meta length 52 tcp flags & (fin | syn | rst | psh | ack) == ack counter drop")
    lab.fault()
    lab.lost(client, "keepalive_probes_filtered", within=15)
    lab.logged(TIMED_OUT)
    client.send("SELECT 1")
    client.fails("server closed the connection unexpectedly")
    if lab.network.dropped() < int(CONF["tcp_keepalives_count"]):
        raise LabError("not all probes were filtered")


@case("one_way_loss", rises=("sessions_abandoned", "TCPAbortOnTimeout"))
def one_way_loss(lab: Lab) -> None:
    """What the client sends does not arrive; it answers every probe."""
    client = lab.connect()
    begin(client, "idle")
    lab.network.rule("iifname c0 counter drop")
    lab.fault()
    lab.lost(client, "one_way_loss", within=15)
    lab.logged(TIMED_OUT)
    if len(lab.packets("client", f"{BY_CLIENT} and greater 1")) <= len(lab.packets("server", BY_CLIENT)):
        raise LabError("the client has not answered")


@case("path_mtu_blackhole", rises=("TCPAbortOnTimeout",), conf={"tcp_user_timeout": 5000})
def path_mtu_blackhole(lab: Lab) -> None:
    """Large packets are dropped without a word, small ones pass."""
    client, other = lab.connect(), lab.connect()
    begin(client, "idle")
    lab.network.rule("iifname s0 meta length > 1400 counter drop")
    lab.fault()
    client.send("SELECT repeat('x', 50000)")
    while time.time() < lab.fault_at + 3:
        other.ask("SELECT 1")
        time.sleep(0.5)
    lab.lost(client, "path_mtu_blackhole", within=15)
    lab.logged("could not (send|receive) data (to|from) client: Connection timed out")
    other.quit()
    lab.fine(other, "normal_close")


@case("outage_outlasted_timers", rises=("sessions_abandoned", "TCPAbortOnTimeout"))
def outage_outlasted_timers(lab: Lab) -> None:
    """Nothing passes for longer than the server waits; then everything passes again."""
    clients = [lab.connect(), lab.connect()]
    for client in clients:
        begin(client, "idle")
    lab.network.rule("counter drop")
    lab.fault()
    for client in clients:
        lab.lost(client, "outage_outlasted_timers", within=15)
    lab.logged(TIMED_OUT, count=2)
    time.sleep(1)
    lab.network.heal()
    for client in clients:
        client.send("SELECT 1")
        client.fails("server closed the connection unexpectedly")
    lab.visit()


@case("survived_outage", "idle", arguments={"phase": "idle"}, conf={"tcp_keepalives_count": 8}, never=ANY_LOSS)
@case("survived_outage", "sending", arguments={"phase": "sending"}, never=ANY_LOSS)
def survived_outage(lab: Lab, phase: str) -> None:
    """Nothing passes for a while, shorter than anybody's patience."""
    client = lab.connect()
    if phase == "sending":
        client.send("\\copy (SELECT repeat('x', 2000), pg_sleep(0.02) FROM generate_series(1, 300)) TO '/dev/null'")
        time.sleep(1)
    else:
        begin(client, "idle")
    lab.network.rule("counter drop")
    lab.fault()
    time.sleep(1.5 if phase == "sending" else 5)
    met = lab.network.heal()
    client.ask("SELECT 1", 15)
    client.quit()
    lab.fine(client, "survived_outage")
    if met < 2:
        raise LabError("the outage met no packet")


@case("connect_no_answer", arguments={"rule": "iifname c0 tcp flags & (syn | ack) == syn counter drop"})
@case("connect_rejected_by_firewall", "icmp", arguments={"rule": "iifname c0 reject with icmpx admin-prohibited"})
@case("connect_rejected_by_firewall", "rst", arguments={"rule": "iifname c0 meta l4proto tcp reject with tcp reset"})
def connect_filtered(lab: Lab, rule: str) -> None:
    """A firewall on the way lets nobody connect."""
    lab.network.rule(rule)
    lab.fault()
    attempt = lab.connect("connect_timeout=4", wait_for_login=False)
    words = {"drop": "timeout expired", "prohibited": "No route to host", "reset": "Connection refused"}
    attempt.fails(next(text for word, text in words.items() if rule.endswith(word)))
    lab.losses += lab.attempts("connect_no_answer" if rule.endswith("drop") else "connect_rejected_by_firewall")
    if lab.packets("server", f"{BY_CLIENT} and src port {lab.losses[0].port}"):
        raise LabError("the attempt has reached the server")


@case("connect_no_answer", "server_gone", arguments={"cause": "connect_no_answer"})
@case("connect_unreachable", arguments={"cause": "connect_unreachable"})
def connect_to_nobody(lab: Lab, cause: str) -> None:
    """The server's host is gone; the router says so, or not."""
    lab.server_vanishes()
    if cause == "connect_unreachable":
        lab.network.unlearn()
    lab.fault()
    attempt = lab.connect("connect_timeout=4", wait_for_login=False)
    attempt.fails("No route to host" if cause == "connect_unreachable" else "timeout expired")
    lab.losses += lab.attempts(cause)
    said = bool(lab.packets("client", f"icmp and src host {ROUTER[4][0]}"))
    if said != (cause == "connect_unreachable"):
        raise LabError("the router said something else")
