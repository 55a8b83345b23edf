# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action drill_report: prints what a drill measured on all hosts of a play, once, and writes it to files."""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._errors import Failure
from ..plugin_utils import _drill_files, _drill_table, _drill_words


class ActionModule(ActionBase):
    """Reads a registered variable of every host of the batch; touches no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        name = self._task.args["variable"]
        found = {host: variables["hostvars"][host].get(name) for host in self._hosts(variables)}
        results = {host: value for host, value in found.items() if value}
        lines = _drill_table.lines(results)
        if lines:
            Display().display("\n".join(["", *lines, ""]))
        directory = self._task.args.get("directory")
        if not directory or variables.get("ansible_check_mode"):
            return {**result, "changed": False, "files": []}
        return {**result, "changed": False, **_write(os.path.abspath(os.path.expanduser(directory)), results)}

    def _hosts(self, variables: dict[str, t.Any]) -> list[str]:
        """The batch with the hosts that have failed, which Ansible no longer counts among it.

        Nor does it tell them from those that failed in an earlier batch, which have this task's own result already.
        """
        batch, playing = (set(variables.get(name, [])) for name in ("ansible_play_batch", "ansible_play_hosts"))
        name = self._task.register
        marks = {name} if isinstance(name, str) else set(name or ())  # a mapping since ansible-core 2.21

        def done(host: str) -> bool:
            return any(variables["hostvars"][host].get(mark) for mark in marks)

        hosts = variables.get("ansible_play_hosts_all", [])
        return [host for host in hosts if host in batch or (host not in playing and not done(host))]


def _write(directory: str, results: dict[str, t.Any]) -> dict[str, t.Any]:
    """The files of every host that was drilled; one that cannot be written does not keep the others from it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    files, failures = [], []
    for host, result in results.items():
        if _drill_words.drilled(result):
            try:
                files += _drill_files.write(directory, host, result, now)
            except Failure as failure:
                failures.append(failure)
    if failures:
        message = " ".join(dict.fromkeys(map(str, failures)))
        return {"failed": True, "msg": message, "failure": failures[0].as_dict(), "files": files}
    return {"files": files}
