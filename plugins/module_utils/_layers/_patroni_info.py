# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni, what an audit reads of it on the host of a member: its cluster, and what decides there instead of it."""

from __future__ import annotations

import typing as t

from .. import _guc
from .._errors import Failure
from . import _patroni_config, _patroni_process
from ._patroni_rest import Rest

#: An audit does not wait for a Patroni that hangs.
_SECONDS = 3.0

Row = t.Dict[str, t.Any]


def look(data_directory: str, names: t.Iterable[str]) -> Row | None:
    """The member whose server has that data directory; None where no Patroni of this host has.

    ``reason`` says why something is missing. Nothing that is asked needs a password, and none is in the result.
    """
    found: Row = {
        "name": None,
        "version": None,
        "cluster": None,
        "timing": None,
        "parameters": {},
        "local": {},
        "reason": None,
    }
    wanted = list(names)
    try:
        member = _patroni_process.find(data_directory)
        if member is None:
            return None
        found["name"] = member.config.get("name")
        found["local"] = {
            name: {"value": _guc.text(line.value), "sourcefile": line.sourcefile, "sourceline": line.sourceline}
            for name, line in member.parameters.items()
            if name in wanted and line.value is not None
        }
        rest = Rest(_patroni_config.api(member.config, {}), _SECONDS)
        found["version"] = _patroni_config.part(rest.get("/patroni"), "patroni").get("version")
        cluster = _patroni_config.cluster(rest.get("/cluster"))
        dynamic = rest.get("/config")
    except Failure as failure:
        return {**found, "reason": f"{failure.asked}: {failure.found}"}
    for row in cluster["members"]:
        row.pop("api_url")
        row["own"] = row["name"] == found["name"]
    parameters = {name: value for name, value in _patroni_config.values(dynamic, wanted).items() if value is not None}
    return {**found, "cluster": cluster, "timing": _patroni_config.timing(dynamic), "parameters": parameters}
