# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the formats of a log, and of streaming them from files."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import json
import lzma
import os
import random
import shutil
import subprocess
import tracemalloc
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _lines, _prefix, _scan
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clock import Clock
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import KINDS, LogEvent

NOON = 1795348800.0
HEAD = "2026-11-22 12:00:00.500 UTC [42] app@shop "
RESET = "could not receive data from client: Connection reset by peer"
STDERR = f"{HEAD}LOG:  {RESET}"
SECRET = "hunter2-Planted"
CSV = (
    '2026-11-22 12:00:00.500 UTC,"app","shop",42,"10.0.0.1:4711",6921abcd.3039,17,"SELECT",'
    f'2026-11-22 11:00:00 UTC,3/17,0,LOG,08006,"{RESET}",,,,,,"select \'{SECRET}\'",,,"my app","client backend",,0'
)
FIELDS = {
    "timestamp": "2026-11-22 12:00:00.500 UTC",
    "user": "app",
    "dbname": "shop",
    "pid": 42,
    "remote_host": "10.0.0.1",
    "remote_port": 4711,
    "session_id": "6921abcd.3039",
    "error_severity": "LOG",
    "state_code": "08006",
    "message": RESET,
    "application_name": "my app",
}
REST = {"detail": f"Key ({SECRET})", "statement": f"select '{SECRET}'"}


def line_of(fields: dict[str, t.Any]) -> str:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


JSON = line_of({**FIELDS, **REST})
JOURNAL = line_of({"__REALTIME_TIMESTAMP": "1795348800500000", "MESSAGE": STDERR, "SYSLOG_PID": "43"})
FULL = {
    "kind": "receive_reset",
    "time": NOON + 0.5,
    "pid": 42,
    "address": "10.0.0.1",
    "port": 4711,
    "user": "app",
    "database": "shop",
    "application": "my app",
    "sqlstate": "08006",
    "session": "6921abcd.3039",
}


def scanned(*paths: Path | str, **options: t.Any) -> tuple[list[LogEvent], list[str]]:
    events, problems = _scan.scan([str(path) for path in paths], **options)
    return list(events), problems


def event_of(text: str, **options: t.Any) -> LogEvent | None:
    form = _lines.recognised([text], options.get("prefix"), Clock())
    assert form
    assert form.interesting.search(text.encode())
    record = form.read(text)
    return _lines.event(record, "log", 1) if record else None


# ---- formats


@pytest.mark.parametrize("text", [CSV, JSON, CSV[: CSV.index("select")], JSON[: JSON.index("select")]])
def test_a_record_of_csvlog_and_jsonlog_also_if_cut(text: str) -> None:
    said = event_of(text)
    assert said
    expected = FULL if "select" in text or text[0] == "{" else {**FULL, "application": None}
    assert {name: getattr(said, name) for name in expected} == expected
    assert SECRET not in repr(said)


def test_csvlog_with_hardly_anything_in_it() -> None:
    said = event_of(
        "2026-11-22 12:00:00.500 UTC,,,42,,6921abcd.3039,1,,2026-11-22 11:00:00 UTC,,0,LOG,00000,"
        '"database system is shut down",,,,'
    )
    assert said
    assert (said.kind, said.user, said.address, said.application) == ("shut_down", None, None, None)


def test_quotes_of_csvlog() -> None:
    said = event_of(CSV.replace('"app"', '"a""p,p"'))
    assert said
    assert said.user == 'a"p,p'


def test_a_record_inside_of_a_statement_is_none() -> None:
    # It is doubly quoted there, so that it cannot be mistaken for one.
    inside = CSV.replace('"', '""')
    form = _lines.recognised([CSV], None, Clock())
    assert form
    assert form.read(inside) is None


def test_a_field_too_long_for_the_csv_module() -> None:
    said = event_of(CSV.replace(",,,,,", ',"' + "x" * 200_000 + '",,,,', 1))
    assert said
    assert (said.kind, said.application) == ("receive_reset", None)


@pytest.mark.parametrize(
    "fields",
    [
        {"error_severity": "LOG", "message": RESET, "timestamp": 5, "pid": "x", "remote_port": [1], "user": {}},
        {"error_severity": "LOG", "message": RESET, "timestamp": None, "pid": None, "remote_port": "", "user": ""},
    ],
)
def test_odd_values_of_jsonlog(fields: dict[str, t.Any]) -> None:
    said = event_of(line_of(fields))
    assert said
    assert (said.kind, said.time, said.pid, said.port, said.user) == ("receive_reset", None, None, None, None)


def test_the_journal() -> None:
    said = event_of(JOURNAL)
    assert said
    assert (said.kind, said.time, said.pid, said.user) == ("receive_reset", NOON + 0.5, 42, "app")
    # Through syslog, without a process or a time in the prefix.
    said = event_of(
        line_of(
            {"__REALTIME_TIMESTAMP": "1795348800500000", "SYSLOG_PID": "43", "MESSAGE": f"[5-1] app@shop LOG:  {RESET}"}
        ),
        prefix="%u@%d ",
    )
    assert said
    assert (said.time, said.pid, said.user) == (NOON + 0.5, 43, "app")
    said = event_of(line_of({"MESSAGE": STDERR}))
    assert said
    assert said.time == NOON + 0.5
    form = _lines.recognised([JOURNAL], None, Clock())
    assert form
    assert form.read(line_of({"MESSAGE": "\tcontinued"})) is None
    assert _lines.recognised([line_of({"MESSAGE": "Started PostgreSQL."})], None, Clock()) is None


@pytest.mark.parametrize(
    ("header", "pid", "time"),
    [
        ("Nov 22 12:00:00 db1 postgres[43]: [5-1] ", 43, None),
        ("<134>Nov  2 12:00:00 db1 postgres[43]: ", 43, None),
        ("2026-11-22T13:00:00.5+01:00 db1 postgres[43]: [5-1] ", 43, NOON + 0.5),
        ("2026-11-22T12:00:00.500000000Z stderr F ", None, NOON + 0.5),
    ],
)
def test_syslog_and_containers(header: str, pid: int | None, time: float | None) -> None:
    said = event_of(f"{header}app@shop LOG:  {RESET}", prefix="%u@%d ")
    assert said
    assert (said.kind, said.pid, said.time, said.user) == ("receive_reset", pid, time, "app")
    form = _lines.recognised([f"{header}{STDERR}", "x"], None, Clock())
    assert form
    said = event_of(f"{header}{STDERR}")
    assert said
    assert (said.pid, said.time) == (42, NOON + 0.5)
    for other in ("no header", f"{header}\tcontinued", "Nov 22 12:00:00 db1 postgres[43]: [5-2] #011FROM x"):
        assert form.read(other) is None
    assert _lines.recognised([f"{header}nothing of a server"], None, Clock()) is None


def test_a_prefix_that_does_not_fit_is_not_insisted_on() -> None:
    said = event_of(STDERR, prefix="%p|%u|")
    assert said
    assert (said.pid, said.user) == (42, "app")
    # Also if it changes in the middle of a file.
    form = _lines.recognised([STDERR], "%m [%p] %q%u@%d ", Clock())
    assert form
    record = form.read(f"1795348800.500 pid=44 client=10.0.0.1 LOG:  {RESET}")
    assert record
    assert (record.pid, record.time, record.address) == (44, NOON + 0.5, "10.0.0.1")


# ---- files


def test_old_syslog_has_the_times_of_this_year(tmp_path: Path) -> None:
    now = datetime.datetime.now().replace(microsecond=0)
    header = f"{now:%b} {now.day:2} {now:%H:%M:%S} db1 postgres[43]: [5-1] "
    (tmp_path / "messages").write_text(f"{header}LOG:  {RESET}\n")
    found, problems = _scan.scan([str(tmp_path)])
    assert [one.time for one in found] == [now.timestamp()]
    assert problems == []


def test_numbers_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    noise = f"{HEAD}LOG:  statement: select\n\t'{RESET}'\n"
    lines = (noise * 40_000 + STDERR + "\n") * 3 + STDERR  # over several chunks; the last line has no end
    path.write_text(lines)
    events, problems = scanned(path)
    assert not problems
    assert [one.line for one in events] == [80_001, 160_002, 240_003, 240_004]
    numbered = path.read_text().splitlines()
    assert all(numbered[one.line - 1] == STDERR and one.file == str(path) for one in events)


def test_nothing_that_clients_sent_gets_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    planted = [
        f"LOG:  statement: ALTER ROLE x PASSWORD '{SECRET}' -- FATAL:  connection to client lost",
        f"LOG:  duration: 1.0 ms  execute <unnamed>: select $1\n{HEAD}DETAIL:  parameters: $1 = '{SECRET}'",
        f"FATAL:  connection to client lost\n{HEAD}STATEMENT:  select 'FATAL:  connection to client lost {SECRET}'",
        f"LOG:  server process (PID 7) was terminated by signal 9: Killed\n"
        f"{HEAD}DETAIL:  Failed process was running: select '{SECRET}'",
        f'FATAL:  password authentication failed for user "app password={SECRET}"',
        f'FATAL:  database "postgres://app:{SECRET}@db/shop" does not exist',
        f"ERROR:  canceling statement due to statement timeout\n{HEAD}CONTEXT:  select '{SECRET}'",
        f"LOG:  {RESET}\n\t{SECRET}",
    ]
    path.write_text("".join(f"{HEAD}{text}\n" for text in planted))
    events, problems = scanned(path)
    assert [one.kind for one in events] == [
        "connection_lost",
        "server_process_died",
        "authentication_failed",
        "no_database",
        "statement_timeout",
        "receive_reset",
    ]
    assert SECRET not in repr((events, problems))


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), ("", bytes)]
)
def test_compressed_and_cut_off(tmp_path: Path, suffix: str, pack: t.Callable[[bytes], bytes]) -> None:
    random.seed(5)
    noise = "".join(f"{HEAD}LOG:  statement: {random.random()}\n" for _turn in range(20_000))
    path = tmp_path / f"log.1{suffix}"
    packed = pack(f"{STDERR}\n{noise}{STDERR}\n".encode())
    path.write_bytes(packed)
    events, problems = scanned(path)
    assert [one.line for one in events] == [1, 20_002]
    assert not problems
    path.write_bytes(packed[: len(packed) * 2 // 3])
    events, problems = scanned(path)
    assert [one.line for one in events] == [1]
    assert len(problems) == (1 if suffix else 0)
    assert all("cut off after" in problem and str(path) in problem for problem in problems)


@pytest.mark.parametrize("program", ["zstd", "lz4"])
def test_compressed_by_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"no {program} here")
    path = tmp_path / "log"
    path.write_text(f"{STDERR}\n" + f"{HEAD}LOG:  statement: select\n" * 20_000 + f"{STDERR}\n")
    packed = subprocess.run([program, "-cq", path], check=True, capture_output=True).stdout
    path.write_bytes(packed)
    events, problems = scanned(path)
    assert ([one.line for one in events], problems) == ([1, 20_002], [])
    path.write_bytes(packed[:-9])
    events, problems = scanned(path)
    assert len(problems) == 1
    assert f"{program} failed" in problems[0]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"no program {program}" in scanned(path)[1][0]


@pytest.mark.parametrize(("magic", "name"), [(b"PK\x03\x04", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"LZIP", "lzip")])
def test_what_is_packed_in_a_way_that_is_not_read(tmp_path: Path, magic: bytes, name: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(magic + bytes(99))
    assert scanned(path) == ([], [f"{path}: is packed with {name}, which is not read here; unpack it"])


def test_one_problem_for_each_file_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = tmp_path / "good.log"
    good.write_text(f"{STDERR}\n")
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "pg_hba.conf").write_text("host all all all trust\n" * 1000)
    (tmp_path / "cut.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "huge").write_bytes(b"x" * (20 << 20))
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / ".hidden").write_text(STDERR)
    (tmp_path / "directory").mkdir()
    events, problems = scanned(tmp_path, tmp_path / "missing", tmp_path / "*.none", tmp_path / "directory")
    assert [one.file for one in events] == [str(good)]
    assert sorted(problem.partition(": ")[0].rpartition("/")[2] for problem in problems) == [
        *(
            "*.none",
            "binary",
            "cut.gz",
            "dangling",
            "directory",
            "empty",
            "huge",
            "loop",
            "missing",
            "pg_hba.conf",
            "pipe",
        )
    ]
    said = "\n".join(problems)
    for words in (
        "it is binary",
        "it is text",
        "empty",
        "is no regular file",
        "cannot be read",
        "no such file",
        "no file has such a name",
    ):
        assert words in said


def test_files_in_order_of_time_and_twins_once(tmp_path: Path) -> None:
    for name, second in (
        ("postgresql.log", 9),
        ("postgresql.log.1", 8),
        ("postgresql.log.2.gz", 7),
        ("x.csv", 6),
        ("x.log", 5),
        ("y.json", 4),
        ("y.csv", 3),
    ):
        line = {"csv": CSV, "json": JSON}.get(name.rpartition(".")[2], STDERR).replace(
            "12:00:00.5", f"12:00:0{second}.5"
        )
        (tmp_path / name).write_bytes(gzip.compress(line.encode()) if name.endswith("gz") else line.encode())
    (tmp_path / "a_note").write_text("no log")
    names = ["y.json", "x.csv", "postgresql.log.2.gz", "postgresql.log.1", "postgresql.log"]
    for paths in ([tmp_path], [tmp_path / "*"], [tmp_path, tmp_path / "*.log", tmp_path / "x.csv"]):
        events, problems = scanned(*paths)
        assert [Path(one.file).name for one in events if Path(one.file).name != "x.log"] == names
        assert len(problems) == 1
    # What is named is read.
    assert [one.time for one in scanned(tmp_path / "x.csv", tmp_path / "x.log")[0]] == [NOON + 5.5, NOON + 6.5]


@pytest.mark.parametrize("severity", ["LOG", "FATAL"])
def test_jsonlog_that_another_program_has_written_anew(tmp_path: Path, severity: str) -> None:
    line = {**json.loads(JSON), "error_severity": severity, "state_code": "57P05"}
    line["message"] = line["message"] if severity == "LOG" else "in the server's language"
    (tmp_path / "log").write_text(f"{json.dumps(line)}\n")
    events, problems = scanned(tmp_path / "log")
    assert [one.kind for one in events] == ["receive_reset" if severity == "LOG" else "idle_session_timeout"]
    assert problems == []


@pytest.mark.parametrize(
    "magic", [b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a"]
)
def test_a_capture_among_them_is_named_as_one(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "sent").write_bytes(magic + bytes(100))
    assert scanned(tmp_path) == ([], [f"{tmp_path}/sent: is a packet capture; give it in captures, with its side"])


def test_logs_of_poolers_among_them(tmp_path: Path) -> None:
    (tmp_path / "postgresql.log").write_text(f"{STDERR}\n")
    client = "2026-11-23 03:08:14.479 UTC [3] LOG C-0x5: db/bob@10.0.0.7:53280"
    (tmp_path / "pgbouncer.log").write_text(f"{client} login\n{client} closing because: query_timeout (age=3s)\n")
    proxy = "10.0.0.7:38196 [23/Nov/2026:03:08:09.252] pg pg/one 1/0/5051 637 cD 1/1/0/0/0 0/0"
    (tmp_path / "haproxy.log").write_text(f"<134>Nov 23 03:08:14 lb haproxy[3]: {proxy}\n")
    events, problems = scanned(tmp_path)
    assert {(one.kind, one.port) for one in events} >= {("pooler_closed", 53280), ("proxy_timeout", 38196)}
    assert (len(events), problems) == (3, [])
    # and what is none of theirs
    events, problems = _scan.poolers([str(tmp_path / name) for name in ("pgbouncer.log", "postgresql.log")])
    assert [one.kind for one in events] == ["pooler_closed"]
    assert problems == [f"{tmp_path}/postgresql.log: no line of it looks like one of PgBouncer's log, or of HAProxy's"]


def test_since_and_until(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(STDERR.replace("12:00:00", f"12:00:0{second}") + "\n" for second in range(6)))
    events, _problems = scanned(path, since=NOON + 2, until=NOON + 4)
    assert [one.time for one in events] == [NOON + 2.5, NOON + 3.5]


def test_time_zones(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{STDERR}\n".replace("UTC", "QQT"))
    events, problems = scanned(path, since=NOON)
    assert [one.time for one in events] == [None]  # kept: whether it is too old cannot be told
    assert len(problems) == 1
    assert "see log_timezone" in problems[0]
    path.write_text(f"{STDERR}\n".replace("UTC", "CST"))
    assert [one.time for one in scanned(path, timezone="Asia/Shanghai")[0]] == [NOON - 8 * 3600 + 0.5]
    assert [one.time for one in scanned(path, timezone="America/Chicago")[0]] == [NOON + 6 * 3600 + 0.5]
    for name in ("Mars/Olympus", "../../etc/passwd", ""):
        events, problems = scanned(path, timezone=name)
        assert len(events) == 1
        assert "not known here" in problems[0]


@pytest.mark.parametrize(("zone", "hours"), [("CEST", 2), ("CET", 1)])
def test_the_hour_that_comes_twice(tmp_path: Path, zone: str, hours: int) -> None:
    path = tmp_path / "log"
    path.write_text(
        f"2026-10-25 02:30:00.000 {zone} [42] LOG:  {RESET}\n2026-02-31 02:30:00.000 {zone} [42] LOG:  {RESET}\n"
    )
    first, odd = scanned(path, timezone="Europe/Berlin")[0]
    assert first.time == 1792895400.0 - hours * 3600 + 0 * (odd.time or 0)


def test_a_file_may_grow_and_vanish_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{STDERR}\n" + f"{HEAD}LOG:  statement: select\n" * 100_000)
    events, problems = _scan.scan([str(path)])
    assert next(events).line == 1
    with path.open("a") as log:
        log.write(f"{STDERR}\n")
    path.unlink()
    assert [one.line for one in events] == [100_002]
    assert not problems


def test_lines_of_any_length_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as log:
        log.write(f"{STDERR}\n{HEAD}LOG:  statement: ")
        for _turn in range(64):
            log.write("x" * (1 << 20))
        log.write(f"\n{STDERR}\n{HEAD}FATAL:  connection to client lost")
    tracemalloc.start()
    events, problems = scanned(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [one.line for one in events] == [1, 3, 4]
    assert not problems
    assert peak < 24 << 20


def test_a_format_that_shows_late(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("\tFROM x\n" * 400_000 + f"{STDERR}\n" * 3)
    assert [one.line for one in scanned(path)[0]] == [400_001, 400_002, 400_003]


def test_windows_ends_of_lines_and_nul_bytes_within(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(f"{STDERR}\r\n".encode() + bytes(4096) + f"\r\n{STDERR}\r\n".encode())
    events, problems = scanned(path)
    assert [(one.kind, one.line, one.text) for one in events] == [
        ("receive_reset", 1, RESET),
        ("receive_reset", 3, RESET),
    ]
    assert not problems


# ---- anything at all

SEEDS = [line.encode() for line in (STDERR, CSV, JSON, JOURNAL, f"Nov 22 12:00:00 db1 postgres[43]: [5-1] {STDERR}")]
#: What a log is made of, and breaks where it is cut.
SCRAPS = st.sampled_from(
    [
        b"\n",
        b'"',
        b'""',
        b",",
        b":  ",
        b"{",
        b"[" * 2000,
        b"\0",
        b"\xff",
        b"\t",
        b"\\u",
        b"FATAL:  ",
        b"99999999999999999999",
        b"\xd9\xa3",
        b"-",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    text = bytearray(b"\n".join(draw(st.lists(st.sampled_from(SEEDS), min_size=1, max_size=4))))
    for _turn in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 20))
        text[place : place + length] = draw(st.one_of(SCRAPS, st.binary(max_size=8)))
    return bytes(text)


@settings(max_examples=1000)
@given(st.one_of(st.binary(max_size=400), mutated()))
def test_nothing_raises(content: bytes) -> None:
    problems: list[str] = []
    for one in _scan._events(io.BytesIO(content), "log", None, Clock(), problems):
        assert "select" not in one.text
        # A mutation may make any text of the line a name.
        assert SECRET not in repr(one._replace(user=None, database=None, application=None))
        assert 1 <= one.line <= content.count(b"\n") + 1
    assert all(problem.startswith("log: ") and "\n" not in problem for problem in problems)


@settings(max_examples=100)
@given(st.data(), st.sampled_from([gzip.compress, bz2.compress, lzma.compress]))
def test_no_damage_of_compressed_files_raises(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, pack: t.Callable[[bytes], bytes]
) -> None:
    packed = bytearray(pack(f"{STDERR}\n".encode() * 40))
    for _turn in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(packed)))
        packed[place : place + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=4))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(packed)
    events, problems = scanned(path)
    assert len(problems) <= 2
    assert all(one.kind in KINDS for one in events)


@settings(max_examples=300)
@given(
    st.lists(st.one_of(st.text(max_size=80), mutated().map(lambda b: b.decode("utf-8", "replace"))), max_size=6),
    st.none() | st.text(max_size=12),
)
def test_no_line_raises_in_any_format(lines: list[str], prefix: str | None) -> None:
    clock = Clock()
    inner = _lines.stderr(_prefix.ANY, clock)
    forms = [inner, _lines.csvlog(clock), _lines.jsonlog(clock), _lines.journal(inner), _lines.syslog(inner, clock)]
    found = _lines.recognised(lines, prefix, clock)
    for form in [*forms, *([found] if found else [])]:
        for line in lines:
            record = form.read(line)
            if record:
                _lines.event(record, "log", 1)
