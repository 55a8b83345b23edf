# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of lines, a pure room: what the lines of a log say for and against each cause."""

from __future__ import annotations

import typing as t

from ._clues import LIKELY, LOOK, MAYBE, RATHER_NOT, SURE, Clue, Surroundings, near, shutdown_at
from ._facts import LogEvent, Loss

SILENT = (
    ("client_vanished", 0.5, "keepalive or tcp_user_timeout expired: nothing came from the client any more"),
    ("middlebox_forgot_flow", 0.35, "a device that drops the packets of a forgotten flow looks the same to the server"),
    ("keepalive_probes_filtered", RATHER_NOT, "a device that drops keepalive probes looks the same to the server"),
    ("one_way_loss", RATHER_NOT, "a path that works in one direction only looks the same to the server"),
    ("outage_outlasted_timers", RATHER_NOT, "an outage that has ended since looks the same to the server"),
)
_CLIENT_GONE_BUSY = (
    ("client_exited", MAYBE, "the connection was gone while the server worked for it"),
    ("client_vanished", 0.4, "the connection was gone while the server worked for it"),
    ("middlebox_forgot_flow", 0.15, "the connection was gone while the server worked for it"),
)
_FAILED = (
    ("client_exited", MAYBE, "the connection failed, why is said in words that are not known here"),
    ("client_vanished", 0.4, "the connection failed, why is said in words that are not known here"),
    ("middlebox_reset", RATHER_NOT, "the connection failed, why is said in words that are not known here"),
)
#: By kind of line.
LINES: dict[str, tuple[tuple[str, float, str], ...]] = {
    "receive_timed_out": SILENT,
    "send_timed_out": (
        (
            "client_vanished",
            MAYBE,
            "what was sent was never acknowledged until tcp_user_timeout, or retransmission, ended",
        ),
        ("slow_reader_cut", 0.4, "a client that is alive but does not read looks the same in the log"),
        ("middlebox_forgot_flow", RATHER_NOT, "so does a device that forgot the flow"),
        ("path_mtu_blackhole", 0.1, "so does a path that swallows large packets"),
    ),
    "send_reset": (("client_exited", LIKELY, "the client was gone while a result was sent to it"),),
    "send_broken_pipe": (("client_exited", 0.9, "the client closed while a result was sent to it"),),
    "receive_unreachable": (("client_unreachable", 0.95, "a router answered that the client cannot be reached"),),
    "send_unreachable": (("client_unreachable", 0.95, "a router answered that the client cannot be reached"),),
    "receive_aborted": (("socket_destroyed", 0.95, "the socket was aborted on the server's own host"),),
    "send_aborted": (("socket_destroyed", 0.95, "the socket was aborted on the server's own host"),),
    "receive_failed": _FAILED,
    "send_failed": _FAILED,
    "connection_lost": _CLIENT_GONE_BUSY,
    "eof_in_transaction": (("client_exited", 0.9, "the client closed without a goodbye in an open transaction"),),
    "eof": (("client_exited", 0.95, "the client closed without a goodbye"),),
    "standby_eof": (("client_exited", 0.9, "the receiver of WAL closed without a goodbye"),),
    "protocol_lost": (("client_exited", 0.6, "the client ended in the middle of a COPY"),),
    "idle_session_timeout": (("idle_session_timeout", SURE, "the server says so"),),
    "idle_in_transaction_timeout": (("idle_in_transaction_timeout", SURE, "the server says so"),),
    "transaction_timeout": (("transaction_timeout", SURE, "the server says so"),),
    "statement_timeout": (("statement_timeout", 0.9, "the server says so"),),
    "server_process_died": (("server_crash", SURE, "the server ends all sessions when one of its processes crashes"),),
    "postmaster_gone": (("server_crash", SURE, "the server's first process was gone"),),
    "recovered": (("server_crash", 0.9, "the server, or its host, went down without a shutdown"),),
    "started": (
        ("server_shutdown", 0.6, "the server was started anew"),
        ("server_crash", 0.3, "the server was started anew"),
    ),
    "shutdown_request": (("server_shutdown", SURE, "the server says so"),),
    "authentication_timeout": (("authentication_timeout", SURE, "the server says so"),),
    "too_many_clients": (("too_many_clients", SURE, "the server says so"),),
    "fork_failed": (
        ("too_many_clients", 0.4, "the server's host had no process left for another one"),
        ("server_hung", RATHER_NOT, "the server's host was short of processes or memory"),
    ),
    "ended_by_recovery": (
        ("backend_terminated", 0.9, "a standby's recovery ended it; see max_standby_streaming_delay"),
    ),
    "not_postgresql": (("not_postgresql", SURE, "what came is no start of PostgreSQL's protocol"),),
    "incomplete_startup": (
        ("health_check", 0.7, "it closed before it had said anything of use"),
        ("not_postgresql", RATHER_NOT, "it closed before it had said anything of use"),
    ),
    "walsender_timeout": (("walsender_timeout", SURE, "the server says so"),),
    "pooler_closed": (("pooler_closed", SURE, "the pooler says so"),),
    "pooler_lost_client": (("client_exited", 0.9, "the pooler says so"),),
    "pooler_ended_for_client": (("proxy_lost_client", SURE, "the pooler says so"),),
    "pooler_without_server": (
        ("server_shutdown", 0.3, "the pooler could not log in at the server"),
        ("connect_refused", 0.3, "the pooler could not log in at the server"),
        ("connect_no_answer", 0.3, "the pooler could not log in at the server"),
        ("too_many_clients", RATHER_NOT, "the pooler could not log in at the server"),
    ),
    "pooler_login_timeout": (("authentication_timeout", SURE, "the pooler says so"),),
    "pooler_not_postgresql": (("not_postgresql", 0.9, "the pooler says so"),),
    "pooler_looked": (
        ("health_check", 0.7, "it closed before it had said anything of use"),
        ("not_postgresql", RATHER_NOT, "it closed before it had said anything of use"),
    ),
    "proxy_timeout": (("proxy_idle_timeout", SURE, "the proxy says so"),),
    "proxy_client_lost": (("client_exited", 0.6, "the proxy says so"), ("proxy_lost_client", 0.3, "the proxy says so")),
    "proxy_unanswered": (("connect_no_answer", SURE, "the proxy says so"),),
    "proxy_refused": (
        ("connect_refused", 0.6, "the proxy says so"),
        ("connect_unreachable", 0.25, "the proxy does not tell an RST from ICMP"),
        ("connect_rejected_by_firewall", 0.25, "the proxy does not tell an RST from ICMP"),
    ),
    "proxy_full": (("too_many_clients", LIKELY, "all that the proxy may open at the server were taken"),),
    "proxy_told_to": (("backend_terminated", LIKELY, "the proxy says so"),),
    "walreceiver_timeout": (("server_vanished", 0.7, "the primary did not answer within wal_receiver_timeout"),),
    "counted_abandoned": (
        ("client_exited", 0.6, "a client that exits while it is idle leaves no line in the log without TLS"),
        ("client_vanished", RATHER_NOT, "those that timed out are counted so, too"),
        ("pooler_closed", RATHER_NOT, "to the server a pooler is a client"),
        ("proxy_idle_timeout", RATHER_NOT, "to the server a proxy is a client"),
    ),
    "counted_killed": (
        ("backend_terminated", MAYBE, "somebody ended it"),
        ("server_shutdown", 0.3, "a shutdown counts so, too"),
    ),
    "tls_error": (("client_exited", RATHER_NOT, "TLS ended in disorder"),),
}
#: Kinds whose cause the server's other lines tell.
_BY_SERVER = ("admin_command", "crash_of_another", "starting_up")
#: What stands between found the server's side closed; the server's log tells why.
_SERVER_LOST = ("pooler_lost_server", "proxy_server_lost")
_CLOSED_AT_SERVER = (
    ("server_reset", 0.25),
    ("server_shutdown", 0.25),
    ("server_crash", 0.25),
    ("idle_session_timeout", 0.25),
    ("backend_terminated", RATHER_NOT),
    ("middlebox_reset", RATHER_NOT),
)


def of_lines(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    kinds = {event.kind for event in loss.events}
    for event in loss.events:
        where = f"{event.file}:{event.line}: {event.text}"
        if _follows(event.kind, kinds):
            continue
        if event.kind == "receive_reset":
            yield from _of_reset(loss, kinds, where)
        for cause, weight, why in LINES.get(event.kind, ()):
            yield Clue(cause, weight, f"{where} ({why})")
        if event.kind in _SERVER_LOST:
            yield from _closed_at_server(event, where, surroundings)
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
    if kind in ("eof_in_transaction", "protocol_lost"):
        return any(other.startswith("receive_") for other in kinds)
    # after a statement that timed out the session goes on: what ended it is another thing
    return kind == "statement_timeout" and len(kinds.intersection((*LINES, *_BY_SERVER, "receive_reset"))) > 1


def _of_reset(loss: Loss, kinds: set[str], where: str) -> t.Iterator[Clue]:
    """An RST; over TLS also a mere FIN."""
    if "connection_received" in kinds and "authenticated" not in kinds:
        yield Clue("health_check", LIKELY, f"{where} (before any login, as a health check closes)")
        return
    short = any(event.number and event.number <= LOOK for event in loss.events if event.kind == "disconnected")
    look = short and "eof_in_transaction" not in kinds
    if look:
        yield Clue("health_check", 0.6, f"{where} (at once after the login, as a health check closes)")
    if any(event.detail == "tls" for event in loss.events if event.kind == "authenticated"):
        weight = MAYBE if look else 0.75
        yield Clue("client_exited", weight, f"{where} (over TLS a mere FIN without close_notify is logged so)")
        return
    yield Clue("client_exited", 0.35, f"{where} (an RST came, as from a client that ended with something unread)")
    yield Clue("middlebox_reset", 0.35, f"{where} (an RST came, as from a device that forgot the flow)")
    yield Clue("client_rebooted", 0.25, f"{where} (an RST came, as from a host that does not know the connection)")


def _ended_by_server(event: LogEvent, where: str, surroundings: Surroundings) -> t.Iterator[Clue]:
    """A fast shutdown says the same to a session as pg_terminate_backend, an immediate one as a crash; the server's
    own lines tell.
    """
    crash = near(event.time, surroundings, "server_process_died", "recovered")
    died = near(event.time, surroundings, "server_process_died")
    shutdown = shutdown_at(event.time, surroundings)
    if (crash and event.kind == "starting_up") or (died and event.kind == "crash_of_another"):
        yield Clue("server_crash", 0.9, f"{where}; {crash}")
    elif shutdown:
        yield Clue("server_shutdown", SURE, f"{where}; {shutdown}")
    elif event.kind == "crash_of_another":
        yield Clue("server_crash", SURE, f"{where} (the server ended all sessions because a process of it crashed)")
    elif event.kind == "admin_command":
        yield Clue("backend_terminated", 0.9, f"{where} (and no shutdown was asked for at that time)")
        yield Clue("server_shutdown", 0.1, where)
    else:
        yield Clue("server_shutdown", MAYBE, where)
        yield Clue("server_crash", 0.3, where)


def _closed_at_server(event: LogEvent, where: str, surroundings: Surroundings) -> t.Iterator[Clue]:
    crash = near(event.time, surroundings, "server_process_died", "recovered")
    shutdown = shutdown_at(event.time, surroundings)
    if shutdown or crash:
        yield Clue("server_shutdown" if shutdown else "server_crash", 0.9, f"{where}; {shutdown or crash}")
        return
    for cause, weight in _CLOSED_AT_SERVER:
        yield Clue(cause, weight, f"{where} (the server's side was closed)")
