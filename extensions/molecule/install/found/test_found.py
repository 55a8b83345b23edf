# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A trial run on a bare machine ends well, and has installed nothing."""

from __future__ import annotations

import typing as t

import pytest


@pytest.mark.parametrize("program", ["haproxy", "pgbouncer", "psql"])
def test_nothing_is_there(host: t.Any, program: str) -> None:
    assert not host.exists(program)


def test_nothing_is_written(host: t.Any) -> None:
    assert not host.file("/etc/pgbouncer").exists
    assert "clitcpka" not in host.file("/etc/haproxy/haproxy.cfg").content_string
    assert host.check_output("ls -A /var/lib/pgharden-connection 2>/dev/null || true") == ""
