# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action path_report: prints what a whole path promises and what is wrong with it, once, and writes it to a file."""

from __future__ import annotations

import json
import os
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils import _files
from ..module_utils._errors import Failure
from ..module_utils._findings import SEVERITIES
from ..plugin_utils import _path_report, _path_table, _reports


class ActionModule(ActionBase):
    """Reads registered variables of the hosts of every hop; touches no host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """See ActionBase."""
        result = super().run(tmp, task_vars)
        variables, arguments = task_vars or {}, self._task.args
        try:
            hops = arguments.get("hops")
            results = [_results(row, variables) for row in hops] if isinstance(hops, list) else []
            report = _path_report.report(hops, results, arguments.get("longest_statement"))
            text = "\n".join(["", *_path_table.lines(report), ""])
            Display().display(text)
            files = self._write(arguments.get("directory"), report, variables)
            wrong = _at_least(report["findings"], arguments.get("fail_on"))
        except Failure as failure:
            return {**result, "failed": True, "msg": str(failure), "failure": failure.as_dict()}
        result.update(changed=False, files=files, promises=report["promises"], findings=report["findings"])
        if wrong:
            message = (
                f"{len(wrong)} findings on the path: {', '.join(sorted({row['id'] for row in wrong}))}; see above."
            )
            result.update(failed=True, msg=message)
        return result

    def _write(self, directory: t.Any, report: dict[str, t.Any], variables: dict[str, t.Any]) -> list[str]:
        if not directory or variables.get("ansible_check_mode"):
            return []
        directory = os.path.abspath(os.path.expanduser(directory))
        path = os.path.join(directory, "path.json")
        with _reports.locked(directory):
            _reports.read(path, lambda old: old["schema"] == _path_report.SCHEMA and "hops" in old, "a path")
            _files.replace(path, f"{json.dumps(report, indent=2, sort_keys=True)}\n".encode(), mode=0o644)
        return [path]


#: Where the roles register what came of the hosts of each kind, the first that there is.
_VARIABLES = {"client": ["client_result"], "haproxy": ["haproxy_result"], "pgbouncer": ["pgbouncer_result"]}
_SERVERS = ["patroni_result", "harden_result"]


def _results(row: t.Any, variables: dict[str, t.Any]) -> dict[str, t.Any]:
    """The results of the hosts of one hop; its group may be the name of a single host."""
    if not isinstance(row, dict):
        return {}
    group = row.get("group")
    hosts = variables["groups"].get(group, [group] if group in variables["hostvars"] else [])
    names = _VARIABLES.get(str(row.get("kind")), _SERVERS)
    return {host: _first(variables["hostvars"][host], names) for host in hosts}


def _first(variables: t.Any, names: list[str]) -> dict[str, t.Any]:
    found = [result for result in (variables.get(name) for name in names) if result]
    return t.cast("dict[str, t.Any]", found[0] if found else {})


def _at_least(findings: list[dict[str, str]], severity: str | None) -> list[dict[str, str]]:
    if not severity:
        return []
    if severity not in SEVERITIES:
        remedy = f"Choose one of {', '.join(SEVERITIES)}."
        raise Failure("bad_severity", f"fail_on: {severity}", "there is no such severity", remedy)
    return [row for row in findings if SEVERITIES.index(row["severity"]) <= SEVERITIES.index(severity)]
