#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_report
short_description: Print what a drill measured on all hosts of a play, and keep it in files
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Prints, in at most 100 columns, for each host and each phase and fault what was promised and what was measured, with
    the line of the server's log, and how many promises were kept.
  - With O(directory), keeps the newest run on each host, and the newest one with other settings in force, as JSON and
    as a picture (SVG) that shows both. A host on which the drill could not be done keeps the files it has.
  - Runs on the controller and touches no host. Use it with C(run_once), in C(always) where the report is wanted also
    when a promise is broken. Hosts that have failed are reported as well; in a play with C(serial), register the result
    of this task, so that the batches that follow do not report them again.
options:
  variable:
    description: The variable that registered the results of M(pgharden.connection.drill).
    type: str
    required: true
  directory:
    description:
      - Directory on the controller for C(drill-HOST.json) and C(drill-HOST.svg), below the working directory of
        C(ansible-playbook) unless the path is absolute. It is made when it is missing.
      - For a drill of O(pgharden.connection.drill#module:side=client) the names are C(drill-HOST.client.json) and
        C(drill-HOST.client.svg).
      - A file in the way that is no such report of that host is an error, and is left as it is.
    type: path
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.report_module
  - pgharden.connection.attributes.actiongroup
"""

EXAMPLES = r"""
- name: Drill the servers and report what was measured, also when a promise is broken
  block:
    - name: Drill
      pgharden.connection.drill:
      register: drill_result
  always:
    - name: Report
      pgharden.connection.drill_report:
        variable: drill_result
        directory: reports
      register: drill_reported
      run_once: true
"""

RETURN = r"""
files:
  description: The files that were written.
  returned: always
  type: list
  elements: str
  sample: [/home/me/reports/drill-db1.json, /home/me/reports/drill-db1.svg]
"""
