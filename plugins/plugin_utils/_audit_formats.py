# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit formats, on the controller: the report as Markdown, JUnit XML and SARIF."""

from __future__ import annotations

import hashlib
import json
import typing as t
import urllib.parse
from xml.etree import ElementTree

from ..module_utils import _duration
from ._audit_data import DOCUMENTATION, documented, drifted, worst
from ._reports import printable

Report = t.Mapping[str, t.Any]

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def markdown(report: Report) -> str:
    """A table of the hosts, then each host's findings, and what has drifted there."""
    text = [f"# Audit of {report['time']}", "", "| host | worst | idle | executing | sending | stale | drift |"]
    text.append("|---|---|---|---|---|---|---|")
    for host in report["hosts"]:
        promises = {line["phase"]: _duration.human(line["seconds"]) for line in host["timelines"]}
        cells = [promises.get(phase, "") for phase in ("idle", "executing", "sending")]
        standing = worst(host) if host["status"] == "ok" else f"{host['status']}: {host['reason']}"
        row = [host["host"], standing, *cells, str(host["stale_sessions"] or ""), drifted(host)]
        text.append(f"| {' | '.join(map(_cell, row))} |")
    for host in report["hosts"]:
        if host["findings"] or host["ignored"] or drifted(host):
            text += ["", f"## {_cell(host['host'])}", ""]
            text += [
                f"- [{row['id']}]({documented(row['id'])}) {row['severity']}, {_cell(_sentence(row))}"
                for row in host["findings"]
            ]
            text += [
                f"- {row['id']} ignored ({_cell(row['reason'])}): {_cell(row['where'])}" for row in host["ignored"]
            ]
            if drifted(host):
                text += [
                    f"- drifted from what profile {_cell(host['drift']['profile'])} put in force on "
                    f"{host['drift']['hardened']}: {_cell(one['name'])} is {_cell(one['found'])} instead of "
                    f"{_cell(one['wanted'])} ({_cell(one['where'])})"
                    for one in host["drift"]["settings"]
                ]
    return "\n".join(text) + "\n"


def junit(report: Report) -> str:
    """A test suite for each host and a test case for each finding; hosts without one have a case that passed.

    A server that was down has one that was skipped: of most rules nobody knows whether it keeps them.
    """
    root = ElementTree.Element("testsuites", name="pgharden.connection audit")
    for host in report["hosts"]:
        rows = host["findings"]
        failed = host["status"] == "failed"
        suite = ElementTree.SubElement(root, "testsuite", name=printable(host["host"]), timestamp=report["time"][:-1])
        for row in rows:
            case = _case(suite, host, f"{row['id']} {row['where']}")
            if row["severity"] != "info":
                failure = ElementTree.SubElement(
                    case, "failure", type=row["severity"], message=printable(row["evidence"])
                )
                failure.text = printable(row["remedy"])
        for row in host["ignored"]:
            skipped = _case(suite, host, f"{row['id']} {row['where']}")
            ElementTree.SubElement(skipped, "skipped", message=printable(row["reason"]))
        if failed:
            case = _case(suite, host, "audit")
            ElementTree.SubElement(case, "error", message=printable(host["reason"]))
        elif host["status"] == "down":
            skipped = _case(suite, host, "audit")
            ElementTree.SubElement(skipped, "skipped", message=printable(f"down: {host['reason']}"))
        elif not len(suite):
            _case(suite, host, "audit")
        counts = {
            "tests": len(suite),
            "failures": sum(row["severity"] != "info" for row in rows),
            "errors": int(failed),
            "skipped": len(suite.findall("testcase/skipped")),
        }
        suite.attrib.update({name: str(count) for name, count in counts.items()})
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _case(suite: ElementTree.Element, host: Report, name: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=printable(host["host"]), name=printable(name).strip())


def sarif(report: Report) -> str:
    """SARIF 2.1.0. A host is a logical location, and a file of that name for readers that show nothing else.

    A host that could not be judged has no results, so that the run says it was not successful.
    """
    rules = [
        {
            "id": id,
            "shortDescription": {"text": rule["title"]},
            "helpUri": documented(id),
            "defaultConfiguration": {"level": _LEVELS[rule["severity"]]},
        }
        for id, rule in report["rules"].items()
    ]
    results = []
    for host in report["hosts"]:
        for row in [*host["findings"], *host["ignored"]]:
            location = {
                "logicalLocations": [{"name": host["host"], "fullyQualifiedName": f"{host['host']}: {row['where']}"}],
                "physicalLocation": {
                    "artifactLocation": {"uri": urllib.parse.quote(host["host"], safe="")},
                    "region": {"startLine": 1},
                },
            }
            # Code scanning tells the results of one line apart by it.
            same = hashlib.sha256(f"{host['host']} {row['id']} {row['where']}".encode()).hexdigest()
            result: dict[str, t.Any] = {
                "ruleId": row["id"],
                "level": _LEVELS[row["severity"]],
                "message": {"text": f"{host['host']}: {_sentence(row)}"},
                "locations": [location],
                "partialFingerprints": {"primaryLocationLineHash": same},
            }
            if "reason" in row:
                result["suppressions"] = [{"kind": "external", "justification": row["reason"]}]
            results.append(result)
    failed = [host for host in report["hosts"] if host["status"] == "failed"]
    notes = [{"level": "error", "message": {"text": f"{host['host']}: {host['reason']}"}} for host in failed]
    invocation = {"executionSuccessful": not failed, "toolExecutionNotifications": notes}
    driver = {"name": "pgharden.connection", "informationUri": DOCUMENTATION.partition("/blob/")[0], "rules": rules}
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "invocations": [invocation], "results": results}],
    }
    return json.dumps(log, indent=1) + "\n"


def _sentence(row: Report) -> str:
    return f"{row['where']}: {row['evidence']}. {row['remedy']}"


def _cell(text: t.Any) -> str:
    return printable(str(text)).replace("|", "\\|").replace("<", "&lt;")
