# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy action, on the controller: puts the profile, a file there, into the policy; bad input never reaches a host."""

from __future__ import annotations

import os
import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils import _policy, _timers
from ..module_utils._errors import Failure
from . import _profiles


class PolicyAction(ActionBase):
    """Runs the module of the same name with the whole policy."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        profile = arguments.get("profile") or "web"
        try:
            policy = whole(profile, arguments.get("policy") or {}, self._loader)
            _timers.solve(_policy.parse(policy))
        except Failure as failure:
            return {**result, "failed": True, "msg": str(failure), "failure": failure.as_dict()}
        module = f"pgharden.connection.{self._task.action.rpartition('.')[2]}"
        module_args = {**arguments, "profile": profile, "policy": policy}
        return {**result, **self._execute_module(module, module_args, task_vars=task_vars)}


def whole(profile: str, policy: t.Any, loader: t.Any) -> dict[str, t.Any]:
    """The *policy* with the keys of the *profile* that it does not have; *loader* knows where the playbook is."""
    if not isinstance(policy, t.Mapping):
        raise Failure("bad_policy", f"policy: {policy}", "it is no mapping", "Write one key: value a line.")

    def find(name: str) -> str:
        """A file beside the playbook, or else where ansible-playbook was started: ours is not where the user works."""
        beside: str = loader.path_dwim(name)
        return beside if os.path.exists(beside) else os.path.abspath(os.path.expanduser(name))

    return {**_profiles.load(profile, find), **policy}
