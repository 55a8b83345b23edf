# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fault lab: provokes each cause of a lost connection for real, and keeps what a diagnosis may be given of it.

Root only. ``python -m lab --out DIR`` (with the directory ``tests`` on the path) writes the whole labelled set.
"""

from __future__ import annotations

from . import faults_of_clients, faults_of_logins, faults_of_paths, faults_of_proxies, faults_of_servers
from .cases import CASES, Case, Skipped, run
from .evidence import Evidence, Lost
from .hosts import LabError

__all__ = [
    "CASES",
    "Case",
    "Evidence",
    "LabError",
    "Lost",
    "Skipped",
    "faults_of_clients",
    "faults_of_logins",
    "faults_of_paths",
    "faults_of_proxies",
    "faults_of_servers",
    "run",
]
