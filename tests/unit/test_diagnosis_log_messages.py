# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what messages are taken for, with those that servers of all majors wrote.

``data/server_log.tsv`` has majors, kind and line, under the prefix ``%m [%p] %e %r %q%u@%d %a ``: each message that
PostgreSQL 13 to 18 wrote while connections were broken in every way that could be provoked.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _lines, _messages, _prefix
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clock import Clock
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import KINDS
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._translations import (
    TRANSLATED,
    TRANSLATED_ERRORS,
)

ROWS = [line.split("\t") for line in (Path(__file__).parent / "data/server_log.tsv").read_text("utf-8").splitlines()]
READ = _lines.stderr(_prefix.compiled("%m [%p] %e %r %q%u@%d %a "), Clock()).read
INTERESTING = _lines.stderr(_prefix.compiled(""), Clock()).interesting


@pytest.mark.parametrize(("majors", "kind", "line"), ROWS)
def test_what_servers_wrote(majors: str, kind: str, line: str) -> None:
    record = READ(line)
    assert record
    said = _lines.event(record, "log", 7)
    assert (said.kind if said else "-") == kind, majors
    # What is not found by searching is never read.
    assert bool(INTERESTING.search(line.encode())) or kind == "-"
    if said:
        assert said.kind in KINDS
        assert said.pid
        assert said.time
        assert (said.file, said.line) == ("log", 7)
        assert said.sqlstate == line.split()[4]


def test_the_rows_have_all_majors_and_most_kinds() -> None:
    assert {major for majors, _kind, _line in ROWS for major in majors.split(",")} == {
        str(major) for major in range(13, 19)
    }
    assert len({kind for _majors, kind, _line in ROWS}) > 38


def kind(message: str, severity: str = "FATAL", sqlstate: str | None = None) -> str | None:
    said = _messages.classified(severity, sqlstate, message)
    return said.kind if said else None


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("could not receive data from client: Operation timed out", "receive_timed_out"),  # BSD, macOS
        ("could not receive data from client: No route to host", "receive_unreachable"),
        ("could not receive data from client: Host is unreachable", "receive_unreachable"),
        ("could not receive data from client: Network is down", "receive_unreachable"),
        ("could not receive data from client: Broken pipe", "receive_reset"),
        ("could not receive data from client: Bad file descriptor", "receive_failed"),
        ("could not send data to client: No route to host", "send_unreachable"),
        ("could not send data to client: Software caused connection abort", "send_aborted"),
        ("could not send data to client: Success", "send_failed"),
        # Windows, by its texts and by its numbers
        (
            "could not receive data from client: An existing connection was forcibly closed by the remote host.",
            "receive_reset",
        ),
        (
            "could not receive data from client: An established connection was aborted by the software in your host"
            " machine.",
            "receive_aborted",
        ),
        (
            "could not send data to client: A connection attempt failed because the connected party did not properly"
            " respond after a period of time, or established connection failed because connected host has failed to"
            " respond.",
            "send_timed_out",
        ),
        ("could not receive data from client: unrecognized winsock error 10054", "receive_reset"),
        ("could not receive data from client: unrecognized winsock error 10053", "receive_aborted"),
        ("could not receive data from client: unrecognized winsock error 10060", "receive_timed_out"),
        # not provoked
        ("terminating connection due to conflict with recovery", "ended_by_recovery"),
        ("canceling statement due to conflict with recovery", "recovery_conflict"),
        ("terminating connection due to unexpected postmaster exit", "postmaster_gone"),
        ("terminating connection because of crash of another server process", "crash_of_another"),
        ("server process (PID 42) was terminated by exception 0xC0000005", "server_process_died"),
        ("server process (PID 42) exited with exit code 2", "server_process_died"),
        ("received smart shutdown request", "shutdown_request"),
        ("received immediate shutdown request", "shutdown_request"),
        ("database system is ready to accept read only connections", "started"),
        ("database system is ready to accept read-only connections", "started"),
        ("the database system is starting up", "starting_up"),
        ("the database system is shutting down", "starting_up"),
        ("the database system is in recovery mode", "starting_up"),
        ("the database system is not yet accepting connections", "starting_up"),
        ("the database system is not accepting connections", "starting_up"),
        (
            "remaining connection slots are reserved for non-replication superuser connections",
            "too_many_clients",
        ),
        ("remaining connection slots are reserved for roles with the SUPERUSER attribute", "too_many_clients"),
        ('too many connections for database "shop"', "too_many_clients"),
        ('number of requested standby connections exceeds "max_wal_senders" (currently 10)', "too_many_clients"),
        ('role "nobody" does not exist', "authentication_failed"),
        ('role "nobody" is not permitted to log in', "authentication_failed"),
        ('Peer authentication failed for user "app"', "authentication_failed"),
        ('no pg_hba.conf entry for replication connection from host "10.0.0.1", user "app", SSL off', "no_hba_entry"),
        ("expected password response, got message type 88", "authentication_abandoned"),
        ("could not fork new process for connection: Resource temporarily unavailable", "fork_failed"),
        ("received direct SSL connection request without ALPN protocol negotiation extension", "not_postgresql"),
        ("could not accept SSL connection: http request", "not_postgresql"),
        ("could not accept SSL connection: wrong version number", "tls_error"),
        ("SSL error: unexpected eof while reading", "tls_error"),
        ("terminating walreceiver due to timeout", "walreceiver_timeout"),
        # of no connection of a client
        ("terminating autovacuum process due to administrator command", None),
        ('terminating background worker "x" due to administrator command', None),
        ("could not receive data from WAL stream: server closed the connection unexpectedly", None),
        ('background worker "x" (PID 42) exited with exit code 1', None),
        ("something else", None),
        ("", None),
    ],
)
def test_messages(message: str, expected: str | None) -> None:
    assert kind(message) == expected


def test_what_is_kept_beside_the_kind() -> None:
    said = _messages.classified(
        "LOG", None, "disconnection: session time: 26:03:04.500 user=app database=shop host=10.0.0.1 port=4711"
    )
    assert said
    assert (said.number, said.user, said.database, said.address, said.port) == (
        93784.5,
        "app",
        "shop",
        "10.0.0.1",
        4711,
    )
    said = _messages.classified("LOG", None, "connection received: host=[local]")
    assert said
    assert (said.address, said.port) == ("[local]", None)
    said = _messages.classified("LOG", None, "server process (PID 42) was terminated by signal 9: Killed")
    assert said
    assert (said.number, said.detail) == (42, "signal 9")
    said = _messages.classified("LOG", None, "server process (PID 42) exited with exit code 2")
    assert said
    assert (said.number, said.detail) == (42, "exit code 2")
    said = _messages.classified(
        "LOG", None, "connection authorized: user=app database=shop application_name=my app SSL enabled (protocol=x)"
    )
    assert said
    assert (said.user, said.database, said.application) == ("app", "shop", "my app")


def test_what_a_statement_raises_is_not_the_servers_word() -> None:
    assert kind("connection to client lost", "ERROR", "P0001") is None


@pytest.mark.parametrize(
    ("message", "sqlstate", "expected"),
    [
        ("Verbindung wird abgebrochen wegen Zeitüberschreitung der Sitzung", "57P05", "idle_session_timeout"),
        ("Verbindung zum Client wurde verloren", "08006", "connection_lost"),
        ("kein pg_hba.conf-Eintrag für Host »10.0.0.1«, Benutzer »app«", "28000", "no_hba_entry"),
        ("Rolle »app« existiert nicht", "28000", "authentication_failed"),
        ("tut mir leid, schon zu viele Verbindungen", "53300", "too_many_clients"),
        ("nicht unterstütztes Frontend-Protokoll 18245.21536", "0A000", "not_postgresql"),
        ("Verbindung wird abgebrochen wegen Konflikt mit der Wiederherstellung", "40001", "ended_by_recovery"),
        ("Verbindung wird abgebrochen wegen Konflikt mit der Wiederherstellung", "57P04", "ended_by_recovery"),
        ("etwas anderes", "XX000", None),
        ("etwas anderes", None, None),
    ],
)
def test_translated_by_sqlstate(message: str, sqlstate: str | None, expected: str | None) -> None:
    assert kind(message, "FATAL", sqlstate) == expected
    assert kind(message, "ERROR", sqlstate) is None
    said = _messages.classified("FATAL", sqlstate, message)
    assert said is None or "app" not in said.text.replace("language", "")


def test_translated_by_their_words() -> None:
    for name, beginnings in TRANSLATED.items():
        for begins in beginnings:
            if name in ("receive_", "send_"):
                for error, texts in TRANSLATED_ERRORS.items():
                    for text in texts:
                        wanted = "reset" if (name, error) == ("receive_", "broken_pipe") else error
                        assert kind(begins + text, "LOG", "08006") == name + wanted
            else:
                goes_on = {
                    "connection_received": "Host=10.0.0.1 Port=4711",
                    "authenticated": "app Datenbank=shop",
                    "disconnected": "0:00:01.500 Benutzer=app",
                    "server_process_died": "42) wurde von Signal 9 beendet: Killed",
                }.get(name, "")
                said = _messages.classified("LOG", None, begins + goes_on)
                assert said
                assert said.kind == name, begins
                assert INTERESTING.search(f"x LOG:  {begins}{goes_on}".encode())
    said = _messages.classified("LOG", None, "Serverprozess (PID 42) wurde von Signal 9 beendet: Killed")
    assert said
    assert (said.number, said.detail) == (42, "signal 9")
    said = _messages.classified("LOG", None, "Verbindung empfangen: Host=10.0.0.1 Port=4711")
    assert said
    assert (said.address, said.port) == ("10.0.0.1", 4711)
    said = _messages.classified("LOG", None, "Verbindungsende: Sitzungszeit: 0:00:01.500 Benutzer=app")
    assert said
    assert said.number == 1.5


SECRET = "hunter2-Planted"


@pytest.mark.parametrize(
    ("severity", "message"),
    [
        ("FATAL", f'password authentication failed for user "postgres://app:{SECRET}@db/shop"'),
        ("FATAL", f'database "host=db password={SECRET}" does not exist'),
        ("FATAL", f'role "x password={SECRET}" does not exist'),
        ("FATAL", f'no pg_hba.conf entry for host "10.0.0.1", user "a:{SECRET}://", database "b={SECRET}", SSL off'),
        ("LOG", f"connection authorized: user=app database=shop application_name=psql password={SECRET}"),
        ("LOG", f"connection authorized: user=x database=y application_name=a SSL enabled password={SECRET} b"),
        ("LOG", f"disconnection: session time: 0:00:01.000 user=a={SECRET} database=d={SECRET} host=10.0.0.1 port=1"),
        ("LOG", f"could not receive data from client: Connection reset by peer\" password '{SECRET}'"),
        ("LOG", f'could not send data to client: "{SECRET}"'),
        ("LOG", f'SSL error: "{SECRET}"'),
        ("LOG", f"statement: ALTER ROLE app PASSWORD '{SECRET}'"),
        ("ERROR", f"canceling statement due to statement timeout {SECRET}"),
        ("FATAL", f'parameter "{SECRET}" cannot be changed'),
        ("FATAL", f"connection to client lost {SECRET}"),
    ],
)
def test_nothing_secret_is_kept(severity: str, message: str) -> None:
    for record in (
        _lines.Record(severity=severity, message=message, sqlstate="28000"),
        _lines.Record(
            severity="FATAL",
            message="connection to client lost",
            user=f"app:{SECRET}://",
            database=f"password={SECRET}",
            application=f"tool --token {SECRET}",
        ),
    ):
        assert SECRET not in repr(_lines.event(record, "log", 1))


BEGINNINGS = [begins for _kind, begins, _goes_on in _messages._SAID]


@given(
    st.sampled_from(sorted(set(_prefix.SEVERITY.values()))),
    st.sampled_from([None, "P0001", *_messages._STATES]),
    st.sampled_from([*BEGINNINGS, ""]),
    st.text(),
)
def test_any_message_is_taken(severity: str, sqlstate: str | None, begins: str, rest: str) -> None:
    said = _messages.classified(severity, sqlstate, begins + rest)
    assert said is None or said.kind in KINDS
