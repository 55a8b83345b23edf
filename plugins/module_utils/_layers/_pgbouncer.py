# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer pgbouncer: settings of the section [pgbouncer], in its file and in force in the process that reads it.

PgBouncer reads its file up to the first thing that it cannot read, leaves all that would come after at its defaults,
and before 1.25 answers RELOAD with success all the same. So the file is checked before it is touched, and what is in
force is read back afterwards.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import typing as t

from .. import _kernel, _login
from .._changes import Changes
from .._errors import Failure
from .._settings import SLACK
from . import _pgbouncer_console, _pgbouncer_process, _pgbouncerini
from ._files_layer import Contents, FilesLayer, contents
from ._layer import Found
from ._pgbouncer_console import Console, Row, config
from ._pgbouncer_process import Process

#: Beyond these the kernel refuses it, and PgBouncer then every connection over TCP.
_LARGEST = {
    "tcp_keepidle": 32767,
    "tcp_keepintvl": 32767,
    "tcp_keepcnt": 127,
    "tcp_user_timeout": 2**31 - 1,
    "listen_port": 65535,
}
#: In seconds, and nothing but a number: PgBouncer stops reading at ``10min``.
_SECONDS = ("client_idle_timeout", "server_idle_timeout", "server_lifetime")
_PATIENCE = 5.0
#: SSLRequest: PgBouncer accepts a connection only when its client has sent something (tcp_defer_accept).
_SSL_REQUEST = bytes((0, 0, 0, 8, 4, 210, 22, 47))


class PgBouncerLayer(FilesLayer):
    """*settings* of the section [pgbouncer] of *config_file*.

    *process* is None where PgBouncer is down, *console* where nobody could log in: then a reload is a SIGHUP. With
    *reload* false the file alone is changed.
    """

    program = "pgbouncer"

    def __init__(
        self,
        config_file: str,
        settings: t.Mapping[str, str],
        *,
        process: Process | None = None,
        console: Console | None = None,
        reload: bool = True,
    ) -> None:
        super().__init__([config_file])
        self.config_file = config_file
        self.settings = dict(settings)
        self._names = list(settings)
        self._process, self._console, self._reload = process, console, reload
        self._reloaded = False
        self._load = _pgbouncer_process.loader(process, config_file)

    @property
    def _goes_live(self) -> bool:
        return self._reload and (self._console is not None or self._process is not None)

    # ---- the verbs, where they differ from those of files

    def read(self) -> Found:
        running = config(self._console) if self._console else None
        return {**super().read(), "running": running}

    def compare(self, found: Found) -> list[Changes]:
        live = Changes("pgbouncer: in force")
        if found["running"] is not None and self._goes_live:
            for name, wanted in self.settings.items():
                row = found["running"].get(name)
                if row and row["changeable"] and not _pgbouncerini.same(row["value"], wanted):
                    live.add(name, row["value"], wanted)
        return [live, *super().compare(found)]

    def examine(self, found: Found) -> None:
        asked = f"settings of PgBouncer in {self.config_file}"
        for name, wanted in self.settings.items():
            largest = _LARGEST.get(name)
            if largest and not (wanted.isdecimal() and int(wanted) <= largest):
                remedy = f"Choose a whole number from 0 to {largest}: with another PgBouncer refuses all connections."
                raise Failure("bad_value", asked, f"the kernel does not take {name} = {wanted}", remedy, key=name)
            if name in _SECONDS and not is_number(wanted):
                raise Failure(
                    "bad_value", asked, f"{name} = {wanted} is no number of seconds", "Choose a number.", key=name
                )
        running = found["running"]
        items = self.items(contents(found)[self.config_file])
        for problem in _pgbouncerini.problems(items, running):
            what = problem.name if problem.kind == "error" else f"it has no {problem.kind} {problem.name}"
            found_there = f"PgBouncer stops reading at {problem.path}:{problem.line}: {what}"
            raise Failure("bad_config_file", asked, found_there, "Correct that line first.", line=problem.line)
        _pgbouncerini.port(_pgbouncerini.values(items), self.config_file)
        for name in self.settings:
            if running is not None and name not in running:
                raise Failure("unknown_setting", asked, f"this PgBouncer has no {name}", "Leave it out.", key=name)

    def planned(self, found: Found) -> Contents:
        content = contents(found)[self.config_file]
        if content is None:
            raise Failure(
                "no_config_file",
                f"settings of PgBouncer in {self.config_file}",
                "there is no such file",
                "Install PgBouncer, or name its configuration file.",
            )
        return {self.config_file: _pgbouncerini.edit(self.config_file, content, self.settings, self._load)}

    def settings_in(self, path: str, content: bytes | None) -> dict[str, str]:
        values = _pgbouncerini.values_in(content)
        return {name: values[name] for name in self._names if name in values}

    def undone(self, path: str, now: bytes | None, then: bytes | None) -> bytes | None:
        if now is None or then is None:
            return then
        were = _pgbouncerini.values_in(then)
        return _pgbouncerini.edit(path, now, {name: were.get(name) for name in self._names}, self._load)

    def reload(self) -> None:
        if not self._goes_live:
            return
        self._reloaded = True
        if self._console:
            self._console.command("RELOAD")
        elif self._process:
            self._process.hang_up()

    def verify(self) -> None:
        super().verify()
        if not self._goes_live:
            return
        if self._console:
            self._verify_running()
        self._verify_socket()

    def restore(self, found: Found, check_only: bool = False) -> list[Changes]:
        # In a run that has not got as far as a reload there is nothing to put back but the file.
        reloads, self._reload = self._reload, self._reload and (self._reloaded or "running" not in found)
        try:
            rows = super().restore(found, check_only)
        except Failure as failure:
            # The file is back by now. If PgBouncer does not take that one either, somebody had edited it before, or the
            # login may not reload: then nothing has come into force.
            if failure.code != "console_refused":
                raise
            rows = []
        finally:
            self._reload = reloads
        if self._console and self._reloaded and not check_only and found.get("running"):
            self._put_back_running(self._console, found["running"])
        if "running" not in found and any(rows) and not check_only:
            self._verify_undone()
        return rows

    def _verify_undone(self) -> None:
        """What a record has is in force again, as far as PgBouncer's own OS user can ask it; else a note says so."""
        if self._process is None:
            for pid in _pgbouncer_process.hidden(self.config_file):
                told = f"PgBouncer (process {pid}) has not read its file again: user {os.geteuid()} may not see whose"
                self.notes.append(f"{told} it is. Reload it.")
            return
        try:
            login = _pgbouncer_console.login(self._process, self.config_file, {})
            console = t.cast(Console, _login.connect(login, Console))
        except Failure as failure:
            self.notes.append(
                f"PgBouncer was told by SIGHUP, and could not be asked what is in force again ({failure.found})."
            )
            return
        with contextlib.closing(console):
            deadline = time.monotonic() + _PATIENCE  # a SIGHUP works some time later
            left = self._not_as_written(console)
            while left and time.monotonic() < deadline:
                time.sleep(0.1)
                left = self._not_as_written(console)
        if left:
            asked = "having PgBouncer read its file again"
            remedy = "See PgBouncer's log for the line that it stopped at, and correct it."
            raise Failure("not_restored", asked, f"{', '.join(left)} is not in force as the file has it", remedy)

    def _not_as_written(self, console: Console) -> list[str]:
        written = self._decisive(super().read())
        left = []
        for name, row in config(console).items():
            wanted = written[name].value if name in written else row["default"]
            known = name in self._names and row["changeable"] and wanted is not None
            if known and not _pgbouncerini.same(row["value"], wanted):
                left.append(name)
        return left

    def _put_back_running(self, console: Console, then: t.Mapping[str, Row]) -> None:
        """The file need not say what was in force: somebody had edited it, or had used SET."""
        left = _differing(config(console), then)
        for name in left:
            console.set(name, then[name]["value"])
        left = _differing(config(console), then) if left else []
        if left:
            asked = "putting back what was in force in PgBouncer"
            raise Failure("not_restored", asked, f"{', '.join(left)} is still different", "See PgBouncer's log.")

    # ---- the record

    def options(self) -> dict[str, t.Any]:
        return {"names": self._names}

    @classmethod
    def of_entry(cls, paths: t.Sequence[str], options: t.Mapping[str, t.Any]) -> PgBouncerLayer:
        layer = cls(paths[0], {}, process=_pgbouncer_process.find(paths[0]))
        layer._names = list(options["names"])
        return layer

    # ---- what the file says

    def items(self, content: bytes | None) -> list[_pgbouncerini.Item]:
        """All that the file, were *content* its bytes, and its includes say."""
        return _pgbouncerini.items(self.config_file, content or b"", self._load)

    # ---- what is in force

    def _verify_running(self) -> None:
        found = self.read()
        running = found["running"]
        asked = "having PgBouncer read its file again"
        wrong = [f"{row.name} is {row.before} instead of {row.after}" for row in self.compare(found)[0].rows]
        lost = [name for name, item in self._decisive(found).items() if _is_lost(running.get(name), item.value)]
        if wrong or lost:
            text = "; ".join(wrong or [f"{name} is back at its default although the file sets it" for name in lost])
            remedy = "See PgBouncer's log for the line that it stopped at, and correct it."
            raise Failure("not_in_force", asked, text, remedy)

    def _decisive(self, found: Found) -> dict[str, _pgbouncerini.Item]:
        return _pgbouncerini.effective(self.items(contents(found)[self.config_file]))

    def _verify_socket(self) -> None:
        """A socket that PgBouncer accepts from now on has the timer that was asked for; both legs get the same."""
        if self._process is None or not self.settings.get("tcp_keepidle"):
            return
        found = self.read()
        values = _pgbouncerini.values(self.items(contents(found)[self.config_file]))
        wanted = int(self.settings["tcp_keepidle"])
        if values.get("tcp_keepalive", "1") != "1" or not wanted:
            return
        seconds = _first_probe(values, _pgbouncerini.port(values, self.config_file), wanted)
        if seconds is not None and seconds > wanted * SLACK + 1:
            text = f"a new connection's keepalive timer has {round(seconds)} s, not {wanted}"
            raise Failure("not_in_force", "socket options of PgBouncer", text, "See PgBouncer's log.")


def is_number(value: str) -> bool:
    """Whether PgBouncer takes *value* for a time, which it has in seconds."""
    return re.fullmatch(r"\d+(\.\d*)?", value) is not None


def _differing(now: t.Mapping[str, Row], then: t.Mapping[str, Row]) -> list[str]:
    """Settings that SET can bring back."""
    return [
        name
        for name, row in then.items()
        if row["changeable"] and row["value"] is not None and name in now and now[name]["value"] != row["value"]
    ]


def _is_lost(row: Row | None, written: str) -> bool:
    """Whether a setting of the file is at its default, as all are after the line at which PgBouncer stopped."""
    if row is None or not row["changeable"]:
        return False
    same = _pgbouncerini.same
    return not same(row["value"], written) and same(row["value"] or "", row["default"] or "")


def _first_probe(values: t.Mapping[str, str], port: int, wanted: int) -> float | None:
    """Seconds to the first probe on a connection that was just accepted; None where none can be made or seen."""
    # A SIGHUP works some time later: the first answer may still be the old one.
    deadline = time.monotonic() + _PATIENCE
    seconds = None
    for host in _kernel.addresses(values.get("listen_addr", "")):
        while True:
            seconds = _kernel.keepalive_of_new_connection(host, port, wanted, 1.0, greeting=_SSL_REQUEST)
            if seconds is None:
                break
            if seconds <= wanted or time.monotonic() > deadline:
                return seconds
            time.sleep(0.1)
    return seconds
