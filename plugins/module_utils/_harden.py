# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardening, the run of one host: policy to plan to layers, all or nothing, with the promises before and after."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from . import _duration, _files, _guc, _in_force, _plan, _policy, _promises, _record, _sessions
from ._database import Database
from ._errors import Failure
from ._layers import _layer, _os, _places, _server, _server_run, _snapshot
from ._login import Login

#: Every parameter that a plan may set or a promise depends on.
_NAMES = tuple(dict.fromkeys((*_promises.SETTINGS, "wal_receiver_timeout")))


@dataclasses.dataclass
class _Host:
    """What is in force on the host: *settings* of the whole server, None without a server, and the kernel's values."""

    settings: _promises.Settings | None
    os: _promises.OsValues


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
    names = [*_NAMES, *options["overrides"]]
    snapshot = database.snapshot(names) if database else None
    plan = _plan.make(policy, _facts(snapshot, options), options["layers"])
    _override(plan, options["overrides"])
    layers = _layers_of(plan, database, snapshot, options)
    before = _host(snapshot)
    record = options["revert_file"] or _record.path_for(login)
    _record.load(record)  # a damaged one is found in check mode too
    outcomes = _layer.reconcile(layers, check_mode, lambda found: _record.record(record, found))
    changed = any(outcome.changed for outcome in outcomes)
    after = before
    if changed and check_mode:
        after = _foreseen(before, plan, snapshot, outcomes)
    elif changed:
        snapshot = database.snapshot(names) if database else None
        after = _host(snapshot)
    return {
        "changed": changed,
        "diff": [changes.diff() for outcome in outcomes for changes in outcome.changes if changes],
        "changes": {changes.place: changes.as_list() for outcome in outcomes for changes in outcome.changes if changes},
        "policy": policy.as_dict(),
        "plan": plan.as_dict(),
        "promises": _compare(policy, before, after, plan),
        "unsupported": _unsupported(plan, outcomes),
        "not_kept": _not_kept(policy, after),
        "notes": plan.notes,
        "revert_file": record,
        **_server_results(database, snapshot, outcomes, plan.roles, options, check_mode),
    }


def _facts(snapshot: dict[str, t.Any] | None, options: t.Mapping[str, t.Any]) -> _plan.Facts:
    if snapshot:
        return _plan.Facts(snapshot["version_num"] // 10000, _in_force.platform(snapshot["build"]))
    if "server" in options["layers"]:
        return _plan.Facts(_version_on_disk(options["config_file"]))
    return _plan.Facts(_plan.NEWEST)


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


def _override(plan: _plan.Plan, overrides: t.Mapping[str, t.Any]) -> None:
    """The operator's own values win; null leaves a parameter alone."""
    for name, value in overrides.items():
        if value is None:
            plan.server.pop(name.lower(), None)
        else:
            plan.server[name.lower()] = _guc.text(value)


def _layers_of(
    plan: _plan.Plan,
    database: Database | None,
    snapshot: dict[str, t.Any] | None,
    options: t.Mapping[str, t.Any],
) -> list[_layer.Layer]:
    layers: list[_layer.Layer] = []
    if "os" in options["layers"]:
        layers.append(_os.OsLayer(plan.os, sysctl_file=options["sysctl_file"]))
    if "server" in options["layers"]:
        layers.append(_server_run.layer(database, plan.server, options, seen=snapshot))
        layers += [_server_run.layer(database, settings, options, role) for role, settings in plan.roles.items()]
    return layers


def _host(snapshot: dict[str, t.Any] | None) -> _Host:
    return _Host(_in_force.settings(snapshot) if snapshot else None, _in_force.kernel())


def _foreseen(
    before: _Host, plan: _plan.Plan, snapshot: dict[str, t.Any] | None, outcomes: list[_layer.Outcome]
) -> _Host:
    """What will be in force, from the plan: the same figures that a real run reads back."""
    settings, kernel = before.settings, before.os
    for outcome in outcomes:
        if isinstance(outcome.layer, _os.OsLayer):
            left = {finding["key"] for finding in outcome.layer.unsupported(outcome.found)}
            wanted = {key.rpartition(".")[2]: value for key, value in plan.os.items() if key not in left}
            kernel = dataclasses.replace(kernel, **wanted)
    if settings and snapshot:
        planned: dict[str, int] = {}
        everywhere = _snapshot.overrides_of(snapshot, "", "")
        for row in snapshot["settings"]:
            name = row["name"]
            outranked = name in everywhere or row["source"] in _snapshot.OUTRANKING or _hidden(snapshot, name, outcomes)
            if name in plan.server and name in _promises.SETTINGS and not outranked:
                planned[name] = int(_guc.canonical(_guc.Guc.of(row), plan.server[name]))
        settings = dataclasses.replace(settings, **planned)
    return _Host(settings, kernel)


def _hidden(snapshot: dict[str, t.Any], name: str, outcomes: list[_layer.Outcome]) -> bool:
    """Whether ALTER SYSTEM, which is read last, hides what a configuration file is to say."""
    line = _snapshot.winning_line(snapshot, name)
    places = [outcome.layer.place for outcome in outcomes if isinstance(outcome.layer, _server.ServerLayer)]
    return line is not None and _places.is_auto(line) and any(isinstance(one, _places.ConfigFile) for one in places)


def _compare(policy: _policy.Policy, before: _Host, after: _Host, plan: _plan.Plan) -> dict[str, t.Any]:
    """Promises before and after, for the whole server and for roles with settings of their own."""
    if after.settings is None or before.settings is None:
        return {}
    limit = policy.path_idle_limit
    found: dict[str, t.Any] = {
        "before": _rows(_promises.promises(before.settings, before.os, limit)),
        "after": _rows(_promises.promises(after.settings, after.os, limit)),
        "roles": {},
    }
    for role, settings in plan.roles.items():
        timeout = _duration.parse("tcp_user_timeout", settings["tcp_user_timeout"])
        own = dataclasses.replace(after.settings, tcp_user_timeout=timeout)
        found["roles"][role] = _rows(_promises.promises(own, after.os, limit))
    return found


def _rows(promises: list[_promises.Promise]) -> list[dict[str, t.Any]]:
    return [promise.as_dict() for promise in promises]


def _not_kept(policy: _policy.Policy, after: _Host) -> list[dict[str, t.Any]]:
    if after.settings is None:
        return []
    return [row._asdict() for row in _promises.broken(policy, after.settings, after.os)]


def _unsupported(plan: _plan.Plan, outcomes: list[_layer.Outcome]) -> list[dict[str, t.Any]]:
    """What this host cannot have, of the plan's gates and of its kernel; and sysctls that another file decides."""
    rows = [row._asdict() for row in plan.unsupported]
    for outcome in outcomes:
        layer = outcome.layer
        if isinstance(layer, _os.OsLayer):
            for finding in layer.unsupported(outcome.found):
                rows.append({"layer": "os", "setting": finding["key"], "key": "", "reason": finding["detail"]})
            for shadow in layer.shadowed(outcome.found, layer.planned(outcome.found)):
                detail = shadow["shadowed_by"]["detail"]
                rows.append({"layer": "os", "setting": shadow["key"], "key": "", "reason": detail})
    return rows


def _server_results(
    database: Database | None,
    snapshot: dict[str, t.Any] | None,
    outcomes: list[_layer.Outcome],
    planned: t.Mapping[str, t.Any],
    options: t.Mapping[str, t.Any],
    check_mode: bool,
) -> dict[str, t.Any]:
    """What only a server that is up can tell, by its last *snapshot*; *planned* are the plan's settings of roles."""
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
        if not isinstance(server, _server.ServerLayer) or not server.place.needs_reload:
            continue
        for name, row in server.describe({"snapshot": snapshot}).items():
            # the roles that the plan itself makes an exception for are no surprise
            shadows = [one for one in row["shadowed_by"] if name not in planned.get(one.get("role") or "", ())]
            if shadows:
                values["shadowed"][name] = shadows
            if row["pending_restart"]:
                values["restart_required"].append(name)
        values["stale_sessions"] = _server_run.stale_sessions(database, outcome, snapshot, check_mode)
        if options["terminate_stale_sessions"] and not check_mode:
            values["terminated"] = _sessions.terminate(database, values["stale_sessions"])
    return values
