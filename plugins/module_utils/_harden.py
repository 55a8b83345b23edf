# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardening, the run of one host: policy to plan to layers, all or nothing, with the promises before and after."""

from __future__ import annotations

import functools
import os
import typing as t

from . import (
    _compared,
    _files,
    _guc,
    _hardened,
    _in_force,
    _namespaces,
    _plan,
    _policy,
    _record,
    _scope,
    _sessions,
    _settings,
    _state,
)
from ._database import Database
from ._errors import Failure
from ._layers import _layer, _os, _places, _server, _server_run, _snapshot
from ._login import Login
from ._path import _hops

#: Every parameter that a plan may set or a promise depends on.
NAMES = tuple(dict.fromkeys((*_settings.SETTINGS, "wal_receiver_timeout")))


def run(login: Login, options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Harden one host; *options* are those of the module ``harden``. Returns what the module returns."""
    policy = _policy.parse(options["policy"])
    with_server = "server" in options["layers"]
    # Bad input ends here, before anything is asked of the host.
    _plan.make(policy, _plan.Facts(_plan.NEWEST), options["layers"])
    if not with_server:
        return _run(None, policy, login, options, check_mode)
    with _server_run.open_server(login, options["apply_through"]) as database:
        return _run(database, policy, login, options, check_mode)


def _run(
    database: Database | None, policy: _policy.Policy, login: Login, options: t.Mapping[str, t.Any], check_mode: bool
) -> dict[str, t.Any]:
    names = [*NAMES, *options["overrides"]]
    snapshot = database.snapshot(names) if database else None
    facts = _facts(snapshot, options)
    plan = _plan.make(policy, facts, options["layers"])
    override(plan, options["overrides"])
    elsewhere = database is not None and _namespaces.of_server(database) is False
    if elsewhere:
        plan.unsupported += [_plan.Unsupported("os", name, "", _namespaces.ELSEWHERE) for name in plan.os]
        plan.os.clear()
    scope = _scope.choose(database, snapshot, plan, options)
    layers = _layers_of(plan, scope, database, snapshot, options)
    before = _host(snapshot, scope, elsewhere)
    record = options["revert_file"] or _state.path_for(login)
    _record.load(record)  # a damaged one is found in check mode too
    outcomes = _layer.reconcile(layers, check_mode, lambda found: _record.record(record, found))
    changed = any(outcome.changed for outcome in outcomes)
    after = before
    if changed and check_mode:
        after = _foreseen(before, plan, scope, snapshot, outcomes)
    elif changed:
        snapshot = database.snapshot(names) if database else None
        after = _host(snapshot, scope, elsewhere)
    if not check_mode:
        _hardened.note(record, options["profile"], _noted(plan, snapshot, outcomes), _scope_noted(plan, scope))
    return {
        "changed": changed,
        "diff": [changes.diff() for outcome in outcomes for changes in outcome.changes if changes],
        "changes": {changes.place: changes.as_list() for outcome in outcomes for changes in outcome.changes if changes},
        "policy": policy.as_dict(),
        "plan": plan.as_dict(),
        "scope": scope.as_dict(),
        "promises": _compared.promises(policy, before, after, plan, scope, snapshot),
        "unsupported": _unsupported(plan, outcomes),
        "not_kept": _compared.not_kept(policy, after),
        "notes": plan.notes,
        "revert_file": record,
        "hop": _hops.Hop(
            "server", version=str(facts.version), settings=after.sessions[0] if after.sessions else None, os=after.os
        ).as_dict(),
        **_server_results(database, snapshot, outcomes, plan, scope, options, check_mode),
    }


def _scope_noted(plan: _plan.Plan, scope: _scope.Scope) -> dict[str, t.Any] | None:
    """What an audit must know of a host that is not hardened as a whole."""
    if scope.whole:
        return None
    missing = [row._asdict() for row in plan.unsupported if row.layer == "server"]
    return {"databases": scope.databases, "roles": scope.roles, "unsupported": missing}


def _noted(
    plan: _plan.Plan, snapshot: dict[str, t.Any] | None, outcomes: list[_layer.Outcome]
) -> dict[str, dict[str, str]]:
    """The plan as an audit compares it, without what this host cannot have: values of the server in base units."""
    not_here = {row["setting"] for row in _unsupported(plan, outcomes)}
    kernel = {name: str(value) for name, value in plan.os.items() if name not in not_here}
    return {"server": in_base_units(plan, snapshot) if snapshot else {}, "os": kernel}


def in_base_units(plan: _plan.Plan, snapshot: dict[str, t.Any]) -> dict[str, str]:
    """The server's part of the plan, as far as this server knows it."""
    rows = [row for row in snapshot["settings"] if row["name"] in plan.server]
    return {row["name"]: _guc.canonical(_guc.Guc.of(row), plan.server[row["name"]]) for row in rows}


def _facts(snapshot: dict[str, t.Any] | None, options: t.Mapping[str, t.Any]) -> _plan.Facts:
    if snapshot:
        return _plan.Facts(snapshot["version_num"] // 10000, _in_force.platform(snapshot["build"]))
    if "server" in options["layers"]:
        return _plan.Facts(_version_on_disk(options["config_file"]), _in_force.this_system())
    return _plan.Facts(_plan.NEWEST, _in_force.this_system())


def _version_on_disk(config_file: str) -> int:
    """The major version of a server that is down: PG_VERSION in its data directory."""
    from ._layers import _conffile  # as in _places

    directory = os.path.dirname(os.path.realpath(config_file))
    # A drop-in lies in a directory beside or below the one of postgresql.conf.
    for conf in (config_file, *(os.path.join(directory, up, "postgresql.conf") for up in (".", ".."))):
        data = _files.read(conf)
        if data is None:
            continue
        data_directory = _conffile.value_of(data, "data_directory") or os.path.dirname(os.path.realpath(conf))
        version = _files.read(os.path.join(data_directory, "PG_VERSION"))
        if version and version.strip().isdigit():
            return int(version)
    raise Failure(
        "unknown_version",
        f"settings in {config_file} while the server is down",
        "no data directory with a file PG_VERSION can be found from there, so the server's version is unknown",
        "Start the server, or name its postgresql.conf.",
    )


def override(plan: _plan.Plan, overrides: t.Mapping[str, t.Any]) -> None:
    """The operator's own values win; null leaves a parameter alone."""
    for name, value in overrides.items():
        if value is None:
            plan.server.pop(name.lower(), None)
        else:
            plan.server[name.lower()] = _guc.text(value)


def _layers_of(
    plan: _plan.Plan,
    scope: _scope.Scope,
    database: Database | None,
    snapshot: dict[str, t.Any] | None,
    options: t.Mapping[str, t.Any],
) -> list[_layer.Layer]:
    layers: list[_layer.Layer] = []
    if "os" in options["layers"]:
        layers.append(_os.OsLayer(plan.os, sysctl_file=options["sysctl_file"]))
    if "server" in options["layers"]:
        for (role, name), settings in scope.settings.items():
            seen = snapshot if scope.whole else None if role else scope.seen
            layers.append(_server_run.layer(database, settings, options, role, name, seen))
        others = {role: settings for role, settings in plan.roles.items() if role not in scope.roles}
        layers += [_server_run.layer(database, settings, options, role) for role, settings in others.items()]
    return layers


def _host(snapshot: dict[str, t.Any] | None, scope: _scope.Scope, elsewhere: bool) -> _compared.Host:
    return _compared.Host(scope.sessions(snapshot) if snapshot else [], _in_force.kernel_of(snapshot, elsewhere))


def _foreseen(
    before: _compared.Host,
    plan: _plan.Plan,
    scope: _scope.Scope,
    snapshot: dict[str, t.Any] | None,
    outcomes: list[_layer.Outcome],
) -> _compared.Host:
    """What will be in force, from the plan: the same figures that a real run reads back."""
    sessions, kernel = before.sessions, before.os
    for outcome in outcomes:
        if isinstance(outcome.layer, _os.OsLayer):
            left = {finding["key"] for finding in outcome.layer.unsupported(outcome.found)}
            kernel = _in_force.foreseen(kernel, {key: value for key, value in plan.os.items() if key not in left})
    if snapshot:
        sessions = scope.foreseen(sessions, snapshot, functools.partial(_hidden, snapshot, outcomes))
    return _compared.Host(sessions, kernel)


def _hidden(snapshot: dict[str, t.Any], outcomes: list[_layer.Outcome], name: str) -> bool:
    """Whether ALTER SYSTEM, which is read last, hides what a configuration file is to say."""
    line = _snapshot.winning_line(snapshot, name)
    places = [outcome.layer.place for outcome in outcomes if isinstance(outcome.layer, _server.ServerLayer)]
    return line is not None and _places.is_auto(line) and any(isinstance(one, _places.ConfigFile) for one in places)


def _unsupported(plan: _plan.Plan, outcomes: list[_layer.Outcome]) -> list[dict[str, t.Any]]:
    """What this host cannot have, of the plan's gates and of its kernel; and sysctls that another file decides."""
    rows = [row._asdict() for row in plan.unsupported]
    for outcome in outcomes:
        if isinstance(outcome.layer, _os.OsLayer):
            rows += outcome.layer.not_had(outcome.found)
    return rows


def _server_results(
    database: Database | None,
    snapshot: dict[str, t.Any] | None,
    outcomes: list[_layer.Outcome],
    plan: _plan.Plan,
    scope: _scope.Scope,
    options: t.Mapping[str, t.Any],
    check_mode: bool,
) -> dict[str, t.Any]:
    """What only a server that is up can tell, by its last *snapshot*."""
    values: dict[str, t.Any] = {
        "server_down": database is None and "server" in options["layers"],
        "shadowed": {},
        "stale_sessions": [],
        "terminated": [],
        "restart_required": [],
    }
    for outcome in outcomes:
        server = outcome.layer
        if not database or not snapshot:
            break
        if not isinstance(server, _server.ServerLayer) or _place_of(server) not in scope.settings:
            continue
        for name, row in server.describe({"snapshot": snapshot}).items():
            shadows = plan.surprises(name, row["shadowed_by"])
            if shadows:
                known = values["shadowed"].setdefault(name, [])
                known += [one for one in shadows if one not in known]
            if row["pending_restart"] and scope.whole:
                values["restart_required"].append(name)
        stale = _server_run.stale_sessions(database, outcome, snapshot, check_mode)
        pids = [one["pid"] for one in values["stale_sessions"]]
        values["stale_sessions"] += [one for one in stale if one["pid"] not in pids]
    if options["terminate_stale_sessions"] and database and not check_mode:
        values["terminated"] = _sessions.terminate(database, values["stale_sessions"])
    return values


def _place_of(server: _server.ServerLayer) -> _scope.Place:
    place = server.place
    return (place.role, place.name) if isinstance(place, _places.OfRole) else _scope.WHOLE
