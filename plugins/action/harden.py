# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action harden: puts the profile, a file on the controller, into the policy; bad input never reaches a host."""

from __future__ import annotations

import os
import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils import _policy, _timers
from ..module_utils._errors import Failure
from ..plugin_utils import _profiles


class ActionModule(ActionBase):
    """Runs the module of the same name with the whole policy."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        profile, policy = arguments.get("profile") or "web", arguments.get("policy") or {}
        try:
            if not isinstance(policy, dict):
                raise Failure("bad_policy", f"policy: {policy}", "it is no mapping", "Write one key: value a line.")
            whole = {**_profiles.load(profile, self._find), **policy}
            _timers.solve(_policy.parse(whole))
        except Failure as failure:
            return {**result, "failed": True, "msg": str(failure), "failure": failure.as_dict()}
        module_args = {**arguments, "profile": profile, "policy": whole}
        return {**result, **self._execute_module("pgharden.connection.harden", module_args, task_vars=task_vars)}

    def _find(self, name: str) -> str:
        """A file beside the playbook, or else where ansible-playbook was started: ours is not where the user works."""
        beside: str = self._loader.path_dwim(name)
        return beside if os.path.exists(beside) else os.path.abspath(os.path.expanduser(name))
