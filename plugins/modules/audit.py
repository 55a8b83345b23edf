#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit
short_description: Findings of one host, read-only
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Looks at a host with M(pgharden.connection.connection_info), which changes nothing, and judges it on the controller
    by the rules of C(docs/findings.md) and by a policy.
  - Compares what is configured with what M(pgharden.connection.harden) last put in force there.
options:
  ignore:
    description: Findings that are known and accepted; the report shows them with their reason.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The rule.
        type: str
        required: true
      reason:
        description: Why.
        type: str
        required: true
      where:
        description: Only there, as the finding says it; C(*) and C(?) stand for anything.
        type: str
  require_server:
    description: Whether it is a failure when the server is down.
    type: bool
    default: false
  revert_file:
    description: The O(pgharden.connection.harden#module:revert_file) that the host was hardened with, if it was given.
    type: path
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.info_module
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.policy
  - pgharden.connection.login
attributes:
  platform:
    support: full
seealso:
  - module: pgharden.connection.audit_report
  - module: pgharden.connection.connection_info
"""

EXAMPLES = r"""
- name: Judge a host by the policy that it is to be hardened with
  pgharden.connection.audit:
    profile: cloud_nat
    ignore:
      - id: PGC103
        where: tcp_user_timeout, role backup
        reason: backups stop reading for an hour
  become: true
  register: audit_result
"""

RETURN = r"""
audit:
  description:
    - The host as in C(docs/audit.schema.json), with C(findings), C(ignored), C(timelines) of what is in force and of
      what is C(wanted), C(stale_sessions) and C(drift).
  returned: success
  type: dict
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
"""
