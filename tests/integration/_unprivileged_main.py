# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As run_module_main.py, for a user who has no capability and can get none; says what the kernel has of them first."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import enter_main
import run_module_main

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38


def become(name: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    enter_main.become(name)
    status = Path("/proc/self/status").read_text()
    print(*(line for line in status.splitlines() if line.startswith("Cap")), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    run_module_main.become = become
    run_module_main.main()
