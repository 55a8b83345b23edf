# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What helps against a login that failed; the messages themselves are met in the integration tests."""

from __future__ import annotations

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _login_failures

NO_SOCKET = (
    'connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: No such file or directory '
    "Is the server running locally and accepting connections on that socket?"
)


def test_where_nobody_listens_the_sockets_that_there_are_help() -> None:
    assert _login_failures.is_down(NO_SOCKET)
    assert _login_failures.remedy(NO_SOCKET) == "Start the server, or correct login_unix_socket and login_port."
    told = _login_failures.remedy(NO_SOCKET, ["/run/postgresql, port 5433", "/tmp, port 5432"])
    assert told.endswith(" This host has sockets of servers in /run/postgresql, port 5433; /tmp, port 5432.")


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ('FATAL: role "app" does not exist', "Correct login_user or login_db."),
        ("FATAL: something new", "Correct the login options."),
    ],
)
def test_other_failures_have_nothing_to_do_with_sockets(message: str, remedy: str) -> None:
    assert not _login_failures.is_down(message)
    assert _login_failures.remedy(message, ["/tmp, port 5432"]) == remedy
