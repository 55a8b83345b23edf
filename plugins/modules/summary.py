#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: summary
short_description: Print what came of hardening for all hosts of a play
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Prints, in at most 100 columns, for each host what is promised before and after, what changed, and what could not be
    kept. Hosts with the same result share a paragraph, and a host without changes takes one line.
  - Runs on the controller and touches no host. Use it with C(run_once).
options:
  variable:
    description: The variable that registered the results of M(pgharden.connection.harden) or
      M(pgharden.connection.revert).
    type: str
    required: true
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.info_module
  - pgharden.connection.attributes.actiongroup
attributes:
  platform:
    support: full
"""

EXAMPLES = r"""
- name: Harden
  pgharden.connection.harden:
  become: true
  register: harden_result

- name: Show what is promised now
  pgharden.connection.summary:
    variable: harden_result
  run_once: true
"""

RETURN = r"""#"""
