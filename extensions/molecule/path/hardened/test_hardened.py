# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardened: who is lost is noticed when it was promised, and nobody else is disturbed."""

from __future__ import annotations

import json
import re
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor

import lab
import pytest

#: So many times the path's idle limit, quiet sessions are left alone for.
TIMES = 10
IDLE_LIMIT = 8
#: Sessions in each phase.
SESSIONS = 2
#: Seconds that a busy machine may be late: to make a machine vanish, and to look again.
TOLERANCE = 2
#: The same for an answer that has to come back.
PATIENCE = 10
#: Seconds of the timer before the first probe, as the plan has it, with the kernel's slack.
FIRST_PROBE = 4 * 1.125
QUIET = ("idle", "idle_in_transaction")

Promised = t.Mapping[tuple[str, str, str], t.Mapping[str, t.Any]]


@pytest.fixture(scope="module")
def report() -> dict[str, t.Any]:
    """What the user was told when it was hardened."""
    return t.cast("dict[str, t.Any]", json.loads(lab.REPORT.read_text()))


@pytest.fixture(scope="module")
def promised(report: dict[str, t.Any]) -> Promised:
    return {(row["lost"].split()[0], row["end"], row["phase"]): row for row in report["promises"]}


@pytest.fixture(scope="module", autouse=True)
def aside() -> t.Iterator[dict[str, Future[dict[str, t.Any]]]]:
    """Sessions that nobody disturbs, by their phase, beside all the other tests."""
    seconds = TIMES * IDLE_LIMIT
    phases = ("idle", "idle_in_transaction", "executing_for_a_while")
    with ThreadPoolExecutor(len(phases)) as pool:
        yield {phase: pool.submit(lab.left_alone, phase, seconds, PATIENCE) for phase in phases}


@pytest.fixture(scope="module")
def outcomes(promised: Promised) -> dict[str, list[lab.Outcome]]:
    """By the machine that vanished; all four at the same time."""
    patience = max(row["bound"] for row in promised.values()) + TOLERANCE
    with ThreadPoolExecutor(len(lab.MACHINES)) as pool:
        futures = {name: pool.submit(lab.lose, name, lab.PHASES * SESSIONS, patience) for name in lab.MACHINES}
        return {name: future.result() for name, future in futures.items()}


def test_sockets_on_every_leg_have_the_planned_timer() -> None:
    with lab.Client(QUIET) as client:
        ports = [one["port"] for one in client.sessions]
        towards_pooler = lab.haproxy_ports()
        middle = [towards_pooler[pid] for pid in client.pids()]
        told = lab.console("SHOW SERVERS")
        back = [int(row["local_port"]) for row in told if int(row["remote_pid"]) in client.pids()]
        legs = (
            ("client", "haproxy", lab.HAPROXY_PORT, ports),
            ("haproxy", "pgbouncer", lab.PGBOUNCER_PORT, middle),
            ("pgbouncer", "server", lab.SERVER_PORT, back),
        )
        for *ends, listens, of_leg in legs:
            assert len(of_leg) == len(QUIET)
            pairs = [{listens, port} for port in of_leg]  # the other leg may have a port of the same number
            for name in ends:
                found = [one for one in lab.table_of(name) if {one.local_port, one.peer_port} in pairs]
                found = [one for one in found if one.state == "ESTAB"]
                assert len(found) == len(QUIET), (name, found)
                for one in found:
                    assert one.timer == "keepalive", (name, one)
                    assert one.seconds <= FIRST_PROBE, (name, one)


def test_report_finds_nothing_wrong(report: dict[str, t.Any]) -> None:
    assert [hop["kind"] for hop in report["hops"]] == list(lab.MACHINES)
    assert [row for row in report["findings"] if row["severity"] != "info"] == []


@pytest.mark.parametrize("phase", lab.BACKEND)
@pytest.mark.parametrize("name", [name for name in lab.MACHINES if name != "server"])
def test_backend_is_gone_when_promised(
    outcomes: dict[str, list[lab.Outcome]], promised: Promised, name: str, phase: str
) -> None:
    found = [one.backend for one in outcomes[name] if one.phase == phase]
    check(found, promised[name, "backend", lab.BACKEND[phase]], name, "backend", phase)


@pytest.mark.parametrize("phase", lab.CLIENT)
@pytest.mark.parametrize("name", [name for name in lab.MACHINES if name != "client"])
def test_client_knows_when_promised(
    outcomes: dict[str, list[lab.Outcome]], promised: Promised, name: str, phase: str
) -> None:
    found = [one.client for one in outcomes[name] if one.phase == phase]
    check(found, promised[name, "client", lab.CLIENT[phase]], name, "client", lab.CLIENT[phase])


def check(found: list[float | None], row: t.Mapping[str, t.Any], name: str, end: str, phase: str) -> None:
    lab.note_times(name, end, phase, "hardened", found, row["bound"] + TOLERANCE)
    lab.note(name, end, phase, "promised", f"{row['bound']:.1f}")
    lab.note(name, end, phase, "noticed by", row["noticed_by"].split()[0])
    assert len(found) == SESSIONS
    assert all(one is not None and one <= row["bound"] + TOLERANCE for one in found)


@pytest.mark.parametrize("phase", ["idle", "idle_in_transaction", "executing_for_a_while"])
def test_session_that_is_left_alone_lives(aside: dict[str, Future[dict[str, t.Any]]], phase: str) -> None:
    assert aside[phase].result() == {"answer": 1, "error": None}


@pytest.mark.parametrize("load", ["kept", "reconnecting"])
def test_load_did_not_notice_that_it_was_hardened(load: str) -> None:
    log = lab.machine("client").check_output(f"cat /var/tmp/load-{load}.log")
    lines = [line for line in log.splitlines() if not line.startswith("starting vacuum")]
    progress = [re.fullmatch(r"progress: .* s, ([\d.]+) tps, .* (\d+) failed.*", line) for line in lines]
    assert all(progress), [line for line, match in zip(lines, progress, strict=True) if not match]
    assert len(progress) > 5
    assert {match[2] for match in progress if match} == {"0"}
    assert sum(float(match[1]) for match in progress if match) > len(progress)  # at least one a second
