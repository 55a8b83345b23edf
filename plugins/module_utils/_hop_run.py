# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hop run, shared by the modules of programs on the path: policy to plan to layers, all or nothing, with a record."""

from __future__ import annotations

import typing as t

from . import _kernel, _policy, _record, _state
from ._layers._layer import Layer, Outcome, reconcile
from ._path._hops import Socket
from ._path._plans import HopPlan, Version
from ._settings import SLACK

Make = t.Callable[[_policy.Policy, Version], HopPlan]


def plan(make: Make, options: t.Mapping[str, t.Any], version: Version) -> HopPlan:
    """The plan that *make* works out of the option ``policy``, with the operator's ``overrides`` laid over it.

    A null there leaves a setting alone; the others are taken as they are written in YAML.
    """
    made = make(_policy.parse(options["policy"]), version)
    for name, value in options["overrides"].items():
        if value is None:
            made.settings.pop(name, None)
        else:
            made.settings[name] = str(int(value)) if isinstance(value, bool) else str(value)
    return made


def run(
    program: str,
    place: str,
    layers: t.Sequence[Layer],
    made: HopPlan,
    options: t.Mapping[str, t.Any],
    check_mode: bool,
) -> tuple[dict[str, t.Any], list[Outcome]]:
    """Bring *layers* to what they want, or none; gives the part of the result that all such modules have in common.

    *place* is the path of what is managed (a configuration file), which the record is called after. The caller adds
    ``hop``, ``stale_sockets``, ``version`` and what else it has, and appends to ``unsupported`` and ``notes``.
    """
    record = options["revert_file"] or _state.path_of(program, place)
    _record.load(record)  # a damaged one is found in check mode too
    outcomes = reconcile(layers, check_mode, lambda found: _record.record(record, found))
    changes = [one for outcome in outcomes for one in outcome.changes if one]
    result = {
        "changed": any(outcome.changed for outcome in outcomes),
        "diff": [one.diff() for one in changes],
        "changes": {one.place: one.as_list() for one in changes},
        "policy": _policy.parse(options["policy"]).as_dict(),
        "plan": made.as_dict(),
        "unsupported": [row._asdict() for row in made.unsupported],
        "notes": list(made.notes),
        "revert_file": record,
    }
    return result, outcomes


def stale(sockets: t.Iterable[_kernel.TcpSocket], wanted: Socket) -> list[dict[str, t.Any]]:
    """Those of *sockets* (`_kernel.of_process`) that were opened with other keepalive options than *wanted*.

    The kernel's armed timer tells: none where keepalive is to be on, or one that is too long, is a proof. It shows
    neither interval nor count, and while data is unacknowledged another timer hides it: such sockets are not listed.
    """
    found = []
    for one in sockets:
        timer = one.timer
        detail = ""
        if timer.kind == "none" and wanted.keepalive:
            detail = "no keepalive timer is armed on it"
        elif timer.kind == "keepalive" and not wanted.keepalive:
            detail = "a keepalive timer is armed on it"
        elif timer.kind == "keepalive" and wanted.idle and timer.seconds > wanted.idle * SLACK + 1:
            # the kernel fires late, and rounds up to ticks
            detail = f"its keepalive timer has {round(timer.seconds)} s left"
        if detail:
            found.append(row(one, detail))
    return found


def row(one: _kernel.TcpSocket, detail: str) -> dict[str, t.Any]:
    """One of the list ``stale_sockets``."""
    ends = {"local": _text(one.local), "remote": _text(one.remote)}
    return {**ends, "timer": one.timer.kind, "seconds": one.timer.seconds, "detail": detail}


def _text(endpoint: tuple[str, int]) -> str:
    address, port = endpoint
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
