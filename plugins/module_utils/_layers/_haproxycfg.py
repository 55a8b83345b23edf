# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy configuration room (pure): reads the bytes of haproxy.cfg as HAProxy does, and edits single words of it.

What a word is follows ``parse_line`` of HAProxy's src/tools.c, which has been the same since 2.2: blanks separate,
``#`` begins a comment anywhere, a backslash escapes, "..." and '...' quote, variables count inside "..." only. A line
never goes on in the next one.

Text is UTF-8 with surrogate escapes: bytes that are no UTF-8 pass through unharmed.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .._errors import Failure

#: Words that begin a section, 2.2 to 3.5.
_SECTIONS = frozenset(
    (
        *("acme", "backend", "cache", "crt-store", "defaults", "fcgi-app", "frontend", "global", "healthcheck"),
        *("http-errors", "listen", "log-forward", "log-profile", "mailers", "namespace_list", "peers", "program"),
        *("resolvers", "ring", "traces", "userlist"),
    )
)
#: Sections that connections go through.
PROXIES = ("frontend", "backend", "listen")

_PIECE = re.compile(
    rb"""(?P<blank>[ \t\r\n\v\f]+)|(?P<comment>\#.*)|'(?P<single>[^']*)(?:'|$)|"(?P<double>(?:[^"\\]|\\.)*)(?:"|$)"""
    rb"""|(?P<escaped>\\(?:x[0-9a-fA-F]{2}|.)?)|(?P<plain>[^ \t\r\n\v\f#'"\\]+)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<letter>[ \\tnr#'\"$]))")
_CONTROL = {b"t": b"\t", b"n": b"\n", b"r": b"\r"}
_VARIABLE = re.compile(rb"(?<!\\)\$[{A-Za-z_.]")
_LINE_END = re.compile(rb"\r?\n?\Z")


class Word(t.NamedTuple):
    """A word of a line: its meaning, and where in the file it is written.

    *variable*: an environment variable is part of it, so that its meaning is not known from the file.
    """

    text: str
    start: int
    end: int
    variable: bool = False


@dataclasses.dataclass(frozen=True)
class Line:
    """A line that says something: its words, and where in the file it begins and ends, line end included."""

    words: tuple[Word, ...]
    start: int
    end: int

    def text(self, index: int) -> str:
        """The meaning of a word; "" where there is none."""
        return self.words[index].text if index < len(self.words) else ""


@dataclasses.dataclass
class Section:
    """*parent* is the ``defaults`` section that it inherits from; *conditional*: some of it depends on ``.if``."""

    kind: str
    name: str
    path: str
    header: Line
    parent: Section | None = None
    conditional: bool = False
    lines: list[Line] = dataclasses.field(default_factory=list)

    @property
    def label(self) -> str:
        """What a reader knows it by, also in a record."""
        return f"{self.kind} {self.name}".strip()

    def lineage(self) -> t.Iterator[Section]:
        """Itself, and the sections that it inherits from, the nearest first."""
        one: Section | None = self
        while one:
            yield one
            one = one.parent


def parse(files: t.Mapping[str, bytes]) -> list[Section]:
    """The sections of a configuration, in the order of *files*: a ``defaults`` counts in the files after it, too."""
    sections: list[Section] = []
    for path, data in files.items():
        section, depth = None, 0
        for line in _lines(data):
            first = line.text(0)
            if first.startswith("."):
                depth += {".if": 1, ".endif": -1}.get(first, 0)
            elif first in _SECTIONS:
                section = _begin(path, line, sections)
                section.conditional = depth > 0
                sections.append(section)
            elif section:
                section.conditional = section.conditional or depth > 0
                section.lines.append(line)
    return sections


def _begin(path: str, line: Line, before: list[Section]) -> Section:
    """A new section. Without ``from`` the nearest ``defaults`` above is its parent, but not that of another one."""
    texts = [word.text for word in line.words]
    named = len(texts) > 1 and texts[1] != "from"
    section = Section(texts[0], texts[1] if named else "", path, line)
    above = [one for one in reversed(before) if one.kind == "defaults"]
    if "from" in texts[1:-1]:
        above = [one for one in above if one.name == texts[texts.index("from", 1) + 1]]
    elif section.kind == "defaults":
        above = []
    section.parent = above[0] if above else None
    return section


def _lines(data: bytes) -> t.Iterator[Line]:
    start = 0
    for raw in re.findall(rb"[^\n]*\n|[^\n]+", data):
        words = tuple(_words(raw, start))
        if words:
            yield Line(words, start, start + len(raw))
        start += len(raw)


def _words(raw: bytes, offset: int) -> t.Iterator[Word]:
    content = re.split(rb"[\r\n]", raw, maxsplit=1)[0]
    text, begin, end, variable = b"", -1, 0, False
    for piece in _PIECE.finditer(content):
        if piece.lastgroup in ("blank", "comment"):
            if begin >= 0:
                yield Word(_decode(text), offset + begin, offset + end, variable)
            text, begin, variable = b"", -1, False
            continue
        if begin < 0:
            begin = piece.start()
        end = piece.end()
        meaning = piece[t.cast(str, piece.lastgroup)]
        if piece.lastgroup == "double":
            variable = variable or bool(_VARIABLE.search(meaning))
        text += _ESCAPE.sub(_resolve, meaning) if piece.lastgroup in ("double", "escaped") else meaning
    if begin >= 0:
        yield Word(_decode(text), offset + begin, offset + end, variable)


def _resolve(match: t.Match[bytes]) -> bytes:
    if match["hex"]:
        return bytes((int(match["hex"], 16),))
    return _CONTROL.get(match["letter"], match["letter"])


# ---- edits


class Edit(t.NamedTuple):
    """Put *text* in the place of what is written from *start* to *end*."""

    start: int
    end: int
    text: str


def apply(data: bytes, edits: t.Iterable[Edit]) -> bytes:
    """*data* with all *edits*, which do not overlap; those at one place come in the order given."""
    for edit in sorted(edits, key=lambda one: one.start)[::-1]:
        data = data[: edit.start] + edit.text.encode("utf-8", "surrogateescape") + data[edit.end :]
    return data


def end_of_settings(section: Section, data: bytes) -> tuple[int, str, str]:
    """Where a line is added to *section*: the offset, what goes before the line and what after it."""
    last = section.lines[-1] if section.lines else section.header
    raw = data[last.start : last.end]
    ending = t.cast("t.Match[bytes]", _LINE_END.search(raw))[0].decode() or "\n"
    indent = data[last.start : last.words[0].start].decode("utf-8", "surrogateescape") if section.lines else "    "
    # A last line without an end would swallow what follows.
    before = "" if raw.endswith(b"\n") else ending
    return last.end, before + indent, ending


def known(word: Word, where: str) -> str:
    """The meaning of *word*. Raises Failure ``unknown_variable`` where that is known to HAProxy's environment only."""
    if word.variable:
        raise Failure(
            "unknown_variable",
            f"reading {where}",
            f"its value is made from an environment variable: {word.text}",
            "Write the value itself there, or leave this setting alone (overrides with null).",
        )
    return word.text


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
