# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgbouncer: what supported distributions have, 1.16, 1.18, 1.22, 1.24 and 1.26, from the images of the majors."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

import pytest
from _hardening import profile, wait_for
from _pgbouncers import WEB, Pooler
from support import Unavailable
from support.sources import find_source

pytestmark = [
    # Debian 11 has 13 and PgBouncer 1.15.
    pytest.mark.parametrize("major", [14, 15, 16, 17, 18]),
    pytest.mark.skipif(os.geteuid() != 0, reason="images are for root"),
]
POLICY = profile(
    "pooled",
    close_transaction_after="20min",
    close_idle_session_after="2h",
    close_idle_in_transaction_after="5min",
    replace_pooled_connection_after="40min",
    spare_pooled_connections=1,
)


@pytest.fixture
def pooler(major: int, new_cluster: t.Any, tmp_path: Path) -> t.Iterator[Pooler]:
    try:
        one = Pooler(new_cluster(major, source=find_source(major, kind="image")), tmp_path)
    except Unavailable as problem:
        pytest.skip(str(problem))
    yield one
    one.pgbouncer.stop()


def test_a_version_gets_what_it_has(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    pgbouncer.start()
    before = pooler.state()
    version = pgbouncer.version()
    result = pooler.harden(POLICY)
    assert result.get("changed"), result
    assert result["version"] == version
    in_force = pgbouncer.config_in_force()
    assert {name: in_force[name] for name in result["plan"]["settings"]} == result["plan"]["settings"]
    # What it lacks is said, and not written; what it has is not called lacking.
    missing = [row["setting"] for row in result["unsupported"]]
    assert missing == [name for name in ("transaction_timeout",) if name not in in_force]
    assert not set(missing) & set(result["plan"]["settings"])
    assert ("transaction_timeout" in in_force) == (tuple(map(int, version.split("."))) >= (1, 25))
    idle = int(result["plan"]["settings"]["tcp_keepidle"])
    with pgbouncer.session() as client:
        client.execute("SELECT 1")
        for leg, seconds in pooler.timers().items():
            # PgBouncer keeps min_pool_size connections ready beside the one in use.
            assert seconds, leg
            assert all(idle - 30 < one <= idle + 1 for one in seconds), leg
        (row,) = pooler.harden(POLICY, check=True)["idle_backends"] or [{}]
    assert not pooler.harden(POLICY)["changed"]
    assert row == {} or row["database"] == "app"
    pooler.revert()
    wait_for(lambda: pooler.state() == before)


def test_a_line_that_stops_the_reload_leaves_everything_in_force(pooler: Pooler) -> None:
    """From 1.25 on PgBouncer says that it could not reload, before that it does not; the end is the same."""
    pgbouncer = pooler.pgbouncer
    pgbouncer.write(pgbouncer.config_file.name, pgbouncer.config("max_client_conn = 55\n"))
    pgbouncer.start()
    pgbouncer.write(pgbouncer.config_file.name, pgbouncer.config("server_login_retry = soon\nmax_client_conn = 55\n"))
    before = pooler.state()
    result = pooler.harden(POLICY)
    new = tuple(map(int, pgbouncer.version().split("."))) >= (1, 25)
    assert result["failure"]["code"] == ("console_refused" if new else "not_in_force"), result
    assert "everything was put back" in result["msg"]
    assert pooler.state() == before


def test_a_signal_does_it_too(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    result = pooler.harden(reload_through="signal")
    assert result.get("changed"), result
    assert {name: pooler.pgbouncer.config_in_force()[name] for name in WEB} == WEB
