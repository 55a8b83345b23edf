# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that `_options.SERVER` defines."""

from __future__ import annotations


class ModuleDocFragment:
    """How settings get into the server."""

    DOCUMENTATION = r"""
options:
  apply_through:
    description:
      - Where settings of the whole server are written.
      - V(alter_system) uses C(ALTER SYSTEM), so they are in C(postgresql.auto.conf), which wins over all other files.
      - V(config_file) edits O(config_file), also while the server is down.
    type: str
    choices: [alter_system, config_file]
    default: alter_system
  config_file:
    description:
      - A C(postgresql.conf), which is edited in place, or a file that it includes, which is made if it is missing.
      - Comments, order, line endings, owner, mode and symbolic links are kept.
    type: path
  reload:
    description:
      - Whether to reload the server's configuration after a change. Without it, new values are written but not used.
    type: bool
    default: true
  reload_timeout:
    description: Seconds to wait until the server has read its files after a reload.
    type: float
    default: 10
  terminate_stale_sessions:
    description:
      - Whether to end sessions that still run on the socket options from before the change. Their clients get an
        error. Without it they are only listed, and take the new options after their client's next message.
    type: bool
    default: false
"""
