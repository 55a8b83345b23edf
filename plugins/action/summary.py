# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action summary: prints what came of a play for all its hosts, once."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..plugin_utils import _summary


class ActionModule(ActionBase):
    """Reads a registered variable of every host of the play's batch; touches no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        name = self._task.args["variable"]
        found = {host: variables["hostvars"][host].get(name) for host in variables.get("ansible_play_batch", [])}
        results = {host: value for host, value in found.items() if value}
        lines = _summary.lines(results, bool(variables.get("ansible_check_mode")))
        if lines:
            Display().display("\n".join(["", *lines, ""]))
        return {**result, "changed": False}
