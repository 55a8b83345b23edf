# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file room (pure): reads and edits the bytes of a postgresql.conf as the server's own lexer does.

What a line means is decided by PostgreSQL's ``guc-file.l``, which is the same from 13 to 18. Nothing spans lines there,
so one pattern for a whole line stands for it; it is written so that a token ends where the lexer's longest match ends.

Text is UTF-8 with surrogate escapes: bytes that are no UTF-8 pass through values and names unharmed.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._errors import Failure

_BLANK = rb"[ \t\r]*"
_ID = rb"[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff]*"
_QUALIFIED = _ID + rb"\." + _ID
# An unquoted string goes on over these, so a name or a value ends only where none of them follows.
_WORD_END = rb"(?![A-Za-z_0-9\x80-\xff\-._:/])"
_NAME = rb"(?P<name>" + _ID + rb"(?:\." + _ID + rb")?)" + _WORD_END
_REAL = rb"[-+]?[0-9]*\.[0-9]*(?:[Ee][-+]?[0-9]+)?"
_INTEGER = rb"[-+]?(?:0x[0-9a-fA-F]+|[0-9]+)[a-zA-Z]*"
# A qualified name is the one word that the server does not take for a value.
_WORD = rb"(?!" + _QUALIFIED + _WORD_END + rb")[A-Za-z_\x80-\xff][A-Za-z_0-9\x80-\xff\-._:/]*"
# A NUL inside quotes makes the server read past its own buffer; here it is a syntax error.
_STRING = rb"'(?:[^'\\\n\x00]|\\[^\n\x00]|'')*'"
_VALUE = rb"(?P<value>" + rb"|".join((_WORD, _STRING, _REAL, _INTEGER)) + rb")"
_COMMENT = rb"(?:#[^\n]*)?"

# The blanks around "=" are not written as two runs side by side: matching would take quadratic time.
_ASSIGNMENT = re.compile(
    _BLANK + _NAME + rb"(?P<equals>" + _BLANK + rb"=)?" + _BLANK + _VALUE + _BLANK + rb"(?P<comment>" + _COMMENT + rb")"
)
_EMPTY = re.compile(_BLANK + _COMMENT)
_STARTS_WITH_NAME = re.compile(_BLANK + _NAME)
_INDENTED_COMMENT = re.compile(rb"[ \t]+#")
_COMMENT_SIGN = re.compile(_BLANK + rb"#[# \t]*")

_PLAIN_NAME = re.compile(_NAME)
_BARE_VALUE = re.compile(rb"-?[0-9]+|[A-Za-z_][A-Za-z_0-9]*")
_ESCAPE = re.compile(rb"\\(?:(?P<octal>[0-7]{1,3})|(?P<letter>[^0-7]))|''")
_CONTROL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}

_INCLUDES = ("include", "include_if_exists", "include_dir")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One active assignment; *start* is the offset of its name in the file, *value_span* where its value is written."""

    line: int
    name: str
    value: str
    start: int
    value_span: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class SyntaxProblem:
    """One line that the server cannot read. *name* is the setting that it seems to be about, if it starts with one.

    The text of the line is not given away: it may hold a password.
    """

    line: int
    name: str | None


class Include(t.NamedTuple):
    """One include directive; *kind* is ``include``, ``include_if_exists`` or ``include_dir``."""

    kind: str
    path: str
    line: int


def entries(data: bytes) -> list[Entry]:
    """All active assignments, in order; of those with the same name the last one counts."""
    return [item for item in _parse(data) if isinstance(item, Entry) and item.name not in _INCLUDES]


def includes(data: bytes) -> list[Include]:
    """All include directives, in order."""
    found = (item for item in _parse(data) if isinstance(item, Entry) and item.name in _INCLUDES)
    return [Include(item.name, item.value, item.line) for item in found]


def errors(data: bytes) -> list[SyntaxProblem]:
    """All lines with a syntax error: a server that reloads such a file applies nothing of it."""
    return [item for item in _parse(data) if isinstance(item, SyntaxProblem)]


def value_of(data: bytes, name: str) -> str | None:
    """The value that this file sets *name* to, or None where it does not; files that it includes are not looked at."""
    values = [entry.value for entry in entries(data) if entry.name == _folded(name)]
    return values[-1] if values else None


def edit(data: bytes, settings: t.Mapping[str, str | None]) -> bytes:
    """The file with each of *settings* set to its value, or not set at all where that is None; all else is kept.

    A value: the last assignment of that name gets it, and nothing but the bytes of its value changes. Where there is
    none, a line is added below the commented-out sample of that setting, or at the end. None: every assignment of that
    name is commented out. A file that already says so comes back unchanged.
    """
    for name, value in settings.items():
        active = _active(data, name)
        if value is None:
            data = _comment_out(data, active)
        elif not active:
            data = _insert(data, name, value)
        elif active[-1].value != value:
            data = _replace_value(data, active[-1], value)
    return data


def _parse(data: bytes) -> t.Iterator[Entry | SyntaxProblem]:
    """All lines that say something, include directives among the entries."""
    offset = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        if not _EMPTY.fullmatch(line):
            match = _ASSIGNMENT.fullmatch(line)
            if match:
                start, end = match.span("value")
                yield Entry(
                    number,
                    _decode(match["name"].lower()),
                    _decode(_unquote(match["value"])),
                    offset + match.start("name"),
                    (offset + start, offset + end),
                )
            else:
                named = _STARTS_WITH_NAME.match(line)
                yield SyntaxProblem(number, _decode(named["name"].lower()) if named else None)
        offset += len(line) + 1


def _active(data: bytes, name: str) -> list[Entry]:
    """The assignments of *name*; a line about it that cannot be read is an error, for it may be one."""
    asked = f"set {name!r} in a configuration file"
    folded = _folded(name)
    if not _PLAIN_NAME.fullmatch(_encode(name)) or folded in _INCLUDES:
        raise Failure("bad_name", asked, "that is no name of a setting", "Check its spelling.")
    active = []
    for item in _parse(data):
        if item.name == folded:
            if isinstance(item, SyntaxProblem):
                found = f"PostgreSQL cannot read line {item.line}, which is about it"
                remedy = "Correct that line first; a value with a fraction and a unit, for one, needs quotes."
                raise Failure("bad_config_file", asked, found, remedy, line=item.line)
            active.append(item)
    return active


def _unquote(written: bytes) -> bytes:
    """The value that the server makes of the bytes in the file."""
    if not written.startswith(b"'"):
        return written

    def resolve(match: t.Match[bytes]) -> bytes:
        if match["octal"]:
            return bytes((int(match["octal"], 8) & 0xFF,))
        if match["letter"]:
            return _CONTROL.get(match["letter"], match["letter"])
        return b"'"

    # A value is a C string to the server: an escaped NUL ends it.
    return _ESCAPE.sub(resolve, written[1:-1]).split(b"\x00")[0]


def _written(name: str, value: str, *, quoted: bool = False) -> bytes:
    """*value* as it is written into the file."""
    raw = _encode(value)
    if b"\x00" in raw or b"\n" in raw:
        asked = f"set {name!r} in a configuration file"
        raise Failure("bad_value", asked, "the value holds a line break or a NUL", "Give it as one line of text.")
    if _BARE_VALUE.fullmatch(raw) and not quoted:
        return raw
    return b"'" + raw.replace(b"\\", b"\\\\").replace(b"'", b"''") + b"'"


def _replace_value(data: bytes, entry: Entry, value: str) -> bytes:
    start, end = entry.value_span
    # In name'value' the quotes are all that keeps the two apart.
    apart = data[:start].endswith((b" ", b"\t", b"\r", b"="))
    return data[:start] + _written(entry.name, value, quoted=not apart) + data[end:]


def _comment_out(data: bytes, active: list[Entry]) -> bytes:
    """*data* with these assignments commented out, the last one first, so that the offsets of the others stay true."""
    for entry in reversed(active):
        start = data.rfind(b"\n", 0, entry.start) + 1
        end = data.find(b"\n", start) + 1 or len(data)
        line = data[start : entry.start] + b"#" + data[entry.start : end]
        above = data[data.rfind(b"\n", 0, max(start - 1, 0)) + 1 : start]
        # The same comment right above says it all; else setting and unsetting again and again would grow the file.
        data = data[:start] + (b"" if above.rstrip() == line.rstrip() else line) + data[end:]
    return data


def _insert(data: bytes, name: str, value: str) -> bytes:
    """*data* with a new assignment, below the last commented-out one of that name or at the end."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+", data)
    samples = [number for number, line in enumerate(lines) if _sample_of(line) == _folded(name)]
    place = samples[-1] + 1 if samples else len(lines)
    # What a sample says about itself may go on below it, indented.
    while place < len(lines) and _INDENTED_COMMENT.match(lines[place]) and _sample_of(lines[place]) is None:
        place += 1
    # The line above tells the line ending, unless it is a last line that has none.
    terminated = [line for line in lines[:place] if line.endswith(b"\n")]
    ending = b"\r\n" if terminated and terminated[-1].endswith(b"\r\n") else b"\n"
    if place and not lines[place - 1].endswith(b"\n"):
        lines[place - 1] += ending
    lines.insert(place, _encode(name) + b" = " + _written(name, value) + ending)
    return b"".join(lines)


def _sample_of(line: bytes) -> str | None:
    """The name of the setting, where *line* is ``#name = value``; prose about a setting is not."""
    sign = _COMMENT_SIGN.match(line)
    match = _ASSIGNMENT.fullmatch(line.rstrip(b"\n"), sign.end()) if sign else None
    return _decode(match["name"].lower()) if match and match["equals"] else None


def _folded(name: str) -> str:
    """*name* as names are compared: of its letters only the ASCII ones have a case."""
    return _decode(_encode(name).lower())


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise Failure(
            "bad_value", "write a configuration file", f"{text!r} cannot be encoded", "Give it as valid text."
        ) from None
