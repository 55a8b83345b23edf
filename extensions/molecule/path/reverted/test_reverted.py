# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reverted: everything is as it was found, on each machine."""

from __future__ import annotations

import lab
import pytest


@pytest.mark.parametrize("name", lab.MACHINES)
def test_every_file_is_as_found(name: str) -> None:
    now = lab.machine(name).check_output("sh -c %s", (lab.HERE / "found.sh").read_text())
    found = lab.machine(name).check_output("cat /root/found.txt")
    assert "/etc/" not in found and "etc/sysctl.d" in found
    assert now.splitlines() == found.splitlines()
