# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts that a diagnosis goes by, a pure room: what a line of a log, a flow of a capture, a look at a host says.

All times are seconds since the epoch (UTC); None where it is not known. Statements, parameters and payload are no
facts.
"""

from __future__ import annotations

import typing as t


class LogEvent(t.NamedTuple):
    """A line of a server's log that says something of a connection, or of the server as a whole.

    *kind* is one of `KINDS`; *text* the message without what a client has sent, *number* what it counts (the process in
    ``server_process_died`` and ``killed_for_memory``, seconds in ``disconnected``), *detail* one word of it (the
    signal, the limit's name, the program's).
    """

    kind: str
    time: float | None
    pid: int | None
    text: str
    file: str
    line: int
    address: str | None = None
    port: int | None = None
    user: str | None = None
    database: str | None = None
    application: str | None = None
    sqlstate: str | None = None
    session: str | None = None
    number: float | None = None
    detail: str | None = None


#: What is told apart in logs; the texts are the server's own (src/backend/libpq/be-secure.c, tcop/postgres.c ...).
KINDS = (
    "receive_timed_out",  # could not receive data from client: Connection timed out
    "receive_reset",  # ... Connection reset by peer
    "receive_unreachable",  # ... No route to host, Host/Network is unreachable
    "receive_aborted",  # ... Software caused connection abort (ss -K)
    "receive_failed",  # ... whatever else
    "send_timed_out",  # could not send data to client: ...
    "send_reset",
    "send_broken_pipe",
    "send_unreachable",
    "send_aborted",
    "send_failed",
    "connection_lost",  # FATAL: connection to client lost
    "eof_in_transaction",  # unexpected EOF on client connection with an open transaction
    "eof",  # DEBUG1: unexpected EOF on client connection
    "standby_eof",  # unexpected EOF on standby connection
    "protocol_lost",  # terminating connection because protocol synchronization was lost
    "idle_session_timeout",
    "idle_in_transaction_timeout",
    "transaction_timeout",
    "statement_timeout",
    "lock_timeout",
    "cancelled",  # canceling statement due to user request
    "recovery_conflict",  # canceling statement due to conflict with recovery
    "ended_by_recovery",  # terminating connection due to conflict with recovery
    "admin_command",  # terminating connection due to administrator command
    "postmaster_gone",  # terminating connection due to unexpected postmaster exit
    "crash_of_another",  # terminating connection because of crash of another server process
    "server_process_died",  # server process (PID n) was terminated by signal s / exited with exit code
    "shutdown_request",  # received fast/smart/immediate shutdown request
    "shut_down",  # database system is shut down
    "started",  # database system is ready to accept connections
    "recovered",  # database system was interrupted / not properly shut down
    "starting_up",  # the database system is starting up / shutting down / in recovery mode (a client was refused)
    "authentication_timeout",
    "authentication_failed",
    "authentication_abandoned",  # expected SASL response, got message type 88: the client left when asked (psql does)
    "too_many_clients",
    "fork_failed",  # could not fork new process for connection
    "no_hba_entry",
    "no_database",
    "not_postgresql",  # invalid length of startup packet, unsupported frontend protocol, ...
    "protocol_violation",  # invalid frontend message type, invalid message length
    "incomplete_startup",  # incomplete startup packet (a connection that sent nothing closes silently before 14)
    "walsender_timeout",
    "pooler_closed",  # PgBouncer, by a limit of its own (see _between.py)
    "pooler_lost_client",
    "pooler_lost_server",
    "pooler_ended_for_client",  # a server's connection, because its client had gone amid a query
    "pooler_without_server",  # a client's, because no server could be had
    "pooler_login_timeout",
    "pooler_not_postgresql",
    "pooler_looked",  # a client's, before it had said who it is
    "proxy_timeout",  # HAProxy, state c. or s.
    "proxy_client_lost",
    "proxy_server_lost",
    "proxy_unanswered",  # sC
    "proxy_refused",  # SC
    "proxy_full",  # sQ
    "proxy_told_to",  # K.
    "walreceiver_timeout",
    "connection_received",
    "authenticated",  # connection authorized
    "disconnected",  # disconnection: session time
    "option_refused",  # setsockopt(TCP_KEEPIDLE) failed
    "tls_error",  # SSL error: ..., could not accept SSL connection
    "configuration_reloaded",
    "counted_abandoned",  # the statistics have it, the log has not: sessions_abandoned
    "counted_killed",  # sessions_killed
    "killed_for_memory",  # the kernel: Out of memory: Killed process n (name)
)


class Silence(t.NamedTuple):
    """The last quiet time of a flow before its end: *seconds* without data, and what went over it meanwhile.

    A query in vain or the server's verdict at the very end does not break it. Probes of a closed window count too.
    """

    seconds: float
    probes_by_client: int = 0
    probes_by_server: int = 0
    probes_answered: int = 0


class Outage(t.NamedTuple):
    """The longest time in which what one end sent got no answer, until it was sent once more and got one.

    *seconds* from the first attempt to the answer; *lost* counts the attempts in vain, of the same data or of probes.
    """

    seconds: float = 0.0
    lost: int = 0
    by: str | None = None
    probes: bool = False


class Flow(t.NamedTuple):
    """One TCP connection as a capture on one *side* (server, client, router) has it.

    *client* and *server* are (address, port). *closed_by* is ``client``, ``server`` or None, *closed_how* one of
    ``fin``, ``rst``, ``none``; *closed_at* the time of that packet. *foreign_rst* says that the RST did not come from
    whom it says: its TTL is another than that of the flow's other packets from there (*rst_ttl*, *usual_ttl*).
    """

    file: str
    side: str
    client: tuple[str, int]
    server: tuple[str, int]
    began: float
    ended: float
    syn: bool = False  # the capture has the first packet
    established: bool = False
    syn_answer: str | None = None  # accepted, rst, icmp, none
    syn_attempts: int = 0
    icmp: tuple[str, ...] = ()  # e.g. "3/1 from 10.0.0.1"
    closed_by: str | None = None
    closed_how: str = "none"
    closed_at: float | None = None
    rst_by: str | None = None  # who sent the first RST; closed_by too, unless a FIN was before it
    # What that RST answered: probe, data, syn, ack (an empty segment), nothing; fin also if its sender's own FIN was
    # all that came before it. None where only one direction was captured.
    rst_after: str | None = None
    rst_known: bool = False  # it has an ACK: its sender knew the connection; one that answers a stranger has none
    foreign_rst: bool = False
    rst_ttl: int | None = None
    usual_ttl: int | None = None
    terminate: bool = False  # the client said goodbye: a message X (5 bytes) was the last it sent before its FIN
    terminate_certain: bool = False  # that was read; else concluded from the size of its last segment (TLS, no payload)
    tls: bool = False
    data_client: int = 0  # bytes
    data_server: int = 0
    silence: Silence = Silence(0.0)
    unanswered_probes_by: str | None = None  # who probed in vain at the end (for life, or for an open window)
    unanswered_probes: int = 0
    retransmitting: str | None = None  # who repeated data in vain at the end
    retransmissions: int = 0
    retransmitted_sizes: tuple[int, ...] = ()
    largest_delivered: int = 0  # the largest segment of theirs that was acknowledged
    zero_window_by: str | None = None  # who had closed its window at the end
    zero_window_seconds: float = 0.0
    last_data_by: str | None = None  # who spoke last: a client that did waits for an answer
    last_data: float | None = None
    last_from_client: float | None = None  # any packet
    last_from_server: float | None = None
    server_message: str | None = None  # severity and SQLSTATE of the server's last ErrorResponse, if it can be read
    asked: bool = False  # the server's last word asks the client for its password, or the like
    # postgresql, tls_request, gss_request, cancel_request, http, other, none; None where it was not captured
    first_client_bytes: str | None = None
    kept: int | None = None  # of packets whose payload was not captured whole, so many bytes at the most
    truncated: bool = False  # the capture ends in the middle of it, and nobody had given it up
    # Open when the capture ended: for how many seconds the end that had been quiet for longer was quiet then.
    unheard: float | None = None
    seen_until: float | None = None  # the last time of the capture, if the flow was open then
    in_vain_since: float | None = None  # when the first was sent of what was tried again in vain at the end
    in_use: float = 0.0  # for how many seconds, when data came last, it had come without a silence
    outlived: Outage = Outage()


class Loss(t.NamedTuple):
    """Everything that is known of one connection that was lost or refused, before a cause is named."""

    time: float | None
    address: str | None
    port: int | None
    pid: int | None
    events: tuple[LogEvent, ...] = ()
    flows: tuple[Flow, ...] = ()
