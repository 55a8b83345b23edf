# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All runs of the verifier share one table, which is shown at the end of each."""

from __future__ import annotations

import typing as t

import lab


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    terminalreporter.section("seconds until the backend was gone, and until the client knew")
    terminalreporter.write_line(lab.table())
