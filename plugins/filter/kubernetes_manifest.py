# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._kubernetes import _manifests
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters


def _manifest(
    plan: t.Any,
    target: str,
    name: str = "",
    namespace: str = "",
    merge: t.Any = None,
    operator_version: str | None = None,
    kubernetes_version: str = "1.35",
) -> dict[str, t.Any]:
    operator = () if operator_version is None else _filters.numbers("operator_version", operator_version)
    kubernetes = _filters.numbers("kubernetes_version", kubernetes_version)
    wish = _manifests.Wish(str(target), name, namespace, operator, kubernetes)
    return _manifests.make(plan, wish, merge)


class FilterModule:
    """See kubernetes_manifest.yml."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"kubernetes_manifest": _filters.one_error(_manifest)}
