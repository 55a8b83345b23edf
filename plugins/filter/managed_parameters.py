# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._managed import _parameters
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters, _managed_table


def _managed_parameters(
    plan: t.Any,
    service: t.Any,
    databases: t.Any = None,
    unavailable: t.Any = None,
    extra_parameters: t.Any = None,
) -> dict[str, t.Any]:
    for key, value in (("databases", databases), ("unavailable", unavailable)):
        if not isinstance(value or [], (list, tuple)):
            raise Failure("bad_value", f"{key}: {value}", "it is no list", "Write a list of names.")
    if not isinstance(extra_parameters or {}, t.Mapping):
        remedy = "Write one name: value a line."
        raise Failure("bad_value", f"extra_parameters: {extra_parameters}", "it is no mapping", remedy)
    found = _parameters.parameters(plan, service, databases or (), unavailable or (), extra_parameters or {})
    return {**found, "summary": _managed_table.lines(found)}


class FilterModule:
    """See managed_parameters.yml."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"managed_parameters": _filters.one_error(_managed_parameters)}
