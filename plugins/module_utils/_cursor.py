# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cursor: the library psycopg2, if it is there, and cursors whose errors are Failures with the server's own message."""

from __future__ import annotations

import typing as t

try:
    import psycopg2
except ImportError:  # `_login.connect` says so
    psycopg2 = None  # type: ignore[assignment]

from ._errors import Failure

_REMEDIES = {
    "22023": "Correct the value.",  # invalid_parameter_value
    "25006": "A standby takes settings per role and database from its primary: set them there.",
    "42501": "Log in as superuser, or have the privilege granted.",
    "42704": "Check the name.",  # undefined_object
    "57014": "Something blocked the statement until its timeout; try again.",
}


class Cursor:
    """A cursor whose errors are Failures that say what was *asked*."""

    def __init__(self, connection: t.Any, asked: str) -> None:
        self._connection = connection
        self._asked = asked

    def __enter__(self) -> t.Any:
        try:
            self._cursor = self._connection.cursor()
        except psycopg2.Error as error:
            raise _refused(self._asked, error) from error
        return self._cursor

    def __exit__(self, kind: t.Any, error: BaseException | None, traceback: t.Any) -> None:
        self._cursor.close()
        if isinstance(error, psycopg2.Error):
            raise _refused(self._asked, error) from error


def _refused(asked: str, error: t.Any) -> Failure:
    """A Failure that has the server's message and SQLSTATE, without the statement (which may have secrets)."""
    state = getattr(error, "pgcode", None)
    diagnostics = getattr(error, "diag", None)
    # libpq's own messages have several lines
    message = (diagnostics and diagnostics.message_primary) or " ".join(str(error).split()) or type(error).__name__
    hint = diagnostics and " ".join(filter(None, (diagnostics.message_detail, diagnostics.message_hint)))
    found = f"the server says: {message}" + (f" ({hint})" if hint else "")
    return Failure("server_refused", asked, found, _REMEDIES.get(str(state), "See the server's log."), sqlstate=state)
