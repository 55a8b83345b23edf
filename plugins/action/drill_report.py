# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action drill_report: prints what a drill measured on all hosts of a play, once, and writes it to files."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ..plugin_utils import _drill_files, _drill_table, _reports


class ActionModule(ActionBase):
    """Reads a registered variable of every host of the batch; touches no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        return {**result, **_reports.run(self._task, task_vars or {}, _drill_table.lines, _drill_files.write)}
