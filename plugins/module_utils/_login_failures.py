# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Login failures room (pure): what libpq's message means for a login, and what helps."""

from __future__ import annotations

import typing as t

from . import _transient


def is_down(message: str) -> bool:
    """Whether nobody listens there (libpq passes on the system's texts, and modules run with LC_ALL=C).

    One of several addresses of a host that answers, be it with an error, is a server that is up.
    """
    return all(
        "Is the server running" in attempt and ("Connection refused" in attempt or "No such file" in attempt)
        for attempt in _transient.attempts(message)
    )


#: The server's own texts are untranslated only if its lc_messages says so; else what comes after these applies.
_REMEDIES = (
    ("timeout expired", "See whether the server or its host hangs, or correct login_host and login_port."),
    ("Connection refused", "Start the server, or correct login_host and login_port."),
    ("No such file or directory", "Start the server, or correct login_unix_socket and login_port."),
    ("starting up", "Wait until the server has started, then run again."),
    ("not yet accepting connections", "Wait until the server has started, then run again."),
    ("shutting down", "Start the server again, then run again."),
    ("too many clients", "Free a connection, or log in as superuser, for whom some are reserved."),
    ("remaining connection slots", "Free a connection, or log in as superuser, for whom some are reserved."),
    ("no password supplied", "Give login_password."),
    ("password authentication failed", "Correct login_user or login_password."),
    ("Peer authentication failed", "Set login_os_user to the OS user that pg_hba.conf expects, and run as root."),
    ("no pg_hba.conf entry", "Log in another way, or let pg_hba.conf admit this login."),
    ("certificate", "Correct ca_cert, ssl_cert, ssl_key or login_host."),
    ("does not exist", "Correct login_user or login_db."),
)


def remedy(message: str, sockets: t.Sequence[str] = ()) -> str:
    """What helps against it; *sockets* are those that servers of this host have."""
    for phrase, help in _REMEDIES:
        if phrase in message:
            here = f" This host has sockets of servers in {'; '.join(sockets)}." if sockets else ""
            return help + (here if phrase == "No such file or directory" else "")
    return "Correct the login options."
