# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What gives a pooler away, and what does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _poolers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("PgBouncer", ["pgbouncer"]),
        ("pgcat", ["pgcat"]),
        ("Supavisor (auth_query)", ["supavisor"]),
        ("app - 10.0.0.7:51234", ["pgbouncer or odyssey"]),
        ("app - [fe80::1]:51234", ["pgbouncer or odyssey"]),
        ("psql - unix(4711):6432", ["pgbouncer or odyssey"]),
        ("psql", []),
        ("report - monthly", []),
        ("job - 12:30 at noon", []),
        ("", []),
    ],
)
def test_application_names(name: str, expected: list[str]) -> None:
    found = _poolers.by_application_name([name])
    assert [row["name"] for row in found] == expected
    assert all(name in row["evidence"] and row["seen_in"] == "pg_stat_activity" for row in found)


def test_one_pooler_is_named_once() -> None:
    assert len(_poolers.by_application_name(["pgbouncer", "pgbouncer-2", "x - 10.0.0.1:1", "y - 10.0.0.2:2"])) == 2


def test_processes(tmp_path: Path) -> None:
    for pid, comm in {1: "init", 200: "pgbouncer", 31: "pgbouncer", 7: "my pgbouncer", 8: "haproxy"}.items():
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(f"{comm}\n")
    (tmp_path / "9").mkdir()  # it has just ended
    (tmp_path / "self").mkdir()
    assert _poolers.by_process(str(tmp_path)) == [
        {"name": "haproxy", "seen_in": "processes", "evidence": "process 8"},
        {"name": "pgbouncer", "seen_in": "processes", "evidence": "process 31 and 1 more"},
    ]
    assert _poolers.by_process(str(tmp_path / "none")) == []


def test_a_server_process_that_is_older_than_its_login() -> None:
    assert _poolers.by_age(age=0.9, elapsed=0.5) == []
    (found,) = _poolers.by_age(age=60.5, elapsed=0.5)
    assert found["seen_in"] == "login"
    assert "60 s" in found["evidence"]
