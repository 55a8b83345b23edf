# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Service file, a pure room: reads and edits the bytes of a pg_service.conf as libpq reads it, the rest as it is.

Source: parseServiceFile in libpq's fe-connect.c. White space around a line is no part of it, around the equals sign it
is; lines that begin with # are comments; the first section of a name counts, and in it the first line of a keyword.
"""

from __future__ import annotations

import codecs
import re
import typing as t

from .._errors import Failure

#: Service, to keyword, to value; None takes the keyword out.
Wishes = t.Mapping[str, t.Mapping[str, t.Optional[str]]]

_BLANK = b" \t\v\f\r\n"
_HEADER = re.compile(rb"\[([^\]]*)\]")
_SETTING = re.compile(rb"([^#\[=][^=]*)=(.*)", re.DOTALL)


def services(content: bytes | None) -> list[str]:
    """Their names, in the file's order."""
    headers = (_HEADER.match(line.strip(_BLANK)) for line in _lines(content))
    return list(dict.fromkeys(_text(header[1]) for header in headers if header))


def values(content: bytes | None, service: str) -> dict[str, str]:
    """What libpq takes of *service*; empty where there is none of that name."""
    lines = _lines(content)
    found: dict[str, str] = {}
    for line in lines[slice(*_section(lines, service) or (0, 0))]:
        key, value = _setting(line)
        if key:
            found.setdefault(key, value)
    return found


def edit(content: bytes | None, wishes: Wishes) -> bytes | None:
    """*content* with these keywords in these services; a service that is not there comes to the end of the file.

    Raises Failure ``bad_service`` for a name that no section can have, ``bad_service_file``.
    """
    lines = _lines(content)
    _check_mark(content)
    ending = b"\r\n" if lines and lines[0].endswith(b"\r\n") else b"\n"
    for service, keywords in wishes.items():
        _check(service)
        bounds = _section(lines, service)
        if bounds is None:
            if all(value is None for value in keywords.values()):
                continue
            if lines:
                lines = [*lines[:-1], _closed(lines[-1], ending)]
            lines.append(b"[%s]%s" % (_bytes(service), ending))
            bounds = (len(lines), len(lines))
        lines[slice(*bounds)] = _edited(lines[slice(*bounds)], keywords, ending)
        # A header without an end of line may be the last line of the file.
        lines[bounds[0] - 1] = _closed(lines[bounds[0] - 1], ending)
    return b"".join(lines) if lines or content is not None else None


def _edited(section: list[bytes], keywords: t.Mapping[str, str | None], ending: bytes) -> list[bytes]:
    """The lines of one section with *keywords*; new ones come after its last setting, before comments on the next."""
    missing = {key: value for key, value in keywords.items() if value is not None}
    lines = []
    last = 0
    for line in section:
        key, value = _setting(line)
        if key in keywords and keywords[key] is None:
            continue
        if key in missing:
            wanted = missing.pop(key)
            if value != wanted:
                start = line.index(b"=") + 1
                line = line[:start] + _bytes(wanted) + line[len(line.rstrip(_BLANK)) :]
        lines.append(line)
        if key:
            last = len(lines)
    if missing and last:
        lines[last - 1] = _closed(lines[last - 1], ending)
    lines[last:last] = [_bytes(f"{key}={value}") + ending for key, value in missing.items()]
    return lines


def _section(lines: list[bytes], service: str) -> tuple[int, int] | None:
    """From the line after its header to the next header."""
    start = None
    for index, line in enumerate(lines):
        text = line.strip(_BLANK)
        if text.startswith(b"["):
            if start is not None:
                return start, index
            header = _HEADER.match(text)
            if header and _text(header[1]) == service:
                start = index + 1
    return None if start is None else (start, len(lines))


def _setting(line: bytes) -> tuple[str, str]:
    match = _SETTING.fullmatch(line.strip(_BLANK))
    return (_text(match[1]), _text(match[2])) if match else ("", "")


def _check(service: str) -> None:
    if not service or re.search(r"[\]\n]", service):
        raise Failure(
            "bad_service",
            f"service {service!r}",
            "a service file cannot have one of that name",
            "Name a service as applications do in service=...",
        )


def _check_mark(content: bytes | None) -> None:
    if content and content.startswith(codecs.BOM_UTF8):
        raise Failure(
            "bad_service_file",
            "editing the service file",
            "it begins with a byte order mark, which keeps libpq from finding its first service",
            "Save it without one.",
        )


def _lines(content: bytes | None) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", content or b"")


def _closed(line: bytes, ending: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + ending


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
