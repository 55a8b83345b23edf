# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine is as it was found: after --check, and after a revert."""

from __future__ import annotations

import typing as t

import pytest
from support import machine


@pytest.fixture(scope="module")
def found(host: t.Any) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    """Now, and before the first hardening."""
    return machine.found_now(host), machine.found_first(host)


@pytest.mark.parametrize("what", ["files", "settings", "role settings", "sysctls", "started"])
def test_as_found(found: tuple[dict[str, t.Any], dict[str, t.Any]], variables: dict[str, t.Any], what: str) -> None:
    if what == "started" and "stopped" in variables:
        return  # the scenario did, not the collection
    now, first = found
    assert first[what] or what == "role settings"  # nothing would equal nothing
    assert now[what] == first[what]


def test_a_boot_brings_the_kernel_s_own_values(host: t.Any) -> None:
    assert machine.boot_values(host) == machine.KERNEL_DEFAULTS
