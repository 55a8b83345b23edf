# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Info, a read-only look at one host: all that its connections depend on, from the server and from the kernel."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from . import _effective, _in_force, _login, _namespaces, _poolers, _promises, _sessions, _settings, _statistics
from ._audit import _look
from ._database import Database
from ._diagnosis import _live
from ._errors import Failure
from ._layers import _os, _patroni_pids, _snapshot, _sysctlconf
from ._layers._places import ConfigFile, Place
from ._systems import _table

#: What is read of the server; those that its version does not know are left out by the server itself.
NAMES = (
    *_settings.SETTINGS,
    "wal_receiver_timeout",
    "wal_receiver_status_interval",
    "wal_sender_shutdown_timeout",
    "idle_replication_slot_timeout",
    "statement_timeout",
    "lock_timeout",
    "max_connections",
    "superuser_reserved_connections",
    "reserved_connections",
    "log_connections",
    "log_disconnections",
    "log_line_prefix",
    "log_destination",
    "log_min_messages",
    "lc_messages",
)
#: Of Linux; other systems have the three of keepalive, by their own names.
SYSCTLS = (
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_retries2",
    "net.ipv4.tcp_syn_retries",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_orphan_retries",
)
#: The kernel's value that a session has where the server's parameter is 0.
_KERNEL_VALUE = {
    "tcp_keepalives_idle": "tcp_keepalive_time",
    "tcp_keepalives_interval": "tcp_keepalive_intvl",
    "tcp_keepalives_count": "tcp_keepalive_probes",
}
#: Where a value comes from that other logins need not have.
_OF_THIS_LOGIN = ("global", "database", "user", "database user", "client", "session")

Row = t.Dict[str, t.Any]


def collect(login: _login.Login, require_server: bool) -> Row:
    """What the module connection_info returns. A server that is down is a Failure only if it is *require_server*d."""
    started = time.monotonic()
    try:
        database = _login.connect(login, may_be_down=not require_server)
    except Failure as failure:
        if require_server or not failure.details.get("down"):
            raise
        return {
            "server": None,
            "server_down": True,
            "reason": failure.found,
            "settings": {},
            "effective": None,
            "kernel": _kernel(None),
            "promises": [],
            "sessions": None,
            "replication": None,
            "patroni": None,
            "poolers": _poolers.by_process(),
        }
    try:
        return _of_server(login, database, started)
    finally:
        database.close()


def _of_server(login: _login.Login, database: Database, started: float) -> Row:
    snapshot = database.snapshot(list(NAMES))
    own = database.own_session()
    elapsed = time.monotonic() - started
    sessions = _statistics.of_sessions(database)
    settings, local = _in_force.settings(snapshot), _in_force.kernel()
    idle = _settings.effective_keepalive(settings, local)[0]
    known = [row["name"] for row in snapshot["settings"] if row["name"] in _settings.SETTINGS]
    if own["client_addr"]:
        effective = _effective.of_login(login, database, own, known)
    else:
        effective = _effective.of_new_session(login, snapshot["files"], own, known, idle)
    # The kernel that has the server's end of the login's session is the server's.
    of_server = True if effective["through"] == "login" and effective["kernel"] else _namespaces.of_server(database)
    if of_server is False and effective["through"] == "bare_connection":
        # Who has answered there need not be this server.
        effective = {**effective, "through": None, "host": None, "kernel": None}
    if of_server is None and (effective["kernel"] or effective["settings"]):
        of_server = bool(effective["kernel"])
    kernel = local if of_server is not False else _of_kernel(snapshot, effective)
    names = sessions.pop("application_names") or []
    port = own["server_port"] or int(snapshot["files"]["port"])
    look = _look.of_server(database, port)
    return {
        "server": {**_about(snapshot, own), "date": look["date"], "pending_restart": look["pending_restart"]},
        "server_down": False,
        "reason": None,
        "settings": {row["name"]: _setting(snapshot, row) for row in snapshot["settings"]},
        "effective": effective,
        "kernel": _kernel(of_server),
        "promises": [row.as_dict() for row in _promises.promises(settings, kernel)],
        "sessions": {
            **sessions,
            "stale": _stale(snapshot, database, port, local),
            "databases": _statistics.of_databases(database, snapshot["version_num"]),
            "notable": look["notable"],
            "pooler_roles": look["pooler_roles"],
        },
        "replication": look["replication"],
        "patroni": _patroni(snapshot["files"].get("data_directory")),
        "poolers": [*_poolers.by_age(own["age"], elapsed), *_poolers.seen(names)],
    }


def _stale(snapshot: Row, database: Database, port: int, local: _settings.OsValues) -> list[Row]:
    """Sessions whose keepalive timer proves that they run on what was in force before a reload."""

    def expected(session: Row) -> _sessions.Expected | None:
        settings = _in_force.of_session(snapshot, session["role"], session["database"])
        return (_settings.effective_keepalive(settings, local)[0], None) if session["quiet"] else None

    return _sessions.judge(database, port, expected)


def _patroni(data_directory: str | None) -> Row | None:
    """The member that runs this server; None where no Patroni of this host does."""
    if not data_directory or not any(_patroni_pids.running()):
        return None
    from ._layers import _patroni_info  # what it brings takes as long to compile as all the rest

    return _patroni_info.look(data_directory, NAMES)


def _about(snapshot: Row, own: Row) -> Row:
    files = snapshot["files"]
    errors = [row for row in snapshot["file_settings"] or () if row["error"]]
    return {
        "version": snapshot["version"],
        "version_num": snapshot["version_num"],
        "platform": _in_force.platform(snapshot["build"]),
        "in_recovery": snapshot["in_recovery"],
        "data_directory": files.get("data_directory"),
        "config_file": files.get("config_file"),
        "listen_addresses": files["listen_addresses"],
        "port": int(files["port"]),
        "user": snapshot["user"],
        "superuser": snapshot["superuser"],
        "configuration_errors": [
            {key: row[key] for key in ("sourcefile", "sourceline", "name", "error", "fatal")} for row in errors
        ],
        "unreadable": list(_unreadable(snapshot, own)),
    }


def _unreadable(snapshot: Row, own: Row) -> t.Iterator[Row]:
    """What the login may not see, and the privilege that would help."""
    if snapshot["file_settings"] is None:
        privilege = "superuser, or SELECT on pg_file_settings with EXECUTE on pg_show_all_file_settings()"
        yield {"what": "the files' lines, the losing ones and those in error among them", "privilege": privilege}
    if "config_file" not in snapshot["files"]:
        what = "config_file, data_directory, and the file and line of settings"
        yield {"what": what, "privilege": "membership in pg_read_all_settings (or pg_monitor)"}
    if not own["reads_statistics"]:
        what = "the sessions of other roles: counts, stale ones"
        yield {"what": what, "privilege": "membership in pg_read_all_stats (or pg_monitor)"}


def _setting(snapshot: Row, row: Row) -> Row:
    """One parameter: what is configured for the whole server, and every layer of its own."""
    name = row["name"]
    lines = None
    if snapshot["file_settings"] is not None:
        keys = {"setting": "value", "sourcefile": "sourcefile", "sourceline": "sourceline", "applied": "applied"}
        own_lines = [line for line in snapshot["file_settings"] if line["name"] == name]
        lines = [{new: line[old] for old, new in keys.items()} for line in own_lines]
    described = _snapshot.describe(snapshot, name, _place(lines or []))
    overrides = [one for one in snapshot["overrides"] if one["name"] == name]
    origin: Row
    if lines:
        origin = {"source": "configuration file"}
    elif row["source"] in _OF_THIS_LOGIN:
        # without the files' lines it cannot be told what this login's own value hides
        origin = {"source": "default" if lines is not None else None}
    else:
        origin = {key: row[key] for key in ("source", "sourcefile", "sourceline")}
    return {
        **described,
        **origin,
        "layers": {
            "file": lines,
            "database": [_without(one, "role") for one in overrides if one["database"] and not one["role"]],
            "role": [_without(one, "database") for one in overrides if not one["database"]],
            "role_in_database": [_without(one) for one in overrides if one["database"] and one["role"]],
            # reset_val: of the tcp_ parameters, setting is 0 over a Unix socket whatever they are
            "session": {"value": row["reset_val"], "source": row["source"]},
        },
    }


def _place(lines: list[Row]) -> Place:
    """The place that shadows are seen from: a file whose line loses to another file's, if there is one."""
    losing = [line["sourcefile"] for line in lines if line["sourcefile"] != lines[-1]["sourcefile"]]
    return ConfigFile(losing[0]) if losing else Place()


def _without(override: Row, other: str = "") -> Row:
    return {key: override[key] for key in ("role", "database", "value") if key != other}


def _kernel(of_server: bool | None) -> Row:
    """The sysctls and counters of this network namespace, and whether it is the server's."""
    system = _in_force.this_system()
    names = _table.SYSTEMS[system].names if system in ("darwin", "freebsd") else SYSCTLS
    layer = _os.OsLayer(dict.fromkeys(names))
    found = layer.read()
    lines = layer.assignments(_os.content_of(found))
    return {
        "sysctls": {
            key: {
                **found["live"][key],
                "persistent": found["persistent"][key],
                "overridden": _overridden(lines, key, found["persistent"][key]),
            }
            for key in names
        },
        "namespace": found["namespace"],
        "of_server": of_server,
        "counters": _live.counters(),
    }


def _overridden(lines: list[_sysctlconf.Assignment], key: str, winner: Row | None) -> list[Row]:
    """The lines that name a sysctl and lose to the *winner*."""
    own = [{"value": line.value, "file": line.file, "line": line.line} for line in lines if line.key == key]
    return [line for line in own if line != winner]


def _of_kernel(snapshot: Row, effective: Row) -> _settings.OsValues:
    """Of a kernel that is not this one: what a session shows where nothing is configured, else the defaults."""
    asked = {row["name"]: row["reset_val"] for row in snapshot["settings"]}
    session = effective["settings"] or {}
    shown = {
        key: int(session[name])
        for name, key in _KERNEL_VALUE.items()
        if asked[name] == "0" and session.get(name, "0") != "0"
    }
    defaults = _settings.OsValues.of_system(_in_force.platform(snapshot["build"]))
    return dataclasses.replace(defaults, **shown)
