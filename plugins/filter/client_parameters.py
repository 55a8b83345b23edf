# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters


def _client_parameters(plan: t.Any, driver: t.Any) -> dict[str, t.Any]:
    return _drivers.parameters(_filters.client_of(plan, f"parameters of {driver}"), str(driver))


class FilterModule:
    """See client_parameters.yml."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"client_parameters": _filters.one_error(_client_parameters)}
