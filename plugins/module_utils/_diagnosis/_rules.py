# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules, a pure room: what each piece of evidence says for and against each cause.

The texts of a log and the signatures of a capture were provoked one by one; docs/causes.md has them.
"""

from __future__ import annotations

import typing as t

from ._clues import LONG, SURE, Clue, Surroundings
from ._facts import Flow, Loss
from ._legs import Legs
from ._rules_of_flows import of_flow, only_large
from ._rules_of_lines import SILENT, of_lines


def clues(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    """Everything that speaks for or against some cause of *loss*."""
    told = list(of_lines(loss, surroundings))
    yield from told
    # Several captures of one connection show the same event: that is no evidence more than once.
    seen: dict[str, Clue] = {}
    for flow in loss.flows:
        for clue in of_flow(flow, surroundings):
            known = seen.get(clue.cause)
            if known is None or (clue.weight, clue.text) > (known.weight, known.text):
                seen[clue.cause] = clue
    if told:  # the server knows better than a goodbye that the client said all the same
        seen.pop("normal_close", None)
    if any(clue.weight >= SURE for clue in told):
        seen.pop("health_check", None)
    yield from seen.values()
    yield from _of_several(loss.flows, surroundings)
    yield from _of_legs(surroundings.legs(loss))
    yield from _of_company(loss, surroundings)


# ---- several captures of one connection


def _of_several(flows: t.Sequence[Flow], surroundings: Surroundings) -> t.Iterator[Clue]:
    for near in flows:
        if near.unanswered_probes_by == "server" or near.retransmitting == "server":
            for far in flows:
                if far.established and far.retransmitting != "server" and far.unanswered_probes_by != "server":
                    yield from _swallowed(near, far)
    by_side = {flow.side: flow for flow in flows}
    server, client = by_side.get("server"), by_side.get("client")
    if client and client.syn_answer == "rst" and not server and "server" in surroundings.sides:
        text = "the SYN never arrived at the server, and yet it was refused"
        yield Clue("connect_rejected_by_firewall", 0.95, text)
        yield Clue("connect_refused", -0.95, "the server's own capture does not have it")
    if not server or not client:
        return
    if client.retransmitting == "client" and server.retransmitting != "client":
        yield Clue("middlebox_forgot_flow", 0.7, "what the client sent did not arrive at the server, which was alive")
        yield Clue("server_vanished", -0.8, "the server's own capture shows that it was alive")
        yield Clue("client_vanished", -0.8, "the client's own capture shows that it was alive")
    if client.rst_by == "server" and client.closed_how == "rst" and server.rst_by != "server":
        yield Clue(
            "middlebox_reset", 0.9, "the RST that the client got in the server's name was never sent by the server"
        )
    if server.rst_by == "client" and server.closed_how == "rst" and client.rst_by != "client":
        yield Clue(
            "middlebox_reset", 0.9, "the RST that the server got in the client's name was never sent by the client"
        )


def _of_legs(legs: Legs | None) -> t.Iterator[Clue]:
    """What stands between the two connections of one session has closed both of them, or lost the one."""
    if not legs or legs.back.terminate:
        return
    front, back = legs
    text = "the client said goodbye to what stands between, which has then closed the other side"
    if front.terminate:
        yield Clue("normal_close", 0.95, text)
        yield Clue("client_exited", -0.9, text)
        return
    where = f"{front.client[0]} to {front.server[0]}, {back.client[0]} to {back.server[0]}"
    lost = front.retransmitting == "server" or front.unanswered_probes_by == "server"
    if lost or front.closed_how == "none":
        yield Clue("proxy_lost_client", 0.95, f"{where}: the proxy had lost its client when it closed the other side")
    elif front.server_message:
        yield Clue("pooler_closed", 0.95, f"{where}: the pooler said {front.server_message} to its client and closed")
    elif front.closed_by == "server" and back.closed_by == "client":
        text = f"{where}: what is between closed both sides at once"
        idle = min(front.silence.seconds, back.silence.seconds)
        cause = "proxy_idle_timeout" if idle >= LONG else "pooler_closed"
        yield Clue(cause, 0.95, f"{text} after {idle:.1f} s of silence")
    else:
        return
    yield Clue("client_exited", -0.9, f"{where}: it was not the client that closed")


def _swallowed(near: Flow, far: Flow) -> t.Iterator[Clue]:
    """What the server sent is in the capture *near* it, and did not get as far as the other one."""
    text = f"what the server sent at the end is in {near.file} and not in {far.file}"
    if far.side == "client":
        yield Clue("client_vanished", -0.9, "the client's own capture goes on")
    gave_up = near.closed_at if near.closed_how == "rst" and near.rst_by == "server" else None
    if far.silence.probes_answered > near.silence.probes_answered:
        yield Clue("one_way_loss", 0.95, f"probes of the server are answered in {far.file}, and the answers got lost")
    elif near.retransmitting == "server" and only_large(near):
        yield Clue("path_mtu_blackhole", 0.95, f"{text}: segments above {near.largest_delivered} bytes")
    elif gave_up and far.rst_by == "server" and abs((far.closed_at or 0.0) - gave_up) < 1.0:
        yield Clue("keepalive_probes_filtered", 0.95, f"{text}, but for the RST at its end, which got through")
    elif far.rst_by == "server" and far.rst_after in ("data", "probe"):
        yield Clue("outage_outlasted_timers", 0.95, f"{text}; later the path worked again, and the client was reset")
    elif near.silence.seconds >= LONG:
        yield Clue("middlebox_forgot_flow", 0.85, f"{text}, after {near.silence.seconds:.1f} s of silence")
    else:
        yield Clue("middlebox_forgot_flow", 0.3, text)
        yield Clue("outage_outlasted_timers", 0.4, text)


# ---- other losses


def _of_company(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    same, others = surroundings.beside(loss)
    kinds = {event.kind for event in loss.events}
    if kinds & {"receive_timed_out", "send_timed_out"}:
        if others:
            text = f"{others} connections of other clients were lost in the same seconds"
            yield Clue("outage_outlasted_timers", 0.3, text)
        elif same:
            text = f"{same} further connections of this client were lost in the same seconds, and of no other"
            yield Clue("client_vanished", 0.4, text)


# ---- what would tell


_TELLING: tuple[tuple[frozenset[str], str, str], ...] = (
    (
        frozenset(cause for cause, _weight, _why in SILENT),
        "client",
        "a capture on the client's host of the same minutes: was it alive, did probes arrive, did it repeat itself",
    ),
    (
        frozenset(
            {"server_vanished", "middlebox_forgot_flow", "middlebox_reset", "server_reset", "outage_outlasted_timers"}
        ),
        "server",
        "a capture on the server's host of the same minutes: did the client's packets arrive, was the RST sent there",
    ),
    (
        frozenset({"client_exited", "client_rebooted", "middlebox_reset"}),
        "server",
        "a capture on the server's host: the TTL of the RST tells a device from the client",
    ),
    (
        frozenset({"connect_refused", "connect_rejected_by_firewall", "one_way_loss", "keepalive_probes_filtered"}),
        "server",
        "a capture on the server's host: did the SYN arrive, were the server's probes answered",
    ),
    (
        frozenset({"slow_reader_cut", "client_vanished"}),
        "server",
        "a capture on the server's host: a closed window tells a slow reader",
    ),
)


def missing(loss: Loss, causes: list[str]) -> tuple[str, ...]:
    """The evidence that would tell *causes* apart and is not there."""
    sides = {flow.side for flow in loss.flows}
    wanted = [text for group, side, text in _TELLING if side not in sides and len(group.intersection(causes)) > 1]
    if len(causes) > 1 and not loss.events:
        wanted.append("the server's log of the same minutes")
    return tuple(wanted)
