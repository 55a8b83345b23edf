# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a drill: the newest run and the one before its settings changed; nothing of others is overwritten."""

from __future__ import annotations

import datetime
import json
import os
import stat
import typing as t
from pathlib import Path

import pytest
from _drills import DEFAULTS, HARDENED, Result, drilled

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.plugin_utils import _drill_files

OTHER = {**HARDENED, "tcp_user_timeout": 30_000}


def at(minute: int) -> datetime.datetime:
    # In a zone of its own: the files are in UTC.
    return datetime.datetime(2026, 11, 23, 3, minute, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))


def write(directory: Path, result: Result, minute: int = 0, host: str = "db1") -> dict[str, t.Any]:
    """The report that is in the file afterwards."""
    path = _drill_files.write(str(directory), host, result, at(minute))[0]
    return t.cast("dict[str, t.Any]", json.loads(Path(path).read_bytes()))


def times(report: dict[str, t.Any]) -> tuple[str | None, str]:
    """The minutes of both runs."""
    before, after = (run and run["time"][14:16] for run in (report["before"], report["after"]))
    return before, after


def test_the_first_run(tmp_path: Path) -> None:
    result = drilled(invocation={"module_args": {"login_password": "hunter2"}}, failed=True, msg="broken")
    old = os.umask(0o077)
    try:
        report = write(tmp_path / "some" / "reports", result)
    finally:
        os.umask(old)
    kept = ("side", "method", "patience", "tolerance", "server", "client", "settings", "cells", "log", "notes")
    assert report == {
        "schema": 1,
        "host": "db1",
        "before": None,
        "after": {"time": "2026-11-23T01:00:00Z", **{key: result[key] for key in kept}},
    }
    files = {path.name: path for path in (tmp_path / "some" / "reports").iterdir()}
    assert set(files) == {"drill-db1.json", "drill-db1.svg"}
    for path in files.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert "hunter2" not in path.read_text("utf-8")


def test_before_is_the_newest_run_with_other_settings(tmp_path: Path) -> None:
    runs = ((DEFAULTS, (None, "00")), (DEFAULTS, (None, "01")), (HARDENED, ("01", "02")), (HARDENED, ("01", "03")))
    more = ((OTHER, ("03", "04")), (HARDENED, ("04", "05")), (OTHER, ("05", "06")), (OTHER, ("05", "07")))
    for minute, (settings, expected) in enumerate(runs + more):
        report = write(tmp_path, drilled(settings), minute)
        assert times(report) == expected
        assert report["after"]["settings"] == settings


def test_each_side_has_files_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, drilled())
    assert write(tmp_path, drilled(side="client", client={"host": "app1", "options": DEFAULTS}))["before"] is None
    assert {path.name for path in tmp_path.iterdir()} == {
        f"drill-db1{side}.{ending}" for side in ("", ".client") for ending in ("json", "svg")
    }


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("db-1.example.org", "drill-db-1.example.org.json"),
        ("../../etc/passwd", "drill-.._.._etc_passwd.json"),
        ("fe80::1%eth0", "drill-fe80__1_eth0.json"),
        ("größe\n", "drill-gr__e_.json"),
        ("x" * 300, f"drill-{'x' * 200}.json"),
    ],
)
def test_names_that_do_not_fit_a_file(tmp_path: Path, host: str, name: str) -> None:
    assert write(tmp_path / "reports", drilled(), host=host)["host"] == host
    assert {path.name for path in tmp_path.iterdir()} == {"reports"}
    assert sorted(path.name for path in (tmp_path / "reports").iterdir())[0] == name


def report_of(**changes: t.Any) -> dict[str, t.Any]:
    return {**_drill_files.merged(None, "db1", drilled(DEFAULTS), at(0)), **changes}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"after": 1}',
        b"\xff\xfe",
        json.dumps({"schema": 1, "host": "db1", "before": None, "after": {"time": "today"}}),
        json.dumps(report_of(schema=2)),
        json.dumps(report_of(host="db2")),  # whose name became the same
        json.dumps(
            _drill_files.merged(
                None, "db1", drilled(side="client", client={"host": "app1", "options": DEFAULTS}), at(0)
            )
        ),
        json.dumps(report_of(after=None)),
        json.dumps(report_of(before={"time": "yesterday"})),
    ],
)
def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "drill-db1.json"
    there = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(there)
    with pytest.raises(Failure, match=r"drill-db1\.json: what is there is no report of a drill of db1") as failure:
        write(tmp_path, drilled())
    assert failure.value.code == "foreign_file"
    assert path.read_bytes() == there
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_of_ours_is_read(tmp_path: Path) -> None:
    (tmp_path / "drill-db1.json").write_text(json.dumps(report_of()))
    assert times(write(tmp_path, drilled(), 5)) == ("00", "05")


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(Failure, match=r"make .*/reports: File exists"):
        write(tmp_path / "reports", drilled())
