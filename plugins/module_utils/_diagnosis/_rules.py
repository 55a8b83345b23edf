# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules, a pure room: what each piece of evidence says for and against each cause.

The texts of a log and the signatures of a capture were provoked one by one; docs/causes.md has them.
"""

from __future__ import annotations

import typing as t

from ._causes import device
from ._facts import Flow, LogEvent, Loss
from ._legs import Legs


class Clue(t.NamedTuple):
    """*weight* from -1 (rules the cause out) to 1 (proves it)."""

    cause: str
    weight: float
    text: str


class Surroundings(t.NamedTuple):
    """What a loss did not happen alone in: the server's own events, the captures' sides, the losses of that moment.

    *beside* counts the losses within a few seconds of each time: of the same client address, and of others. *hung* are
    the times (from, to) in which the server's kernel took connections, and nobody answered them. *legs* finds the two
    connections of a session through a proxy.
    """

    world: t.Sequence[LogEvent] = ()
    sides: frozenset[str] = frozenset()
    beside: t.Callable[[Loss], tuple[int, int]] = lambda loss: (0, 0)
    hung: t.Sequence[tuple[float, float]] = ()
    legs: t.Callable[[Loss], Legs | None] = lambda loss: None


#: A server that is shut down, or recovers, may take so long.
_MOMENT = 60.0
#: Silence of at least so many seconds may have made a device forget a flow; shorter limits are unusual.
_LONG = 3.0
#: A client that leaves within so many seconds, having sent no more than a start-up packet (and TLS's), only looked.
_LOOK = 0.5
_HELLO, _HELLO_TLS = 120, 1200
#: A packet of this size is what a path with a small MTU drops.
_LARGE = 1000

_SURE, _LIKELY, _MAYBE, _RATHER_NOT = 0.97, 0.8, 0.5, 0.2

_SILENT = (
    ("client_vanished", 0.5, "keepalive or tcp_user_timeout expired: nothing came from the client any more"),
    ("middlebox_forgot_flow", 0.35, "a device that drops the packets of a forgotten flow looks the same to the server"),
    ("keepalive_probes_filtered", _RATHER_NOT, "a device that drops keepalive probes looks the same to the server"),
    ("one_way_loss", _RATHER_NOT, "a path that works in one direction only looks the same to the server"),
    ("outage_outlasted_timers", _RATHER_NOT, "an outage that has ended since looks the same to the server"),
)
_CLIENT_GONE_BUSY = (
    ("client_exited", _MAYBE, "the connection was gone while the server worked for it"),
    ("client_vanished", 0.4, "the connection was gone while the server worked for it"),
    ("middlebox_forgot_flow", 0.15, "the connection was gone while the server worked for it"),
)
#: By kind of line.
_LINES: dict[str, tuple[tuple[str, float, str], ...]] = {
    "receive_timed_out": _SILENT,
    "send_timed_out": (
        (
            "client_vanished",
            _MAYBE,
            "what was sent was never acknowledged until tcp_user_timeout, or retransmission, ended",
        ),
        ("slow_reader_cut", 0.4, "a client that is alive but does not read looks the same in the log"),
        ("middlebox_forgot_flow", _RATHER_NOT, "so does a device that forgot the flow"),
        ("path_mtu_blackhole", 0.1, "so does a path that swallows large packets"),
    ),
    "send_reset": (("client_exited", _LIKELY, "the client was gone while a result was sent to it"),),
    "send_broken_pipe": (("client_exited", 0.9, "the client closed while a result was sent to it"),),
    "receive_unreachable": (("client_unreachable", 0.95, "a router answered that the client cannot be reached"),),
    "send_unreachable": (("client_unreachable", 0.95, "a router answered that the client cannot be reached"),),
    "receive_aborted": (("socket_destroyed", 0.95, "the socket was aborted on the server's own host"),),
    "send_aborted": (("socket_destroyed", 0.95, "the socket was aborted on the server's own host"),),
    "connection_lost": _CLIENT_GONE_BUSY,
    "eof_in_transaction": (("client_exited", 0.9, "the client closed without a goodbye in an open transaction"),),
    "eof": (("client_exited", 0.95, "the client closed without a goodbye"),),
    "standby_eof": (("client_exited", 0.9, "the receiver of WAL closed without a goodbye"),),
    "protocol_lost": (("client_exited", 0.6, "the client ended in the middle of a COPY"),),
    "idle_session_timeout": (("idle_session_timeout", _SURE, "the server says so"),),
    "idle_in_transaction_timeout": (("idle_in_transaction_timeout", _SURE, "the server says so"),),
    "transaction_timeout": (("transaction_timeout", _SURE, "the server says so"),),
    "statement_timeout": (("statement_timeout", 0.9, "the server says so"),),
    "server_process_died": (("server_crash", _SURE, "the server ends all sessions when one of its processes crashes"),),
    "recovered": (("server_crash", 0.9, "the server, or its host, went down without a shutdown"),),
    "started": (
        ("server_shutdown", 0.6, "the server was started anew"),
        ("server_crash", 0.3, "the server was started anew"),
    ),
    "shutdown_request": (("server_shutdown", _SURE, "the server says so"),),
    "crash_of_another": (
        ("server_crash", _SURE, "the server ended all sessions because one of its processes crashed"),
    ),
    "authentication_timeout": (("authentication_timeout", _SURE, "the server says so"),),
    "too_many_clients": (("too_many_clients", _SURE, "the server says so"),),
    "not_postgresql": (("not_postgresql", _SURE, "what came is no start of PostgreSQL's protocol"),),
    "incomplete_startup": (
        ("health_check", 0.7, "it closed before it had said anything of use"),
        ("not_postgresql", _RATHER_NOT, "it closed before it had said anything of use"),
    ),
    "walsender_timeout": (("walsender_timeout", _SURE, "the server says so"),),
    "walreceiver_timeout": (("server_vanished", 0.7, "the primary did not answer within wal_receiver_timeout"),),
    "tls_error": (("client_exited", _RATHER_NOT, "TLS ended in disorder"),),
}
#: Kinds whose cause the server's other lines tell.
_BY_SERVER = ("admin_command", "starting_up")


def clues(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    """Everything that speaks for or against some cause of *loss*."""
    told = list(_of_lines(loss, surroundings))
    yield from told
    # Several captures of one connection show the same event: that is no evidence more than once.
    seen: dict[str, Clue] = {}
    for flow in loss.flows:
        for clue in _of_flow(flow, surroundings):
            known = seen.get(clue.cause)
            if known is None or (clue.weight, clue.text) > (known.weight, known.text):
                seen[clue.cause] = clue
    if told:  # the server knows better than a goodbye that the client said all the same
        seen.pop("normal_close", None)
    if any(clue.weight >= _SURE for clue in told):
        seen.pop("health_check", None)
    yield from seen.values()
    yield from _of_several(loss.flows, surroundings)
    yield from _of_legs(surroundings.legs(loss))
    yield from _of_company(loss, surroundings)


# ---- logs


def _of_lines(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    kinds = {event.kind for event in loss.events}
    for event in loss.events:
        where = f"{event.file}:{event.line}: {event.text}"
        if _follows(event.kind, kinds):
            continue
        if event.kind == "receive_reset":
            yield from _of_reset(loss, kinds, where)
        for cause, weight, why in _LINES.get(event.kind, ()):
            yield Clue(cause, weight, f"{where} ({why})")
        if event.kind in _BY_SERVER:
            yield from _ended_by_server(event, where, surroundings)
    if kinds == {"connection_received"}:
        event = loss.events[0]
        text = f"{event.file}:{event.line}: {event.text} (opened, and nothing came of it)"
        yield Clue("health_check", 0.75, text)
        yield Clue("authentication_timeout", 0.25, text)


def _follows(kind: str, kinds: set[str]) -> bool:
    """Whether another line of the same session says more than this one."""
    if kind == "connection_lost":
        return any(other.startswith("send_") for other in kinds)
    if kind == "eof_in_transaction":
        return any(other.startswith("receive_") for other in kinds)
    # after a statement that timed out the session goes on: what ended it is another thing
    return kind == "statement_timeout" and len(kinds.intersection((*_LINES, *_BY_SERVER, "receive_reset"))) > 1


def _of_reset(loss: Loss, kinds: set[str], where: str) -> t.Iterator[Clue]:
    """An RST; over TLS also a mere FIN."""
    if "connection_received" in kinds and "authenticated" not in kinds:
        yield Clue("health_check", _LIKELY, f"{where} (before any login, as a health check closes)")
        return
    short = any(event.number and event.number <= _LOOK for event in loss.events if event.kind == "disconnected")
    look = short and "eof_in_transaction" not in kinds
    if look:
        yield Clue("health_check", 0.6, f"{where} (at once after the login, as a health check closes)")
    if any(event.detail == "tls" for event in loss.events if event.kind == "authenticated"):
        weight = _MAYBE if look else 0.75
        yield Clue("client_exited", weight, f"{where} (over TLS a mere FIN without close_notify is logged so)")
        return
    yield Clue("client_exited", 0.35, f"{where} (an RST came, as from a client that ended with something unread)")
    yield Clue("middlebox_reset", 0.35, f"{where} (an RST came, as from a device that forgot the flow)")
    yield Clue("client_rebooted", 0.25, f"{where} (an RST came, as from a host that does not know the connection)")


def _ended_by_server(event: LogEvent, where: str, surroundings: Surroundings) -> t.Iterator[Clue]:
    """A fast shutdown says the same to a session as pg_terminate_backend; the server's own lines tell."""
    crash = _near(event.time, surroundings, "server_process_died", "recovered")
    shutdown = _near(event.time, surroundings, "shutdown_request", "shut_down")
    if crash and event.kind == "starting_up":
        yield Clue("server_crash", 0.9, f"{where}; {crash}")
    elif shutdown:
        yield Clue("server_shutdown", _SURE, f"{where}; {shutdown}")
    elif event.kind == "admin_command":
        yield Clue("backend_terminated", 0.9, f"{where} (and no shutdown was asked for at that time)")
        yield Clue("server_shutdown", 0.1, where)
    else:
        yield Clue("server_shutdown", _MAYBE, where)
        yield Clue("server_crash", 0.3, where)


def _near(time: float | None, surroundings: Surroundings, *kinds: str) -> str | None:
    for other in surroundings.world:
        if other.kind in kinds and (time is None or other.time is None or abs(other.time - time) <= _MOMENT):
            return f"{other.file}:{other.line}: {other.text}"
    return None


# ---- one capture


def _of_flow(flow: Flow, surroundings: Surroundings) -> t.Iterator[Clue]:
    where = f"{flow.file} ({flow.side})"
    if not (flow.syn or flow.data_client or flow.data_server) and flow.ended - flow.began < _LOOK:
        return  # what was left of a connection that had ended
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
    if flow.closed_how != "fin":
        yield from _of_silence(flow, where)


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
    hello = flow.first_client_bytes in ("postgresql", "tls_request") and flow.data_server > 0
    short = flow.data_client <= (_HELLO_TLS if flow.tls else _HELLO)
    return not flow.data_client or (hello and short and (flow.closed_at or flow.ended) - flow.began <= _LOOK)


def _of_look(flow: Flow, where: str) -> t.Iterator[Clue]:
    if not flow.data_client:
        yield Clue("health_check", _SURE, f"{where}: opened and closed by the client without a byte")
    else:
        text = f"{where}: the client said hello, and closed at once"
        yield Clue("health_check", 0.6 if flow.tls else _LIKELY, text)  # TLS hides whether it was more than a hello
        yield Clue("client_exited", _MAYBE if flow.tls else _RATHER_NOT, text)
        yield Clue("too_many_clients", 0.35, text)


def _of_first_bytes(flow: Flow, where: str) -> t.Iterator[Clue]:
    if flow.first_client_bytes in ("http", "other"):
        yield Clue("not_postgresql", _SURE, f"{where}: the client spoke {flow.first_client_bytes}")
    elif flow.syn and not flow.data_client and flow.closed_by == "server":
        yield Clue("authentication_timeout", 0.9, f"{where}: the client sent nothing, and the server closed")


_MESSAGES = {
    "57P05": "idle_session_timeout",
    "25P03": "idle_in_transaction_timeout",
    "25P04": "transaction_timeout",
    "57P02": "server_crash",
    "53300": "too_many_clients",
}


def _of_server_message(flow: Flow, where: str, surroundings: Surroundings) -> t.Iterator[Clue]:
    severity, _blank, code = t.cast(str, flow.server_message).partition(" ")
    if severity not in ("FATAL", "PANIC", "WARNING"):
        return
    text = f"{where}: the server's last word was {severity} {code}"
    if code in _MESSAGES:
        yield Clue(_MESSAGES[code], 0.95, text)
    elif code == "57P01":
        shutdown = severity == "WARNING" or _near(flow.closed_at, surroundings, "shutdown_request")
        yield Clue("server_shutdown", 0.9 if shutdown else 0.35, text)
        if not shutdown:
            yield Clue("backend_terminated", 0.6, text)
    elif code == "57P03":
        crash = _near(flow.closed_at, surroundings, "server_process_died", "recovered")
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


def _of_fin(flow: Flow, where: str, surroundings: Surroundings) -> t.Iterator[Clue]:
    if flow.terminate:
        weight = _SURE if flow.terminate_certain else 0.9
        yield Clue("normal_close", weight, f"{where}: the client said goodbye before it closed")
    elif flow.closed_by == "client":
        if is_unanswered_login(flow):
            yield Clue("server_hung", 0.95, f"{where}: the server's kernel took the connection, and nobody answered it")
        elif _waited_in_vain(flow, surroundings):
            yield Clue("server_hung", 0.95, f"{where}: the client gave up waiting while nobody answered others either")
        elif flow.rst_by == "client" and flow.rst_after == "fin":
            yield Clue("proxy_idle_timeout", 0.7, f"{where}: FIN and RST of the client's side at once, as proxies end")
            yield Clue("client_exited", 0.3, f"{where}: FIN without a goodbye")
        elif flow.silence.seconds >= _LONG and flow.last_data_by == "server":
            text = f"{where}: the client's FIN came without a goodbye after {flow.silence.seconds:.1f} s of silence"
            yield Clue("client_exited", _LIKELY, text)
            yield Clue("proxy_idle_timeout", 0.35, text)
            yield Clue("pooler_closed", 0.35, text)
        else:
            yield Clue("client_exited", 0.9, f"{where}: the client's FIN came without a goodbye")
            if flow.last_data_by == "client" and flow.silence.seconds >= _LONG:
                yield Clue("server_hung", 0.4, f"{where}: it had waited {flow.silence.seconds:.1f} s for an answer")
    elif not flow.server_message:
        text = f"{where}: the server's side closed first"
        for cause in _CLOSED_BY_SERVER:
            yield Clue(cause, 0.28, text)


def is_unanswered_login(flow: Flow) -> bool:
    """Whether the client sent its start-up packet and waited for an answer that never came."""
    return (
        flow.first_client_bytes in ("postgresql", "tls_request", "gss_request")
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
    if flow.terminate and (flow.closed_by == "client" or flow.silence.seconds < _LOOK):
        yield Clue("normal_close", 0.9, f"{where}: the client said goodbye, and something stayed unread at the end")
        return
    quiet = flow.silence.seconds
    after = f"{where}: RST after {quiet:.1f} s of silence"
    if flow.foreign_rst:
        text = f"{after}, with TTL {flow.rst_ttl} where the flow has {flow.usual_ttl}: it came from a device"
        yield Clue("middlebox_reset", _SURE, text)
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
    if flow.rst_after == "probe":
        text = f"{after}, in answer to a keepalive probe"
        yield Clue("client_rebooted", 0.7, text)
        yield Clue("middlebox_reset", 0.3, text)
    elif flow.rst_after == "data" and flow.silence.seconds < _LONG:
        yield Clue("client_exited", _LIKELY, f"{after}, in answer to data: the client's process was gone")
    elif flow.rst_after == "data":
        yield Clue("client_rebooted", _MAYBE, f"{after}, in answer to data")
        yield Clue("middlebox_reset", 0.4, f"{after}, in answer to data")
        yield Clue("client_exited", 0.3, f"{after}, in answer to data")
    else:
        yield Clue("client_exited", 0.7, f"{after}, by the client of its own accord")
        if flow.silence.seconds >= _LONG:
            yield Clue("middlebox_reset", 0.4, after)
            yield Clue("proxy_lost_client", 0.3, after)


def _of_server_rst(flow: Flow, after: str) -> t.Iterator[Clue]:
    if flow.unanswered_probes_by == "server" or flow.retransmitting == "server":
        return  # the end of a silence, see there
    if flow.zero_window_by == "client":
        return
    if flow.rst_after in ("data", "probe"):
        text = f"{after}, in answer to the client's {flow.rst_after}: the server's host did not know the connection"
        yield Clue("server_reset", 0.7, text)
        if flow.side == "client":
            yield Clue("middlebox_reset", 0.3, text)
            yield Clue("outage_outlasted_timers", 0.3, text)
    else:
        yield Clue("socket_destroyed", 0.6, f"{after}, by the server's host of its own accord")
        yield Clue("server_crash", 0.15, after)
        if flow.side == "client" and flow.silence.seconds >= _LONG:  # so ends a server whose probes were in vain
            yield Clue("keepalive_probes_filtered", 0.35, after)
            yield Clue("one_way_loss", 0.35, after)


def _of_silence(flow: Flow, where: str) -> t.Iterator[Clue]:
    if flow.zero_window_by == "client":
        text = f"{where}: the client had closed its window for {flow.zero_window_seconds:.1f} s"
        answered = flow.silence.probes_answered or not flow.unanswered_probes
        yield Clue("slow_reader_cut", 0.9 if answered else 0.5, text)
        if not answered:
            yield Clue("client_vanished", 0.6, f"{text}, and answered no probe at the end")
        return
    if flow.retransmitting == "server":
        yield from _unacknowledged(flow, where, by="server")
    elif flow.unanswered_probes_by == "server":
        text = f"{where}: {flow.unanswered_probes} keepalive probes of the server were not answered"
        for cause, weight, _why in _SILENT:
            yield Clue(cause, weight, text)
    if flow.retransmitting == "client":
        yield from _unacknowledged(flow, where, by="client")
    elif flow.unanswered_probes_by == "client":
        text = f"{where}: {flow.unanswered_probes} keepalive probes of the client were not answered"
        yield Clue("server_vanished", 0.6, text)
        yield Clue("middlebox_forgot_flow", 0.35, text)


def _unacknowledged(flow: Flow, where: str, by: str) -> t.Iterator[Clue]:
    text = f"{where}: data of the {by} was sent {flow.retransmissions + 1} times and never acknowledged"
    if _only_large(flow):
        text = f"{text}, all of it larger than what got through before ({flow.largest_delivered} bytes)"
        yield Clue("path_mtu_blackhole", 0.7, text)
    forgot = f"{text}, after {flow.silence.seconds:.1f} s of silence"
    known = device(flow.silence.seconds)
    if known:
        yield Clue("middlebox_forgot_flow", 0.7, f"{forgot}; {known[0]} s is the idle limit of {known[1]}")
    elif flow.silence.seconds >= _LONG:
        yield Clue("middlebox_forgot_flow", 0.55, forgot)
    else:
        yield Clue("middlebox_forgot_flow", 0.1, forgot)
    yield Clue("client_vanished" if by == "server" else "server_vanished", 0.5, text)
    yield Clue("outage_outlasted_timers", _RATHER_NOT, text)


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
        cause = "proxy_idle_timeout" if idle >= _LONG else "pooler_closed"
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
    elif near.retransmitting == "server" and _only_large(near):
        yield Clue("path_mtu_blackhole", 0.95, f"{text}: segments above {near.largest_delivered} bytes")
    elif gave_up and far.rst_by == "server" and abs((far.closed_at or 0.0) - gave_up) < 1.0:
        yield Clue("keepalive_probes_filtered", 0.95, f"{text}, but for the RST at its end, which got through")
    elif far.rst_by == "server" and far.rst_after in ("data", "probe"):
        yield Clue("outage_outlasted_timers", 0.95, f"{text}; later the path worked again, and the client was reset")
    elif near.silence.seconds >= _LONG:
        yield Clue("middlebox_forgot_flow", 0.85, f"{text}, after {near.silence.seconds:.1f} s of silence")
    else:
        yield Clue("middlebox_forgot_flow", 0.3, text)
        yield Clue("outage_outlasted_timers", 0.4, text)


def _only_large(flow: Flow) -> bool:
    sizes = flow.retransmitted_sizes
    return bool(sizes) and min(sizes) >= _LARGE and min(sizes) > flow.largest_delivered


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
        frozenset(cause for cause, _weight, _why in _SILENT),
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
