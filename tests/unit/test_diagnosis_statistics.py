# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters as somebody may send them, and what only they know."""

from __future__ import annotations

import copy
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _live, _statistics
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clues import Surroundings
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import LogEvent, Loss
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._judge import judge
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

NOON = 1795348800.0
BEFORE = {"datname": "shop", "datid": 5, "sessions": 9, "sessions_abandoned": 1, "session_time": 12.5}
AFTER = {"datname": "shop", "datid": 5, "sessions": 12, "sessions_abandoned": 3, "session_time": 99.25}


def rates(*given: t.Any) -> dict[str, t.Any]:
    found = _statistics.samples(given)
    assert found
    return _live.rates(*found)


def of(row: dict[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in row.items() if key != "datname"}


@pytest.mark.parametrize(
    "shape",
    [
        lambda row, _at: [row],
        lambda row, _at: [{"datname": None, "sessions": 0}, row],
        lambda row, at: {"at": at, "databases": {"shop": of(row)}},
        lambda row, at: {"at": str(at), "databases": [row]},
        lambda row, at: {"time": at, "pg_stat_database": [row]},
        lambda row, _at: {"timestamp": "2026-11-22T12:00:00Z", "pg_stat_database": {"shop": of(row)}},
        lambda row, _at: {"now": "2026-11-22 12:00:00+00", "database": row},
        lambda row, _at: {"shop": of(row)},
        lambda row, _at: row,
        lambda row, _at: {key: str(value) for key, value in row.items()},  # as psql or a CSV has it
    ],
)
def test_rows_of_pg_stat_database_in_any_usual_shape(shape: t.Callable[..., t.Any]) -> None:
    found = rates(shape(BEFORE, NOON), shape(AFTER, NOON + 60))
    assert found["databases"]["shop"] == {"sessions": 3, "sessions_abandoned": 2}
    assert found["seconds"] in (0.0, 60.0)
    assert rates({"before": shape(BEFORE, NOON), "after": shape(AFTER, NOON)})["databases"] == found["databases"]


@pytest.mark.parametrize(
    "shape",
    [
        lambda count: {"kernel": {"TCPTimeouts": count}},
        lambda count: {"nstat": {"kernel": {"TcpExtTCPTimeouts": count}}},
        lambda count: {"netstat": {"TcpExt": {"TCPTimeouts": str(count)}}},
        lambda count: {"TcpExt": {"TCPTimeouts": f"{count}.0"}},
    ],
)
def test_counters_of_the_kernel_in_any_usual_shape(shape: t.Callable[..., t.Any]) -> None:
    assert rates(shape(5), shape(7)) == {"seconds": 0.0, "databases": {}, "kernel": {"TCPTimeouts": 2}}


@pytest.mark.parametrize(
    "samples",
    [
        [{}],
        [{}, {}],
        [{"at": 1.0, "databases": {}}],
        [{"at": "x", "databases": {}}] * 2,
        [3, 4],
        [BEFORE] * 3,
        [[3]] * 2,
    ],
)
def test_what_is_no_statistics(samples: list[t.Any]) -> None:
    with pytest.raises(Failure) as failure:
        _statistics.samples(samples)
    assert failure.value.code == "bad_statistics"
    assert _statistics.samples([]) is None


values: t.Any = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["at", "databases", "kernel", "datname", "sessions", "a"]), inner)
    ),
    max_leaves=9,
)


@given(st.lists(values, max_size=3))
def test_nothing_else_is_raised(samples: list[t.Any]) -> None:
    try:
        found = _statistics.samples(copy.deepcopy(samples))
        assert found is None or _live.rates(*found)["seconds"] is not None
    except Failure as failure:
        assert failure.code == "bad_statistics"


def counted(*losses: Loss, before: float | None = NOON, **row: int) -> list[str | None]:
    found = _statistics.unexplained({"databases": {"shop": row}}, before, NOON + 60, list(losses))
    verdicts = [judge(loss, Surroundings()) for loss in found]
    return [verdict and verdict.cause for verdict in verdicts]


def lost(kind: str, time: float | None = NOON + 5) -> Loss:
    return Loss(time, None, None, 4711, (LogEvent(kind, time, 4711, "", "log", 1),))


def test_a_session_that_only_the_statistics_have_lost() -> None:
    assert counted(sessions_abandoned=2) == ["client_exited"] * 2
    assert counted(lost("receive_timed_out"), sessions_abandoned=2) == ["client_exited"]
    assert counted(lost("eof_in_transaction"), lost("receive_reset", None), sessions_abandoned=2) == []
    assert counted(lost("receive_reset", NOON - 60), sessions_abandoned=1) == ["client_exited"]  # that was before
    assert counted(lost("receive_reset", NOON - 60), before=None, sessions_abandoned=1) == []
    assert counted(lost("receive_reset", NOON + 90), sessions_abandoned=1) == ["client_exited"]
    assert counted(lost("idle_session_timeout"), sessions_abandoned=1) == ["client_exited"]
    assert counted(sessions_killed=1) == ["backend_terminated"]
    assert counted(lost("admin_command"), sessions_killed=1, sessions_fatal=3) == []
    assert len(counted(sessions_abandoned=1000)) < 30
