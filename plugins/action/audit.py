# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action audit: what connection_info finds on a host, judged here, so that only the judgement is kept of each host."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils import _policy
from ..module_utils._audit import _rules
from ..module_utils._errors import Failure
from ..plugin_utils import _audit_data, _policy_action

_JUDGED_BY = ("profile", "policy", "ignore")


class ActionModule(ActionBase):
    """Runs the module connection_info."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        try:
            whole = _policy_action.whole(arguments.get("profile") or "web", arguments.get("policy") or {}, self._loader)
            ignores = arguments.get("ignore") or []
            asked = _audit_data.Asked(_policy.parse(whole), ignores if isinstance(ignores, list) else [ignores])
            _rules.ignore([], asked.ignores)  # bad input never reaches a host
        except Failure as failure:
            return {**result, "failed": True, "msg": str(failure), "failure": failure.as_dict()}
        others = {name: value for name, value in arguments.items() if name not in _JUDGED_BY}
        found = self._execute_module("pgharden.connection.connection_info", others, task_vars=task_vars)
        if "settings" in found and not found.get("failed"):
            found = {"changed": False, "audit": _audit_data.of_host(found, asked)}
        return {**result, **found}
