# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Common, a pure room: the lines of connections that come and go, read at a glance. Some logs have little else.

One pattern for the whole line does what the readers of `_lines` do in steps, at a fraction of their cost. It is strict:
what it does not match, such as names with odd characters, is left to them, and what it matches they read alike.
"""

from __future__ import annotations

import functools
import re
import typing as t

from . import _prefix
from ._clock import IN_PARTS, TIME, Clock
from ._facts import LogEvent

#: Reads the line of data that begins at the first index (the data ends at the second), of this file, with this number.
Glance = t.Callable[[bytes, int, int, str, int], t.Optional[LogEvent]]

#: What somebody took for a name may be a connection string, or hold a password.
_SECRETIVE = re.compile(r"://|=|passw|secret|token", re.IGNORECASE)

#: A name without what would have to be escaped, or could be taken for the end of a prefix.
_WORD = r"[^\s=:,\"\\]{1,63}"
_WORDS = r"[^\s=:\"\\](?:[^\n\r=:\"\\]{0,61}?[^\s=:\"\\])?"
_PEER = r"[^\s\"\\]{1,255}"
_MESSAGE = (
    rf"(?:(?P<received>connection received: host=(?P<from_host>{_PEER})(?: port=(?P<from_port>\d{{1,5}}))?)"
    rf"|(?P<login>(?:replication )?connection authorized: )user=(?P<new_user>{_WORD})"
    rf"(?: database=(?P<new_base>{_WORD}))?"
    rf"(?: application_name=(?P<program>{_WORDS}))?(?P<rest> SSL enabled [^\n\r\"\\]*| GSS [^\n\r\"\\]*)?"
    r"|(?P<end>disconnection: session time: (?P<hours>\d{1,9}):(?P<minutes>\d\d):(?P<seconds>\d\d\.\d{3}) user=)"
    rf"(?P<old_user>{_WORD}) database=(?P<old_base>{_WORD})"
    rf"(?P<left> host=(?P<left_host>{_PEER})(?: port=(?P<left_port>\d{{1,5}}))?))"
)
_END = r"(?=\r*(?:\n|\Z))"
_IN_PREFIX = ("minute", "second", "zone", "p", "host", "port", "u", "d", "a", "e", "c")
_GROUPS = (
    *_IN_PREFIX,
    *("received", "from_host", "from_port", "login", "new_user", "new_base", "program", "rest"),
    *("end", "hours", "minutes", "seconds", "old_user", "old_base", "left", "left_host", "left_port"),
)


@functools.lru_cache(maxsize=4096)
def name(text: str | None) -> str | None:
    """A name that may be shown."""
    return None if not text or text == "[unknown]" or _SECRETIVE.search(text) else text


def in_text(prefix: t.Pattern[str], clock: Clock) -> Glance | None:
    """For lines of stderr with this prefix; None where too little is known of it."""
    time = "m" if "m" in prefix.groupindex else "t"
    if time not in prefix.groupindex or "n" in prefix.groupindex:
        return None
    begins = prefix.pattern[: -len(_prefix.MESSAGE)]
    begins = begins.replace(f"(?P<{time}>{TIME})", IN_PARTS).replace(_prefix.NAME, f"(?:{_WORDS})?")
    if "r" in prefix.groupindex:
        begins = begins.replace(f"(?P<r>{_prefix.PEER})", rf"(?P<host>{_prefix.HOST})(?:\((?P<port>\d{{1,5}})\))?")
    else:
        begins = begins.replace("(?P<h>", "(?P<host>")
    return _glance(f"{begins}LOG:  {_MESSAGE}{_END}", clock, None)


def in_csv(clock: Clock) -> Glance:
    """For lines of csvlog."""
    return _glance(
        rf"{IN_PARTS},(?:\"(?P<u>{_WORD})\")?,(?:\"(?P<d>{_WORD})\")?,(?P<p>\d*),"
        r"(?:\"(?P<host>[^\"\s]*?)(?::(?P<port>\d{1,5}))?\")?,(?P<c>[0-9a-f.]*),\d*,(?:\"[^\"\n]*\")?,[^,\n]*,[-\d/\"]*,"
        rf"\d*,LOG,(?P<e>[0-9A-Z]{{5}}),\"{_MESSAGE}\",{{8}}(?:\"[^\"\n]*\")?,\"(?P<a>(?:{_WORDS})?)\"(?:,[^\n]*)?{_END}",
        clock,
        None,
    )


def in_json(clock: Clock) -> Glance:
    """For lines of jsonlog, which leaves out the SQLSTATE of success."""
    return _glance(
        rf"\{{\"timestamp\":\"{IN_PARTS}\",(?:\"user\":\"(?P<u>{_WORD})\",)?(?:\"dbname\":\"(?P<d>{_WORD})\",)?"
        r"\"pid\":(?P<p>\d+),(?:\"remote_host\":\"(?P<host>[^\"\\\n]*)\",)?(?:\"remote_port\":(?P<port>\d{1,5}),)?"
        r"\"session_id\":\"(?P<c>[0-9a-f.]*)\",[^\n]*?,\"error_severity\":\"LOG\",(?:\"state_code\":\"(?P<e>\w{5})\",)?"
        rf"\"message\":\"{_MESSAGE}\"(?:,\"application_name\":\"(?P<a>{_WORDS})\")?,\"backend_type\":\"[^\"\\\n]*\""
        rf"(?:,\"[a-z_]+\":-?\d+)*\}}{_END}",
        clock,
        "00000",
    )


def _glance(pattern: str, clock: Clock, state: str | None) -> Glance:
    """What reads lines with this pattern; *state* is the SQLSTATE of those that have none."""
    lacking = [group for group in _IN_PREFIX if f"(?P<{group}>" not in pattern]
    whole = re.compile((pattern + "".join(rf"(?:(?!)(?P<{group}>))?" for group in lacking)).encode())
    match, moment = whole.match, clock.at
    groups = [whole.groupindex[group] for group in _GROUPS]

    def glance(data: bytes, begin: int, end: int, file: str, line: int) -> LogEvent | None:
        found = match(data, begin, end)
        if found is None:
            return None
        # fmt: off
        (
            minute, second, zone, pid, host, port, role, base, application, sqlstate, session,
            received, from_host, from_port, login, new_user, new_base, program, rest,
            ended, hours, minutes, seconds, old_user, old_base, left, left_host, left_port,
        ) = found.group(*groups)
        # fmt: on
        number = None
        if received:
            kind, text = "connection_received", received.decode("utf-8", "replace")
        elif login:
            kind = "authenticated"
            text = (
                f"{login.decode()}user=...{' database=...' if new_base else ''}"
                f"{' application_name=...' if program else ''}{'...' if rest else ''}"
            )
        else:
            kind = "disconnected"
            text = f"{ended.decode()}... database=...{left.decode('utf-8', 'replace')}"
            number = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        return LogEvent(
            kind,
            moment(minute, second, zone),
            int(pid) if pid and len(pid) < 19 else None,
            text,
            file,
            line,
            _text(from_host or left_host or host) or None,
            int(from_port or left_port or port or 0) or None,
            _name(new_user or old_user) or _name(role),
            _name(new_base or old_base) or _name(base),
            _name(program) or _name(application),
            _text(sqlstate) or state,
            _text(session) or None,
            number,
        )

    return glance


@functools.lru_cache(maxsize=4096)
def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if value is not None else None


@functools.lru_cache(maxsize=4096)
def _name(value: bytes | None) -> str | None:
    return name(_text(value))
