# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failures to connect are tried again; that servers really say so is tested in test_connect_retry.py."""

from __future__ import annotations

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _transient

AT = 'connection to server at "db" (10.0.0.1), port 5432 failed: '
REFUSED = "Connection refused Is the server running on that host and accepting TCP/IP connections?"


@pytest.mark.parametrize(
    "message",
    [
        f"{AT}{REFUSED}",
        f"could not connect to server: {REFUSED}",
        f"{AT}FATAL: the database system is starting up",
        f"{AT}FATAL: the database system is not yet accepting connections DETAIL: Consistent recovery state",
        "FATAL: sorry, too many clients already",
        f"{AT}FATAL: remaining connection slots are reserved for roles with the SUPERUSER attribute",
        f'{AT}FATAL: too many connections for role "app"',
        f"{AT}server closed the connection unexpectedly This probably means the server terminated abnormally",
        f"{AT}timeout expired",
        f"{AT}{REFUSED} {AT}FATAL: the database system is shutting down",
        'could not translate host name "db" to address: Temporary failure in name resolution',
    ],
)
def test_these_pass(message: str) -> None:
    assert _transient.is_transient(message)


@pytest.mark.parametrize(
    "message",
    [
        f'{AT}FATAL: password authentication failed for user "app"',
        f'{AT}FATAL: database "app" does not exist',
        f'{AT}FATAL: no pg_hba.conf entry for host "10.0.0.2", user "app", database "app", no encryption',
        f'{AT}{REFUSED} {AT}FATAL: password authentication failed for user "app"',
        'could not translate host name "db" to address: Name or service not known',
        'connection to server on socket "/run/.s.PGSQL.5432" failed: No such file or directory Is the server running',
        f"{AT}FATAL: das Datenbanksystem startet",
        'invalid connection option "nonsense"',
        "",
    ],
)
def test_these_stay(message: str) -> None:
    assert not _transient.is_transient(message)


def test_pauses_grow_to_a_limit_and_end_with_the_time() -> None:
    longest = [_transient.pause(attempt, 100, 0) for attempt in range(7)]
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2, 2])
    assert [_transient.pause(attempt, 100, 1) for attempt in range(7)] == pytest.approx([w / 2 for w in longest if w])
    assert _transient.pause(6, 0.3, 0) == 0.3
    assert _transient.pause(0, 0, 0.5) is _transient.pause(0, -1, 0.5) is None
