# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of a drill's cells: which there are, what each is promised, and the verdict at the very bounds."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import _detection, _settings
from ansible_collections.pgharden.connection.plugins.module_utils._drill import _cells
from ansible_collections.pgharden.connection.plugins.module_utils._drill._cells import (
    Cell,
    ClientOptions,
    Expected,
    Seen,
)
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues, Settings

HARDENED = Settings(35, 6, 6, 71_000, 5000)
DEFAULTS = Settings(7200, 75, 9)
SERVER_FAULTS = ["process_died", "peer_vanished", "path_forgot_flow", "probes_dropped", "short_outage", "slow_reader"]
EVERY = [*_cells.choose("server", [], SERVER_FAULTS), *_cells.choose("client", [], [])]
SECONDS = st.floats(0, 10_000)


def names(cells: t.Iterable[Cell]) -> list[str]:
    return [str(cell) for cell in cells]


# ---- which there are


def test_what_needs_no_privilege_is_drilled_when_nothing_is_asked_for() -> None:
    cells = _cells.choose("server", [], [])
    assert {cell.fault for cell in cells} == {"process_died", "peer_vanished", "short_outage", "slow_reader"}
    assert {cell.phase for cell in cells} == set(_cells.PHASES["server"])
    assert names(_cells.choose("client", [], [])) == [f"{phase} x peer_vanished" for phase in _cells.PHASES["client"]]


def test_only_faults_that_can_happen_in_a_phase() -> None:
    phases = {
        fault: {cell.phase for cell in EVERY if (cell.side, cell.fault) == ("server", fault)} for fault in SERVER_FAULTS
    }
    everything = set(_cells.PHASES["server"])
    assert phases == {
        "process_died": everything - {"idle_unacknowledged"},
        "peer_vanished": everything,
        "path_forgot_flow": everything - {"authenticating"},
        "probes_dropped": {"idle", "executing", "idle_in_transaction"},
        "short_outage": {"idle", "executing", "sending"},
        "slow_reader": {"sending"},
    }


@pytest.mark.parametrize(
    ("phases", "faults", "found"),
    [
        (["idle"], ["peer_vanished"], ["idle x peer_vanished"]),
        (["sending", "idle"], ["slow_reader", "process_died"], 3),
        (["idle", "idle"], ["peer_vanished", "peer_vanished"], ["idle x peer_vanished"]),
        (["sending"], [], 4),
        ([], ["slow_reader"], ["sending x slow_reader"]),
    ],
)
def test_phases_and_faults_are_combined(phases: list[str], faults: list[str], found: t.Any) -> None:
    cells = _cells.choose("server", phases, faults)
    assert (len(cells) if isinstance(found, int) else names(cells)) == found
    assert len(set(cells)) == len(cells)


@pytest.mark.parametrize(
    ("side", "phases", "faults", "code", "words"),
    [
        ("server", ["idle", "asleep"], [], "unknown_phase", ["phases: idle, asleep", "no phase asleep", "lock_wait"]),
        ("client", ["lock_wait"], [], "unknown_phase", ["no phase lock_wait on the side client", "connecting"]),
        ("server", [], ["fire"], "unknown_fault", ["no fault fire", "path_forgot_flow"]),
        ("client", [], ["process_died"], "unknown_fault", ["no fault process_died on the side client"]),
        (
            "server",
            ["idle"],
            ["slow_reader"],
            "no_cell",
            ["phases idle and faults slow_reader", "slow_reader: sending"],
        ),
    ],
)
def test_what_is_no_cell_is_refused(
    side: str, phases: list[str], faults: list[str], code: str, words: list[str]
) -> None:
    with pytest.raises(Failure) as caught:
        _cells.choose(side, phases, faults)
    assert caught.value.code == code
    for word in words:
        assert word in str(caught.value)


# ---- what is promised


@pytest.mark.parametrize("cell", [cell for cell in EVERY if cell.side == "server"], ids=str)
@pytest.mark.parametrize("settings", [HARDENED, DEFAULTS], ids=["hardened", "defaults"])
def test_every_cell_of_the_server_has_an_expectation(cell: Cell, settings: Settings) -> None:
    expected = _cells.expect(cell, settings, OsValues())
    assert expected.formula
    assert (expected.seconds is None) == (expected.bound is None)
    assert expected.seconds is None or 0 <= expected.seconds <= t.cast(float, expected.bound)
    if settings is HARDENED:
        assert expected.seconds is not None and expected.seconds <= 71 + 5


@pytest.mark.parametrize(
    ("phase", "fault", "seconds", "formula"),
    [
        ("idle", "process_died", 0, "at_once"),
        ("idle", "peer_vanished", 71, "keepalive_user_timeout"),
        ("idle", "probes_dropped", 71, "keepalive_user_timeout"),
        ("idle", "path_forgot_flow", 71, "keepalive_user_timeout"),
        ("idle_unacknowledged", "peer_vanished", 71.2, "user_timeout"),
        ("executing", "peer_vanished", 76, "keepalive_user_timeout+check_interval"),
        ("executing_cpu", "peer_vanished", 76, "keepalive_user_timeout+check_interval"),
        ("executing_cpu", "process_died", 5, "check_interval"),
        ("authenticating", "peer_vanished", 60, "authentication_timeout"),
        ("sending", "slow_reader", 71, "user_timeout"),
        ("sending", "short_outage", _detection.in_flight_outage_survived(HARDENED, OsValues()), "in_flight_outage"),
        ("idle", "short_outage", _detection.idle_outage_survived(HARDENED, OsValues()), "idle_outage"),
    ],
)
def test_promises_of_a_hardened_server(phase: str, fault: str, seconds: float, formula: str) -> None:
    expected = _cells.expect(Cell("server", phase, fault), HARDENED, OsValues())
    assert (expected.seconds, expected.formula) == (seconds, formula)
    survivable = fault in ("short_outage", "slow_reader")
    assert Cell("server", phase, fault).survivable is survivable
    if survivable:
        assert expected.bound == expected.seconds  # no slack is added to what has to be survived


def test_where_nothing_is_set_nothing_bounds_it() -> None:
    assert _cells.expect(Cell("server", "executing", "process_died"), DEFAULTS, OsValues())[:2] == (None, None)
    assert _cells.expect(Cell("server", "sending", "slow_reader"), DEFAULTS, OsValues())[:2] == (None, None)


def client(phase: str, keepalive: bool, settings: Settings, connect_timeout: int = 0) -> Expected:
    options = ClientOptions(keepalive, settings, connect_timeout)
    return _cells.expect_of_client(Cell("client", phase, "peer_vanished"), options, OsValues())


@pytest.mark.parametrize(
    ("phase", "keepalive", "settings", "connect_timeout", "seconds", "formula"),
    [
        ("idle", True, Settings(4, 1, 3), 0, 7, "keepalive"),
        ("waiting", True, Settings(4, 1, 3, 6000), 0, 6, "keepalive_user_timeout"),
        ("idle", False, Settings(4, 1, 3, 6000), 0, None, "no_keepalive"),
        ("waiting", False, Settings(4, 1, 3), 0, None, "no_keepalive"),
        ("sending", False, Settings(4, 1, 3, 6000), 0, 6.2, "user_timeout"),
        ("sending", True, Settings(4, 1, 3), 0, _detection.retransmission_seconds(15), "retransmissions"),
        ("connecting", True, Settings(tcp_user_timeout=5000), 10, 5, "user_timeout"),
        ("connecting", True, Settings(tcp_user_timeout=5000), 3, 3, "connect_timeout"),
        ("connecting", False, Settings(), 0, 127, "syn_retries"),
        ("connecting", False, Settings(tcp_user_timeout=200_000), 200, 127, "syn_retries"),
    ],
)
def test_promises_of_a_client(
    phase: str, keepalive: bool, settings: Settings, connect_timeout: int, seconds: float | None, formula: str
) -> None:
    expected = client(phase, keepalive, settings, connect_timeout)
    assert (expected.seconds, expected.formula) == (seconds, formula)
    assert (expected.bound is None) == (seconds is None)


# ---- how long an outage is to be


@given(seconds=st.none() | SECONDS, patience=st.floats(1, 10_000))
def test_an_outage_is_within_what_is_promised_and_within_the_patience(seconds: float | None, patience: float) -> None:
    expected = Expected(seconds, seconds, "")
    for phase, fault in (("idle", "short_outage"), ("sending", "slow_reader")):
        length = _cells.default_length(Cell("server", phase, fault), expected, patience)
        assert 0 <= length <= max(1, patience / 4)
        if seconds is not None:
            assert length <= 0.9 * seconds


def test_a_pause_is_shorter_than_an_outage_of_the_same_promise() -> None:
    expected = Expected(10, 10, "")
    assert _cells.default_length(Cell("server", "idle", "short_outage"), expected, 120) == 9
    assert _cells.default_length(Cell("server", "sending", "slow_reader"), expected, 120) == 8
    assert _cells.default_length(Cell("server", "sending", "slow_reader"), Expected(None, None, ""), 120) == 30


# ---- the verdict

ENDING, OUTAGE = Cell("server", "idle", "peer_vanished"), Cell("server", "idle", "short_outage")
PROMISED, UNBOUNDED = Expected(6, 6.75, "f"), Expected(None, None, "f")
LIMIT = 6.75 + _cells.TOLERANCE


@pytest.mark.parametrize(
    ("cell", "expected", "seen", "outcome", "verdict"),
    [
        (ENDING, PROMISED, Seen(0.1, 0.0), "gone", "kept"),
        # it is the last time it was seen there that proves a promise broken, not when somebody looked again
        (ENDING, PROMISED, Seen(LIMIT + 9, LIMIT), "gone", "kept"),
        (ENDING, PROMISED, Seen(LIMIT + 9, LIMIT + 0.001), "gone", "broken"),
        (ENDING, PROMISED, Seen(None, LIMIT), "still_there", "beyond_patience"),
        (ENDING, PROMISED, Seen(None, LIMIT + 0.001), "still_there", "broken"),
        (ENDING, UNBOUNDED, Seen(None, 10_000), "still_there", "beyond_patience"),
        (ENDING, UNBOUNDED, Seen(3, 2.9), "gone", "not_promised"),
        (ENDING, PROMISED, Seen(None, None), None, "not_possible"),
        (OUTAGE, PROMISED, Seen(None, 99, True, 99), "survived", "kept"),
        (OUTAGE, PROMISED, Seen(7, 7, False, 6.75), "lost", "broken"),
        (OUTAGE, PROMISED, Seen(7, 7, False, 6.751), "lost", "not_promised"),
        (OUTAGE, UNBOUNDED, Seen(None, 99, False, 99), "lost", "broken"),
        (OUTAGE, PROMISED, Seen(None, None), None, "not_possible"),
    ],
)
def test_verdicts_at_the_bounds(cell: Cell, expected: Expected, seen: Seen, outcome: str | None, verdict: str) -> None:
    assert _cells.judge(cell, expected, seen) == (outcome, verdict)


@given(seconds=SECONDS, alive=SECONDS, gap=st.floats(0, 1), gone=st.booleans())
def test_a_session_that_was_there_too_late_is_a_broken_promise_and_no_other_is(
    seconds: float, alive: float, gap: float, gone: bool
) -> None:
    expected = Expected(seconds, seconds * _settings.SLACK, "f")
    outcome, verdict = _cells.judge(ENDING, expected, Seen(alive + gap if gone else None, alive))
    assert outcome == ("gone" if gone else "still_there")
    assert (verdict == "broken") == (alive > seconds * _settings.SLACK + _cells.TOLERANCE)


# ---- in words


@pytest.mark.parametrize(
    ("cell", "expected", "seen", "text"),
    [
        (ENDING, PROMISED, Seen(6.23, 6.1), "gone after 6.2 s, promised 6 s"),
        (ENDING, Expected(71, 80, ""), Seen(125.4, 125), "gone after 125 s, promised 71 s"),
        (ENDING, UNBOUNDED, Seen(6.23, 6.1), "gone after 6.2 s, nothing bounds it"),
        (ENDING, Expected(7875, 8859, ""), Seen(None, 120.04), "still there after 120 s, would take 2 h 11 min"),
        (ENDING, UNBOUNDED, Seen(None, 5.04), "still there after 5.0 s, nothing would end it"),
        (ENDING, PROMISED, Seen(None, 30), "still there after 30.0 s, promised 6 s"),
        (ENDING, PROMISED, Seen(None, None), "before a login the server's end is seen on its own host only"),
        (OUTAGE, PROMISED, Seen(None, 5.4, True, 5.4), "survived 5.4 s"),
        (
            OUTAGE,
            PROMISED,
            Seen(6.2, 5.4, False, 5.4),
            "lost 6.2 s after it began; it lasted 5.4 s, up to 6.0 s is promised to be survived",
        ),
        (
            OUTAGE,
            UNBOUNDED,
            Seen(None, 5.4, False, 5.4),
            "lost; it lasted 5.4 s, any is promised to be survived",
        ),
    ],
)
def test_texts(cell: Cell, expected: Expected, seen: Seen, text: str) -> None:
    outcome, _verdict = _cells.judge(cell, expected, seen)
    assert _cells.describe(expected, seen, outcome) == text


@given(
    expected=st.builds(lambda s: Expected(s, s and s * 1.125, "f"), st.none() | SECONDS),
    seen=st.builds(Seen, st.none() | SECONDS, st.none() | SECONDS, st.booleans(), st.none() | SECONDS),
    cell=st.sampled_from(EVERY),
)
def test_whatever_was_seen_there_is_a_verdict_and_a_line_of_text(cell: Cell, expected: Expected, seen: Seen) -> None:
    outcome, verdict = _cells.judge(cell, expected, seen)
    assert verdict in ("kept", "broken", "beyond_patience", "not_promised", "not_possible")
    assert (outcome is None) == (verdict == "not_possible")
    text = _cells.describe(expected, seen, outcome)
    assert text and "\n" not in text and "None" not in text
