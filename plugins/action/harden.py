# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action harden: see `plugin_utils/_policy_action.py`."""

from __future__ import annotations

from ..plugin_utils._policy_action import PolicyAction


class ActionModule(PolicyAction):
    """Runs the module of the same name with the whole policy."""
