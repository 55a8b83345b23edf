# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules, a pure room: what each piece of evidence says for and against each cause.

The texts of a log and the signatures of a capture were provoked one by one; docs/causes has them.
"""

from __future__ import annotations

import typing as t

from ._causes import CAUSES
from ._clues import LONG, SURE, Clue, Surroundings
from ._facts import Flow, Loss
from ._legs import Legs
from ._rules_of_flows import of_flow, only_large
from ._rules_of_hosts import deaths, of_host
from ._rules_of_lines import SILENT, of_lines
from ._story import BETWEEN

#: What was on its way when a host went silent has come by then.
_SOON = 1.0


def clues(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    """Everything that speaks for or against some cause of *loss*."""
    found = list(_of_connection(loss, surroundings))
    yield from found
    yield from of_host(loss, found, surroundings)


def _of_connection(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
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
        _drop(seen, "normal_close", "survived_outage", "healthy")
    if any(clue.weight >= SURE for clue in told):
        _drop(seen, "health_check")
    if any(not CAUSES[cause].harmless for cause in seen):  # what one capture has not seen another may have
        _drop(seen, "survived_outage", "healthy")
    if "survived_outage" in seen:  # that says more
        _drop(seen, "normal_close", "healthy")
    if "normal_close" in seen:
        _drop(seen, "healthy")
    yield from seen.values()
    for flow in loss.flows:
        yield from _of_others_heard(flow, surroundings)
    yield from _of_several(loss.flows, surroundings)
    yield from _of_legs(surroundings.legs(loss))
    yield from _of_company(loss, surroundings)


def _drop(seen: dict[str, Clue], *causes: str) -> None:
    for cause in causes:
        seen.pop(cause, None)


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
        if _goes_on(server, client):
            text = "what the client sent did not arrive at the server, which was alive"
            yield Clue("middlebox_forgot_flow", 0.7, text)
            yield Clue("server_vanished", -0.8, "the server's own capture shows that it was alive")
        else:
            text = "what the client sent is not in the server's capture, nor is anything else of that time"
            yield Clue("middlebox_forgot_flow", 0.3, text)
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
    if not legs or legs.back.terminate or legs.back.truncated:
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


def _goes_on(other: Flow, in_vain: Flow) -> bool:
    """Whether a capture has anything of the time in which, as another has it, something was sent in vain."""
    return in_vain.in_vain_since is None or max(other.seen_until or 0.0, other.ended) >= in_vain.in_vain_since


def _swallowed(near: Flow, far: Flow) -> t.Iterator[Clue]:
    """What the server sent is in the capture *near* it, and did not get as far as the other one."""
    text = f"what the server sent at the end is in {near.file} and not in {far.file}"
    if far.side == "client":
        if _goes_on(far, near):
            yield Clue("client_vanished", -0.9, "the client's own capture goes on")
        else:  # of a host that is gone there would be no more, either
            text = f"{text}, nor is anything else of that time"
            yield Clue("middlebox_forgot_flow", 0.4, text)
            return
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


# ---- other connections of the same hosts


def _of_others_heard(flow: Flow, surroundings: Surroundings) -> t.Iterator[Clue]:
    """A host that is silent on one connection, and heard on others meanwhile, is not gone."""
    by = flow.retransmitting or flow.unanswered_probes_by
    if not by or flow.in_vain_since is None or flow.zero_window_by or flow.silence.seconds < LONG or only_large(flow):
        return
    silent, gone = (flow.client[0], "client_vanished") if by == "server" else (flow.server[0], "server_vanished")
    if surroundings.heard(flow.file, silent) > flow.in_vain_since + _SOON:
        text = f"{flow.file} ({flow.side}): meanwhile {silent} was heard on other connections"
        yield Clue("middlebox_forgot_flow", 0.4, text)
        yield Clue(gone, -0.6, text)


# ---- other losses


def _of_company(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    same, others = surroundings.beside(loss)
    kinds = {event.kind for event in loss.events}
    if kinds & {"receive_timed_out", "send_timed_out"}:
        if others:
            text = f"losses of other clients in the same seconds: {others}"
            yield Clue("outage_outlasted_timers", 0.3, text)
        elif same:
            text = f"further losses of this client, and of no other, in the same seconds: {same}"
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


#: What leaves no line in a server's log, and what would show it.
_NO_LINE = (
    (
        "connect_no_answer, connect_refused, connect_rejected_by_firewall, connect_unreachable, server_vanished, "
        "server_reset, server_hung: such losses leave no line in the server's log",
        "a capture on the client's host, or the client's own log",
    ),
    (
        "client_exited, authentication_timeout: of an idle client without TLS, and of one that never said a word, "
        "the log has no line",
        "a capture, or a rise of sessions_abandoned in pg_stat_database,",
    ),
    (
        "client_starved, slow_reader_cut: why a client was late is in no log of the server",
        "a capture, and the pressure of the client's host (client_hosts),",
    ),
)
_BETWEEN = (
    "pooler_closed, proxy_idle_timeout, proxy_lost_client: what stands between takes leave as clients do",
    "its own log (pooler_logs), or a capture on its other side,",
)
_NOT_YET = (
    "client_vanished, middlebox_forgot_flow, middlebox_reset: there is no line before keepalive, or another timer, "
    "finds the connection dead",
    "a look at the sockets on the server's host (live), or a capture,",
)


def cannot_be_seen(logs: bool, captures: bool, looked: bool, between: bool = False) -> list[str]:
    """The kinds of loss that logs alone do not have, and what would show them; empty where there is more than logs.

    *between* says that there are logs of poolers or proxies.
    """
    if captures or not logs:
        return []
    unseen = (*_NO_LINE, *(() if between else (_BETWEEN,)), *(() if looked else (_NOT_YET,)))
    return [f"{what}; {evidence} would" for what, evidence in unseen]


def missing(loss: Loss, causes: list[str], surroundings: Surroundings) -> tuple[str, ...]:
    """The evidence that would tell *causes* apart and is not there."""
    sides = {flow.side for flow in loss.flows}
    wanted = [text for group, side, text in _TELLING if side not in sides and len(group.intersection(causes)) > 1]
    if "client_starved" in causes[1:]:
        wanted.append("pressure (PSI), run queue and memory of the client's host in those minutes: was it short")
    killed = any(event.kind == "killed_for_memory" for event in surroundings.world)
    if (
        causes[0] == "server_crash"
        and not killed
        and any(one.detail == "signal 9" for one in deaths(loss, surroundings))
    ):
        wanted.append("the kernel's log of the server's host (journalctl -k, kern.log): did it kill for want of memory")
    if len(causes) > 1:
        for flow, text in _unread(loss):
            wanted.append(f"{flow.file} was cut to {flow.kept} bytes of a packet's payload: {text}")
    if len(causes) > 1 and all(event.kind.startswith(BETWEEN) for event in loss.events):
        wanted.append("the server's log of the same minutes")
    return tuple(wanted)


def _unread(loss: Loss) -> t.Iterator[tuple[Flow, str]]:
    """Captures that have the packet which would tell, without what it says."""
    for flow in loss.flows:
        if flow.kept is None or flow.tls:
            continue
        if flow.closed_by == "server" and flow.closed_how == "fin" and not flow.server_message:
            yield flow, "with 256 bytes a packet, as module capture keeps, it would have the server's last word"
        elif flow.syn and flow.first_client_bytes is None:
            yield flow, "with 256 bytes a packet, as module capture keeps, it would have the client's first word"
