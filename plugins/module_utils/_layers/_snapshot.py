# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshot, what can be read out of one: what is configured, what decides it, and what outranks it."""

from __future__ import annotations

import typing as t

from .. import _guc
from .._errors import Failure
from .._settings import KERNEL_LIMITS
from ._places import ConfigFile, OfRole, Place, Snapshot, is_auto

#: Where a running session's value may come from although the files say something else.
OUTRANKING = ("command line", "environment variable", "override")


def row_of(snapshot: Snapshot, name: str) -> dict[str, t.Any]:
    """The row of pg_settings. Raises Failure ``unknown_parameter``."""
    for row in snapshot["settings"]:
        if row["name"].lower() == name:
            return t.cast("dict[str, t.Any]", row)
    raise Failure(
        "unknown_parameter",
        f"parameter {name}",
        f"PostgreSQL {snapshot['version']} does not know it",
        # A library's parameter is none before the library is loaded: nothing could check its values.
        "Load the library that defines it first (shared_preload_libraries)."
        if "." in name
        else "Correct its name, or leave it out for servers of this version.",
    )


def lenient(guc: _guc.Guc, raw: str) -> str:
    """What a file has, in the base unit; a value that the server refuses stays as it is written."""
    try:
        return _guc.canonical(guc, raw)
    except Failure:
        return raw


def configured(snapshot: Snapshot, name: str) -> str | None:
    """What the files and ALTER SYSTEM make *name* for the whole server, in its base unit: the last line wins.

    Where pg_file_settings may not be read, it is what new sessions of this login start with, unless an override for
    the login hides it (None).
    """
    row = row_of(snapshot, name)
    guc = _guc.Guc.of(row)
    if snapshot["file_settings"] is None:
        return str(row["reset_val"]) if row["source"] in ("configuration file", "default", "command line") else None
    line = winning_line(snapshot, name)
    return lenient(guc, str(row["boot_val"] or "") if line is None else line["setting"])


def overrides_of(snapshot: Snapshot, role: str, database: str) -> dict[str, str]:
    """What sessions of *role* in *database* get instead of what is configured for the whole server, in base units."""
    own = [one for one in snapshot["overrides"] if one["role"] in (None, role) and one["database"] in (None, database)]
    # the narrowest last: it wins
    own.sort(key=lambda one: (one["role"] is not None, one["database"] is not None))
    return {one["name"]: lenient(_guc.Guc.of(row_of(snapshot, one["name"])), one["value"]) for one in own}


def winning_line(snapshot: Snapshot, name: str) -> dict[str, t.Any] | None:
    """The row of pg_file_settings that decides *name*, if there is one."""
    rows = [row for row in snapshot["file_settings"] or () if row["name"] == name]
    return rows[-1] if rows else None


def check_files(snapshot: Snapshot) -> None:
    """Raise Failure where a line makes the server ignore all of its files on a reload (and not start again)."""
    for row in snapshot["file_settings"] or ():
        if row["fatal"]:
            what = f" ({row['name']})" if row["name"] else ""
            raise Failure(
                "configuration_error",
                "reloading the server's configuration",
                f"{row['sourcefile']}:{row['sourceline']}{what}: {row['error']}; with it a reload applies nothing",
                "Correct that line first.",
                sourcefile=row["sourcefile"],
                sourceline=row["sourceline"],
            )


def check_kernel(snapshot: Snapshot, name: str, value: str) -> None:
    """Raise Failure for what the server would take and its kernel refuse, which only a line in the log tells."""
    limit = KERNEL_LIMITS.get(name)
    if limit and "linux" in snapshot["build"] and int(value) > limit:
        raise Failure(
            "out_of_kernel_range",
            f"{name} = {value}",
            f"PostgreSQL would take it, but the Linux kernel refuses more than {limit} and keeps its own value",
            f"Choose {limit} or less.",
        )


def describe(snapshot: Snapshot, name: str, place: Place) -> dict[str, t.Any]:
    """One setting, as modules return it."""
    row = row_of(snapshot, name)
    line = winning_line(snapshot, name)
    overrides = [one for one in snapshot["overrides"] if one["name"] == name]
    return {
        "value": configured(snapshot, name),
        "unit": row["unit"],
        "source": row["source"],
        "sourcefile": line["sourcefile"] if line else None,
        "sourceline": line["sourceline"] if line else None,
        "pending_restart": row["pending_restart"],
        "shadowed_by": _shadows(row, line, overrides, place),
    }


def _shadows(
    row: dict[str, t.Any], line: dict[str, t.Any] | None, overrides: list[dict[str, t.Any]], place: Place
) -> list[dict[str, t.Any]]:
    """What outranks *place* for this parameter: a later file, the command line, overrides of roles and databases."""
    found = []
    if row["source"] in OUTRANKING:
        found.append({"kind": row["source"], "value": str(row["reset_val"])})
    if isinstance(place, ConfigFile) and line and not place.has(line["sourcefile"]):
        kind = "alter system" if is_auto(line) else "file"
        origin = {"sourcefile": line["sourcefile"], "sourceline": line["sourceline"]}
        found.append({"kind": kind, "value": line["setting"], **origin})
    for one in overrides:
        if _narrower(one, place):
            kinds = filter(None, ("role" if one["role"] else "", "database" if one["database"] else ""))
            kind = " in ".join(kinds) or "all roles"
            found.append({"kind": kind, "value": one["value"], "role": one["role"], "database": one["database"]})
    return found


def _narrower(override: dict[str, t.Any], place: Place) -> bool:
    """Whether an override reaches sessions that *place* is meant for, before *place* does."""
    if not isinstance(place, OfRole):
        return True
    if override["role"] == place.role and override["database"] == place.name:
        return False
    if place.role and place.name:
        return False
    if place.role:
        return bool(override["role"] == place.role and override["database"])
    return bool(override["role"] and override["database"] in (place.name, None))
