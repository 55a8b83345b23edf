# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throwaway PostgreSQL servers for the integration tests, the demo and the bench.

Put the directory ``tests`` on ``sys.path`` and import from here.
"""

from __future__ import annotations

from .modules import module_argv, run_module, run_playbook
from .servers import Cluster, ServerError
from .sessions import Session
from .sockets import Socket
from .sources import Source, Unavailable, available_majors, find_source

__all__ = [
    "Cluster",
    "ServerError",
    "Session",
    "Socket",
    "Source",
    "Unavailable",
    "available_majors",
    "find_source",
    "module_argv",
    "run_module",
    "run_playbook",
]
