# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardened: quiet sessions outlive the router's limit, and those that are lost are gone when it was promised."""

from __future__ import annotations

import json
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor

import lab
import pytest

#: So many times the router's limit, quiet sessions are left alone for.
TIMES = 10
SESSIONS = 60
#: Seconds that a busy machine may be late: to make the router forget 60 flows, and to look at the server again.
TOLERANCE = 2
#: The same for an answer that has to come back.
PATIENCE = 10


@pytest.fixture(scope="module")
def promised() -> dict[str, float]:
    """Seconds until a vanished client's session is gone, at the latest: what the user was told when it was hardened."""
    told = json.loads(lab.machine("server").check_output("cat /var/tmp/result.json"))["promises"]["after"]
    return {row["phase"]: row["bound"] for row in told if row["fault"] == "peer_vanished"}


@pytest.fixture(scope="module", autouse=True)
def aside() -> t.Iterator[dict[str, Future[dict[str, t.Any]]]]:
    """What goes on beside all the other tests: sessions that nobody disturbs, by their phase, and the module."""
    seconds = TIMES * lab.idle_limit()

    def executing() -> dict[str, t.Any]:
        with lab.Client(["idle"]) as client:
            return client.use(f"SELECT 1 FROM pg_sleep({seconds})", seconds + PATIENCE)

    with ThreadPoolExecutor(4) as pool:
        yield {
            "idle": pool.submit(lab.left_alone, "idle", seconds, PATIENCE),
            "idle_in_transaction": pool.submit(lab.left_alone, "idle_in_transaction", seconds, PATIENCE),
            "executing": pool.submit(executing),
            "module": pool.submit(lab.drill, faults=["peer_vanished"], phases=lab.PHASES),
        }


@pytest.fixture(scope="module")
def lost(mode: str, promised: dict[str, float]) -> list[lab.Outcome]:
    phases = lab.PHASES * (SESSIONS // len(lab.PHASES))
    return lab.lose(phases, wait=0, patience=max(promised[phase] for phase in phases) + TOLERANCE)


@pytest.mark.parametrize("phase", lab.PHASES)
def test_forgotten_session_is_gone_when_promised(
    lost: list[lab.Outcome], mode: str, promised: dict[str, float], phase: str
) -> None:
    found = [one for one in lost if one.phase == phase]
    lab.note_lost(mode, "hardened", found)
    lab.note(phase, lab.FORGOTTEN[mode], "promised", f"{promised[phase]:.1f}")
    assert len(found) == SESSIONS // len(lab.PHASES)
    assert all(one.known for one in found)
    assert all(one.seconds is not None and one.seconds <= promised[phase] + TOLERANCE for one in found)


def test_sessions_in_all_phases_leave_nothing_half_open(lost: list[lab.Outcome]) -> None:
    assert len(lost) == SESSIONS
    assert not [one for one in lost if one.seconds is None or one.socket]


@pytest.mark.parametrize("phase", lab.PHASES)
def test_vanished_client_is_noticed_when_promised(
    aside: dict[str, Future[dict[str, t.Any]]], promised: dict[str, float], phase: str
) -> None:
    result = aside["module"].result()
    (cell,) = (cell for cell in result["cells"] if cell["phase"] == phase)
    lab.note_drilled("hardened", cell, result["patience"])
    lab.note(phase, lab.VANISHED, "promised", f"{promised[phase]:.1f}")
    assert (cell["outcome"], cell["verdict"]) == ("gone", "kept")
    assert cell["bound"] == pytest.approx(promised[phase], abs=0.01)
    assert cell["measured"] <= promised[phase] + result["tolerance"]


@pytest.mark.parametrize("phase", ["idle", "idle_in_transaction", "executing"])
def test_quiet_session_outlives_the_limit(aside: dict[str, Future[dict[str, t.Any]]], phase: str) -> None:
    assert aside[phase].result()["answer"] == 1
    if phase == "idle":
        for fault in lab.FORGOTTEN.values():
            lab.note("idle, then a query", fault, "hardened", "answered")
