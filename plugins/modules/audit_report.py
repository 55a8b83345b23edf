#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_report
short_description: Findings of all hosts of a play, as a table and as files
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Prints what M(pgharden.connection.audit) found on all hosts in about one screen of at most 100 columns, the worst
    hosts first.
  - Writes the whole of it as one self-contained HTML page, JSON (C(docs/audit.schema.json)), Markdown, JUnit XML and
    SARIF. The page has a timeline for each host and phase, what a drill measured and what a diagnosis found, where
    their reports lie in the same directory.
  - Says since when an audit has seen a host differ from what M(pgharden.connection.harden) put in force there.
  - Runs on the controller and touches no host. Use it with C(run_once). In a play with C(serial) each batch reports on
    those before it as well, and O(fail_on) waits for the last one.
options:
  variable:
    description: The variable that registered the results of M(pgharden.connection.audit).
    type: str
  collected:
    description:
      - Directory on the controller with C(audit.json) files of other runs in directories below it, as hosts leave them
        that audit themselves (C(ansible-pull)). Of a host that is in several of them the newest counts.
    type: path
  directory:
    description:
      - Directory on the controller for C(audit.json) and the other C(formats). It is made when it is missing.
      - A file in the way that is no such report is an error, and is left as it is.
    type: path
  formats:
    description: What to write beside JSON, V(html), V(md), V(xml) (JUnit) and V(sarif).
    type: list
    elements: str
    choices: [html, md, xml, sarif, json]
    default: [html, md]
  fail_on:
    description: Fail where a host has a finding of this severity or a worse one. C(ansible-playbook) then ends with 2.
    type: str
    choices: [error, warning, info]
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.attributes.report_module
"""

EXAMPLES = r"""
- name: Look at a host
  pgharden.connection.audit:
  become: true
  register: audit_result

- name: Report on the fleet
  pgharden.connection.audit_report:
    variable: audit_result
    directory: reports
    formats: [html, sarif]
    fail_on: error
  run_once: true
"""

RETURN = r"""
files:
  description: The files that were written.
  returned: success
  type: list
  elements: str
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
"""
