# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan: a server's logs from files and from the journal, streamed; gigabytes take no memory."""

from __future__ import annotations

import contextlib
import datetime
import glob
import io
import itertools
import os
import re
import time
import typing as t

from . import _between, _entry
from ._clock import Clock, Zone
from ._facts import LogEvent
from ._kernel_lines import recognised
from ._lines import Format, event
from ._packed import DAMAGED, Unreadable, opened, output_of

_CHUNK = 1024 * 1024
_LONGEST_LINE = 4 * _CHUNK  # what is beyond is dropped: a statement of a gigabyte is one line
_UNRECOGNISED = 16 * _CHUNK  # how far a file is read that has no line of a server's log
_LONG = 86400.0  # between a file's last change, by a clock of wherever it was, and a time of interest
#: How captures begin: pcap in either order of bytes, with microseconds or nanoseconds, and pcapng.
_CAPTURES = (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a")
#: A server that logs in several formats writes the same into files that only their suffix tells apart.
_TWINS = ("json", "csv", "log")
_TWIN = re.compile(r"\.(json|csv|log)(?=(?:\.[^/.]+)*$)")

Events = t.Iterator[LogEvent]


def scan(
    paths: t.Iterable[str],
    prefix: str | None = None,
    since: float | None = None,
    until: float | None = None,
    timezone: str | None = None,
    matters_from: float | None = None,
) -> tuple[Events, list[str]]:
    """The events of logs, file after file in order of their first times, and what could not be read.

    *paths* are files, directories and patterns; *prefix* the log_line_prefix, guessed for files that it does not fit;
    *timezone* the server's log_timezone, for abbreviations that several zones share. What is long before
    *matters_from* is left out where that is easy. Logs of poolers and proxies among them are read as such. The list of
    problems, a line each, is complete when the iterator is exhausted.
    """
    problems: list[str] = []
    clock = Clock(_zone(timezone, problems), time.time())

    def events() -> Events:
        found = _expanded(paths, problems)
        names = [path for path in found if matters_from is None or not _is_over(path, matters_from)]
        for path in _in_order(names, prefix, clock):
            # pylint: disable-next=contextmanager-generator-missing-cleanup  # an ExitStack cleans up
            with _noted(path, problems), opened(path) as stream:
                line = 1 if matters_from is None else _enter(stream, matters_from, prefix, clock)
                yield from _events(stream, path, prefix, clock, problems, line)

    return _within(events(), since, until), problems


def _is_over(path: str, since: float) -> bool:
    """Whether nothing was written to a file any more for long before *since*."""
    try:
        return os.stat(path).st_mtime < since - _LONG
    except OSError:
        return False  # to be complained of


def _enter(stream: t.Any, since: float, prefix: str | None, clock: Clock) -> int:
    """Leave out what is long before *since*; the number of the line where to begin."""
    if not isinstance(stream, io.BufferedReader) or not stream.seekable():
        return 1  # compressed
    form = recognised(stream.read(_CHUNK).decode("utf-8", "replace").splitlines(), prefix, clock)
    if form is None:
        stream.seek(0)
        return 1
    read = form.read

    def time_of(line: bytes) -> float | None:
        record = read(line.decode("utf-8", "replace"))
        return record.time if record else None

    return _entry.enter(stream, since, time_of)


def journal(
    unit: str, since: float | None = None, until: float | None = None, prefix: str | None = None
) -> tuple[Events, list[str]]:
    """The same of the systemd journal's messages of a *unit*."""
    problems: list[str] = []
    name = f"journal of {unit}"
    command = _journalctl(unit, since, until, "json", "--all", "--output-fields=MESSAGE,SYSLOG_PID")

    def events() -> Events:
        with _noted(name, problems), output_of(command) as stream:
            yield from _events(stream, name, prefix, Clock(_zone(None, problems)), problems)

    return _within(events(), since, until), problems


def journal_of_pooler(unit: str, since: float | None = None, until: float | None = None) -> tuple[Events, list[str]]:
    """The same of a pooler's or proxy's messages there, which have their own times."""
    problems: list[str] = []
    name = f"journal of {unit}"

    def events() -> Events:
        with _noted(name, problems), output_of(_journalctl(unit, since, until, "cat")) as stream:
            yield from _events_between(stream, name, problems)

    return events(), problems


def _journalctl(unit: str, since: float | None, until: float | None, form: str, *options: str) -> list[str]:
    command = ["journalctl", "--no-pager", "-o", form, *options, f"--unit={unit}"]
    command += [f"--since=@{since:.0f}"] if since is not None else []
    return command + ([f"--until=@{until + 1:.0f}"] if until is not None else [])


def _within(events: Events, since: float | None, until: float | None) -> Events:
    """Those of that time, and those whose time is not known."""
    for one in events:
        if one.time is None or ((since is None or since <= one.time) and (until is None or one.time <= until)):
            yield one


def poolers(paths: t.Iterable[str]) -> tuple[Events, list[str]]:
    """The same of logs of PgBouncer and HAProxy."""
    problems: list[str] = []

    def events() -> Events:
        for path in _expanded(paths, problems):
            # pylint: disable-next=contextmanager-generator-missing-cleanup  # an ExitStack cleans up
            with _noted(path, problems), opened(path) as stream:
                chunks = _chunks(stream, path, problems)
                first = next(chunks, b"")
                if first and not _between.are_of_such(first.decode("utf-8", "replace").splitlines()):
                    problems.append(f"{path}: no line of it looks like one of PgBouncer's log, or of HAProxy's")
                yield from _between_in(itertools.chain([first], chunks), path)

    return events(), problems


def _events_between(stream: t.Any, name: str, problems: list[str]) -> Events:
    yield from _between_in(_chunks(stream, name, problems), name)


def _between_in(chunks: t.Iterable[bytes], name: str) -> Events:
    lines = (bytes(line).decode("utf-8", "replace") for line in _whole_lines(chunks))
    yield from _between.events(lines, name)


def _whole_lines(chunks: t.Iterable[bytes]) -> t.Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
        rest = rest[-_LONGEST_LINE:]
    yield rest


@contextlib.contextmanager
def _noted(name: str, problems: list[str]) -> t.Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        problems.append(f"{name}: there is no such file")
    except OSError as error:
        problems.append(f"{name}: cannot be read ({error.strerror or error})")
    except Unreadable as error:
        problems.append(f"{name}: {error}")


def is_zone(name: str) -> bool:
    """Whether a time zone is known here; hosts without tzdata know none."""
    problems: list[str] = []
    _zone(name, problems)
    return not problems


def _zone(name: str | None, problems: list[str]) -> Zone:
    """What the abbreviations of a time zone mean: of the one with this name, or of this host's."""
    if name is None:
        here = dict(zip(reversed(time.tzname), (-time.altzone, -time.timezone)))
        return lambda _local, abbreviation: here.get(abbreviation)
    try:
        import zoneinfo  # from Python 3.9 on

        zone = zoneinfo.ZoneInfo(name)
    except (ImportError, ValueError, OSError, KeyError):
        problems.append(f"time zone {name}: not known here, so that only times in common zones can be told")
        return lambda _local, _abbreviation: None

    def ahead(local: tuple[int, int, int, int, int], abbreviation: str) -> float | None:
        for fold in (0, 1):  # when clocks go back an hour comes twice, with two abbreviations
            try:
                moment = datetime.datetime(*local, fold=fold, tzinfo=zone)
            except ValueError:
                return None
            offset = moment.utcoffset()
            if moment.tzname() == abbreviation and offset is not None:
                return offset.total_seconds()
        return None

    return ahead


# ---- files


def _expanded(paths: t.Iterable[str], problems: list[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        if os.path.isdir(path):
            with _noted(path, problems):
                names = [entry.path for entry in os.scandir(path) if not entry.name.startswith(".")]
                found += _without_twins(name for name in names if not os.path.isdir(name))
                if not names:
                    problems.append(f"{path}: an empty directory")
        elif glob.has_magic(path) and not os.path.exists(path):
            names = [name for name in glob.glob(path) if not os.path.isdir(name)]
            found += _without_twins(names)
            if not names:
                problems.append(f"{path}: no file has such a name")
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def _without_twins(names: t.Iterable[str]) -> list[str]:
    chosen: dict[str, tuple[int, str]] = {}
    for name in names:
        suffix = _TWIN.search(name)
        stem = name[: suffix.start()] + name[suffix.end() :] if suffix else name
        rank = (_TWINS.index(suffix[1]) if suffix else len(_TWINS), name)
        chosen[stem] = min(chosen.get(stem, rank), rank)
    return sorted(name for _rank, name in chosen.values())


def _in_order(paths: list[str], prefix: str | None, clock: Clock) -> list[str]:
    """By the first time that each file has; those without one come first, to be complained of."""
    if len(paths) < 2:
        return paths
    times = {path: _first_time(path, prefix, clock) for path in paths}
    return sorted(paths, key=lambda path: times[path])


def _first_time(path: str, prefix: str | None, clock: Clock) -> float:
    ignored: list[str] = []
    with _noted(path, ignored), opened(path) as stream:
        for chunk in _chunks(stream, path, ignored):
            lines = chunk.decode("utf-8", "replace").splitlines()
            found = recognised(lines, prefix, clock)
            records = map(found.read, lines) if found else iter(())
            return next((record.time for record in records if record and record.time is not None), 0.0)
    return 0.0


# ---- what is in them


def _chunks(stream: t.Any, name: str, problems: list[str]) -> t.Iterator[bytes]:
    size = 0
    while True:
        try:
            chunk = stream.read1(_CHUNK)
        except DAMAGED as error:
            problems.append(f"{name}: damaged or cut off after {size} bytes of text ({error})")
            return
        if not chunk:
            return
        size += len(chunk)
        yield chunk


def _events(stream: t.Any, name: str, prefix: str | None, clock: Clock, problems: list[str], line: int = 1) -> Events:
    """The events of what is left of a stream, whose next line has that number."""
    form: Format | None = None
    rest, size, timeless, binary = b"", 0, False, False
    chunks = _chunks(stream, name, problems)
    for chunk in chunks:
        if not size and chunk.startswith(_CAPTURES):
            problems.append(f"{name}: is a packet capture; give it in captures, with its side")
            return
        size += len(chunk)
        data = rest + chunk
        end = data.rfind(b"\n") + 1
        if form is None:
            binary = binary or b"\0" in chunk
            lines = data.decode("utf-8", "replace").splitlines()
            form = recognised(lines, prefix, clock)
            if form is None and _between.are_of_such(lines):
                yield from _between_in(itertools.chain([data], chunks), name)
                return
            if form is None and size > _UNRECOGNISED:
                break
        for one in _events_of(form, data, end, name, line):
            timeless = timeless or one.time is None
            yield one
        line += data.count(b"\n", 0, end)
        rest = data[end : end + _LONGEST_LINE]
    yield from _events_of(form, rest, len(rest), name, line)  # a last line without its end
    if form is None and size:
        looks = "binary" if binary else "text"
        problems.append(f"{name}: no line of it looks like one of a PostgreSQL log (it is {looks})")
    elif timeless:
        problems.append(f"{name}: lines without a time, or in a time zone that is not known here; see log_timezone")


def _events_of(form: Format | None, data: bytes, end: int, name: str, line: int) -> Events:
    """The events of the whole lines that *data* has up to *end*; *line* is the number of the first."""
    if form is None:
        return
    glance, search = form.glance, form.interesting.search
    at = 0  # where a line begins whose number is *line*
    while at < end:
        one = glance(data, at, end, name, line) if glance else None
        if one is None:
            found = search(data, at, end)
            if found is None:
                return
            begin = data.rfind(b"\n", at, found.start()) + 1 or at
            line += data.count(b"\n", at, begin)
            one = (begin > at and glance and glance(data, begin, end, name, line)) or None
            at = begin
        done = data.find(b"\n", at, end) + 1 or end
        if one is None:
            record = form.read(data[at:done].decode("utf-8", "replace").rstrip("\r\n"))
            one = event(record, name, line) if record else None
        if one:
            yield one
        at, line = done, line + 1
