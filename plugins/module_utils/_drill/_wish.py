# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wish of a drill: what is asked for, and whether this process may make it happen."""

from __future__ import annotations

import dataclasses
import platform
import typing as t

from .._errors import Failure
from . import _cells, _cut
from ._cells import Cell


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is asked for; times in seconds."""

    side: str = "server"
    phases: t.Sequence[str] = ()
    faults: t.Sequence[str] = ()
    method: str = "socket"
    patience: float = 120.0
    outage: float | None = None
    pause: float | None = None
    log_file: str | None = None
    target_host: str | None = None


def check_privileges(cells: t.Sequence[Cell], method: str) -> None:
    """Raises Failure ``no_such_option`` where packets of one socket cannot be kept away, or ``missing_privilege``."""
    if not _cut.available():
        raise Failure(
            "no_such_option",
            "a drill",
            f"{platform.system()} cannot keep the packets of one socket away from it, as Linux can",
            "Run it from a Linux host that can reach the server: delegate_to, or hosts that are clients.",
        )
    privileged = sorted({cell.fault for cell in cells if cell.fault in _cells.PRIVILEGED})
    needed = ["CAP_NET_ADMIN"] if privileged or method == "namespace" else []
    needed += ["CAP_SYS_ADMIN"] if method == "namespace" else []
    missing = _cut.missing_capabilities(needed)
    if missing:
        what = f"faults {', '.join(privileged)}" if privileged else "method namespace"
        raise Failure(
            "missing_privilege",
            f"a drill with {what}",
            f"this process lacks {' and '.join(missing)}",
            "Run it with become: true (drill_become of the role), or choose faults and a method that need none.",
            missing=missing,
        )
