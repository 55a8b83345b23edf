# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action audit_report: findings of all hosts of a play, as a table, and as files for people and for CI systems."""

from __future__ import annotations

import datetime
import os
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._errors import Failure
from ..module_utils._findings import SEVERITIES
from ..plugin_utils import _audit_data, _audit_files, _audit_table, _reports

#: As the module's documentation has them.
_OPTIONS: dict[str, dict[str, t.Any]] = {
    "variable": {"type": "str"},
    "collected": {"type": "path"},
    "directory": {"type": "path"},
    "formats": {"type": "list", "elements": "str", "choices": list(_audit_files.FORMATS), "default": ["html", "md"]},
    "fail_on": {"type": "str", "choices": list(SEVERITIES)},
}


def _results(name: str | None, variables: dict[str, t.Any]) -> tuple[dict[str, t.Any], set[str]]:
    """What that variable has for each host of all batches so far, and the hosts of those that follow."""
    if not name:
        return {}, set()
    hosts = variables.get("ansible_play_hosts_all", [])
    found = _reports.of_hosts(name, hosts, variables)
    # A host that failed early has no result, and will have none.
    return found, set(variables.get("ansible_play_hosts", [])).intersection(hosts).difference(found)


class ActionModule(ActionBase):
    """Reads a registered variable of every host of the play so far; touches no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        try:
            return {**result, **self._report(task_vars or {})}
        except Failure as failure:
            return {**result, "failed": True, "msg": str(failure), "failure": failure.as_dict()}

    def _report(self, variables: dict[str, t.Any]) -> dict[str, t.Any]:
        arguments = self.validate_argument_spec(argument_spec=_OPTIONS)[1]
        results, waiting = _results(arguments["variable"], variables)
        directory = os.path.abspath(arguments["directory"]) if arguments["directory"] else None
        previous = _audit_files.previous(directory) if directory else None
        report = _audit_data.report(results, previous, datetime.datetime.now(datetime.timezone.utc))
        if arguments["collected"]:
            here = {row["host"] for row in report["hosts"]}
            elsewhere = _audit_files.collected(os.path.abspath(arguments["collected"]))
            report["hosts"] += [row for row in elsewhere if row["host"] not in here]
        Display().display("\n".join(["", *_audit_table.lines(report), ""]))
        files = []
        if previous and waiting:
            report["hosts"] += [row for row in previous["hosts"] if row["host"] in waiting]
        if directory and not variables.get("ansible_check_mode"):
            files = _audit_files.write(directory, report, arguments["formats"])
            Display().display(f"In {directory}: {', '.join(map(os.path.basename, files))}\n")
        done: dict[str, t.Any] = {"changed": False, "files": files}
        # A failure would end the play, and the batches that follow are to be looked at, too.
        limit = None if waiting else arguments["fail_on"]
        bad = _audit_data.at_least(report, limit) if limit else {}
        if bad:
            worst = ", ".join(f"{host} ({', '.join(ids)})" for host, ids in list(bad.items())[:10])
            whose = "1 host has" if len(bad) == 1 else f"{len(bad)} hosts have"
            more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
            done.update(failed=True, msg=f"{whose} findings of severity {limit} or worse: {worst}{more}")
        return done
