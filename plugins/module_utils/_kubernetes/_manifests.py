# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes: a plan to the manifest of one object, or into the one that there is. A pure room.

Every setting of the plan that such an object could be asked for is in the manifest, in ``sql``, or in ``unsupported``.
"""

from __future__ import annotations

import copy
import typing as t

from .. import _settings
from .._errors import Failure
from ._targets import SAFE_SYSCTLS, TARGETS, Lack, Path, Place, Target, Version

Json = t.Dict[str, t.Any]

#: The policy keys that settings serve; the others serve the first of _DETECTING that the policy has.
_KEYS = {
    **{name: key for key, name in _settings.CLOSING.items()},
    **dict.fromkeys(("wal_sender_timeout", "wal_receiver_timeout"), "detect_dead_standby_within"),
    **dict.fromkeys(("authentication_timeout", "client_login_timeout"), "connect_within"),
    **dict.fromkeys(("server_connect_timeout", "query_wait_timeout"), "connect_within"),
    "server_idle_timeout": "close_pooled_connection_after",
    "server_lifetime": "replace_pooled_connection_after",
    "min_pool_size": "spare_pooled_connections",
    "idle_transaction_timeout": "close_idle_in_transaction_after",
    "client_idle_timeout": "close_idle_session_after",
}
_DETECTING = ("detect_dead_peer_within", "path_idle_limit", "tolerate_outage_of", "stop_orphaned_query_within")


class Wish(t.NamedTuple):
    """Which object, and the versions of what runs it; no operator version is the newest that was read."""

    target: str
    name: str = ""
    namespace: str = ""
    operator_version: Version = ()
    kubernetes_version: Version = (1, 35)


def make(plan: t.Any, wish: Wish, there_is: t.Any = None) -> Json:
    """``manifest``, the ``patch`` that leads to it, ``sql``, ``unsupported`` and ``notes``.

    Raises Failure ``bad_target``, ``bad_plan`` or ``bad_manifest``.
    """
    target = TARGETS.get(wish.target)
    if target is None:
        remedy = f"These are: {', '.join(sorted(TARGETS))}."
        raise Failure("bad_target", f"a manifest for {wish.target}", "no such kind of object is known", remedy)
    parts = {part: _part(plan, part) for part in ("server", "roles", "os", "pgbouncer", "policy")}
    old = _checked(there_is, target)
    patch: Json = {"apiVersion": old.get("apiVersion") or target.api_version, "kind": target.kind}
    patch["metadata"] = _metadata(old, wish)
    lacking: list[tuple[str, str, Lack]] = []
    placed: list[str] = []
    for part in target.parts:
        settings = parts[part]
        place, lack = _place(target, part, wish, old)
        taken = {name: settings[name] for name in settings if place and (not place.only or name in place.only)}
        lacking += [(part, name, lack) for name in settings if name not in taken]
        if place and taken:
            _put(patch, place.path, _sysctls(taken, place, old) if part == "os" else taken)
            placed += [part, *taken]
    if parts["os"]:
        lacking += [("os", name, lack) for name, lack in target.refused.items()]
    known = [{**row, "instead": ""} for row in plan.get("unsupported", []) if row["layer"] in target.parts]
    return {
        "manifest": copy.deepcopy(_merged(old, patch)),
        "patch": patch,
        "sql": _statements(parts["roles"]) if "server" in target.parts else [],
        "unsupported": known + [_row(part, name, lack, parts["policy"]) for part, name, lack in lacking],
        "notes": [text for name, text in target.notes if name in placed],
    }


def _place(target: Target, part: str, wish: Wish, old: Json) -> tuple[Place | None, Lack]:
    """Where the part goes; and why what goes nowhere does not."""
    version = wish.operator_version or target.newest
    places = [place for place in target.places if place.part == part]
    fitting = [place for place in places if place.since <= version]
    lack = target.lacks.get(part, Lack(""))
    if places and not fitting:
        since, has = _dotted(places[0].since), _dotted(version)
        return None, lack._replace(reason=f"{target.operator} takes it since {since}, the operator has {has}")
    if part != "os" or not fitting:
        return (fitting[-1] if fitting else None), lack
    if wish.kubernetes_version < SAFE_SYSCTLS:
        reason = (
            f"it is a safe sysctl since Kubernetes {_dotted(SAFE_SYSCTLS)}, the cluster has "
            f"{_dotted(wish.kubernetes_version)}: a node turns a pod with it away unless its kubelet allows it"
        )
        return None, lack._replace(reason=reason)
    if _at(old, fitting[-1].path[:-1]).get("hostNetwork"):
        reason = "a pod with hostNetwork has the sysctls of its node, and Kubernetes refuses any of its own"
        return None, Lack(reason, "the module tcp_sysctl on the nodes")
    return fitting[-1], lack


def _sysctls(values: t.Mapping[str, t.Any], place: Place, old: Json) -> Json:
    """A pod's security context: its list of sysctls is one value for Kubernetes, so what else it has goes with ours."""
    context = _at(old, place.path)
    rows = context.get("sysctls") or []
    if not isinstance(rows, list) or not all(isinstance(row, t.Mapping) for row in rows):
        raise _bad_manifest("sysctls is no list of names and values")
    kept = [row for row in rows if row.get("name") not in values]
    made: Json = {"sysctls": [*kept, *({"name": name, "value": str(value)} for name, value in values.items())]}
    if place.beside and not context:
        made = {**place.beside, "fsGroup": _at(old, ("spec",)).get("postgresGID", place.beside["fsGroup"]), **made}
    return made


def _row(part: str, name: str, lack: Lack, policy: t.Mapping[str, t.Any]) -> Json:
    detecting = (key for key in _DETECTING if policy.get(key, "off") != "off")
    key = _KEYS.get(name) or next(detecting, "slow_reader_grace")
    return {"layer": part, "setting": name, "key": key, "reason": lack.reason, "instead": lack.instead}


def _statements(roles: t.Mapping[str, t.Mapping[str, str]]) -> list[str]:
    """No operator has settings of single roles: these are for the database, once."""
    return [
        "ALTER ROLE \"{}\" SET {} = '{}'".format(role.replace('"', '""'), name, value)
        for role, settings in roles.items()
        for name, value in settings.items()
    ]


# ---- manifests


def _checked(given: t.Any, target: Target) -> Json:
    if given is None:
        return {}
    if not isinstance(given, t.Mapping):
        raise _bad_manifest("it is no mapping")
    found = (_group(given.get("apiVersion")), given.get("kind"))
    wanted = (_group(target.api_version), target.kind)
    if found != wanted:
        raise _bad_manifest(f"it is a {found[1]} of {found[0] or 'v1'}, not a {wanted[1]} of {wanted[0] or 'v1'}")
    return dict(given)


def _group(api_version: t.Any) -> str:
    return str(api_version).rpartition("/")[0]


def _metadata(old: Json, wish: Wish) -> Json:
    """Name and namespace, from the manifest or from the wish, which may not contradict each other."""
    has = _inner(old, "metadata")
    found: Json = {}
    for key, wanted in (("name", wish.name), ("namespace", wish.namespace)):
        if wanted and has.get(key, wanted) != wanted:
            raise _bad_manifest(f"its {key} is {has[key]}, not {wanted}")
        if wanted or has.get(key):
            found[key] = wanted or has[key]
    if "name" not in found:
        raise Failure("bad_target", f"a manifest for {wish.target}", "it has no name", "Say name or merge.")
    return found


def _put(patch: Json, path: Path, values: t.Mapping[str, t.Any]) -> None:
    for key in path:
        patch = patch.setdefault(key, {})
    patch.update(values)


def _merged(old: t.Mapping[str, t.Any], new: Json) -> Json:
    """*old* with what *new* has; mappings are merged, all else of *new* replaces."""
    merged = dict(old)
    for key, value in new.items():
        merged[key] = _merged(_inner(old, key), value) if isinstance(value, dict) else value
    return merged


def _at(old: t.Mapping[str, t.Any], path: Path) -> t.Mapping[str, t.Any]:
    for key in path:
        old = _inner(old, key)
    return old


def _inner(old: t.Mapping[str, t.Any], key: str) -> t.Mapping[str, t.Any]:
    """What is there under the key; a key that has nothing behind its colon counts as empty."""
    value = old.get(key)
    if value is None:
        return {}
    if not isinstance(value, t.Mapping):
        raise _bad_manifest(f"{key} is no mapping")
    return value


def _bad_manifest(found: str) -> Failure:
    return Failure(
        "bad_manifest", "merge", found, "Give it the whole manifest of the object, as kubernetes.core.k8s_info does."
    )


def _part(plan: t.Any, part: str) -> t.Mapping[str, t.Any]:
    found = plan.get(part) if isinstance(plan, t.Mapping) else None
    if not isinstance(found, t.Mapping):
        remedy = "Give it what the filter pgharden.connection.plan returns: policy | pgharden.connection.plan."
        raise Failure("bad_plan", "a manifest", f"this is no plan that has {part}", remedy)
    return found


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
