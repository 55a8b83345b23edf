# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni run: one member, from the options of the module ``patroni`` to what it returns."""

from __future__ import annotations

import dataclasses
import functools
import time
import typing as t

from .. import (
    _compared,
    _duration,
    _harden,
    _hardened,
    _in_force,
    _login,
    _plan,
    _policy,
    _record,
    _scope,
    _state,
)
from .._database import Database
from .._errors import Failure
from .._path import _hops
from . import _layer, _patroni, _patroni_config, _server_run, _snapshot
from ._patroni import PatroniLayer
from ._patroni_config import Api
from ._patroni_rest import Rest

#: How long another member may take to answer; it is asked for nothing that could not be done without.
_OTHERS_SECONDS = 3.0
_POLL_SECONDS = 0.5
_LAYERS = ("server",)

Row = t.Dict[str, t.Any]


def run(login: _login.Login, options: t.Mapping[str, t.Any], check_mode: bool) -> Row:
    """Harden the cluster through one member; *options* are those of the module ``patroni``."""
    # Bad input ends here, before anything is asked of the host.
    policy = _policy.parse(options["policy"])
    _plan.make(policy, _plan.Facts(_plan.NEWEST), _LAYERS)
    _patroni_config.refuse_reserved(options["overrides"])
    settle = _duration.parse("settle_timeout", options["settle_timeout"]) / 1000
    database = _login.connect(login)
    try:
        return _run(database, policy, settle, login, options, check_mode)
    finally:
        database.close()


def _run(
    database: Database,
    policy: _policy.Policy,
    settle: float,
    login: _login.Login,
    options: t.Mapping[str, t.Any],
    check_mode: bool,
) -> Row:
    names = list(dict.fromkeys((*_harden.NAMES, *options["overrides"])))
    snapshot = database.snapshot(names)
    facts = _plan.Facts(snapshot["version_num"] // 10000, _in_force.platform(snapshot["build"]))
    plan = _plan.make(policy, facts, _LAYERS)
    _harden.override(plan, options["overrides"])
    rest, member = _patroni.reach(database, snapshot, options)
    record = options["revert_file"] or _state.path_for(login)
    _record.load(record)  # a damaged one is found in check mode too
    old = _hardened.read(record)
    layer = PatroniLayer(
        database,
        rest,
        plan.server,
        local=member.parameters if member else None,
        settle_timeout=settle,
        seen=snapshot,
        noted=old["settings"].get("server") if old else None,
    )
    scope = _scope.Scope({_scope.WHOLE: plan.server})
    before = _host(scope, snapshot)
    outcomes = _layer.reconcile(
        [layer, *_of_roles(database, plan, snapshot)], check_mode, lambda found: _record.record(record, found)
    )
    changed = any(outcome.changed for outcome in outcomes)
    after = before
    if check_mode:
        if changed:
            sessions = scope.foreseen(before.sessions, snapshot, functools.partial(layer.shadows, snapshot))
            after = _compared.Host(sessions, before.os)
    else:
        if not outcomes[0].changed:
            layer.wait()  # through another member it is in the dynamic configuration; here it may not be in force yet
        snapshot = database.snapshot(names)
        after = _host(scope, snapshot)
        _hardened.note(record, options["profile"], {"server": _harden.in_base_units(plan, snapshot), "os": {}})
    cluster = _cluster(rest, member.config.get("name") if member else None, plan, 0.0 if check_mode else settle)
    restart = _restart_required(layer, outcomes[0], snapshot, check_mode)
    for row in cluster["members"]:
        # Patroni says so a while after the reload
        row["pending_restart"] = row["pending_restart"] or (row["own"] and bool(restart) and not check_mode)
    return {
        "changed": changed,
        "diff": [one.diff() for outcome in outcomes for one in outcome.changes if one],
        "changes": {one.place: one.as_list() for outcome in outcomes for one in outcome.changes if one},
        "policy": policy.as_dict(),
        "plan": plan.as_dict(),
        "promises": _compared.promises(policy, before, after, plan, scope, snapshot),
        "not_kept": _compared.not_kept(policy, after),
        "unsupported": [row._asdict() for row in plan.unsupported],
        "notes": [*plan.notes, *_notes(member is not None, cluster)],
        "cluster": cluster,
        "shadowed": _shadowed(layer, plan, snapshot),
        "restart_required": restart,
        "stale_sessions": _server_run.stale_sessions(database, outcomes[0], snapshot, check_mode),
        "revert_file": record,
        "hop": _hops.Hop(
            "server",
            version=str(facts.version),
            settings=after.sessions[0],
            failover=None if cluster["paused"] else _failover(rest),
            os=after.os,
        ).as_dict(),
    }


def _failover(rest: Rest) -> _hops.Failover:
    """How soon another member leads, and where a proxy may ask who does."""
    times = _patroni_config.timing(rest.get("/config"))
    port = rest.api.url.rpartition(":")[2]
    return _hops.Failover("Patroni", times["ttl"] * 1000, times["loop_wait"] * 1000, int(port) if port.isdigit() else 0)


def _of_roles(database: Database, plan: _plan.Plan, snapshot: Row) -> list[_layer.Layer]:
    """Settings of single roles are in the catalogs: they are made on the leader and reach the others by replication."""
    if snapshot["in_recovery"]:
        return []
    options = {"apply_through": "alter_system", "config_file": None, "reload": True, "reload_timeout": 10.0}
    return [_server_run.layer(database, settings, options, role) for role, settings in plan.roles.items()]


def _host(scope: _scope.Scope, snapshot: Row) -> _compared.Host:
    return _compared.Host(scope.sessions(snapshot), _in_force.kernel())


def _shadowed(layer: PatroniLayer, plan: _plan.Plan, snapshot: Row) -> Row:
    found = {}
    for name in plan.server:
        described = _snapshot.describe(snapshot, name, layer.place)["shadowed_by"]
        shadows = [*layer.shadows(snapshot, name), *plan.surprises(name, described)]
        if shadows:
            found[name] = shadows
    return found


def _restart_required(layer: PatroniLayer, outcome: _layer.Outcome, snapshot: Row, check_mode: bool) -> list[str]:
    coming = {row.name for changes in outcome.changes for row in changes.rows} if check_mode else set()
    rows = {name: _snapshot.row_of(snapshot, name) for name in layer.settings}
    return [
        name
        for name, row in rows.items()
        if row["pending_restart"] or (name in coming and row["context"] == "postmaster")
    ]


# ---- the other members


def _cluster(rest: Rest, name: str | None, plan: _plan.Plan, timeout: float) -> Row:
    """The members, and for each whether it has ``seen`` the configuration, None where it does not answer.

    A member answers GET /config from what its last loop saw. It is waited for as long as there is time.
    """
    found = _patroni_config.cluster(rest.get("/cluster"))
    own = _patroni_config.part(rest.get("/patroni"), "patroni").get("name") or name
    wanted = _patroni_config.values(rest.get("/config"), plan.server)
    deadline = time.monotonic() + timeout
    for row in found["members"]:
        url = row.pop("api_url")
        row["own"] = row["name"] == own
        row["seen"] = True if row["own"] else _seen(rest.api, url, wanted, deadline)
    return found


def _seen(api: Api, url: t.Any, wanted: t.Mapping[str, t.Any], deadline: float) -> bool | None:
    if not url:
        return None
    # Its address comes from the DCS: it gets no credentials.
    base = str(url).rpartition("/")[0] if str(url).endswith("/patroni") else str(url).rstrip("/")
    other = Rest(dataclasses.replace(api, url=base, user=None, password=None), _OTHERS_SECONDS)
    while True:
        try:
            answer = other.get("/config")
        except Failure:
            return None
        if _patroni_config.values(answer, wanted) == wanted:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)


def _notes(local_seen: bool, cluster: Row) -> list[str]:
    notes = []
    if not local_seen:
        notes.append("Patroni's local configuration was not read: what of it outranks the cluster's is not known.")
    if cluster["paused"]:
        notes.append("The cluster is in maintenance mode: Patroni applies settings, and does not fail over.")
    behind = [row["name"] for row in cluster["members"] if row["seen"] is False]
    if behind:
        notes.append(f"Members that have not seen the configuration yet: {', '.join(behind)}.")
    for row in cluster["members"]:
        if row["pending_restart"]:
            reason = row["pending_restart_reason"]
            names = f" ({', '.join(map(str, reason))})" if reason else ""
            notes.append(f"Member {row['name']} waits for a restart{names}: patronictl restart.")
    return notes
