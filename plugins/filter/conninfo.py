# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers
from ansible_collections.pgharden.connection.plugins.plugin_utils import _dsn, _filters


def _conninfo(plan: t.Any, dsn: t.Any = "", force: bool = False) -> str:
    client = _filters.client_of(plan, "merging into a DSN")
    return _dsn.merge(dsn, _drivers.parameters(client, "libpq")["parameters"], force)


class FilterModule:
    """See conninfo.yml."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"conninfo": _filters.one_error(_conninfo)}
