# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: parameters, a pure room. A plan to what a provider's API takes, what SQL must set, what is left.

Each setting of the plan ends up in exactly one of three places: a parameter of the service, a statement for the owner
of a database, or the list of what is not possible there, with what covers it instead.
"""

from __future__ import annotations

import re
import typing as t

from .. import _broken_promises, _duration, _policy, _promises, _settings
from .._errors import Failure
from ._catalogue import SERVICES
from ._service import IMMEDIATE, REBOOT, SERVER_WIDE, UNITS, Exposed, Service

#: What covers a setting that a service does not have, in general.
_INSTEAD = {
    "tcp_user_timeout": "keepalive alone, for sessions with nothing in flight; a read timeout at the client",
    "client_connection_check_interval": "statement_timeout for roles whose statements have a limit",
    "idle_session_timeout": "the idle limit of the clients' pools",
    "transaction_timeout": "statement_timeout and idle_in_transaction_session_timeout together",
    "authentication_timeout": "connect_timeout, which bounds what the clients wait; the server keeps its own value",
    "wal_sender_timeout": "keepalives and tcp_user_timeout, which end a sender's connection too",
    "wal_receiver_timeout": "keepalives in the connection string of a subscription; the provider runs the standbys",
}
_SOCKETS = "keepalives at the client, which keep the path open from that end"
_NAME = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?")


def parameters(
    plan: t.Any,
    service: str,
    databases: t.Sequence[str] = (),
    unavailable: t.Collection[str] = (),
    extra: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """What keeps *plan* on *service*: parameters, statements for *databases*, what is not possible, and promises.

    The parameters named in *unavailable* are treated as if the service had none of that name. *extra* ones of the
    user's own are added as they are. Raises Failure ``unknown_service``, ``bad_plan``, ``bad_value``.
    """
    known = _service(service)
    for name in unavailable:
        if name not in UNITS:
            remedy = f"Of what a plan sets, these may be missing: {', '.join(UNITS)}."
            raise Failure("bad_value", f"unavailable: {name}", "no plan sets it", remedy)
    wanted, policy = _wanted(plan)
    chosen = tuple(databases) or (known.database,)
    values, rows, by_sql, unsupported = {}, [], [], _of_version(plan, known)
    for name, value in wanted.items():
        exposed = None if name in unavailable else known.exposed.get(name)
        reason = _refused(name, value, exposed, known)
        if reason is None:
            rows.append(_row(name, value, t.cast(Exposed, exposed), known))
        elif name in SERVER_WIDE or name in known.read_only:
            unsupported.append(_unsupported(name, _key(policy, name), reason, known))
            continue
        else:
            by_sql.append(name)
        values[name] = value
    statements = [_set("DATABASE", database, name, plan["server"][name]) for database in chosen for name in by_sql]
    for role, own in plan.get("roles", {}).items():
        statements += [_set("ROLE", role, name, value) for name, value in own.items()]
    rows += _extra(extra or {}, wanted, known)
    before = _settings.Settings.of(known.defaults)
    after = _settings.Settings.of({**known.defaults, **values})
    limit = policy.path_idle_limit
    return {
        "service": service,
        "title": known.title,
        "parameters": rows,
        "statements": statements,
        "unsupported": unsupported,
        "restart_required": [row["name"] for row in rows if row["apply"] == REBOOT],
        "promises": {
            "before": [row.as_dict() for row in _promises.promises(before, path_idle_limit=limit)],
            "after": [row.as_dict() for row in _promises.promises(after, path_idle_limit=limit)],
        },
        "not_kept": [row._asdict() for row in _broken_promises.broken(policy, after)],
        "notes": [*_notes(known, rows, by_sql, chosen, wanted), *map(str, plan.get("notes", []))],
    }


def _service(name: t.Any) -> Service:
    if name not in SERVICES:
        remedy = f"The services are {', '.join(SERVICES)}."
        raise Failure("unknown_service", f"service {name}", "there is no such service", remedy)
    return SERVICES[name]


def _wanted(plan: t.Any) -> tuple[dict[str, int], _policy.Policy]:
    """The server's part of a plan in base units, and the policy that it keeps."""
    server = plan.get("server") if isinstance(plan, t.Mapping) else None
    if not isinstance(server, t.Mapping) or not isinstance(plan.get("policy"), t.Mapping):
        remedy = "Give it what the filter pgharden.connection.plan returns: policy | pgharden.connection.plan."
        raise Failure("bad_plan", "parameters of a managed service", "this is no plan", remedy)
    return {name: _base(name, value) for name, value in server.items()}, _policy.parse(plan["policy"])


def _base(name: str, value: t.Any) -> int:
    unit = UNITS.get(name)
    if unit is None:
        remedy = f"These may be planned: {', '.join(UNITS)}. Others can be given as extra parameters."
        raise Failure("bad_plan", f"{name} = {value}", "a plan has no such setting", remedy)
    if unit:
        number = _duration.parse(name, value) // (1000 if unit == "s" else 1)
    else:
        text = str(value)
        number = int(text) if text.isdecimal() else -1
    largest = _settings.KERNEL_LIMITS.get(name, _duration.LONGEST)
    if not 0 <= number <= largest:
        found = "it is no number that PostgreSQL and Linux take"
        raise Failure("bad_value", f"{name} = {value}", found, f"Write {largest} {unit} or less.".replace("  ", " "))
    return number


def _refused(name: str, value: int, exposed: Exposed | None, service: Service) -> str | None:
    """Why the service's own parameters cannot have this value; None where they can."""
    if name in service.read_only:
        return service.read_only[name]
    if exposed is None:
        return f"{service.title} has no parameter for it"
    if value and not exposed.low <= value <= exposed.high:
        return f"{service.title} takes {exposed.low} to {exposed.high}"
    return None


def _row(name: str, value: int, exposed: Exposed, service: Service) -> dict[str, t.Any]:
    return {
        "name": name,
        "value": service.spell(value, UNITS[name]),
        "unit": UNITS[name],
        "apply": exposed.apply,
        "confirmed": exposed.confirmed,
    }


def _extra(extra: t.Mapping[str, t.Any], wanted: t.Mapping[str, int], service: Service) -> t.Iterator[dict[str, t.Any]]:
    """Parameters of the user's own. A value is a scalar, or a mapping that says when it is applied as well."""
    for name, given in extra.items():
        value, apply = given, IMMEDIATE
        if isinstance(given, t.Mapping):
            value, apply = given.get("value"), given.get("apply", IMMEDIATE)
        found = ""
        if not service.exposed:
            found = f"{service.title} has no parameters of its own"
        elif not _NAME.fullmatch(str(name)):
            found = "this is no name of a parameter"
        elif name in wanted:
            found = "the plan sets it"
        elif isinstance(value, bool) or not isinstance(value, (str, int, float)) or apply not in (IMMEDIATE, REBOOT):
            found = "a parameter cannot have it"
        if found:
            remedy = (
                "Leave it out, or change the policy; a value is a number, or text in quotes as the service takes it, "
                f"or a mapping of value and apply ({IMMEDIATE} or {REBOOT})."
            )
            raise Failure("bad_value", f"extra parameter {name}: {given}", found, remedy)
        text = value if service.value == "number" else str(value)
        yield {"name": name, "value": text, "unit": "", "apply": apply, "confirmed": False}


def _of_version(plan: t.Mapping[str, t.Any], service: Service) -> list[dict[str, t.Any]]:
    """What the plan itself could not set on that version of PostgreSQL."""
    return [
        _unsupported(row["setting"], row["key"], row["reason"], service)
        for row in plan.get("unsupported", [])
        if row["layer"] == "server"
    ]


def _unsupported(name: str, key: str, reason: str, service: Service) -> dict[str, t.Any]:
    instead = service.instead.get(name) or _INSTEAD.get(name, _SOCKETS)
    return {"setting": name, "key": key, "reason": reason, "instead": instead}


def _key(policy: _policy.Policy, name: str) -> str:
    """The key of the policy that a setting serves which a service may lack and SQL cannot set either."""
    if name == "client_connection_check_interval":
        return policy.orphan_key
    return "connect_within" if name == "authentication_timeout" else "detect_dead_standby_within"


def _notes(
    service: Service,
    rows: t.Sequence[t.Mapping[str, t.Any]],
    by_sql: t.Sequence[str],
    databases: t.Sequence[str],
    wanted: t.Mapping[str, int],
) -> t.Iterator[str]:
    yield from service.notes
    unread = [row["name"] for row in rows if not row["confirmed"] and row["name"] in wanted]
    if unread:
        yield (
            f"No page of {service.title} that was read has {', '.join(unread)}; what it takes is shown by "
            f"{service.check}. Name those that it lacks as unavailable."
        )
    unknown = [name for name in wanted if name in _settings.SETTINGS and name not in service.defaults]
    if unknown:
        yield f"The service's own values of {', '.join(unknown)} are not known; PostgreSQL's are taken for them before."
    if by_sql:
        yield f"Statements are for new sessions in {', '.join(databases)}; run them as the owner."
    if "wal_sender_timeout" in by_sql:
        yield "wal_sender_timeout of a database is for logical replication from it, not for the provider's standbys."
    yield "Sessions that are open keep their socket options until their client's next message."


def _set(kind: str, name: str, setting: str, value: t.Any) -> str:
    """A statement; *value* has neither quotes nor backslashes once `_base` has read it."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise Failure("bad_value", f"{kind.lower()} {name!r}", "none can have this name", "Write another.")
    _base(setting, value)
    quoted = name.replace('"', '""')
    return f"ALTER {kind} \"{quoted}\" SET {setting} = '{value}';"
