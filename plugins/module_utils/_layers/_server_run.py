# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer server, one run of it: opens the server, picks the place, and tells what came of it."""

from __future__ import annotations

import contextlib
import typing as t

from .. import _in_force, _login, _sessions
from .._database import Database
from .._errors import Failure
from ._layer import Outcome
from ._places import AutoConf, ConfigFile, OfRole, Place, Snapshot
from ._server import ServerLayer
from ._snapshot import configured, overrides_of

#: What a session's socket gets from the server; only these make an open session stale.
SOCKET_PARAMETERS = (
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
)


@contextlib.contextmanager
def open_server(login: _login.Login, apply_through: str) -> t.Iterator[Database | None]:
    """A session; None where the server is down and a configuration file is to be changed, which needs none."""
    database = None
    try:
        database = _login.connect(login, may_be_down=apply_through == "config_file")
    except Failure as failure:
        if apply_through != "config_file" or not failure.details.get("down"):
            raise
    try:
        yield database
    finally:
        if database:
            database.close()


def layer(
    database: Database | None,
    settings: t.Mapping[str, t.Any],
    options: t.Mapping[str, t.Any],
    role: str | None = None,
    database_name: str | None = None,
    seen: Snapshot | None = None,
) -> ServerLayer:
    """The layer for *settings* of the whole server, or of a role or database; *options* as in `_options.SERVER`."""
    place: Place
    if role or database_name:
        if database is None:
            raise Failure(
                "server_down",
                "settings of a role or database",
                "the server is down, and they are in its catalogs",
                "Start the server.",
            )
        place = OfRole(database, role, database_name)
    elif options["apply_through"] == "config_file":
        place = ConfigFile(options["config_file"])
    else:
        # open_server() gives None for a configuration file only
        place = AutoConf(t.cast(Database, database))
    reload, timeout = options["reload"], options["reload_timeout"]
    return ServerLayer(database, place, settings, reload=reload, reload_timeout=timeout, seen=seen)


def stale_sessions(
    database: Database, outcome: Outcome, snapshot: Snapshot, check_mode: bool
) -> list[dict[str, t.Any]]:
    """Open sessions that run on other socket options than new ones get; *snapshot* has those."""
    place = t.cast(ServerLayer, outcome.layer).place
    names = set() if check_mode else {row.name for changes in outcome.changes for row in changes.rows}
    changed = names.intersection(SOCKET_PARAMETERS)
    system_idle = _in_force.kernel().tcp_keepalive_time

    def expected(session: _sessions.Session) -> _sessions.Expected | None:
        own = overrides_of(snapshot, session["role"], session["database"])
        configured_idle = own.get("tcp_keepalives_idle") or configured(snapshot, "tcp_keepalives_idle")
        idle = int(configured_idle or 0) or system_idle
        if isinstance(place, OfRole):
            # Such settings reach sessions that begin after the change, and no others.
            covered = place.role in (None, session["role"]) and place.name in (None, session["database"])
            return (idle, "it began before the change" if changed else None) if covered else None
        if not session["quiet"]:
            return None
        silent = f"no message from its client since {session['last_message']}"
        return idle, silent if changed.difference(own) else None

    return _sessions.judge(database, int(snapshot["files"]["port"]), expected)


def result(server: ServerLayer, outcome: Outcome, check_mode: bool, terminate: bool) -> dict[str, t.Any]:
    """What the module server_settings returns."""
    values: dict[str, t.Any] = {
        "changed": outcome.changed,
        "diff": [changes.diff() for changes in outcome.changes if changes],
        "server_down": server.database is None,
        "restart_required": [],
        "terminated": [],
    }
    if server.database is None:
        return values
    before = server.describe(outcome.found)
    after = before if check_mode or not outcome.changed else server.describe(server.read())
    values["settings"] = {name: {"before": before[name], "after": after[name]} for name in after}
    foreseen = {row.name for changes in outcome.changes for row in changes.rows} if check_mode else ()
    values["restart_required"] = [
        name
        for name, row in after.items()
        if row["pending_restart"] or (name in foreseen and server.guc(outcome.found, name).context == "postmaster")
    ]
    values["stale_sessions"] = stale_sessions(
        server.database, outcome, server.database.snapshot(list(SOCKET_PARAMETERS)), check_mode
    )
    if terminate and values["stale_sessions"]:
        if not check_mode:
            values["terminated"] = _sessions.terminate(server.database, values["stale_sessions"])
        values["changed"] = values["changed"] or check_mode or bool(values["terminated"])
    return values
