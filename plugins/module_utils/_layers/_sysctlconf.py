# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctl files: reads and edits the bytes of a sysctl.d file, and tells which of several files wins for a key."""

from __future__ import annotations

import fnmatch
import os
import re
import typing as t

HEADER = (
    "# Managed by the Ansible collection pgharden.connection: it sets the TCP settings that it was told to,"
    " and keeps every other line.\n"
)

# sysctl.d(5), highest precedence first: a file hides those of the same name in the directories after its own. The
# plain file comes last and is read by `sysctl --system` alone; at boot systemd reads it only through a link.
SEARCH = (
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
    "/lib/sysctl.d",
    "/etc/sysctl.conf",
)

_BLANK = " \t\r\n"
_NUMBER = re.compile(r"(-?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]+)|(0|[1-9][0-9]*))(?![^ \t\n])")


class Style(t.NamedTuple):
    """How a system writes a line: the *prefix* of its TCP settings, and what is between name and value."""

    prefix: str
    equals: str


LINUX = Style("net.ipv4.tcp_", " = ")


class Assignment(t.NamedTuple):
    """One line that sets *key* (a dotted name, possibly with wildcards); no *value* means ``-key``: leave it alone."""

    key: str
    value: str | None
    line: int
    file: str = ""


class Source(t.NamedTuple):
    """One file in the order of being applied; *at_boot* is false where only ``sysctl --system`` reads it."""

    path: str
    data: bytes
    at_boot: bool


def number(text: str | None) -> int | None:
    """The number that the kernel reads from *text*, None where it refuses.

    It knows 0x and leading-zero octal, and ignores whatever comes after a space, such as a comment.
    """
    match = _NUMBER.match((text or "").strip(_BLANK))
    if not match:
        return None
    sign, hexadecimal, octal, decimal = match.groups()
    value = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    return -value if sign else value


def single_number(text: str | None) -> int | None:
    """The same, None also where more comes after it."""
    return number(text) if len((text or "").split()) == 1 else None


def text_of(data: bytes | None) -> str:
    """File bytes as text that encodes back to the same bytes, whatever they are."""
    return (data or b"").decode("utf-8", "surrogateescape")


def _parse(line: str) -> tuple[str, str | None] | None:
    """What a line sets, as (dotted key, value); None for comments, blank lines and what sysctl calls an error."""
    line = line.strip(_BLANK)
    if not line or line[0] in "#;":
        return None
    name, equals, value = line.partition("=")
    dash = name.startswith("-")
    name = name[dash:].strip(_BLANK)
    if not name or not (equals or dash):
        return None
    separator = re.search(r"[./]", name)
    if separator and separator.group() == "/":
        # The first separator decides which spelling it is; in this one a dot is part of a name, such as eth0.100.
        name = name.translate({ord("/"): ".", ord("."): "/"})
    return name, (value.strip(_BLANK) if equals else None)


def assignments(data: bytes | None, file: str = "") -> list[Assignment]:
    """Every assignment of a file, in its order."""
    found = []
    for line, text in enumerate(text_of(data).split("\n"), 1):
        parsed = _parse(text)
        if parsed:
            found.append(Assignment(parsed[0], parsed[1], line, file))
    return found


def value_in(data: bytes | None, key: str) -> str | None:
    """What a file alone sets *key* to: its last line for it, wildcards left aside."""
    return {one.key: one.value for one in assignments(data)}.get(key)


def edit(data: bytes | None, settings: t.Mapping[str, int | None], style: Style = LINUX) -> bytes | None:
    """The file with *settings* in it (None takes a key out) and every other line as it was; None for no file at all."""
    lines = [line for line in re.split(r"(?<=\n)", text_of(data)) if line]
    removed = False
    for key in sorted(settings):
        wanted = settings[key]
        own = [at for at, line in enumerate(lines) if (_parse(line) or ("",))[0] == key]
        if wanted is None:
            removed = removed or bool(own)
        elif not own:
            _insert(lines, key, wanted, style)
        elif number((_parse(lines[own[-1]]) or ("", None))[1]) != wanted:
            lines[own.pop()] = f"{key}{style.equals}{wanted}\n"
        else:
            continue
        for at in reversed(own):
            del lines[at]
    if (data is None and not lines) or (removed and "".join(lines).strip(_BLANK) in ("", HEADER.strip(_BLANK))):
        return None
    return "".join(lines).encode("utf-8", "surrogateescape")


def _insert(lines: list[str], key: str, wanted: int, style: Style) -> None:
    """Put a key where it sorts among the TCP settings, above the comment of the line that it comes before."""
    if not lines:
        lines.append(HEADER)
    keys = [(_parse(line) or ("",))[0] for line in lines]
    at = next((at for at, other in enumerate(keys) if other.startswith(style.prefix) and other > key), len(lines))
    above = at
    while 0 < above < len(lines) and lines[above - 1] != HEADER and lines[above - 1].lstrip(_BLANK)[:1] in ("#", ";"):
        above -= 1
    at = above or at  # a comment that the file begins with is about the file
    if at == len(lines) and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    lines.insert(at, f"{key}{style.equals}{wanted}\n")


def sources(search: t.Sequence[str], own: str, content: bytes | None) -> list[Source]:
    """Every file that sysctl would apply, in its order, as if *own* had *content* (None: as if it were not there)."""
    own_directory, own_name = os.path.split(os.path.realpath(own))
    named: dict[str, str] = {}
    plain = []
    for place in search:
        if place.endswith(".conf"):
            plain.append(place)
            continue
        names = set(os.listdir(place)) if os.path.isdir(place) else set()
        if os.path.realpath(place) == own_directory:
            names = names - {own_name} if content is None else names | {own_name}
        for name in names:
            if name.endswith(".conf"):
                named.setdefault(name, os.path.join(place, name))
    found = []
    for path, at_boot in [(named[name], True) for name in sorted(named)] + [(path, False) for path in plain]:
        data = content if os.path.realpath(path) == os.path.realpath(own) else bytes_of(path)
        if data is not None:
            found.append(Source(path, data, at_boot))
    return found


def bytes_of(path: str) -> bytes | None:
    """A file's bytes; None where it is missing, no file (a mask is a link to /dev/null) or not ours to read."""
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None


def winner(files: t.Iterable[Source], key: str) -> Assignment | None:
    """The line that decides about *key*: the last that names it, else the last whose wildcards match it."""
    named = matched = None
    for source in files:
        for one in assignments(source.data, source.path):
            if one.key == key:
                named = one
            elif one.value is not None and _matches(one.key, key):
                matched = one
    return named or matched


def _matches(pattern: str, key: str) -> bool:
    """Whether a key with wildcards covers *key*: part by part, since a wildcard does not cross a separator."""
    parts, names = pattern.split("."), key.split(".")
    return len(parts) == len(names) and all(map(fnmatch.fnmatchcase, names, parts))
