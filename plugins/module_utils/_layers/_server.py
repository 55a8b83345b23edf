# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer server: PostgreSQL's parameters, in one place at a time, with one reload for all of them.

What is compared is what is configured (the files, ALTER SYSTEM, overrides), never what SHOW says: over a Unix socket
that is 0 for the tcp_ parameters, whatever is configured.
"""

from __future__ import annotations

import contextlib
import random
import time
import typing as t

from .. import _guc, _kernel, _namespaces
from .._changes import Changes
from .._database import Database
from .._errors import Failure
from .._settings import SLACK
from ._layer import Found, Layer
from ._places import AutoConf, ConfigFile, OfRole, Place, Snapshot, Values
from ._snapshot import OUTRANKING, check_files, check_kernel, configured, describe, lenient, row_of

_POLL_SECONDS = 0.05
_LOCK_SECONDS = 60.0


class ServerLayer(Layer):
    """*settings* maps a parameter to its value as a playbook has it, or to None to have it no longer set in *place*.

    *database* is None where the server is down: then only a configuration file can be changed, and nothing is checked
    by the server. The first read() goes by *seen*, a snapshot that the caller has just taken for more than *settings*.
    """

    def __init__(
        self,
        database: Database | None,
        place: Place,
        settings: t.Mapping[str, t.Any],
        *,
        reload: bool = True,
        reload_timeout: float = 10.0,
        seen: Snapshot | None = None,
    ) -> None:
        self.database = database
        self.place = place
        self.settings = {name.lower(): value for name, value in settings.items()}
        self.reload = reload
        self.reload_timeout = reload_timeout
        self._seen = seen
        self._touched: list[str] = []
        self._reload_sent = False
        self._reload_unanswered = False

    def read(self) -> Found:
        snapshot: Snapshot = {}
        if self._seen:
            snapshot, self._seen = self._seen, None
        elif self.database:
            role, name = (self.place.role, self.place.name) if isinstance(self.place, OfRole) else (None, None)
            snapshot = self.database.snapshot(list(self.settings), role, name)
        return {"snapshot": snapshot, **self.place.find(snapshot, self.settings)}

    def compare(self, found: Found) -> list[Changes]:
        changes = Changes(self.place.label)
        for name, wanted in self.settings.items():
            before, after, differs = self._judge(found, name, wanted)
            if differs:
                changes.add(name, before, after)
        return [changes]

    def _judge(self, found: Found, name: str, wanted: t.Any) -> tuple[str | None, str | None, bool]:
        """What *name* is now, what it is to be, both for people, and whether it has to be written or reloaded."""
        raw = found["values"][name]
        if not self.database:
            after = _text(wanted)
            same = raw == after or (raw is not None and after is not None and _guc.same_text(raw, after))
            return raw, after, not same
        guc = self.guc(found, name)
        here = None if raw is None else lenient(guc, raw)
        if wanted is None:
            running = None if here else self._not_reloaded(found, name, configured(found["snapshot"], name))
            return _guc.shown(guc, running or here), None, raw is not None or running is not None
        value = _guc.canonical(guc, wanted)
        check_kernel(found["snapshot"], name, value)
        there = self._there(found, name)
        before, after = _guc.shown(guc, there), _guc.shown(guc, value)
        if there != value:
            return before, after, True
        running = self._not_reloaded(found, name, value)
        return (_guc.shown(guc, running), after, True) if running is not None else (before, after, False)

    def _there(self, found: Found, name: str) -> str | None:
        """What is compared with the wanted value, in the base unit."""
        if isinstance(self.place, AutoConf):
            # ALTER SYSTEM need not repeat what postgresql.conf says, or the server without being told.
            return configured(found["snapshot"], name)
        raw = found["values"][name]
        return None if raw is None else lenient(self.guc(found, name), raw)

    def _not_reloaded(self, found: Found, name: str, value: str | None) -> str | None:
        """The value that runs although the files say *value*: somebody changed them and has not reloaded."""
        row = row_of(found["snapshot"], name)
        # A value of any other context stays what it was in our session, or in the whole server.
        reloads = self.reload and self.place.needs_reload and row["context"] in ("sighup", "superuser", "user")
        if value is None or not reloads:
            return None
        seen = row["source"] in ("configuration file", "default") and configured(found["snapshot"], name) == value
        running = str(row["reset_val"])
        return running if seen and lenient(_guc.Guc.of(row), running) != value else None

    def guc(self, found: Found, name: str) -> _guc.Guc:
        """What the server says of *name*. Raises Failure ``unknown_parameter``."""
        return _guc.Guc.of(row_of(found["snapshot"], name))

    def examine(self, found: Found) -> None:
        snapshot = found["snapshot"]
        wishes = {row.name: self.settings[row.name] for changes in self.compare(found) for row in changes.rows}
        texts = {name: _text(value) for name, value in wishes.items()}
        if not self.database:
            self.place.examine(snapshot, texts)
            return
        contexts = {name: row_of(snapshot, name)["context"] for name in self.settings}
        for name, context in contexts.items():
            if context == "internal" or (not self.place.needs_reload and context in ("postmaster", "sighup")):
                remedy = "Leave it out." if context == "internal" else "Set it for the whole server."
                found_wrong = f"its context is {context}, so it cannot be set there"
                raise Failure("not_settable", f"{name}, {self.place.label}", found_wrong, remedy)
        self.place.examine(snapshot, texts)
        if self.place.needs_reload:
            check_files(snapshot)
            self._check_seen(snapshot)
            if self.reload and not snapshot["may_reload"]:
                raise Failure(
                    "not_allowed",
                    "reloading the server's configuration",
                    f"{snapshot['user']} may not execute pg_reload_conf()",
                    "GRANT EXECUTE ON FUNCTION pg_reload_conf() to it, or set reload: false and reload otherwise.",
                )
        # The server's own checks of values that a session may set; ALTER SYSTEM checks the others when it writes them.
        values = {
            name: text
            for name, text in texts.items()
            if text is not None and contexts[name] in (("user", "superuser") if snapshot["superuser"] else ("user",))
        }
        if values:
            self.database.check_values(values)

    def _check_seen(self, snapshot: Snapshot) -> None:
        """Raise Failure where nobody could tell what came of the change, not even the next run."""
        for name, wanted in self.settings.items():
            if wanted is not None and configured(snapshot, name) is None:
                raise Failure(
                    "not_visible",
                    f"what {name} is configured to be",
                    f"{snapshot['user']} may not read pg_file_settings, and an override for it hides the value",
                    "GRANT SELECT ON pg_file_settings and EXECUTE ON FUNCTION pg_show_all_file_settings() to it,"
                    " or log in as superuser.",
                )

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        """An advisory lock of the server; without one (the server is down) the file's directory is locked instead."""
        if not self.database:
            yield
            return
        deadline = time.monotonic() + _LOCK_SECONDS
        while not self.database.try_lock():
            if time.monotonic() > deadline:
                raise Failure(
                    "locked",
                    "changing the server's settings",
                    f"another run has been changing them for {_LOCK_SECONDS:.0f} s",
                    "Let it finish, then run again.",
                )
            # Not in step with another run that waits.
            time.sleep(_POLL_SECONDS * (1 + random.random()))
        try:
            yield
        finally:
            # A session that has ended has no lock any more, and another error to tell.
            with contextlib.suppress(Failure):
                self.database.unlock()

    def apply(self, found: Found) -> None:
        values = self._unwritten(found)
        self._touched = list(values)
        self.place.write(values)
        self._reload()

    def _unwritten(self, found: Found) -> Values:
        """What apply() writes to the place."""
        differing = [row.name for changes in self.compare(found) for row in changes.rows]
        return {name: _text(self.settings[name]) for name in differing if not self._written(found, name)}

    def _written(self, found: Found, name: str) -> bool:
        """Whether the value is there already, and only a reload is missing."""
        wanted = self.settings[name]
        if wanted is None:
            return found["values"][name] is None
        return bool(self.database) and self._there(found, name) == _guc.canonical(self.guc(found, name), wanted)

    def _reload(self) -> None:
        """Reload, and wait until the server has read its files: it signals this session only after that."""
        if not (self.database and self.reload and self.place.needs_reload):
            return
        before = self.database.load_time()
        self._reload_sent = True
        self.database.reload()
        if self._reload_unanswered:
            return
        deadline = time.monotonic() + self.reload_timeout
        while self.database.load_time() == before:
            if time.monotonic() > deadline:
                self._reload_unanswered = True
                raise Failure(
                    "reload_timeout",
                    "reloading the server's configuration",
                    f"the server has not taken its files within {self.reload_timeout:g} s",
                    "See its log for a line in them that it cannot read; a larger reload_timeout helps a busy host.",
                )
            time.sleep(_POLL_SECONDS)

    def verify(self) -> None:
        """Ask the server what its files say now, and what runs."""
        if not self.database:
            return
        found = self.read()
        snapshot = found["snapshot"]
        if self.place.needs_reload:
            check_files(snapshot)
        for name, wanted in self.settings.items():
            blind = isinstance(self.place, AutoConf) and snapshot["file_settings"] is None
            if blind and (wanted is None or not self.reload):
                continue  # another file may have it, too; and what is written is seen once it is loaded
            before, after, differs = self._judge(found, name, wanted)
            if not differs and wanted is not None and isinstance(self.place, ConfigFile):
                before = "not read from there"
                differs = not self._in_files(snapshot, name, _guc.canonical(self.guc(found, name), wanted))
            if differs:
                raise Failure(
                    "not_in_force",
                    f"{name} = {'nothing' if after is None else after}, {self.place.label}",
                    f"after the reload it is {before}",
                    "See the server's log.",
                )

        self._ask_kernel(snapshot)

    def _ask_kernel(self, snapshot: Snapshot) -> None:
        """Raise Failure where a connection that has just been opened does not get the keepalive that is configured.

        That the server has read a value does not prove that its kernel took it. Nothing is said where the server's
        sockets cannot be seen from here.
        """
        listening = snapshot["files"].get("listen_addresses")
        name = "tcp_keepalives_idle"
        if not (self.place.needs_reload and self.reload and self.settings.get(name) and listening):
            return
        outranked = row_of(snapshot, name)["source"] in OUTRANKING
        idle, port = int(configured(snapshot, name) or 0), int(snapshot["files"]["port"])
        if not self.database or _namespaces.of_server(self.database) is False:
            return  # at its address another server may answer here
        for address in [] if outranked or not idle else _kernel.addresses(listening)[:1]:
            seconds = _kernel.keepalive_of_new_connection(address, port, idle)
            if seconds is not None and seconds > idle * SLACK + 1:
                raise Failure(
                    "not_in_force",
                    f"{name} = {idle}s, {self.place.label}",
                    f"on a connection that was just opened the kernel has {seconds:.0f} s to the first probe",
                    "See the server's log.",
                )

    def _in_files(self, snapshot: Snapshot, name: str, value: str) -> bool:
        """Whether the server found *name* in its files; where that cannot be read, whether it has the *value*."""
        rows = snapshot["file_settings"]
        if rows is None:
            return not self.reload or configured(snapshot, name) == value
        return any(row["name"] == name for row in rows)

    def entry(self, found: Found) -> dict[str, t.Any] | None:
        of_place = self.place.entry(found, self._unwritten(found))
        return {"layer": "server", "values": found["values"], **of_place}

    def restore(self, found: Found, check_only: bool = False) -> list[Changes]:
        changes = Changes(self.place.label)
        if self.database and not check_only:
            self.database.lift_timeouts()
        snapshot = self.read()["snapshot"]
        now = self.place.find(snapshot, self.settings)["values"]
        for name, value in found["values"].items():
            changes.add(name, now.get(name), value)
        if not check_only:
            values = {row.name: row.after for row in changes.rows}
            if isinstance(self.place, AutoConf) and snapshot["file_settings"] is None:
                # What was written is not seen before it is loaded.
                values.update((name, found["values"][name]) for name in self._touched)
            self.place.put_back({**found, "values": values})
            if self._reload_sent or not self._loaded_as(found):
                self._reload()
        return [changes]

    def _loaded_as(self, found: Found) -> bool:
        """Whether nothing has been loaded since read() made *found*."""
        return self.database is not None and self.database.load_time() == found.get("snapshot", {}).get("load_time")

    def describe(self, found: Found) -> dict[str, dict[str, t.Any]]:
        """Each setting as it is now: value and unit, where it comes from, what outranks it, if a restart is due."""
        return {name: describe(found["snapshot"], name, self.place) for name in self.settings if self.database}


def _text(value: t.Any) -> str | None:
    return None if value is None else _guc.text(value)
