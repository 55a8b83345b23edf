# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scope of an audit, a pure room: what connection_info returned, as sessions of hardened databases and roles see it.

Where harden may not set the whole server, it sets databases or roles, and only their sessions can be judged by it.
"""

from __future__ import annotations

import typing as t

from ._host import Facts, in_unit


def views(facts: Facts) -> list[Facts]:
    """The facts as they are for the sessions that were hardened, once for all that have the same settings."""
    found: list[Facts] = []
    for _place, view in places(facts):
        if all(_values(view) != _values(other) for other in found):
            found.append(view)
    return found or [facts]


def places(facts: Facts) -> t.Iterator[tuple[str, Facts]]:
    """Each database and role that was hardened instead of the whole server, and the facts as its sessions see them."""
    noted = facts.get("hardened") or {}
    scope = noted.get("scope")
    if not scope or not facts.get("settings"):
        return
    there = [row["datname"] for row in (facts.get("sessions") or {}).get("databases") or ()]
    own = [("database", name) for name in scope["databases"] if name in there or not there]
    own += [("role", name) for name in scope["roles"]]
    wanted = noted["settings"]["server"]
    for kind, name in own:
        settings = {one: _seen(row, kind, name, own, wanted.get(one, "")) for one, row in facts["settings"].items()}
        yield f"{kind} {name}", {**facts, "settings": settings}


def _values(view: Facts) -> dict[str, t.Any]:
    return {name: row.get("value") for name, row in view["settings"].items()}


def _seen(row: Facts, kind: str, name: str, hardened: list[tuple[str, str]], wanted: str) -> Facts:
    """One setting as the sessions of a place see it; what hardening made of places is no override any more."""
    layers: dict[str, t.Any] = dict(row.get("layers") or {})
    value: str | None = None
    for one in ("database", "role"):
        left = []
        for override in layers.get(one) or ():
            number = in_unit(override["value"], row.get("unit"))
            text = str(override["value"] if number is None else number)
            if (one, override[one]) == (kind, name):
                value = text
            elif (one, override[one]) not in hardened or text != wanted:
                left.append(override)
        layers[one] = left
    if value is None:
        return {**row, "layers": layers}
    place = f"{kind} {name}"
    stronger = [shadow for shadow in row.get("shadowed_by") or () if shadow.get("kind") == "override"]
    of_place = {"value": value, "source": place, "place": place, "sourcefile": None, "sourceline": None}
    return {**row, **of_place, "shadowed_by": stronger, "layers": layers}
