# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer patroni: parameters in the dynamic configuration of a cluster, and in force on the member that runs here.

The configuration is one for all members. Patroni writes it to each member's postgresql.conf and reloads, at its next
loop; so what is changed through one member is waited for on that one, and other members are waited for by their runs.
"""

from __future__ import annotations

import time
import typing as t

from .. import _guc
from .._changes import Changes
from .._database import Database
from .._errors import Failure
from . import _patroni_config, _patroni_process
from ._layer import Found
from ._patroni_process import Line
from ._patroni_rest import Rest
from ._places import Place, Snapshot, Values, is_auto
from ._server import ServerLayer
from ._snapshot import check_files, configured, lenient, row_of

_POLL_SECONDS = 0.2
_BACK_SECONDS = 10.0
_IS_RUNNING = "SELECT to_json(pg_postmaster_start_time() = %(started)s::timestamptz)"


class Dynamic(Place):
    """`postgresql.parameters` of the dynamic configuration, through the REST API of one member."""

    label = "patroni: dynamic configuration"

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    def find(self, snapshot: Snapshot, names: t.Iterable[str]) -> dict[str, t.Any]:
        # A member answers GET /config from what it last saw; GET /cluster has it look into the DCS first.
        self.rest.get("/cluster")
        dynamic, wanted = self.rest.get("/config"), list(names)
        return {
            "values": _patroni_config.values(dynamic, wanted),
            "raw": _patroni_config.raw(dynamic, wanted),
            "parents": _patroni_config.parents(dynamic),
        }

    def write(self, values: Values) -> None:
        self._send(_patroni_config.patch(self.rest.get("/config"), values))

    def put_back(self, found: dict[str, t.Any]) -> None:
        """The values as they were written, for the names in ``values``."""
        were = {name: found["raw"].get(name) for name in found["values"]}
        self._send(_patroni_config.patch_back(self.rest.get("/config"), were, found["parents"]))

    def _send(self, body: _patroni_config.Config) -> None:
        if body:
            self.rest.patch_config(body)


class PatroniLayer(ServerLayer):
    """*settings* of the whole cluster; *local* are the parameters of the member's own configuration, which win there.

    *noted* are the settings, in base units, that an earlier run has put in force: what is found to be so was not there
    before the first hardening, even if that was through another member.
    """

    def __init__(
        self,
        database: Database,
        rest: Rest,
        settings: t.Mapping[str, t.Any],
        *,
        local: t.Mapping[str, Line] | None = None,
        settle_timeout: float = 60.0,
        seen: Snapshot | None = None,
        noted: t.Mapping[str, str] | None = None,
    ) -> None:
        # Patroni reloads the server, we do not.
        super().__init__(database, Dynamic(rest), settings, reload=False, seen=seen)
        self.rest = rest
        self.local = dict(local or {})
        self._settle_timeout = settle_timeout
        self._noted = dict(noted or {})
        #: whether putting back is all there is to do, and no way out of a failure
        self._reverts = False
        self._gave_up = False

    # ---- the verbs, where they differ from those of a server

    def verify(self) -> None:
        self.wait()

    def restore(self, found: Found, check_only: bool = False) -> list[Changes]:
        wishes = self.settings
        self.settings = dict(found["values"])
        try:
            changes = super().restore(found, check_only)
            if any(changes) and not check_only:
                self._wait_back()
        finally:
            self.settings = wishes
        return changes

    def _wait_back(self) -> None:
        """The configuration is back by now. Nobody waits long for a member that has just not applied another one."""
        if self._reverts:
            self.wait()
        elif not self._gave_up:
            self._settle(min(self._settle_timeout, _BACK_SECONDS))

    # ---- in force

    def wait(self) -> None:
        """Wait until this member has the settings in force. Raises Failure ``not_in_force``."""
        snapshot, left = self._settle(self._settle_timeout)
        check_files(snapshot)
        if left:
            name = left[0]
            self._gave_up = True
            raise Failure(
                "not_in_force",
                f"{name} = {_text(self.settings[name])}, {self.place.label}",
                f"after {self._settle_timeout:.0f} s this member has not applied it",
                "See Patroni's log there; a larger settle_timeout helps where loop_wait is long.",
            )

    def _settle(self, timeout: float) -> tuple[Snapshot, list[str]]:
        """The last snapshot, and what this member has not applied in time."""
        deadline = time.monotonic() + timeout
        while True:
            snapshot = self._snapshot()
            left = self.left(snapshot)
            if not left or time.monotonic() > deadline:
                return snapshot, left
            time.sleep(_POLL_SECONDS)

    def _snapshot(self) -> Snapshot:
        return t.cast(Database, self.database).snapshot(list(self.settings))

    def left(self, snapshot: Snapshot) -> list[str]:
        """Settings that Patroni has not yet brought to this member's server."""
        return [name for name in self.settings if not self._applied(snapshot, name)]

    def _applied(self, snapshot: Snapshot, name: str) -> bool:
        if name in self.local:
            return True  # the local configuration wins, and was applied when Patroni started
        row = row_of(snapshot, name)
        guc = _guc.Guc.of(row)
        wanted = self.settings[name]
        value = None if wanted is None else lenient(guc, _guc.text(wanted))
        if snapshot["file_settings"] is None:
            # Without the files' lines: what new sessions of this login start with, where no override hides it.
            seen = row["source"] in ("configuration file", "default")
            return not seen or value is None or row["pending_restart"] or str(row["reset_val"]) == value
        line = _own_line(snapshot, name)
        written = None if line is None else lenient(guc, line["setting"])
        if written != value:
            return False
        # What the files say, this session has after the reload too, unless something else outranks it.
        if row["source"] not in ("configuration file", "default") or row["context"] in ("postmaster", "internal"):
            return True
        return row["context"].endswith("backend") or lenient(guc, str(row["reset_val"])) == configured(snapshot, name)

    # ---- what outranks it

    def shadows(self, snapshot: Snapshot, name: str) -> list[dict[str, t.Any]]:
        """What decides on this member instead of the dynamic configuration, in the form of `_snapshot.describe`."""
        found = []
        if name in self.local:
            line = self.local[name]
            origin = {"sourcefile": line.sourcefile, "sourceline": line.sourceline}
            found.append({"kind": "local configuration", "value": _guc.text(line.value), **origin})
        for row in snapshot["file_settings"] or ():
            if row["name"] == name and is_auto(row):
                origin = {"sourcefile": row["sourcefile"], "sourceline": row["sourceline"]}
                found.append({"kind": "alter system", "value": row["setting"], **origin})
        return found

    # ---- the record

    def entry(self, found: Found) -> dict[str, t.Any] | None:
        """See Layer; a value that an earlier run put in force is none that was there before."""
        names = [
            name
            for name, value in found["values"].items()
            if value is None or lenient(self.guc(found, name), value) != self._noted.get(name)
        ]
        if not names:
            return None
        kept = {key: {name: found[key][name] for name in names} for key in ("values", "raw")}
        return {"layer": "patroni", **kept, "parents": found["parents"], "options": self.rest.api.files()}

    @classmethod
    def of_entry(cls, database: Database, entry: t.Mapping[str, t.Any]) -> PatroniLayer:
        """The layer that puts back what a record has, with the credentials that the member itself has."""
        snapshot = database.snapshot([])
        rest, member = reach(database, snapshot, {**entry["options"], "api_user": None, "api_password": None})
        layer = cls(database, rest, dict.fromkeys(entry["values"]), local=member.parameters if member else None)
        layer._reverts = True
        return layer


def reach(
    database: Database, snapshot: Snapshot, options: t.Mapping[str, t.Any]
) -> tuple[Rest, _patroni_process.Member | None]:
    """The REST API of the member whose server *database* is a session of, and its local configuration.

    Raises Failure ``no_patroni``, ``other_member``.
    """
    directory = snapshot["files"].get("data_directory")
    member = None
    try:
        if directory:
            member = _patroni_process.find(directory)
    except Failure:
        if not options.get("api_url"):
            raise
    if member is None and not options.get("api_url"):
        asked = "finding the Patroni of this server"
        if not directory:
            remedy = "GRANT pg_read_all_settings to it, log in as superuser, or give api_url."
            raise Failure("no_patroni", asked, f"{snapshot['user']} may not see its data directory", remedy)
        remedy = "Start it, run on the host of a member, or give api_url. A server without Patroni takes module harden."
        raise Failure("no_patroni", asked, f"none runs here with the data directory {directory}", remedy)
    rest = Rest(_patroni_config.api(member.config if member else {}, options))
    _check_same(database, rest)
    return rest, member


def _check_same(database: Database, rest: Rest) -> None:
    """What one member applies proves nothing of another one's server."""
    started = rest.get("/patroni").get("postmaster_start_time")
    if started and not database.ask("comparing with Patroni's server", _IS_RUNNING, {"started": started}):
        raise Failure(
            "other_member",
            f"the REST API at {rest.api.url}",
            "it is that of another member than the server that was logged in to",
            "Correct api_url or login_port: both have to be of the member on this host.",
        )


def _own_line(snapshot: Snapshot, name: str) -> dict[str, t.Any] | None:
    """The line that Patroni wrote: in the file that the server starts from, which has no others."""
    start = snapshot["files"].get("config_file")
    rows = [row for row in snapshot["file_settings"] or () if row["name"] == name and not is_auto(row)]
    own = [row for row in rows if start is None or row["sourcefile"] == start]
    return own[-1] if own else None


def _text(value: t.Any) -> str:
    return "nothing" if value is None else _guc.text(value)
