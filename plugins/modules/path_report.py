#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: path_report
short_description: Print what a whole path from client to server promises, and what is wrong with it
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Takes what is in force on each hop, as M(pgharden.connection.client), M(pgharden.connection.haproxy),
    M(pgharden.connection.pgbouncer) and M(pgharden.connection.harden) returned it, and prints, in at most 100 columns,
    how soon the backend is gone and how soon the client knows when the host of any hop vanishes.
  - Then the findings, settings of several hops that are each right and together wrong, with their remedies.
  - Hosts of a group that differ are each taken into account; what is promised is the worst of them.
  - Runs on the controller and touches no host. Use it with C(run_once).
options:
  hops:
    description: The path, client first and server last.
    type: list
    elements: dict
    required: true
    suboptions:
      kind:
        description: What it is.
        type: str
        choices: [client, haproxy, pgbouncer, server]
        required: true
      group:
        description:
          - The group, or the host, of the inventory. Its results are read from C(client_result), C(haproxy_result),
            C(pgbouncer_result) and C(harden_result), where the roles of the collection register them.
        type: str
        required: true
      driver:
        description: The driver of a client.
        type: str
      path_idle_limit:
        description: Duration. The smallest idle timeout of any device between this hop and the next.
        type: str
      age_limit:
        description: Duration. A device between this hop and the next ends every connection at this age.
        type: str
      unix_socket:
        description: Whether this hop reaches the next one through a Unix socket.
        type: bool
        default: false
  longest_statement:
    description: Duration of the longest statement, for finding C(PGC405).
    type: str
  directory:
    description: Directory on the controller for C(path.json). It is made when it is missing.
    type: path
  fail_on:
    description: Fail where there is a finding of this severity or a worse one.
    type: str
    choices: [error, warning, info]
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.attributes.report_module
"""

EXAMPLES = r"""
- name: What does the path promise?
  pgharden.connection.path_report:
    hops:
      - kind: client
        group: applications
        driver: psycopg2
        path_idle_limit: 350s
      - kind: pgbouncer
        group: poolers
      - kind: server
        group: databases
    directory: reports
  run_once: true
"""

RETURN = r"""
promises:
  description:
    - For each hop that vanishes (C(lost)) and each C(phase), the seconds until the C(end) (V(backend) or V(client)) is
      rid of it, C(bound) with the slack of the kernel's timers, the C(formula), and the hop that C(noticed_by) it.
  returned: success
  type: list
  elements: dict
findings:
  description: What is wrong, with C(id), C(severity), C(where), C(evidence) and C(remedy), the worst first.
  returned: success
  type: list
  elements: dict
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
