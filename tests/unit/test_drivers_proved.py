# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said to be proved is proved: the drivers with proof `run` are those that tests/integration connects with."""

from __future__ import annotations

from support import drivers

from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers


def test_the_drivers_that_are_said_to_run_are_run() -> None:
    said = {name for name, driver in _drivers.DRIVERS.items() if driver.proof == "run"}
    assert said == set(drivers.PROVED)
