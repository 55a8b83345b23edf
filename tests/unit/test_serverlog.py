# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server's log goes: files, what was rotated away, and the service whose journal it is."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _serverlog

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def started() -> t.Iterator[t.Callable[..., int]]:
    """Starts a process whose standard error goes somewhere; its number."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(stderr: t.Any) -> int:
        processes.append(subprocess.Popen(SLEEP, stdout=subprocess.PIPE, stderr=stderr))
        t.cast(t.IO[bytes], processes[-1].stdout).readline()
        return processes[-1].pid

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def test_a_file_and_what_was_rotated_away_from_it(tmp_path: Path, started: t.Callable[..., int]) -> None:
    names = ["main.log", "main.log.1", "main.log.2.gz", "main.log-20261122"]
    for name in [*names, "other.log"]:
        (tmp_path / name).touch()
    with (tmp_path / "main.log").open("ab") as log:
        place = _serverlog.standard_error(started(log))
    assert place.path == str(tmp_path / "main.log")
    assert place.rotated() == sorted(str(tmp_path / name) for name in names)


def test_a_collector_has_a_directory() -> None:
    assert _serverlog.Place("/data/log/postgresql-Mon.log", collector=True).rotated() == ["/data/log"]


@pytest.mark.parametrize(("stderr", "where"), [(subprocess.PIPE, "pipe"), (subprocess.DEVNULL, "/dev/null")])
def test_what_is_no_file_is_said(started: t.Callable[..., int], stderr: int, where: str) -> None:
    place = _serverlog.standard_error(started(stderr))
    assert (place.path, place.unit) == (None, None)
    assert where in str(place.reason)


def test_a_process_that_is_not_there() -> None:
    place = _serverlog.standard_error(2**22 + 1)
    assert place.path is None
    assert "cannot be looked at" in str(place.reason)
