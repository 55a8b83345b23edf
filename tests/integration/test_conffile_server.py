# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file room against real servers: they must read each file, and each edited one, as the room says.

Servers read a file anew whenever pg_file_settings is asked, without taking anything over, so that one server of each
major judges hundreds of files. And editors that are killed: they must leave a whole file behind.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import signal
import sys
import time
import typing as t
from pathlib import Path

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Cluster, available_majors

from ansible_collections.pgharden.connection.plugins.module_utils import _files
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _conffile

# The same files in each run. A shared server is what this is about, so there is nothing to reset between them.
repeatable = settings(
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Row(t.NamedTuple):
    """A line as a server read it."""

    line: int
    name: str | None
    value: str | None
    error: str | None
    applied: bool


@dataclasses.dataclass
class Reader:
    """A server and the file that it is to read."""

    cluster: Cluster
    path: Path
    connection: t.Any

    def read(self, data: bytes | None = None, path: Path | None = None) -> list[Row]:
        """What the server makes of *data*, or of the file at *path*."""
        path = path or self.path
        if data is not None:
            path.write_bytes(data)
        with self.connection.cursor() as cursor:
            # In hexadecimal, because names and values need not be in any encoding.
            cursor.execute(
                "SELECT sourceline, encode(textsend(name), 'hex'), encode(textsend(setting), 'hex'), error, applied"
                " FROM pg_file_settings WHERE sourcefile = %s ORDER BY seqno",
                (str(path),),
            )
            return [Row(line, _text(name), _text(value), *rest) for line, name, value, *rest in cursor.fetchall()]


def _text(hexadecimal: str | None) -> str | None:
    return None if hexadecimal is None else bytes.fromhex(hexadecimal).decode("utf-8", "surrogateescape")


def folded(name: str) -> str:
    """As the server compares names."""
    return name.encode("utf-8", "surrogateescape").lower().decode("utf-8", "surrogateescape")


@pytest.fixture(scope="module", params=available_majors())
def reader(request: pytest.FixtureRequest) -> t.Iterator[Reader]:
    """One server, whose postgresql.conf ends with the inclusion of the file to read."""
    with Cluster.start(request.param, conf="include_if_exists 'judged.conf'\n") as cluster:
        path = cluster.config_dir / "judged.conf"
        (cluster.config_dir / "included.conf").write_text("work_mem = '4MB'\n")
        (cluster.config_dir / "included").mkdir()
        connection = psycopg2.connect(**cluster.conninfo())
        connection.autocommit = True
        yield Reader(cluster, path, connection)
        connection.close()


# ---- files that mean something to a server, and files that do not

NAMES = ["log_line_prefix", "Log_Line_Prefix", "work_mem", "WORK_MEM", "tcp_keepalives_idle", "log_statement"]
NAMES += ["log_statement_stats", "pgharden.test", "pgharden.Test", "application_name", "port"]
names = st.one_of(
    st.sampled_from([name.encode() for name in NAMES]),
    st.sampled_from(
        [b"a.b.c", b"x", b"a.", b".a", b"a-b", b"a:b", b"5a", b"gr\xc3\xb6\xc3\x9fe", b"x\xff", b"a b", b""]
    ),
)
PIECES = [b"''", b"\\'", b"\\\\", b"\\n", b"\\t", b"\\q", b"\\0", b"\\7", b"\\101", b"\\400", b"\\501", b"\\18"]
PIECES += [b"#", b"=", b" ", b"%m", b"\r", b"\xe4", b"\xc3\xa4", b"a", b"9", b"'", b"\\"]
VALUES = [b"60", b"-1", b"+5", b"60s", b"4MB", b"0x1F", b"0x", b"0xfgkb", b"1.5", b".5", b"1.", b".", b"-.", b"1e5"]
VALUES += [
    b"1.e5",
    b"1.5e+3",
    b"1.5e+3x",
    b"1.5min",
    b"on",
    b"all",
    b"a.b",
    b"a.b.c",
    b"a.b-c",
    b"a.-",
    b"Etc/UTC",
    b"a:b",
]
VALUES += [b"50%", b"a,b", b"'open", b"'a'b'", b"", b"\xe4", b"_x", b"$x", b"'a' 'b'", b"'a'#b", b'"a"', b"--1", b"- 1"]
inside_quotes = st.lists(st.sampled_from(PIECES), max_size=6).map(lambda parts: b"'" + b"".join(parts) + b"'")
values = st.one_of(inside_quotes, st.sampled_from(VALUES))
lines = st.one_of(
    st.tuples(
        st.sampled_from([b"", b"", b"", b" ", b"\t", b"\r", b"\f", b"#", b"# "]),
        names,
        st.sampled_from([b" = ", b" = ", b"=", b" ", b"", b"\t=\r", b" == ", b" : "]),
        values,
        st.sampled_from([b"", b"", b"", b" # it's", b"#", b"\t", b" x", b" = 1", b"\x0b"]),
    ).map(b"".join),
    st.sampled_from([b"", b"# '", b"#\xff", b"#\x00", b"include 'included.conf'", b"INCLUDE_DIR = included"]),
    st.sampled_from([b"include_if_exists no.conf # none", b"include", b"'", b"\\", b"=", b"\xef\xbb\xbfport = 1"]),
)
files = st.builds(
    lambda parts, last: b"".join(part for line in parts for part in line) + last,
    st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\n", b"\r\n", b" \n"])), max_size=12),
    lines,
)
settable = st.sampled_from(["log_line_prefix", "WORK_MEM", "log_statement", "pgharden.test", "Application_Name"])
texts = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\x00"), max_size=8),
    st.sampled_from(["60", "60s", "all", "it's", "\\", "\\'", "'", "#", "", "\udce4", "1.5min", "\r"]),
)


def without_line(data: bytes, number: int) -> bytes:
    """*data* with that line emptied."""
    found = data.split(b"\n")
    return b"\n".join([*found[: number - 1], b"", *found[number:]])


def compare(reader: Reader, data: bytes) -> bytes:
    """Have the server and the room read *data*; gives what is left of it when the lines nobody can read are emptied.

    The server gives up at its first syntax error, so it is asked again without that line.
    """
    while True:
        rows = reader.read(data)
        problems = _conffile.errors(data)
        before = [entry for entry in _conffile.entries(data) if not problems or entry.line < problems[0].line]
        read = [row for row in rows if row.name is not None]
        assert [(row.line, folded(row.name or ""), row.value) for row in read] == [
            (entry.line, entry.name, entry.value) for entry in before
        ]
        unread = [(row.line, row.error) for row in rows if row.name is None]
        if not problems:
            assert unread == []
            # what is included further down may outrank a line of this file
            if not any(row.error for row in rows) and b"include" not in data.lower():
                last = {folded(row.name or ""): row for row in read}
                assert all(row.applied for row in last.values())
            return data
        line = problems[0].line
        # At the very end of a file the server counts one line less, if it waited for more.
        unended = line == data.count(b"\n") + 1
        assert unread in ([(line, "syntax error")], [(line - unended, "syntax error")])
        data = without_line(data, line)


def test_the_server_reads_each_value_as_the_room_does(reader: Reader) -> None:
    quoted = [b"'" + b"".join(pair) + b"'" for pair in itertools.product(PIECES, repeat=2)]
    for value in VALUES + quoted:
        compare(reader, b"pgharden.test = " + value)
        compare(reader, b"pgharden.test" + value + b"\n")


@settings(repeatable, max_examples=300)
@given(data=files)
def test_the_server_reads_each_file_as_the_room_does(reader: Reader, data: bytes) -> None:
    compare(reader, data)


@settings(repeatable, max_examples=200)
@given(data=files, wanted=st.dictionaries(settable, st.one_of(st.none(), texts), min_size=1))
def test_an_edit_changes_what_it_is_to_change_and_nothing_else(
    reader: Reader, data: bytes, wanted: dict[str, str | None]
) -> None:
    data = compare(reader, data)
    edited = _conffile.edit(data, wanted)
    before, after = reader.read(data), reader.read(edited)
    targets = {folded(name): value for name, value in wanted.items()}

    def others(rows: list[Row]) -> list[tuple[str | None, str | None]]:
        return [(row.name, row.value) for row in rows if folded(row.name or "") not in targets]

    assert others(after) == others(before)
    for name, value in targets.items():
        found = [row.value for row in after if folded(row.name or "") == name]
        assert (found[-1] if found else None) == value
    assert compare(reader, edited) == edited


@pytest.mark.parametrize("value", ["%m ", "it's \\ '' #", "\\101", "ä", "60s", ""])
def test_a_value_that_is_written_is_the_value_in_force(reader: Reader, value: str) -> None:
    data = b"log_line_prefix = 'x' # first\r\n#log_line_prefix = 'sample'\r\nlog_line_prefix = y"
    reader.path.write_bytes(_conffile.edit(data, {"log_line_prefix": value}))
    reader.cluster.reload()
    found = reader.cluster.query(
        "SELECT setting, sourcefile, sourceline FROM pg_settings WHERE name = 'log_line_prefix'"
    )
    assert found == [(value, str(reader.path), 3)]


def test_the_server_s_own_file(reader: Reader) -> None:
    """The whole of postgresql.conf, as initdb wrote it and the server was set up."""
    path = reader.cluster.config_file
    data = path.read_bytes()
    wanted: dict[str, str | None] = {
        "tcp_keepalives_idle": "60",
        "client_connection_check_interval": "5s",
        "log_line_prefix": None,
        "fsync": "on",
        "DateStyle": "ISO, YMD",
    }
    if reader.cluster.major < 14:
        del wanted["client_connection_check_interval"]
    reader.read(b"")
    before = {row.name: row.value for row in reader.read(path=path)}
    assert [(entry.line, entry.name) for entry in _conffile.entries(data)] == [
        (row.line, folded(row.name or "")) for row in reader.read(path=path)
    ]
    edited = _conffile.edit(data, wanted)
    try:
        rows = reader.read(edited, path)
    finally:
        path.write_bytes(data)
    assert not any(row.error for row in rows)
    expected = {folded(name or ""): value for name, value in (before | wanted).items()}
    assert {folded(row.name or ""): row.value for row in rows} == {
        name: value for name, value in expected.items() if value is not None
    }
    # Nothing of the file is lost: an edit takes no line away, and changes those of fsync and DateStyle only.
    kept = edited.split(b"\n")
    missing = [line for line in data.split(b"\n") if line not in kept]
    assert {line.split(b" ")[0] for line in missing} <= {b"fsync", b"datestyle", b"log_line_prefix"}


# ---- killed in the middle

OLD, NEW = b"old\n" * 20_000, b"newer\n" * 40_000


def fork(run: t.Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return pid


def leftovers(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name.startswith(".")]


def check_whole(path: Path) -> None:
    """The file is the old or the new one, and the next run finds nothing in its way."""
    assert path.read_bytes() in (OLD, NEW)
    assert path.stat().st_mode & 0o777 == 0o640
    with _files.lock(str(path.parent), timeout=0):
        _files.replace(str(path), OLD)
    assert os.listdir(path.parent) == [path.name]


def test_killed_at_each_line_of_the_code(tmp_path: Path) -> None:
    path = tmp_path / "postgresql.conf"
    path.write_bytes(OLD)
    path.chmod(0o640)
    seen = set()
    for moment in itertools.count():
        steps = itertools.count()

        def kill(frame: t.Any, _event: str, _argument: object, steps: t.Any = steps, moment: int = moment) -> t.Any:
            if frame.f_code.co_filename != _files.__file__:
                return None
            if next(steps) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return kill

        def run(kill: t.Any = kill) -> None:
            sys.settrace(kill)
            _files.replace(str(path), NEW)
            sys.settrace(None)

        status = os.waitpid(fork(run), 0)[1]
        seen.add((path.read_bytes() == NEW, bool(leftovers(tmp_path))))
        check_whole(path)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
    assert seen == {(False, False), (False, True), (True, False)}
    assert moment > 50


def test_killed_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "postgresql.conf"
    path.write_bytes(OLD)
    path.chmod(0o640)
    moments = random.Random(1)
    interrupted = 0

    reader, writer = os.pipe()

    def run() -> None:
        os.write(writer, b".")
        for data in itertools.cycle((NEW, OLD)):
            _files.replace(str(path), data)

    for _turn in range(200):
        pid = fork(run)
        os.read(reader, 1)  # a busy machine may let it begin late
        time.sleep(moments.uniform(0.001, 0.02))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        interrupted += bool(leftovers(tmp_path))
        check_whole(path)
    os.close(reader)
    os.close(writer)
    assert interrupted > 10
