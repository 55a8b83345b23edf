# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both runs of the verifier share one table, which is shown at the end of each."""

from __future__ import annotations

import typing as t

import lab
import pytest


@pytest.fixture(scope="module", params=[lab.DROPS, lab.REJECTS], ids=["drops", "rejects"])
def mode(request: pytest.FixtureRequest) -> str:
    """What the router does with packets of forgotten flows; one series of tests after the other."""
    lab.set_router(request.param)
    return t.cast("str", request.param)


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    terminalreporter.section("seconds until the server was rid of the session")
    terminalreporter.write_line(lab.table())
