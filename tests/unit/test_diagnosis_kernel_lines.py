# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's log in all its forms says whom it killed; what is not the kernel's alone is not taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _kernel_lines, _scan
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clock import Clock
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import LogEvent

# Of a kernel 6.18, and of 4.x the last one.
GROUP = "Memory cgroup out of memory: Killed process 4711 (postgres) total-vm:360668kB, anon-rss:258436kB, UID:101"
WHOLE = "Out of memory: Killed process 4711 (postgres) total-vm:360668kB, anon-rss:258436kB, file-rss:8232kB, UID:101"
OLD = "Out of memory: Kill process 4711 (postgres) score 900 or sacrifice child"
BEFORE = "postgres invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0"
TIME = 1795411542.417284
JOURNAL = {"_TRANSPORT": "kernel", "__REALTIME_TIMESTAMP": "1795411542417284"}


def events(path: Path, *lines: str) -> tuple[list[LogEvent], list[str]]:
    path.write_text("".join(f"{line}\n" for line in lines))
    found, problems = _scan.scan([str(path)])
    return list(found), problems


@pytest.mark.parametrize("message", [GROUP, WHOLE, OLD, WHOLE.partition(": ")[2]])
@pytest.mark.parametrize(
    ("form", "time"),
    [
        ("2026-11-23T05:25:42,417284+00:00 {}", TIME),
        ("2026-11-23T05:25:42.417284+00:00 db1 kernel: [ 1852.641975] {}", TIME),
        ("2026-11-23T06:25:42.417284+01:00 db1 kernel: {}", TIME),
        ("2026-11-23T05:25:42+0000 db1 kernel: {}", 1795411542.0),
        ("[ 1852.641975] {}", None),
        ("<6>[ 1852.641975] {}", None),
        ("[Mon Nov 23 05:25:42 2026] {}", None),
        ("Nov 23 05:25:42 db1 kernel: [ 1852.641975] {}", None),
        ("Nov  3 05:25:42 db1 kernel: {}", None),
    ],
)
def test_each_form_says_whom_the_kernel_killed(tmp_path: Path, form: str, time: float | None, message: str) -> None:
    found, _problems = events(
        tmp_path / "kern.log", form.format(BEFORE), "and a second line of it", form.format(message)
    )
    (one,) = found
    assert (one.kind, one.number, one.detail, one.line) == ("killed_for_memory", 4711.0, "postgres", 3)
    assert one.time == (time if time is None else pytest.approx(time, abs=1e-3))
    assert "process 4711 (postgres)" in one.text
    assert "total-vm" not in one.text


def test_the_journal_has_them_too(tmp_path: Path) -> None:
    lines = [json.dumps({**JOURNAL, "MESSAGE": text}) for text in (BEFORE, GROUP)]
    (one,) = events(tmp_path / "journal.json", *lines)[0]
    assert (one.number, one.time) == (4711.0, pytest.approx(TIME, abs=1e-3))
    other = json.dumps({**JOURNAL, "_TRANSPORT": "syslog", "MESSAGE": GROUP})
    assert events(tmp_path / "journal.json", *lines, other, other)[0] == []


@pytest.mark.parametrize(
    "lines",
    [
        ["Nov 23 05:25:42 db1 kernel: x", "Nov 23 05:25:42 db1 sshd[7]: Killed process 4711 (postgres)", "Nov"],
        ["2026-11-23T05:25:42+00:00 db1 sshd[7]: Killed process 4711 (postgres)"] * 3,
        ["Killed process 4711 (postgres)", "[ 1.5] x", "Killed process 4711 (postgres)", "z"],
        ["Killed process 4711 (postgres)"],
    ],
)
def test_what_is_not_the_kernels_alone_is_not_taken_for_it(tmp_path: Path, lines: list[str]) -> None:
    found, problems = events(tmp_path / "syslog", *lines)
    assert found == []
    assert "no line of it looks like one of a PostgreSQL log" in problems[0]


def test_a_log_of_the_server_stays_one(tmp_path: Path) -> None:
    line = "2026-11-23 05:25:42.417 UTC [4700] LOG:  server process (PID 4711) was terminated by signal 9: Killed"
    assert [one.kind for one in events(tmp_path / "postgresql.log", line)[0]] == ["server_process_died"]


def test_a_kernel_without_such_a_line_is_no_problem(tmp_path: Path) -> None:
    assert events(tmp_path / "kern.log", "[ 1.500000] x", "[ 1.600000] Killed process (postgres)") == ([], [])
    assert _kernel_lines.recognised([], None, Clock()) is None


@given(st.lists(st.text() | st.sampled_from([WHOLE, "[ 1.5] x", '{"_TRANSPORT": "kernel"}', "[" * 5000])))
def test_whatever_it_reads_it_does_not_fail(lines: list[str]) -> None:
    form = _kernel_lines.recognised(lines, None, Clock())
    for line in lines if form else []:
        assert form
        form.read(line)
