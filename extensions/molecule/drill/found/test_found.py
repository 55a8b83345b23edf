# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As found: the router forgets idle flows, and nobody tells the server."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

import lab
import pytest

#: Seconds on either side of the router's limit, for what a busy machine is late.
MARGIN = 3
QUIET = ("idle", "executing", "lock_wait", "idle_in_transaction")
#: How long sessions are watched, and clients wait for an answer.
PATIENCE = 12
USER_TIMEOUT = 3


class Series(t.NamedTuple):
    short: dict[str, t.Any]  # a client that was idle for less than the router's limit
    long: dict[str, t.Any]  # one that was idle for more
    limited: dict[str, t.Any]  # the same, with a user timeout of its own
    lost: list[lab.Outcome]
    drilled: dict[str, t.Any]


@pytest.fixture(scope="module", autouse=True)
def new_table() -> None:
    lab.ROWS.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def series(mode: str) -> Series:
    limit = lab.idle_limit()
    with ThreadPoolExecutor(5) as pool:
        futures = [
            pool.submit(lab.left_alone, "idle", limit - MARGIN, PATIENCE),
            pool.submit(lab.left_alone, "idle", limit + MARGIN, PATIENCE),
            pool.submit(lab.left_alone, "idle", limit + MARGIN, PATIENCE, tcp_user_timeout=USER_TIMEOUT * 1000),
            pool.submit(lab.lose, lab.PHASES * 2, limit + MARGIN, PATIENCE),
            pool.submit(lab.drill, faults=["peer_vanished"], phases=lab.PHASES, patience=f"{PATIENCE}s"),
        ]
        return Series(*(future.result() for future in futures))


def test_there_is_no_way_but_through_the_router() -> None:
    address = lab.machine("router").check_output("getent ahostsv4 server").split()[0]
    connect = f"timeout 3 bash -c ': >/dev/tcp/{address}/5432'"
    assert lab.machine("router").run(connect).rc == 0
    assert lab.machine("client").run(connect).rc != 0


def test_session_that_is_idle_for_less_than_the_limit_lives(series: Series) -> None:
    assert series.short["answer"] == 1


def test_client_that_was_idle_for_longer_hangs_or_is_reset(series: Series, mode: str) -> None:
    assert series.long["answer"] is None
    if mode == lab.DROPS:
        assert series.long["error"] is None
        lab.note("idle, then a query", lab.FORGOTTEN[mode], "found", f"no answer in {PATIENCE}")
    else:
        assert "closed the connection unexpectedly" in series.long["error"]
        assert series.long["seconds"] < MARGIN
        lab.note("idle, then a query", lab.FORGOTTEN[mode], "found", f"reset after {series.long['seconds']:.1f}")


def test_client_with_a_user_timeout_learns_of_it(series: Series, mode: str) -> None:
    assert series.limited["answer"] is None
    if mode == lab.DROPS:
        assert "timed out" in series.limited["error"]
        assert USER_TIMEOUT <= series.limited["seconds"] < USER_TIMEOUT + MARGIN
    else:
        assert "closed the connection unexpectedly" in series.limited["error"]


@pytest.mark.parametrize("phase", lab.PHASES)
def test_server_keeps_the_session(series: Series, mode: str, phase: str) -> None:
    lost = [one for one in series.lost if one.phase == phase]
    lab.note_lost(mode, "found", lost)
    if mode == lab.REJECTS and phase not in QUIET:
        # What it sends is answered with a reset.
        assert all(one.seconds is not None and one.seconds < MARGIN for one in lost)
        return
    assert [one.seconds for one in lost] == [None, None]
    assert all(one.socket and one.socket.state == "ESTAB" for one in lost)
    if phase in QUIET:
        assert not any(one.known for one in lost)  # it was the limit that did it
        assert all(one.socket.timer == "keepalive" and one.socket.seconds > 7000 for one in lost)


def test_nobody_notices_that_a_client_vanishes(series: Series) -> None:
    assert [cell["phase"] for cell in series.drilled["cells"]] == list(lab.PHASES)
    for cell in series.drilled["cells"]:
        lab.note_drilled("found", cell, PATIENCE)
        assert (cell["outcome"], cell["verdict"]) == ("still_there", "beyond_patience")
