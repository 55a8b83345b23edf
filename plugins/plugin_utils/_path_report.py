# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Path report, on the controller: results of the hops' hosts to the promises and findings of the path as a whole.

The hosts of a group need not be alike. Every combination of hops that differ is a path of its own; what is promised is
the worst of them.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing as t

from ..module_utils import _duration
from ..module_utils._errors import Failure
from ..module_utils._findings import ranked
from ..module_utils._path import _findings, _hops, _promises

SCHEMA = 1
#: More would be a path in name only.
_MOST_COMBINATIONS = 256

Results = t.Mapping[str, t.Mapping[str, t.Any]]


def report(rows: t.Any, results: t.Sequence[Results], longest_statement: t.Any = None) -> dict[str, t.Any]:
    """The report of the path that *rows* describe; *results* are those of each hop's hosts, in the same order.

    ``hops`` (kind, group, hosts, limits of the leg after it), ``promises`` and ``findings`` as lists of plain JSON.
    Raises Failure ``bad_path``, ``no_result`` where a group has no hosts or no hop a result, ``too_many_paths``.
    """
    rows = _hops.describe(rows)
    if not any(result.get("hop") for of_hosts in results for result in of_hosts.values()):
        remedy = "See above why they failed; before this come the roles that give results."
        raise Failure("no_result", "the promises of the path", "none of its hosts has a result", remedy)
    legs = _hops.legs(rows)
    longest = 0 if longest_statement is None else _duration.parse("longest_statement", longest_statement)
    variants = [_variants(row, of_hosts) for row, of_hosts in zip(rows, results, strict=True)]
    if math.prod(map(len, variants)) > _MOST_COMBINATIONS:
        raise Failure(
            "too_many_paths",
            "the promises of the path",
            f"its hosts differ so much that they make {math.prod(map(len, variants))} different paths",
            "Harden the hosts of each group alike, or describe one path for each of them.",
        )
    paths = [_hops.Path(hops, legs) for hops in itertools.product(*variants)]
    found = {finding for path in paths for finding in _findings.findings(path, longest)}
    return {
        "schema": SCHEMA,
        "hops": [{**row, "hosts": _hosts(of_hosts)} for row, of_hosts in zip(rows, results, strict=True)],
        "promises": _worst([_promises.promises(_by_group(path, rows)) for path in paths]),
        "findings": [finding.as_dict() for finding in ranked(found)],
    }


def _hosts(results: Results) -> list[dict[str, t.Any]]:
    return [{"host": host, "in_force": bool(result.get("hop"))} for host, result in results.items()]


def _variants(row: t.Mapping[str, t.Any], results: Results) -> list[_hops.Hop]:
    """The hops of one group that differ; hosts that are alike are known by the group's name.

    Where no host has a result, a hop of which nothing is known.
    """
    known = {host: _hops.Hop.of(result["hop"]) for host, result in results.items() if result.get("hop")}
    alike: list[tuple[_hops.Hop, list[str]]] = []
    for host, hop in known.items():
        plain = dataclasses.replace(hop, name="")
        names = next((names for other, names in alike if other == plain), None)
        if names is None:
            alike.append((plain, [host]))
        else:
            names.append(host)
    if not results:
        raise Failure(
            "no_result",
            f"the promises of the path at {row['kind']} {_group(row)}".rstrip(),
            "no host of the inventory is in that group, or has that name",
            "Correct the group in the description of the path.",
        )
    if not alike:
        return [_hops.Hop(row["kind"], _group(row))]
    return [dataclasses.replace(hop, name=_group(row) if len(alike) == 1 else ", ".join(names)) for hop, names in alike]


def _by_group(path: _hops.Path, rows: t.Sequence[t.Mapping[str, t.Any]]) -> _hops.Path:
    """The path with the names of groups, which are the same for every combination of hosts."""
    hops = (dataclasses.replace(hop, name=_group(row)) for hop, row in zip(path.hops, rows, strict=True))
    return dataclasses.replace(path, hops=tuple(hops))


def _group(row: t.Mapping[str, t.Any]) -> str:
    return str(row.get("group", ""))


def _worst(of_paths: t.Sequence[t.Sequence[_promises.PathPromise]]) -> list[dict[str, t.Any]]:
    """Of all paths the latest time for each loss, end and phase; what they have in common is their hops."""
    worst = [max(alternatives, key=_lateness) for alternatives in zip(*of_paths, strict=True)]
    return [promise.as_dict() for promise in worst]


def _lateness(promise: _promises.PathPromise) -> float:
    return math.inf if promise.bound is None else promise.bound
