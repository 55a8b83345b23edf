# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Transient, a pure room: which failures to connect pass by themselves, and how long to wait before the next attempt.

psycopg2 gives no SQLSTATE for a connection that was never made, so libpq's and the server's texts are read. What is
not known here, such as the texts of a server that speaks another language, is not tried again.
"""

from __future__ import annotations

import re

_ATTEMPT = re.compile("connection to server (?:at|on) |could not connect to server: ")

_PASSING = re.compile(
    # 57P03 cannot_connect_now; 57P01 and 57P02, when it goes down during a login
    r"the database system is (?:starting up|shutting down|in recovery mode|not (?:yet )?accepting connections)"
    r"|terminating connection (?:due to administrator command|because of crash)"
    # 53300 too_many_connections, and PgBouncer's own words for it
    r"|too many clients already|remaining connection slots are reserved|too many connections for"
    r"|no more connections allowed|cannot connect to server"
    # class 08, by libpq or the system it asks
    r"|Connection refused|Connection reset|Connection timed out|timeout expired|No route to host"
    r"|Network is unreachable|server closed the connection|SSL connection has been closed|EOF detected"
    r"|Temporary failure in name resolution"
)
_FIRST, _LONGEST = 0.1, 2.0


def attempts(message: str) -> list[str]:
    """What libpq says of each address that it tried."""
    return _ATTEMPT.split(message)[1:] or [message]


def is_transient(message: str) -> bool:
    """Whether trying again may help: not so if any address answered with a refusal that stays, as of a password."""
    return all(map(_PASSING.search, attempts(message)))


def pause(attempt: int, left: float, chance: float) -> float | None:
    """Seconds to wait after the failed *attempt* (from 0) with *left* seconds to go, None when there are none.

    Twice as long each time, from 0.1 s to 2 s; *chance*, from 0 to 1, takes off up to half, lest many hosts that lost
    the same server come back in step.
    """
    if left <= 0:
        return None
    longest = min(_LONGEST, _FIRST * 2**attempt)
    return min(left, longest * (1 - chance / 2))
