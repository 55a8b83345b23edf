# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a large log is entered: never behind what matters, and at its beginning where its times cannot be trusted."""

from __future__ import annotations

import os
import random
import typing as t
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _entry, _scan

NOON = 1795348800.0
LOST = "could not receive data from client: Connection reset by peer"
LINES = 60_000
#: Instead of 256 MiB, of a log of 8 MB.
BEFORE = 1 << 20


def line(second: int, text: str = "statement: select 'a statement of some length', 'which is repeated'") -> str:
    hours, minutes, seconds = 12 + second // 3600, second // 60 % 60, second % 60
    return f"2026-11-22 {hours:02}:{minutes:02}:{seconds:02}.000 UTC [42] app@shop LOG:  {text}\n"


def log_of(seconds: t.Iterable[int]) -> str:
    """One in a hundred lines tells of a loss."""
    return "".join(line(second, LOST) if not number % 100 else line(second) for number, second in enumerate(seconds))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_entry, "BEFORE", BEFORE)
    monkeypatch.setattr(_entry.enter, "__defaults__", (BEFORE,))
    return tmp_path / "log"


def found(path: Path, since: int) -> tuple[list[int], list[int]]:
    """The lines and seconds of the losses."""
    events, problems = _scan.scan([str(path)], matters_from=NOON + since)
    pairs = [(one.line, round((one.time or 0) - NOON)) for one in events]
    assert not problems
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@pytest.mark.parametrize("since", [0, 1, 7000, 9999, 10_000, 99_999])
def test_all_that_matters_is_read_and_not_much_more(path: Path, since: int) -> None:
    path.write_text(log_of(number // 6 for number in range(LINES)))
    lines, seconds = found(path, since)
    everything = list(range(1, LINES + 1, 100))
    assert lines == everything[-len(lines) :]  # counted as in the whole file
    numbered = path.read_text().splitlines()
    assert all(LOST in numbered[number - 1] for number in lines)
    assert {second for second in range(10_000) if second >= since} & {(n - 1) // 6 for n in everything} <= set(seconds)
    left_out = (lines[0] - 1) * len(line(0))
    assert left_out >= path.stat().st_size * min(since, 10_000) / 10_000 - 2 * BEFORE


@pytest.mark.parametrize(
    "seconds",
    [
        [*range(4000)] * 10 + [*range(4000, 10_000)],  # several servers' logs, one after the other
        [*range(30_000), *range(30_000, 0, -1)],
        random.Random(7).sample(range(60_000), 60_000),
    ],
)
def test_times_that_do_not_ascend(path: Path, seconds: list[int]) -> None:
    path.write_text(log_of(min(second, 42_000) for second in seconds))
    assert found(path, 9000)[0] == list(range(1, len(seconds) + 1, 100))


def test_times_that_ascend_as_a_whole(path: Path) -> None:
    """Lines of several processes are a little out of order."""
    chance = random.Random(7)
    path.write_text(log_of(max(0, number // 6 - chance.randrange(4)) for number in range(LINES)))
    assert found(path, 9000)[0][0] > LINES / 2


def test_a_long_statement_and_text_without_times(path: Path) -> None:
    statement = "\tFROM a\n" * 20_000
    log = log_of(number // 6 for number in range(30_000)) + statement + log_of(range(5000, 10_000)) * 2
    path.write_text(log)
    whole = [number for number, text in enumerate(log.splitlines(), 1) if LOST in text]
    assert found(path, 0)[0] == whole
    path.write_text(log_of(range(20_000)) + "\tFROM a\n" * 1_000_000)
    assert found(path, 19_000)[0][0] == 1  # nothing is known of more than that


def test_files_that_were_over_long_ago(path: Path) -> None:
    path.write_text(log_of(range(10)))
    os.utime(path, (NOON, NOON))
    missing = path.with_name("missing")
    events, problems = _scan.scan([str(path), str(missing)], matters_from=NOON + 86_000)
    assert len(list(events)) == 1
    assert problems == [f"{missing}: there is no such file"]
    assert not list(_scan.scan([str(path)], matters_from=NOON + 87_000)[0])


def test_a_file_that_becomes_shorter(path: Path) -> None:
    path.write_text(line(0) * 10)
    with path.open("rb") as log:
        assert _entry._newlines(log, 1 << 30) == 10


def test_no_log(path: Path) -> None:
    path.write_text("no log\n" * 500_000)
    events, problems = _scan.scan([str(path)], matters_from=NOON)
    assert not list(events)
    assert len(problems) == 1
