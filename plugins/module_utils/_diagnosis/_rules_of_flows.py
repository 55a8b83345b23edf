# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of flows, a pure room: what the signature of one capture says for and against each cause."""

from __future__ import annotations

import typing as t

from ._causes import device
from ._clues import LIKELY, LONG, LOOK, MAYBE, RATHER_NOT, SURE, Clue, Surroundings, near, shutdown_at
from ._facts import Flow, Outage
from ._rules_of_lines import SILENT

_HELLO, _HELLO_TLS = 120, 1200
#: A packet of this size is what a path with a small MTU drops.
_LARGE = 1000
#: An outage is more than a lost packet: what was sent and what was sent again after the timeout are both gone. And it
#: takes longer than any sender may wait before it sends one packet again (RFC 6298, 2.4: a second).
_LOST, _LOST_FOR = 2, 1.0


def of_flow(flow: Flow, surroundings: Surroundings) -> t.Iterator[Clue]:
    where = f"{flow.file} ({flow.side})"
    if _is_rest(flow):
        return
    if _only_looked(flow):
        yield from _of_look(flow, where)
        return
    if not flow.established and flow.syn:
        yield from _of_attempt(flow, where)
        return
    yield from _of_first_bytes(flow, where)
    if flow.server_message:
        yield from _of_server_message(flow, where, surroundings)
    if flow.icmp:
        yield from _of_icmp(flow, where)
    if flow.closed_how == "fin":
        yield from _of_fin(flow, where, surroundings)
    elif flow.closed_how == "rst":
        yield from _of_rst(flow, where)
    elif _is_sound(flow):
        yield Clue("healthy", LIKELY, f"{where}: open when the capture ended, and both ends were heard until then")
    if flow.closed_how != "fin":
        yield from _of_silence(flow, where)
    if flow.outlived.lost >= _LOST and flow.outlived.seconds >= _LOST_FOR and _ended_well(flow):
        yield Clue("survived_outage", SURE, f"{where}: {_outlived(flow.outlived)}")


def _is_rest(flow: Flow) -> bool:
    """Whether it is what was left of a connection that had ended, and not the end of an idle one.

    That one was silent since the capture began, and then the client closed, or somebody was asked and refused.
    """
    if flow.syn or flow.data_client or flow.data_server or flow.ended - flow.began >= LOOK:
        return False
    closed = flow.closed_how == "fin" and flow.closed_by == "client"
    return flow.silence.seconds < LONG or not (closed or flow.rst_after in ("ack", "probe"))


def _is_sound(flow: Flow) -> bool:
    """Whether the flow was open when the capture ended, and worked.

    What nobody uses looks the same whether it works or not, and a capture ends with its last packet, not when it was
    stopped: so it must have been in use for some time, or probed, and answered as often.
    """
    if flow.unheard is None or _in_vain(flow):
        return False
    quiet = flow.silence
    probes = max(quiet.probes_by_client, quiet.probes_by_server)
    if probes and quiet.probes_answered >= probes:
        return flow.unheard < LONG + quiet.seconds / probes
    return flow.in_use >= LONG and flow.unheard < LONG


def _ended_well(flow: Flow) -> bool:
    return flow.terminate or (flow.closed_how == "none" and not _in_vain(flow))


def _in_vain(flow: Flow) -> bool:
    """Whether an end tried something again when the flow, or the capture, ended."""
    return bool(flow.retransmitting or flow.unanswered_probes_by or flow.zero_window_by)


def _outlived(outage: Outage) -> str:
    what = "keepalive probes" if outage.probes else "packets"
    return (
        f"{outage.lost} {what} of the {outage.by} in a row were not answered for {outage.seconds:.1f} s, then one was,"
        " and the connection went on"
    )


def _of_attempt(flow: Flow, where: str) -> t.Iterator[Clue]:
    if flow.syn_answer == "rst":
        text = f"{where}: the SYN was answered with RST"
        yield Clue("connect_refused", 0.95 if flow.side == "server" else 0.75, text)
        if flow.side != "server":
            yield Clue("connect_rejected_by_firewall", 0.35, text)
    elif flow.syn_answer == "icmp":
        rejected = any(code.split()[0] in ("3/9", "3/10", "3/13", "1/1") for code in flow.icmp)
        cause = "connect_rejected_by_firewall" if rejected else "connect_unreachable"
        if any(code.split()[0] in ("3/3", "1/4") for code in flow.icmp):
            cause = "connect_rejected_by_firewall"
        yield Clue(cause, 0.95, f"{where}: the SYN was answered with ICMP {', '.join(flow.icmp)}")
    elif flow.syn_answer == "accepted":
        yield Clue("connect_no_answer", 0.6, f"{where}: the SYN was answered, but the answer never got back")
    else:
        yield Clue("connect_no_answer", 0.95, f"{where}: {flow.syn_attempts} SYN, and no answer")


def _only_looked(flow: Flow) -> bool:
    if not flow.syn or flow.closed_by != "client" or flow.terminate:
        return False
    hello = flow.first_client_bytes in ("postgresql", "tls_request", None) and flow.data_server > 0
    return not flow.data_client or (hello and _is_short(flow))


def _is_short(flow: Flow) -> bool:
    """Whether the client said no more than hello, and closed once it was answered, however long that took."""
    short = flow.data_client <= (_HELLO_TLS if flow.tls else _HELLO)
    return short and (flow.closed_at or flow.ended) - (flow.last_data or flow.began) <= LOOK


def _of_look(flow: Flow, where: str) -> t.Iterator[Clue]:
    if not flow.data_client:
        yield Clue("health_check", SURE, f"{where}: opened and closed by the client without a byte")
    else:
        text = f"{where}: the client said hello, and closed at once"
        hidden = flow.tls or flow.first_client_bytes is None  # whether it was more than a hello
        yield Clue("health_check", 0.6 if hidden else LIKELY, text)
        yield Clue("client_exited", MAYBE if hidden else RATHER_NOT, text)
        yield Clue("too_many_clients", 0.35, text)


def _of_first_bytes(flow: Flow, where: str) -> t.Iterator[Clue]:
    if flow.first_client_bytes in ("http", "other"):
        yield Clue("not_postgresql", SURE, f"{where}: the client spoke {flow.first_client_bytes}")
    elif flow.syn and not flow.data_client and flow.closed_by == "server":
        yield Clue("authentication_timeout", 0.9, f"{where}: the client sent nothing, and the server closed")


MESSAGES = {
    "57P05": "idle_session_timeout",
    "25P03": "idle_in_transaction_timeout",
    "25P04": "transaction_timeout",
    "57P02": "server_crash",
    "53300": "too_many_clients",
    "57014": "authentication_timeout",  # that it is FATAL tells it from statement_timeout
}


def _of_server_message(flow: Flow, where: str, surroundings: Surroundings) -> t.Iterator[Clue]:
    severity, _blank, code = t.cast(str, flow.server_message).partition(" ")
    if severity not in ("FATAL", "PANIC", "WARNING"):
        return
    text = f"{where}: the server's last word was {severity} {code}"
    if code in MESSAGES:
        yield Clue(MESSAGES[code], 0.95, text)
    elif code == "57P01":
        shutdown = severity == "WARNING" or shutdown_at(flow.closed_at, surroundings)
        yield Clue("server_shutdown", 0.9 if shutdown else 0.35, text)
        if not shutdown:
            yield Clue("backend_terminated", 0.6, text)
    elif code == "57P03":
        crash = near(flow.closed_at, surroundings, "server_process_died", "recovered")
        yield Clue("server_crash", 0.9 if crash else 0.3, text)
        yield Clue("server_shutdown", 0.1 if crash else 0.5, text)
    elif code == "08P01":
        expired = flow.silence.seconds >= 1.0
        yield Clue("pooler_closed", 0.85 if expired else 0.4, f"{text}, as PgBouncer says it for all its limits")


def _of_icmp(flow: Flow, where: str) -> t.Iterator[Clue]:
    text = f"{where}: ICMP {', '.join(flow.icmp)}"
    if any(code.split()[0] in ("3/4", "2/0") for code in flow.icmp):
        return  # path MTU discovery at work
    if flow.closed_how != "fin":
        cause = "client_unreachable" if flow.side != "client" else "server_vanished"
        yield Clue(cause, 0.9, text)


#: What a server, or a proxy in its place, closes a connection for; it says why, but not to a capture of TLS.
_CLOSED_BY_SERVER = (
    "backend_terminated",
    "server_shutdown",
    "server_crash",
    "idle_session_timeout",
    "idle_in_transaction_timeout",
    "transaction_timeout",
    "walsender_timeout",
    "authentication_timeout",
    "not_postgresql",
    "pooler_closed",
    "proxy_idle_timeout",
)


#: What refuses a login at once; the word that says which was not captured.
_REFUSED = (("too_many_clients", 0.3), ("health_check", 0.25), ("server_shutdown", 0.15), ("server_crash", 0.15))


def _of_fin(flow: Flow, where: str, surroundings: Surroundings) -> t.Iterator[Clue]:
    if flow.terminate:
        weight = SURE if flow.terminate_certain else 0.9
        yield Clue("normal_close", weight, f"{where}: the client said goodbye before it closed")
    elif flow.closed_by == "client":
        if is_unanswered_login(flow):
            yield Clue("server_hung", 0.95, f"{where}: the server's kernel took the connection, and nobody answered it")
        elif _waited_in_vain(flow, surroundings):
            yield Clue("server_hung", 0.95, f"{where}: the client gave up waiting while nobody answered others either")
        elif flow.rst_by == "client" and flow.rst_after == "fin":
            yield Clue("proxy_idle_timeout", 0.7, f"{where}: FIN and RST of the client's side at once, as proxies end")
            yield Clue("client_exited", 0.3, f"{where}: FIN without a goodbye")
        elif flow.silence.seconds >= LONG and flow.last_data_by == "server":
            text = f"{where}: the client's FIN came without a goodbye after {flow.silence.seconds:.1f} s of silence"
            yield Clue("client_exited", LIKELY, text)
            yield Clue("proxy_idle_timeout", 0.35, text)
            yield Clue("pooler_closed", 0.35, text)
        else:
            yield Clue("client_exited", 0.9, f"{where}: the client's FIN came without a goodbye")
            if flow.last_data_by == "client" and flow.silence.seconds >= LONG:
                yield Clue("server_hung", 0.4, f"{where}: it had waited {flow.silence.seconds:.1f} s for an answer")
    elif flow.asked:
        text = f"{where}: the server asked who the client is, and closed after {flow.silence.seconds:.1f} s"
        yield Clue("authentication_timeout", 0.9, text)
    elif not flow.server_message:
        text = f"{where}: the server's side closed first"
        refused = flow.kept is not None and flow.syn and _is_short(flow) and flow.data_server > 0
        for cause, weight in _REFUSED if refused else ((cause, 0.28) for cause in _CLOSED_BY_SERVER):
            yield Clue(cause, weight, text)


def is_unanswered_login(flow: Flow) -> bool:
    """Whether the client sent its start-up packet and waited for an answer that never came."""
    return (
        flow.first_client_bytes in ("postgresql", "tls_request", "gss_request", None)
        and flow.syn
        and flow.data_client > 0
        and not flow.data_server
        and flow.closed_by == "client"
        and flow.ended - flow.began >= 1.0
    )


def _waited_in_vain(flow: Flow, surroundings: Surroundings) -> bool:
    if flow.last_data_by != "client" or flow.silence.seconds < 1.0:
        return False
    end = flow.closed_at or flow.ended
    return any(began < end and end - flow.silence.seconds < ended for began, ended in surroundings.hung)


def _of_rst(flow: Flow, where: str) -> t.Iterator[Clue]:
    # over TLS the server may be gone before the second word of the goodbye, and answers it so
    if flow.terminate and (flow.closed_by == "client" or flow.rst_known or flow.silence.seconds < LOOK):
        yield Clue("normal_close", 0.9, f"{where}: the client said goodbye, and something stayed unread at the end")
        return
    quiet = flow.silence.seconds
    after = f"{where}: RST after {quiet:.1f} s of silence"
    if flow.foreign_rst:
        text = f"{after}, with TTL {flow.rst_ttl} where the flow has {flow.usual_ttl}: it came from a device"
        yield Clue("middlebox_reset", SURE, text)
        return
    known = device(quiet)
    if known:
        yield Clue("middlebox_reset", 0.6, f"{after}; {known[0]} s is the idle limit of {known[1]}")
    if flow.closed_by == "client":
        yield from _of_client_rst(flow, after)
    elif flow.closed_by == "server":
        yield from _of_server_rst(flow, after)


def _of_client_rst(flow: Flow, after: str) -> t.Iterator[Clue]:
    if flow.unanswered_probes_by == "client" or flow.retransmitting == "client":
        return  # the end of a silence, see there
    if flow.rst_after == "probe" or _was_idle(flow):
        text = f"{after}, in answer to a keepalive probe"
        yield Clue("client_rebooted", 0.7, text)
        yield Clue("middlebox_reset", 0.3, text)
    elif flow.rst_after == "data" and flow.silence.seconds < LONG:
        yield Clue("client_exited", LIKELY, f"{after}, in answer to data: the client's process was gone")
    elif flow.rst_after == "data":
        yield Clue("client_rebooted", MAYBE, f"{after}, in answer to data")
        yield Clue("middlebox_reset", 0.4, f"{after}, in answer to data")
        yield Clue("client_exited", 0.3, f"{after}, in answer to data")
    else:
        yield Clue("client_exited", 0.7, f"{after}, by the client of its own accord")
        if flow.silence.seconds >= LONG:
            yield Clue("middlebox_reset", 0.4, after)
            yield Clue("proxy_lost_client", 0.3, after)


def _was_idle(flow: Flow) -> bool:
    """Whether what was refused is the first that the capture has of the flow: nothing tells a probe then but that."""
    return flow.rst_after == "ack" and not (flow.rst_known or flow.syn or flow.data_client or flow.data_server)


def _of_server_rst(flow: Flow, after: str) -> t.Iterator[Clue]:
    if flow.unanswered_probes_by == "server" or flow.retransmitting == "server":
        return  # the end of a silence, see there
    if flow.zero_window_by == "client":
        return
    if flow.rst_after in ("data", "probe") or _was_idle(flow):
        what = "data" if flow.rst_after == "data" else "probe"
        text = f"{after}, in answer to the client's {what}: the server's host did not know the connection"
        yield Clue("server_reset", 0.7, text)
        if flow.side == "client":
            yield Clue("middlebox_reset", 0.3, text)
            yield Clue("outage_outlasted_timers", 0.3, text)
    else:
        yield Clue("socket_destroyed", 0.6, f"{after}, by the server's host of its own accord")
        yield Clue("server_crash", 0.15, after)
        if flow.side == "client" and flow.silence.seconds >= LONG:  # so ends a server whose probes were in vain
            yield Clue("keepalive_probes_filtered", 0.35, after)
            yield Clue("one_way_loss", 0.35, after)


def _of_silence(flow: Flow, where: str) -> t.Iterator[Clue]:
    if flow.truncated and _may_pass(flow):
        return
    if flow.zero_window_by == "client":
        text = f"{where}: the client had closed its window for {flow.zero_window_seconds:.1f} s"
        answered = flow.silence.probes_answered or not flow.unanswered_probes
        # A capture that ends so may have been stopped too soon; but a server that gives up in silence leaves no more.
        yield Clue("slow_reader_cut", 0.9 if answered and not flow.truncated else MAYBE, text)
        if not answered:
            yield Clue("client_vanished", 0.6, f"{text}, and answered no probe at the end")
        return
    if flow.retransmitting == "server":
        yield from _unacknowledged(flow, where, by="server")
    elif flow.unanswered_probes_by == "server":
        text = f"{where}: {flow.unanswered_probes} keepalive probes of the server were not answered"
        for cause, weight, _why in SILENT:
            yield Clue(cause, weight, text)
    if flow.retransmitting == "client":
        yield from _unacknowledged(flow, where, by="client")
    elif flow.unanswered_probes_by == "client":
        text = f"{where}: {flow.unanswered_probes} keepalive probes of the client were not answered"
        yield Clue("server_vanished", 0.6, text)
        yield Clue("middlebox_forgot_flow", 0.35, text)


def _may_pass(flow: Flow) -> bool:
    """Whether what was tried when the capture ended is what every busy connection has now and then."""
    if flow.zero_window_by:
        return flow.zero_window_seconds < LONG
    return max(flow.retransmissions, flow.unanswered_probes) < _LOST


def _unacknowledged(flow: Flow, where: str, by: str) -> t.Iterator[Clue]:
    text = f"{where}: data of the {by} was sent {flow.retransmissions + 1} times and never acknowledged"
    if only_large(flow):
        text = f"{text}, all of it larger than what got through before ({flow.largest_delivered} bytes)"
        yield Clue("path_mtu_blackhole", 0.7, text)
    forgot = f"{text}, after {flow.silence.seconds:.1f} s of silence"
    known = device(flow.silence.seconds)
    if known:
        yield Clue("middlebox_forgot_flow", 0.7, f"{forgot}; {known[0]} s is the idle limit of {known[1]}")
    elif flow.silence.seconds >= LONG:
        yield Clue("middlebox_forgot_flow", 0.55, forgot)
    else:
        yield Clue("middlebox_forgot_flow", 0.1, forgot)
    yield Clue("client_vanished" if by == "server" else "server_vanished", 0.5, text)
    yield Clue("outage_outlasted_timers", RATHER_NOT, text)


def only_large(flow: Flow) -> bool:
    sizes = flow.retransmitted_sizes
    return bool(sizes) and min(sizes) >= _LARGE and min(sizes) > flow.largest_delivered
