#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_report
short_description: Print why connections were lost on all hosts of a play, and keep it in files
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Prints, in at most 100 columns, for each host what was looked at, the causes of lost connections, ranked, each with
    its confidence, its clients, what speaks for it and against it, the alternatives, what would tell them apart, the
    remedy and what would have prevented it; then open sessions that nobody seems to answer, and what is harmless. Hosts
    with the same result share a paragraph.
  - With O(directory), keeps the result of each host as JSON and as a Markdown page with a table of the losses. A host
    that could not be diagnosed keeps the files it has.
  - Runs on the controller and touches no host. Use it with C(run_once). Hosts that have failed are reported as well;
    in a play with C(serial), register the result of this task, so that the batches that follow do not report them
    again.
options:
  variable:
    description: The variable that registered the results of M(pgharden.connection.diagnosis_info).
    type: str
    required: true
  directory:
    description:
      - Directory on the controller for C(diagnosis-HOST.json) and C(diagnosis-HOST.md), below the working directory of
        C(ansible-playbook) unless the path is absolute. It is made when it is missing.
      - The files name clients and roles, so that only their owner may read them.
      - A file in the way that is no such report of that host is an error, and is left as it is.
    type: path
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.report_module
  - pgharden.connection.attributes.actiongroup
seealso:
  - module: pgharden.connection.diagnosis_info
"""

EXAMPLES = r"""
- name: Find out why connections were lost in the last two hours
  pgharden.connection.diagnosis_info:
    since: 2h
  become: true
  register: found

- name: Report
  pgharden.connection.diagnosis_report:
    variable: found
    directory: reports
  register: reported
  run_once: true
"""

RETURN = r"""
files:
  description: The files that were written.
  returned: always
  type: list
  elements: str
  sample: [/home/me/reports/diagnosis-db1.json, /home/me/reports/diagnosis-db1.md]
"""
