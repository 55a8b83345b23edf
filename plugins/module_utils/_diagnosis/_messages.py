# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages, a pure room: which kind of event a server's message tells of, and what of it may be kept."""

from __future__ import annotations

import collections
import re
import typing as t

from ._translations import TRANSLATED, TRANSLATED_ERRORS


class Message(t.NamedTuple):
    """What a message says, see `LogEvent`. *text* has nothing that a client sent."""

    kind: str
    text: str
    number: float | None = None
    detail: str | None = None
    address: str | None = None
    port: int | None = None
    user: str | None = None
    database: str | None = None
    application: str | None = None


#: The end of "could not receive data from client: ...". Winsock's numbers and its English texts mean the same as errno.
_ERRORS = (
    ("timed_out", r"(?:Connection|Operation) timed out|\b10060\b|did not properly respond|keep-alive activity"),
    ("reset", r"Connection reset by peer|\b10054\b|forcibly closed by the remote host"),
    ("broken_pipe", r"Broken pipe"),
    (
        "unreachable",
        r"No route to host|(?:[Hh]ost|[Nn]etwork) (?:is )?(?:unreachable|down)|unreachable (?:host|network)",
    ),
    ("aborted", r"Software caused connection abort|\b1005[23]\b|aborted by the (?:software|local system)"),
)
_ERROR = [(name, re.compile(pattern)) for name, pattern in _ERRORS]
_ERROR += [(name, re.compile("|".join(map(re.escape, texts)))) for name, texts in TRANSLATED_ERRORS.items()]

# What a client has sent goes into these groups, and out of the text.
_SENT = ("user", "database", "application", "rest")
_USER = r"\"(?P<user>[^\"]*)\""
_DATABASE = r"\"(?P<database>[^\"]*)\""
_AUTHORIZED = (
    r"user=(?P<user>.*?)(?: database=(?P<database>.*?))?(?: application_name=(?P<application>.*?))?"
    r"(?P<rest> SSL enabled .*| GSS .*)?$"
)
_ENDED = (
    r"session time: (?P<clock>\d+:\d\d:\d\d\.\d{3}) user=(?P<user>.*) database=(?P<database>.*)"
    r" host=(?P<address>\S+)(?: port=(?P<port>\d+))?$"
)
_REFUSED = (
    r"(?:connection for |replication connection (?:for|from) )?(?:\w+ )?\"?(?P<address>[^\s\",]+)\"?"
    r"(?:, user \"(?P<user>[^\"]*)\")?(?:, database \"(?P<database>[^\"]*)\")?"
)
_DIED = (
    r"(?P<number>\d+)\) "
    r"(?:was terminated by (?P<detail>signal \d+|exception 0x[0-9A-Fa-f]+)|exited with (?P<code>exit code \d+))"
)

_KILLED = r"(?:ed)? process (?P<number>\d+) \((?P<detail>[\w.:-]{1,16})\)"
_ERROR_TEXT = r"(?P<error>[^\"]{0,160})"
_TLS_TEXT = r"[\w /:,.()-]{0,120}"

#: kind, how the message begins, how it goes on. How it begins is what a log is searched for.
_SAID = (
    ("receive_", "could not receive data from client: ", _ERROR_TEXT),
    ("send_", "could not send data to client: ", _ERROR_TEXT),
    ("connection_lost", "connection to client lost", ""),
    ("eof_in_transaction", "unexpected EOF on client connection with an open transaction", ""),
    ("eof", "unexpected EOF on client connection", ""),
    ("standby_eof", "unexpected EOF on standby connection", ""),
    ("protocol_lost", "terminating connection because protocol synchronization was lost", ""),
    ("idle_session_timeout", "terminating connection due to idle-session timeout", ""),
    ("idle_in_transaction_timeout", "terminating connection due to idle-in-transaction timeout", ""),
    ("transaction_timeout", "terminating connection due to transaction timeout", ""),
    ("statement_timeout", "canceling statement due to statement timeout", ""),
    ("lock_timeout", "canceling statement due to lock timeout", ""),
    ("cancelled", "canceling statement due to user request", ""),
    ("recovery_conflict", "canceling statement due to conflict with recovery", ""),
    ("ended_by_recovery", "terminating connection due to conflict with recovery", ""),
    ("admin_command", "terminating connection due to administrator command", ""),
    ("postmaster_gone", "terminating connection due to unexpected postmaster exit", ""),
    ("crash_of_another", "terminating connection because of crash of another server process", ""),
    ("server_process_died", "server process (PID ", _DIED),
    ("server_process_died", "client backend (PID ", _DIED),
    # Whichever it was that died: a checkpointer, a parallel worker ...
    ("server_process_died", "terminating any other active server processes", ""),
    ("shutdown_request", "received ", r"(?P<detail>fast|smart|immediate) shutdown request"),
    ("configuration_reloaded", "received SIGHUP, reloading configuration files", ""),
    ("shut_down", "database system is shut down", ""),
    ("started", "database system is ready to accept ", r"(?:read[- ]only )?connections"),
    ("recovered", "database system was interrupted", ""),
    ("recovered", "database system was not properly shut down", ""),
    (
        "starting_up",
        "the database system is ",
        r"(?P<detail>starting up|shutting down|in recovery mode|not (?:yet )?acc)",
    ),
    ("authentication_timeout", "canceling authentication due to timeout", ""),
    ("too_many_clients", "sorry, too many clients already", ""),
    ("too_many_clients", "remaining connection slots are reserved for ", r"[\w -]{0,60}"),
    ("too_many_clients", "too many connections for ", r"(?:role|database)"),
    ("too_many_clients", "number of requested standby connections exceeds ", r"\"?max_wal_senders"),
    ("no_hba_entry", "no pg_hba.conf entry for ", _REFUSED),
    ("no_hba_entry", "pg_hba.conf rejects ", _REFUSED),
    ("no_database", 'database "', r"(?P<database>[^\"]*)\" (?:does not exist|is not currently accepting connections)"),
    ("authentication_failed", 'role "', r"(?P<user>[^\"]*)\" (?:does not exist|is not permitted to log in)"),
    ("authentication_abandoned", "expected ", r"(?:\w+ )?(?:response|request), got message type \d+"),
    ("fork_failed", "could not fork ", r"(?:new process for connection|client backend|\"client backend\" process)"),
    ("tls_error", "could not accept SSL connection", _TLS_TEXT),
    ("tls_error", "SSL error", _TLS_TEXT),
    ("option_refused", "setsockopt(", r"(?P<detail>\w{1,40})\) failed: [^\"]{0,80}"),
    ("not_postgresql", "invalid length of startup packet", ""),
    ("not_postgresql", "unsupported frontend protocol ", r"\d+\.\d+"),
    ("not_postgresql", "invalid startup packet layout", ""),
    ("not_postgresql", "received direct SSL connection request without ALPN", ""),
    ("not_postgresql", "no PostgreSQL user name specified in startup packet", ""),
    ("not_postgresql", "could not accept SSL connection: http request", ""),
    ("incomplete_startup", "incomplete startup packet", ""),
    ("protocol_violation", "invalid frontend message type ", r"\d+"),
    ("protocol_violation", "received unencrypted data after ", r"\w+ request"),
    ("walsender_timeout", "terminating walsender process due to replication timeout", ""),
    ("walreceiver_timeout", "terminating walreceiver due to timeout", ""),
    ("connection_received", "connection received: ", r"host=(?P<address>\S+)(?: port=(?P<port>\d+))?$"),
    ("authenticated", "connection authorized: ", _AUTHORIZED),
    ("authenticated", "replication connection authorized: ", _AUTHORIZED),
    ("disconnected", "disconnection: ", _ENDED),
    ("protocol_violation", "invalid message length", ""),
    # The kernel's own words, the last one of old kernels.
    ("killed_for_memory", "Out of memory: Kill", _KILLED),
    ("killed_for_memory", "Memory cgroup out of memory: Kill", _KILLED),
    ("killed_for_memory", "Kill", _KILLED),
    # No connections of clients: known, so that their SQLSTATE does not speak for them.
    ("", "terminating autovacuum ", ""),
    ("", "terminating background worker ", ""),
    ("", "terminating logical replication ", ""),
    ("", "terminating walreceiver process ", ""),
    ("", "terminating archiver ", ""),
    ("", "could not receive data from WAL stream", ""),
    ("", "could not connect to the primary server", ""),
    ("", "replication terminated by primary server", ""),
)
#: How messages in other languages go on; those that are not named do not.
_ABROAD = {
    "receive_": _ERROR_TEXT,
    "send_": _ERROR_TEXT,
    "connection_received": r"[^=]*=(?P<address>\S+) [^=]*=(?P<port>\d+)$",
    "authenticated": r"(?P<user>\S+)(?P<rest>.*)$",
    "disconnected": r"(?P<clock>\d+:\d\d:\d\d\.\d{3})",
    "server_process_died": r"(?P<number>\d+)\)\D{1,80}(?P<signal>\d+)(?=.{0,40}: )",
}
_TRANSLATED = [
    (kind, begins, _ABROAD.get(kind, "")) for kind, beginnings in TRANSLATED.items() for begins in beginnings
]
#: What only the first word varies of.
_FAILED = re.compile(rf"[\w ]{{1,20}} authentication failed for user {_USER}")

#: SQLSTATEs that speak for themselves in a FATAL message of any language.
_STATES = {
    "08006": "connection_lost",
    "0A000": "not_postgresql",
    "25P03": "idle_in_transaction_timeout",
    "25P04": "transaction_timeout",
    "28000": "authentication_failed",
    "28P01": "authentication_failed",
    "3D000": "no_database",
    "40001": "ended_by_recovery",
    "53300": "too_many_clients",
    "57014": "authentication_timeout",
    "57P01": "admin_command",
    "57P02": "crash_of_another",
    "57P03": "starting_up",
    "57P04": "ended_by_recovery",
    "57P05": "idle_session_timeout",
}
#: Of a statement's own RAISE: whatever it says, the server does not say it.
_RAISED = "P0001"

_Pattern = t.Tuple[str, t.Pattern[str]]


def _by_beginning(said: t.Iterable[tuple[str, str, str]]) -> dict[str, list[_Pattern]]:
    found: dict[str, list[_Pattern]] = collections.defaultdict(list)
    # The longest first: how some begin is how others go on.
    for kind, begins, goes_on in sorted(said, key=lambda one: -len(one[1])):
        found[begins[:2]].append((kind, re.compile(re.escape(begins) + goes_on)))
    return found


_PATTERNS = _by_beginning((*_SAID, *_TRANSLATED))


def beginnings() -> bytes:
    """A regular expression that matches how messages of interest begin, whatever their severity.

    Grouped by the first byte, so that a message of no interest costs one look at that.
    """
    groups: dict[bytes, list[bytes]] = collections.defaultdict(list)
    for begins in sorted({begins.encode() for kind, begins, _goes_on in (*_SAID, *_TRANSLATED) if kind}):
        groups[begins[:1]].append(re.escape(begins[1:]))
    return b"|".join(re.escape(first) + b"(?:" + b"|".join(rest) + b")" for first, rest in groups.items())


def classified(severity: str, sqlstate: str | None, message: str) -> Message | None:
    """What a *message* tells, None if nothing of interest; *severity* is the English word."""
    if sqlstate == _RAISED:
        return None
    for kind, pattern in _PATTERNS.get(message[:2], ()):
        found = pattern.match(message)
        if found:
            return _told(kind, found) if kind else None
    if severity != "FATAL":
        return None
    found = _FAILED.match(message)
    if found:
        return _told("authentication_failed", found)
    kind = _STATES.get(sqlstate or "", "")
    if "pg_hba.conf" in message and kind == "authentication_failed":
        kind = "no_hba_entry"
    return Message(kind, f"{kind.replace('_', ' ')}, in the server's language") if kind else None


def _told(kind: str, found: t.Match[str]) -> Message:
    said = {name: value for name, value in found.groupdict().items() if value}
    replaced = {found.span(name): "..." for name in _SENT if name in said}
    if kind.endswith("_"):
        error, words = _error(found["error"])
        kind += "reset" if (kind, error) == ("receive_", "broken_pipe") else error
        replaced[found.span("error")] = words
    text = found[0]
    for (start, end), words in sorted(replaced.items(), reverse=True):
        text = text[:start] + words + text[end:]
    number = said.get("number")
    return Message(
        kind=kind,
        text=text.strip(),
        number=_seconds(said["clock"]) if "clock" in said else float(number) if number else None,
        detail=said.get("detail") or said.get("code") or (f"signal {said['signal']}" if "signal" in said else None),
        address=said.get("address"),
        port=int(said["port"]) if "port" in said else None,
        user=said.get("user"),
        database=said.get("database"),
        application=said.get("application"),
    )


def _error(text: str) -> tuple[str, str]:
    for name, pattern in _ERROR:
        found = pattern.search(text)
        if found:
            return name, found[0]
    return "failed", "..."


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
