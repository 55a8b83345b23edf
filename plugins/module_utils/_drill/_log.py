# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log: what the server itself wrote of the drill's sessions."""

from __future__ import annotations

import base64
import os
import re
import typing as t

from .. import _serverlog
from .._database import Database
from .._errors import Failure
from . import _sql

#: What the server says of a connection that it lost, or ended.
_TELLING = re.compile(
    "could not (?:receive data from|send data to) client|connection to client lost|unexpected EOF on client connection"
    "|terminating connection due to|canceling authentication due to timeout|incomplete startup packet"
    "|FATAL:|PANIC:"
)
_MOST_BYTES = 4 * 1024 * 1024


class Log:
    """The lines from now on. *source* is where they are read, None if nowhere: then *reason* says why."""

    def __init__(self, database: Database, path: str | None, local: bool) -> None:
        """*path* wins over what the server says; *local* is whether the server runs on this host."""
        self._database: Database | None = None
        self.source: str | None = None
        self.reason: str | None = None
        self._offset = 0
        logging = database.ask("asking for the log", _sql.LOGGING)
        if "%p" not in logging["prefix"]:
            self.reason = "log_line_prefix has no %p, so that its lines belong to nobody"
        elif path:
            self._open(path)
        elif not (logging["may_read"] and self._through(database)):
            self._standard_error(logging["pid"] if local else None)

    def lines(self, pid: int) -> list[str]:
        """What was written of a backend and tells something."""
        if not hasattr(self, "_text"):
            self._text = self._read()
        own = re.compile(rf"(?<!\d){pid}(?!\d)")
        return [line for line in self._text.splitlines() if own.search(line) and _TELLING.search(line)]

    def _through(self, database: Database) -> bool:
        """By functions of the server, wherever that is; only if the logging collector runs."""
        try:
            found = database.ask("asking for the log file", _sql.LOG_FILE)
        except Failure:
            return False  # not allowed pg_stat_file
        if not found:
            return False
        self._database, self.source, self._offset = database, found["path"], found["size"]
        return True

    def _standard_error(self, backend: int | None) -> None:
        if backend is None:
            self.reason = "the server is on another host, and its log cannot be read by SQL; see log_file"
            return
        place = _serverlog.standard_error(backend)
        if place.path:
            self._open(place.path)
        else:
            self.reason = f"{place.reason}; see log_file"

    def _open(self, path: str) -> None:
        try:
            self._offset = os.stat(path).st_size
            with open(path, "rb"):
                self.source = path
        except OSError as error:
            self.reason = f"{path} cannot be read ({error.strerror})"

    def _read(self) -> str:
        if self.source is None:
            return ""
        try:
            return self._bytes().decode("utf-8", "replace")
        except (Failure, OSError) as error:
            self.reason = f"{self.source} could not be read afterwards ({error})"
            return ""

    def _bytes(self) -> bytes:
        source = t.cast(str, self.source)
        if self._database:
            where = {"path": source, "offset": self._offset, "length": _MOST_BYTES}
            return base64.b64decode(self._database.ask("reading the log", _sql.READ_LOG, where))
        with open(source, "rb") as stream:
            stream.seek(self._offset)
            return stream.read(_MOST_BYTES)
