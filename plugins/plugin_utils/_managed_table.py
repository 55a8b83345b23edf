# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services, on the controller: what their parameters promise, as the summary of a hardening shows it."""

from __future__ import annotations

import re
import typing as t

from . import _summary

_STATEMENT = re.compile(r"(ALTER .*) SET (\w+) = '(.*)';")


def lines(found: t.Mapping[str, t.Any]) -> list[str]:
    """For what `_parameters.parameters` returns: promises before and after, the values, and what is left."""
    changes = {found["title"]: [{"name": row["name"], "after": _shown(row)} for row in found["parameters"]]}
    for text in found["statements"]:
        place, name, value = t.cast("re.Match[str]", _STATEMENT.fullmatch(text)).groups()
        changes.setdefault(place, []).append({"name": name, "after": value})
    unsupported = [{**row, "reason": f"{row['reason']}; instead: {row['instead']}"} for row in found["unsupported"]]
    result = {**found, "changes": {place: rows for place, rows in changes.items() if rows}, "unsupported": unsupported}
    counts = f"{_count(len(found['parameters']), 'parameter')}, {_count(len(found['statements']), 'statement')}"
    # The first line of the summary says how many values change, which only the provider knows.
    return [f"{found['title']}: {counts}", *_summary.lines({"": result})[1:]]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _shown(row: t.Mapping[str, t.Any]) -> str:
    value, unit = str(row["value"]), row["unit"]
    return value if value.endswith(unit) else f"{value} {unit}"
