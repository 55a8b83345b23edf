# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines, a pure room: the formats that a server's log has, each a pattern to search by and a reader of one record."""

from __future__ import annotations

import csv
import json
import re
import typing as t

from . import _common, _prefix
from ._clock import BARE, TIME, Clock
from ._common import name
from ._facts import LogEvent
from ._messages import beginnings, classified


class Record(t.NamedTuple):
    """One message of a log with all that its line says around it; *message* may still hold what a client sent."""

    severity: str
    message: str
    time: float | None = None
    pid: int | None = None
    address: str | None = None
    port: int | None = None
    user: str | None = None
    database: str | None = None
    application: str | None = None
    sqlstate: str | None = None
    session: str | None = None


class Format(t.NamedTuple):
    """*interesting* finds, in a chunk of the file, the lines to be read: by *glance*, where it can, or by *read*."""

    name: str
    interesting: t.Pattern[bytes]
    read: t.Callable[[str], Record | None]
    glance: _common.Glance | None = None


_BEGINNINGS = beginnings()


def event(record: Record, file: str, line: int) -> LogEvent | None:
    """What a record says of a connection or of the server, None if nothing; without anything secret."""
    said = classified(record.severity, record.sqlstate, record.message)
    if not said:
        return None
    return LogEvent(
        kind=said.kind,
        time=record.time,
        pid=record.pid,
        text=said.text,
        file=file,
        line=line,
        address=said.address or record.address,
        port=said.port or record.port,
        user=name(said.user) or name(record.user),
        database=name(said.database) or name(record.database),
        application=name(said.application) or name(record.application),
        sqlstate=record.sqlstate,
        session=record.session,
        number=said.number,
        detail=said.detail,
    )


def _after(separator: bytes, fatal: bytes, optional: bytes = b"") -> t.Pattern[bytes]:
    """Messages of interest behind a *separator*, and all that are FATAL.

    Beginning with a literal is what makes it fast: the engine looks at nothing but the separators.
    """
    words = [word.encode() for word, english in _prefix.SEVERITY.items() if english == "FATAL"]
    last = b"".join(sorted({word[-1:] for word in words}))
    behind = b"|".join(b"(?<=%s)" % (word + fatal) for word in words)
    anything = b"(?<=[%s]%s)(?:%s)" % (last, fatal, behind)
    return re.compile(b"%s(?:%s|%s(?:%s))" % (separator, anything, optional, _BEGINNINGS))


_IN_TEXT = _after(b":  ", b":  ", rb"(?:[0-9A-Z]{5}: )?")
_IN_CSV = _after(rb',"(?<=,[0-9A-Z]{5},")', b',.....,"')
_IN_JSON = _after(b'"message":"', b'","state_code":".....","message":"')
#: Of a program that has read the server's and written it anew.
_SPACED = '"message": "'
_IN_SPACED_JSON = _after(_SPACED.encode(), b'", "state_code": ".....", "message": "')

# ---- fields


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None


def _place(text: str | None) -> tuple[str | None, int | None]:
    """``10.0.0.1(5432)``, ``10.0.0.1:5432``, ``[local]`` -> address and port."""
    found = re.fullmatch(r"(.*?)(?:\((\d{1,5})\)|:(\d{1,5}))", text or "")
    return (found[1], int(found[2] or found[3])) if found else (text or None, None)


def _seconds(text: str | None) -> float | None:
    return float(text) if text else None


# ---- stderr


def stderr(prefix: t.Pattern[str], clock: Clock) -> Format:
    """Lines with a log_line_prefix. Lines that continue a message, or belong to one, do not fit and are no records."""

    def read(line: str) -> Record | None:
        found = prefix.match(line) or _prefix.ANY.match(line)  # the prefix may have been changed meanwhile
        if not found:
            return None
        said = _prefix.fields(found)
        address, port = _place(said["r"]) if "r" in said else (said.get("h"), None)
        time = clock.read(said.get("m") or said.get("t") or "")
        return Record(
            severity=_prefix.SEVERITY[said["severity"]],
            message=line[found.end() :],
            time=_seconds(said.get("n")) if time is None else time,
            pid=_number(said.get("p")),
            address=address,
            port=port,
            user=said.get("u"),
            database=said.get("d"),
            application=said.get("a"),
            sqlstate=said.get("e") or said.get("code"),
            session=said.get("c"),
        )

    return Format("stderr", _IN_TEXT, read, _common.in_text(prefix, clock))


# ---- csvlog

_QUOTED = r"(?:\"((?:[^\"]|\"\")*)\")?"
_CSV = re.compile(
    rf"({TIME}),{_QUOTED},{_QUOTED},(\d*),{_QUOTED},([0-9a-f.]*),\d*,(?:\"(?:[^\"]|\"\")*\")?,[^,]*,[-\d/\"]*,\d*,"
    rf"({'|'.join(_prefix.SEVERITY)}),([0-9A-Z]{{5}}),\"((?:[^\"]|\"\")*)"
)
_APPLICATION = 9  # how many columns after the message


def csvlog(clock: Clock) -> Format:
    """Comma-separated; what a record of interest has up to its message is always on one line."""

    def read(line: str) -> Record | None:
        found = _CSV.match(line)
        if not found:
            return None
        time, user, database, pid, place, session, severity, sqlstate, message = (
            value and value.replace('""', '"') for value in found.groups()
        )
        address, port = _place(place)
        try:
            rest = next(csv.reader([line[found.end() + 1 :]]), [])
        except csv.Error:
            rest = []
        application = rest[_APPLICATION] if len(rest) > _APPLICATION else None
        return Record(
            severity=_prefix.SEVERITY[severity],
            message=message,
            time=clock.read(time),
            pid=_number(pid),
            address=address,
            port=port,
            user=user or None,
            database=database or None,
            application=application or None,
            sqlstate=sqlstate,
            session=session or None,
        )

    return Format("csvlog", _IN_CSV, read, _common.in_csv(clock))


# ---- jsonlog, and the journal


def _object(line: str) -> dict[str, t.Any]:
    """A line's JSON object, also if the line was cut behind the message; empty if it is none."""
    for text in (line, line.partition(',"detail":')[0] + "}", line.partition(',"statement":')[0] + "}"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else {}
    return {}


def _text(found: dict[str, t.Any], key: str) -> str | None:
    value = found.get(key)
    return str(value) if isinstance(value, (str, int)) and value != "" else None


def jsonlog(clock: Clock, spaced: bool = False) -> Format:
    """One JSON object a line (from PostgreSQL 15 on); *spaced* if it has blanks between keys and values."""

    def read(line: str) -> Record | None:
        found = _object(line)
        severity, message = _text(found, "error_severity"), _text(found, "message")
        if severity not in _prefix.SEVERITY or message is None:
            return None
        return Record(
            severity=_prefix.SEVERITY[severity],
            message=message,
            time=clock.read(_text(found, "timestamp") or ""),
            pid=_number(_text(found, "pid")),
            address=_text(found, "remote_host"),
            port=_number(_text(found, "remote_port")),
            user=_text(found, "user"),
            database=_text(found, "dbname"),
            application=_text(found, "application_name"),
            sqlstate=_text(found, "state_code") or "00000",  # which is left out
            session=_text(found, "session_id"),
        )

    return Format("jsonlog", _IN_SPACED_JSON if spaced else _IN_JSON, read, _common.in_json(clock))


def journal(inner: Format) -> Format:
    """Lines of ``journalctl -o json``, whose messages are lines of *inner*; the journal knows the time better."""

    def read(line: str) -> Record | None:
        found = _object(line)
        record = inner.read(_unwrapped(_text(found, "MESSAGE") or ""))
        if record is None:
            return None
        microseconds = _number(_text(found, "__REALTIME_TIMESTAMP"))
        # Of a stream of standard error the journal knows only who opened it.
        pid = record.pid or _number(_text(found, "SYSLOG_PID"))
        return record._replace(time=microseconds / 1e6 if microseconds else record.time, pid=pid)

    return Format("journal", inner.interesting, read)


# ---- syslog

_HEADER = re.compile(
    rf"(?:<\d+>)?(?:(?P<bare>{BARE})|"
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?[-+Z][\d:]*)) "
    r"\S+ [^\s\[:]+(?:\[(?P<pid>\d+)\])?: |(?P<container>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\S+) std(?:err|out) [FP] "
)
_SEQUENCE = re.compile(r"\[\d+-1\] ")


def _unwrapped(line: str) -> str:
    """A message without the number that the server gives its messages for syslog; only the first line has ``-1``."""
    found = _SEQUENCE.match(line)
    return line[found.end() :] if found else line


def syslog(inner: Format, clock: Clock) -> Format:
    """Lines that syslog, or a container's runtime, put a header before."""

    def read(line: str) -> Record | None:
        header = _HEADER.match(line)
        record = inner.read(_unwrapped(line[header.end() :])) if header else None
        if header is None or record is None:
            return None
        stamp = header["time"] or header["container"] or ""
        time = record.time
        if time is None:
            time = clock.bare(header["bare"]) if header["bare"] else clock.read(stamp)
        return record._replace(time=time, pid=record.pid or _number(header["pid"]))

    return Format("syslog", inner.interesting, read)


# ---- which of them

_ENOUGH = 400


def recognised(lines: t.Sequence[str], prefix: str | None, clock: Clock) -> Format | None:
    """The format that these lines are in, None if no line is one of a server's log.

    A *prefix* that fits none of them was not in force when they were written: it is guessed, as when there is none.
    """
    lines = lines[:: len(lines) // _ENOUGH + 1]
    spaced = any(_SPACED in line for line in lines)
    for found in (csvlog(clock), jsonlog(clock, spaced)):
        if any(map(found.read, lines)):
            return found
    messages = [
        message for message in (_text(_object(line), "MESSAGE") for line in lines if line[:1] == "{") if message
    ]
    if messages:
        inner = _text_format([_unwrapped(message) for message in messages], prefix, clock)
        return journal(inner) if inner else None
    headers = [(line, _HEADER.match(line)) for line in lines]
    bare = [_unwrapped(line[header.end() :]) for line, header in headers if header]
    if bare:
        inner = _text_format(bare, prefix, clock)
        return syslog(inner, clock) if inner else None
    return _text_format(lines, prefix, clock)


def _text_format(lines: t.Sequence[str], prefix: str | None, clock: Clock) -> Format | None:
    pattern = _prefix.compiled(prefix) if prefix else None
    if pattern is None or not any(map(pattern.match, lines)):
        pattern = _prefix.guess(lines)
    return stderr(pattern, clock) if pattern else None
