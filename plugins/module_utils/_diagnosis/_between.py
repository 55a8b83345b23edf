# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Between, a pure room: what the logs of PgBouncer and HAProxy say of connections that they closed, or lost."""

from __future__ import annotations

import datetime
import re
import typing as t

from ._common import name
from ._facts import LogEvent

#: PgBouncer: C-0x55a5: db/user@10.61.7.20:53288 closing because: client_idle_timeout (age=3s)
_PGBOUNCER = re.compile(
    r"(?:^|\s)(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) (?P<zone>\S+) \[\d+\] \w+ (?P<leg>[CS])-(?P<id>\S+): "
    r"(?P<database>[^/\s]*)/(?P<user>[^@\s]*)@(?:unix(?:\(\d+\))?|\[?(?P<address>[^\s\]]+)\]?):(?P<port>\d+) "
    r"(?P<text>.*)$"
)
_OPENED = re.compile(r"new connection to server \(from \[?(?P<address>[^\s\]]+)\]?:(?P<port>\d+)\)")
_CLOSED = re.compile(r"closing because: (?P<reason>.+?)(?: \(age=\d+\w*\))?$")
#: Before it is known who a client is.
_NOBODY = "(nouser)"
#: What its reasons mean (src/client.c, server.c, objects.c, janitor.c), the first that fits; others are its own limits.
#: No loss are ends that were wished for, requests to cancel, and logins that were refused.
_REASONS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("", r"client close request|close req|.*cancel|auth query complete|SSL required"),
        ("", r".*authentication failed|no such (?:user|database)|.*login (?:failed|rejected)"),
        ("", r"empty password|no username supplied"),
        ("pooler_lost_client", r"client unexpected eof"),
        ("pooler_ended_for_client", r"client disconnect"),
        ("pooler_lost_server", r"server conn crashed|unexpected eof|server connection closed|.*conn dead"),
        ("pooler_without_server", r".*\(server down\)|server login|.*cannot connect|connect failed|server DNS lookup"),
        ("pooler_login_timeout", r"client_login_timeout"),
        ("pooler_not_postgresql", r"client sent partial pkt|bad packet header|old V2 protocol|invalid startup packet"),
    )
)
#: Where what a client, or the server, has said may begin.
_QUOTED = re.compile(r"[:\"'=]")
#: HAProxy, option tcplog: 10.61.7.20:38192 [23/Nov/2026:03:08:09.027] frontend backend/server 1/0/5062 573 cD ...
_HAPROXY = re.compile(
    r"(?<!\S)(?P<address>\S{1,255}):(?P<port>\d{1,5}) \[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] \S+ \S+/\S+ "
    r"-?\d+/-?\d+/\+?(?P<total>\d+) \+?\d+ (?P<state>[A-Za-z-]{2}) "
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: HAProxy's state: what ended the session, and when (C: while it connected to the server, Q: while it was queued).
_STATES = (
    ("sC", "proxy_unanswered", "timeout connect expired"),
    ("SC", "proxy_refused", "the server's host, or a device, refused the connection"),
    ("sQ", "proxy_full", "timeout queue expired"),
    ("c", "proxy_timeout", "timeout client expired"),
    ("s", "proxy_timeout", "timeout server expired"),
    ("C", "proxy_client_lost", "the client ended it"),
    ("S", "proxy_server_lost", "the server ended it"),
    ("D", "proxy_server_lost", "the server was found to be down"),
    ("K", "proxy_told_to", "somebody ended it at the proxy"),
)


#: Any line of such a log, whatever it is about.
_ANY = re.compile(
    r"(?:^|\s)\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \S+ \[\d+\] (?:LOG|WARNING|ERROR|DEBUG|NOISE|FATAL) |haproxy\[\d+\]: "
)


def are_of_such(lines: t.Iterable[str]) -> bool:
    """Whether these are lines of such a log."""
    return any(_ANY.search(line) or _HAPROXY.search(line) for line in lines)


def events(lines: t.Iterable[str], file: str) -> t.Iterator[LogEvent]:
    """What the *lines* of such a log tell; a server's leg goes by the port that the pooler came from."""
    legs: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, 1):
        bouncer = _PGBOUNCER.search(line)
        if bouncer:
            event = _of_pgbouncer(bouncer, legs, file, number)
        else:
            proxy = _HAPROXY.search(line)
            event = _of_haproxy(proxy, file, number) if proxy else None
        if event:
            yield event


def _of_pgbouncer(line: re.Match[str], legs: dict[str, tuple[str, int]], file: str, number: int) -> LogEvent | None:
    opened = _OPENED.match(line["text"])
    if opened:
        legs[line["id"]] = (opened["address"], int(opened["port"]))
        return None
    closed = _CLOSED.match(line["text"])
    if not closed:
        return None
    reason = closed["reason"]
    kind = next((kind for kind, pattern in _REASONS if pattern.match(reason)), "pooler_closed")
    address: str | None = line["address"] or "[local]"
    port: int | None = int(line["port"]) if line["address"] else None
    if line["leg"] == "S":
        address, port = legs.pop(line["id"], (None, None))
    if not kind or not address:
        return None
    if kind == "pooler_lost_client" and line["user"] == _NOBODY:
        kind = "pooler_looked"
    said = _QUOTED.split(reason)[0].strip()
    return LogEvent(
        kind=kind,
        time=_time(f"{line['time']} {line['zone']}", "%Y-%m-%d %H:%M:%S.%f"),
        pid=None,
        text=f"PgBouncer: closing because: {said}",
        file=file,
        line=number,
        address=address,
        port=port,
        user=None if line["user"] == _NOBODY else name(line["user"]),
        database=None if line["database"] == "(nodb)" else name(line["database"]),
        detail=said,
    )


def _of_haproxy(line: re.Match[str], file: str, number: int) -> LogEvent | None:
    state = line["state"]
    kind, why = next(((kind, why) for begins, kind, why in _STATES if state.startswith(begins)), ("", ""))
    if not kind or state[1] == "-":
        return None
    day, month, rest = line["time"].split("/", 2)
    began = (
        _time(f"{day}/{_MONTHS.index(month) + 1:02d}/{rest} UTC", "%d/%m/%Y:%H:%M:%S.%f") if month in _MONTHS else None
    )
    return LogEvent(
        kind=kind,
        time=None if began is None else began + int(line["total"]) / 1000,
        pid=None,
        text=f"HAProxy: session state {state}: {why}",
        file=file,
        line=number,
        address=line["address"],
        port=int(line["port"]),
        detail=state,
    )


def _time(text: str, form: str) -> float | None:
    """Seconds since the epoch. A zone other than UTC is taken to be this host's: neither program writes an offset."""
    moment, _blank, zone = text.rpartition(" ")
    try:
        found = datetime.datetime.strptime(moment, form)
    except ValueError:
        return None
    return (found.replace(tzinfo=datetime.timezone.utc) if zone in ("UTC", "GMT") else found).timestamp()
