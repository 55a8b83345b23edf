# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation that modules share: what each of them promises about check mode, diff mode and running twice."""

from __future__ import annotations


class ModuleDocFragment:
    """Use the first one everywhere, and C(.actiongroup); what only reads adds C(.info_module), or C(.report_module)."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what would change, without changing it.
  diff_mode:
    description: Says in C(diff) what changes, or would change in C(check_mode).
  idempotent:
    description:
      - Run a second time with the same arguments, it reports no change.
      - That is as long as nothing else changes in between what it manages.
  platform:
    description: The systems that it can run on.
    platforms: posix
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - It changes nothing in any mode.
  diff_mode:
    support: N/A
    details:
      - It changes nothing in any mode.
  idempotent:
    support: full
    details:
      - It changes nothing in any mode.
"""

    REPORT_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - Writes no file.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - The hosts are not touched, so that it never reports a change; the files get the run of the same variable again.
  platform:
    support: full
"""

    ACTIONGROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/pgharden.connection.hardening) in C(module_defaults) to set options for the whole group.
    support: full
    membership:
      - pgharden.connection.hardening
"""
