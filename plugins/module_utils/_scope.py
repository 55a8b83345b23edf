# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scope: the whole server where a login may set that, else databases or roles; what each of them gets, and why."""

from __future__ import annotations

import dataclasses
import typing as t

from . import _guc, _in_force, _plan, _settings
from ._database import Database
from ._errors import Failure
from ._layers import _places, _server_run, _snapshot

#: Role and database, None for any; both None is the whole server.
Place = t.Tuple[t.Optional[str], t.Optional[str]]
WHOLE: Place = (None, None)
_ELSEWHERE = (
    "it is set where the server is configured (on a managed service the parameter group, filter "
    "pgharden.connection.managed_parameters)"
)


_REACH = """
    SELECT json_build_object(
        'role', current_user,
        'databases', (SELECT json_agg(json_build_object('name', datname, 'owner', pg_get_userbyid(datdba),
                'template', datistemplate, 'ours', pg_has_role(datdba, 'usage')) ORDER BY datname)
            FROM pg_database WHERE datallowconn),
        'may_set', (SELECT coalesce(json_agg(name), '[]') FROM unnest(%(names)s::text[]) name WHERE {granted})
    )
"""
_GRANTED = "has_parameter_privilege(name, 'SET')"
_SUPERUSERS = "current_setting('is_superuser') = 'on'"


@dataclasses.dataclass
class Scope:
    """The *settings* of each place; *reason* says why it is not the whole server, *seen* is a snapshot for layers."""

    settings: dict[Place, dict[str, t.Any]]
    reason: str | None = None
    seen: dict[str, t.Any] | None = None

    @property
    def roles(self) -> list[str]:
        return [role for role, _database in self.settings if role]

    @property
    def databases(self) -> list[str]:
        return [name for _role, name in self.settings if name]

    @property
    def whole(self) -> bool:
        return WHOLE in self.settings

    def as_dict(self) -> dict[str, t.Any]:
        kinds = [kind for kind in ("databases", "roles") if getattr(self, kind)]
        return {
            "covers": " and ".join(kinds) or "server",
            "databases": self.databases,
            "roles": self.roles,
            "reason": self.reason,
        }

    def sessions(self, snapshot: dict[str, t.Any]) -> list[_settings.Settings]:
        """What is configured for the sessions of each place."""
        return [_in_force.of_session(snapshot, role or "", name or "") for role, name in self.settings]

    def foreseen(
        self,
        sessions: list[_settings.Settings],
        snapshot: dict[str, t.Any],
        hidden: t.Callable[[str], t.Any],
    ) -> list[_settings.Settings]:
        """*sessions* of each place as a run will make them: the same figures that it reads back.

        *hidden* says of a parameter whether something outranks what is set for the whole server, beside what the
        snapshot tells by itself.
        """
        everywhere = _snapshot.overrides_of(snapshot, "", "")
        planned: list[dict[str, int]] = [{} for _place in self.settings]
        for row in snapshot["settings"]:
            name = row["name"]
            outranked = name in everywhere or row["source"] in _snapshot.OUTRANKING or hidden(name)
            for values, settings in zip(planned, self.settings.values()):
                if name in settings and name in _settings.SETTINGS and not (self.whole and outranked):
                    values[name] = int(_guc.canonical(_guc.Guc.of(row), settings[name]))
        return [dataclasses.replace(one, **values) for one, values in zip(sessions, planned)]

    def note(self) -> str:
        """What a user must know who thinks that the whole server is hardened."""
        parts, others = [], []
        if self.databases:
            parts.append(f"databases {', '.join(self.databases)}")
            others.append("of other databases, and of those that are made later,")
        if self.roles:
            parts.append(f"roles {', '.join(self.roles)}")
            others = others or ["of other roles"]
        return (
            f"Set for sessions of the {' and of the '.join(parts)} only: {self.reason}. Sessions {others[0]} keep what "
            "the server gives them."
        )


def choose(
    database: Database | None, snapshot: dict[str, t.Any] | None, plan: _plan.Plan, options: t.Mapping[str, t.Any]
) -> Scope:
    """Where the settings of *plan* go; what cannot be had there moves to its ``unsupported``."""
    wish = options["scope"]
    if not database or not snapshot:
        if wish in ("databases", "roles") and "server" in options["layers"]:
            raise Failure(
                "server_down",
                f"settings of {wish}",
                "the server is down, and they are in its catalogs",
                "Start the server.",
            )
        return Scope({WHOLE: plan.server})
    reason = f"the option scope is {wish}"
    if wish in ("auto", "server"):
        obstacle = _obstacle(database, snapshot, plan, options)
        if wish == "server" or obstacle is None or snapshot["superuser"]:
            _places.check_patroni(snapshot["patroni"], plan.server)
        if wish == "server" or obstacle is None:
            return Scope({WHOLE: plan.server})
        reason = obstacle
    rows = {name: _snapshot.row_of(snapshot, name) for name in plan.server}
    privileged = [name for name, row in rows.items() if row["context"].startswith("superuser")]
    reach = _reach(database, snapshot, privileged)
    everywhere = {name for name in rows if _in_force_everywhere(snapshot, name, plan.server[name])}
    for name in [name for name in rows if name not in everywhere]:
        obstacle = _not_here(name, rows[name]["context"], reach["may_set"])
        if obstacle:
            del plan.server[name]
            plan.unsupported.append(_plan.Unsupported("server", name, plan.keys.get(name, "overrides"), obstacle))
    if everywhere.issuperset(plan.server):
        return Scope({WHOLE: plan.server}, reason)
    settings = {place: _of_place(place, plan, everywhere, snapshot) for place in _chosen(reach, snapshot, options)}
    there = [row["name"] for row in reach["databases"]]
    scope = Scope(settings, reason, {**snapshot, "roles": [reach["role"]], "databases": there})
    plan.notes.append(scope.note())
    if snapshot["patroni"]:
        plan.notes.append("Patroni manages this server: its dynamic configuration would reach every session.")
    return scope


def _obstacle(
    database: Database, snapshot: dict[str, t.Any], plan: _plan.Plan, options: t.Mapping[str, t.Any]
) -> str | None:
    """Why this login may not ALTER SYSTEM what differs from the *plan*; None where it may, or need not."""
    off = snapshot["files"].get("allow_alter_system") == "off"
    if options["apply_through"] != "alter_system" or (snapshot["superuser"] and not off):
        return None
    layer = _server_run.layer(database, plan.server, options, seen=snapshot)
    names = [row.name for changes in layer.compare(layer.read()) for row in changes.rows]
    try:
        layer.place.examine({**snapshot, "patroni": None}, dict.fromkeys(names))
    except Failure as failure:
        if failure.code not in ("alter_system_disabled", "not_allowed"):
            raise
        return failure.found if names else None
    return None


def _reach(database: Database, snapshot: dict[str, t.Any], names: list[str]) -> dict[str, t.Any]:
    """What a login can set without ALTER SYSTEM: its ``role``, ``databases``, and those of *names* it ``may_set``.

    Of each database that takes sessions its ``owner``, whether it is a ``template``, and whether it is ``ours``.
    *names* are parameters that ordinary roles may not set; grants of those came with PostgreSQL 15.
    """
    query = _REACH.replace("{granted}", _GRANTED if snapshot["version_num"] >= 150000 else _SUPERUSERS)
    return t.cast("dict[str, t.Any]", database.ask("asking for privileges", query, {"names": names}))


def _in_force_everywhere(snapshot: dict[str, t.Any], name: str, wanted: t.Any) -> bool:
    """Whether the whole server has the value already; a parameter group, say."""
    wish = _guc.canonical(_guc.Guc.of(_snapshot.row_of(snapshot, name)), wanted)
    return _snapshot.configured(snapshot, name) == wish and name not in _snapshot.overrides_of(snapshot, "", "")


def _not_here(name: str, context: str, may_set: t.Sequence[str]) -> str | None:
    """Why no database or role can have a parameter of this *context*."""
    if context in ("internal", "postmaster", "sighup"):
        return f"no database or role can have a value of its own ({context}); {_ELSEWHERE}"
    if name == "wal_sender_timeout":
        return f"physical replication does not read settings of databases or roles; {_ELSEWHERE}"
    if context.startswith("superuser") and name not in may_set:
        return f"it is for superusers, or roles that were granted SET on it; {_ELSEWHERE}"
    return None


def _of_place(
    place: Place, plan: _plan.Plan, everywhere: t.Container[str], snapshot: dict[str, t.Any]
) -> dict[str, t.Any]:
    """The settings that a place needs: what the whole server has, it need not repeat, unless it has another value."""
    role, name = place
    own = _snapshot.overrides_of(snapshot, role or "", name or "")
    needed = {one: value for one, value in plan.server.items() if one not in everywhere or one in own}
    return {**needed, **plan.roles.get(role or "", {})}


def _chosen(reach: dict[str, t.Any], snapshot: dict[str, t.Any], options: t.Mapping[str, t.Any]) -> list[Place]:
    """The databases and roles that are named; else those databases that are ours; else, by scope auto, our role."""
    wish, user = options["scope"], reach["role"]
    databases = list(dict.fromkeys(options["databases"])) if wish != "roles" else []
    roles = list(dict.fromkeys(options["roles"])) if wish != "databases" else []
    rows = {row["name"]: row for row in reach["databases"]}
    for name in databases:
        row = rows.get(name)
        if row and row["template"]:
            raise Failure(
                "template_database", f"settings of database {name}", "it is a template", "Leave it out of databases."
            )
        if row and not row["ours"]:
            raise Failure(
                "not_allowed",
                f"settings of database {name}",
                f"{user} is neither its owner {row['owner']} nor a member of that role",
                "Log in as its owner, or leave it out of databases.",
            )
    if not databases and not roles and wish != "roles":
        databases = [name for name, row in rows.items() if row["ours"] and not row["template"]]
        if wish == "databases" and not databases:
            raise Failure(
                "no_database",
                "settings of the databases of this login",
                f"{user} owns none",
                "Log in as the owner of a database, or choose scope: roles.",
            )
    if not databases and not roles:
        roles = [user]
    return [*((None, name) for name in databases), *((role, None) for role in roles)]
