# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DSN, on the controller: keywords merged into a connection string or URI of libpq, the rest of it byte for byte.

libpq's own parser is asked before and after: the result says what the DSN said, and our keywords. A DSN may have a
password in it, so no error shows any of it.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import unquote

try:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn
except ImportError:
    HAS_PSYCOPG2 = False
else:
    HAS_PSYCOPG2 = True

from ..module_utils._errors import Failure
from ..module_utils._path._driver import TIMES

#: Start and end of a value.
Span = tuple[int, int]

_URI = re.compile(r"postgres(?:ql)?://")
#: As conninfo_parse of libpq's fe-connect.c reads it, whose white space is that of C.
_KEYWORD = re.compile(
    r"[ \t\n\v\f\r]*([^= \t\n\v\f\r]+)[ \t\n\v\f\r]*=[ \t\n\v\f\r]*('(?:\\.|[^'\\])*'|(?:\\.|[^ \t\n\v\f\r\\])*\\?)",
    re.DOTALL,
)
_PARAMETER = re.compile(r"([^=&]*)=([^&]*)&?")


def merge(dsn: t.Any, keywords: t.Mapping[str, t.Any], force: bool = False) -> str:
    """*dsn* with those *keywords* that it does not set itself; with *force* it gets these values in any case.

    Raises Failure ``bad_dsn`` where libpq cannot read it, ``missing_library`` without psycopg2.
    """
    if not isinstance(dsn, str):
        raise _bad("it is no text")
    given = _parse(dsn)
    ours = {name: str(value) for name, value in keywords.items()}
    if not force:
        ours = {name: value for name, value in ours.items() if name not in given or _is_refused(given, name)}
    changed = {name for name, value in ours.items() if name in given and given[name] != value}
    added = [f"{name}={value}" for name, value in ours.items() if name not in given]
    uri = _URI.match(dsn)
    spans = _spans_of_uri(dsn) if uri else _spans_of_conninfo(dsn)
    for name, (start, end) in reversed(spans):
        if name in changed:
            dsn = dsn[:start] + ours[name] + dsn[end:]
    expected = {**given, **ours}
    for candidate in _extended(dsn, added, bool(uri)):
        if _parse(candidate) == expected:
            return candidate
    raise _bad("nothing can be added to it without another meaning of the rest")


def _is_refused(given: t.Mapping[str, str], name: str) -> bool:
    """Whether a DSN has a value with which libpq cannot connect on Linux: it does not take zero for the default."""
    used = name in TIMES and given.get("keepalives") != "0"
    return used and re.fullmatch(r"0+|-\d+", given[name]) is not None


def _extended(dsn: str, added: list[str], uri: bool) -> t.Iterator[str]:
    """The ways to add to it, the usual one first."""
    if not added:
        yield dsn
    elif uri:
        start = _query(dsn)
        between = "?" if start is None else "" if dsn[start:] == "" or dsn.endswith("&") else "&"
        yield f"{dsn}{between}{'&'.join(added)}"
    else:
        rows = " ".join(added)
        yield f"{dsn} {rows}" if dsn else rows
        # A last value that is empty, or ends with a backslash, would go on with ours.
        yield f"{rows} {dsn}"


def _spans_of_conninfo(dsn: str) -> list[tuple[str, Span]]:
    return [(match[1], match.span(2)) for match in _KEYWORD.finditer(dsn)]


def _spans_of_uri(dsn: str) -> list[tuple[str, Span]]:
    start = _query(dsn)
    if start is None:
        return []
    return [(unquote(match[1]), match.span(2)) for match in _PARAMETER.finditer(dsn, start)]


def _query(dsn: str) -> int | None:
    """Where the parameters of a URI begin; as libpq has it, user and password may have a question mark in them."""
    start = dsn.index("://") + 3
    user = re.compile(r"[^@/]*@").match(dsn, start)
    # the same for an IPv6 address
    hosts = re.compile(r"(?:\[[^\]]*\]|[^?\[])*").match(dsn, user.end() if user else start)
    end = hosts.end() if hosts else start
    return end + 1 if dsn[end : end + 1] == "?" else None


def _parse(dsn: str) -> dict[str, str]:
    if not HAS_PSYCOPG2:
        raise Failure(
            "missing_library",
            "merging into a DSN",
            "the Python library psycopg2 is not there, through which libpq is asked",
            "Install it on the controller, for the Python that runs Ansible.",
        )
    try:
        return dict(parse_dsn(dsn))
    except (ProgrammingError, UnicodeError, ValueError):
        # Its message would show a part of the DSN.
        raise _bad("libpq cannot read it") from None


def _bad(found: str) -> Failure:
    remedy = "Write a connection string (host=db dbname=app) or a URI (postgresql://app@db/app), as psql takes it."
    return Failure("bad_dsn", "merging into a DSN", found, remedy)
