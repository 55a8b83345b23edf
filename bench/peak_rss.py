#!/usr/bin/env python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for a module's interpreter: runs it and notes the most memory that it has had.

PEAK_RSS_PYTHON is the real interpreter, PEAK_RSS_FILE gets one line of KiB for each run.
"""

from __future__ import annotations

import os
import sys

child = os.fork()
if child == 0:
    os.execv(os.environ["PEAK_RSS_PYTHON"], [os.environ["PEAK_RSS_PYTHON"], *sys.argv[1:]])
_pid, status, usage = os.wait4(child, 0)
with open(os.environ["PEAK_RSS_FILE"], "a", encoding="ascii") as handle:
    handle.write(f"{usage.ru_maxrss}\n")
sys.exit(os.waitstatus_to_exitcode(status))
