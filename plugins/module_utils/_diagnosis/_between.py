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
    r"^(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) (?P<zone>\S+) \[\d+\] \w+ (?P<leg>[CS])-(?P<id>\S+): "
    r"(?P<database>[^/\s]*)/(?P<user>[^@\s]*)@(?P<address>\S+):(?P<port>\d+) (?P<text>.*)$"
)
_OPENED = re.compile(r"new connection to server \(from (?P<address>\S+):(?P<port>\d+)\)")
_CLOSED = re.compile(r"closing because: (?P<reason>.+?)(?: \(age=\d+\w*\))?$")
_NORMAL = ("client close request", "client cancel request", "successful cancel request")
#: HAProxy, option tcplog: 10.61.7.20:38192 [23/Nov/2026:03:08:09.027] frontend backend/server 1/0/5062 573 cD ...
_HAPROXY = re.compile(
    r"(?P<address>\S+):(?P<port>\d+) \[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d{3})\] \S+ \S+/\S+ "
    r"-?\d+/-?\d+/\+?(?P<total>\d+) \+?\d+ (?P<state>[A-Za-z-]{2}) "
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: The first letter of HAProxy's state: who, or whose timeout, ended the session.
_ENDED = {"c": "proxy_timeout", "s": "proxy_timeout", "C": "proxy_client_lost", "S": "proxy_server_lost"}
_STATES = {
    "c": "timeout client expired",
    "s": "timeout server expired",
    "C": "the client ended it",
    "S": "the server ended it",
}


def events(lines: t.Iterable[str], file: str) -> t.Iterator[LogEvent]:
    """What the *lines* of such a log tell; a server's leg goes by the port that the pooler came from."""
    legs: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, 1):
        bouncer = _PGBOUNCER.match(line)
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
    server_leg = line["leg"] == "S"
    address, port = legs.pop(line["id"], (None, None)) if server_leg else (line["address"], int(line["port"]))
    if reason in _NORMAL or port is None:
        return None
    if reason == "client unexpected eof":
        kind = "pooler_lost_client"
    elif server_leg and ("crashed" in reason or "unexpected eof" in reason or "conn dead" in reason):
        kind = "pooler_lost_server"
    else:
        kind = "pooler_closed"
    return LogEvent(
        kind=kind,
        time=_time(f"{line['time']} {line['zone']}", "%Y-%m-%d %H:%M:%S.%f"),
        pid=None,
        text=f"PgBouncer: closing because: {reason}",
        file=file,
        line=number,
        address=address,
        port=port,
        user=name(line["user"]),
        database=name(line["database"]),
        detail=reason,
    )


def _of_haproxy(line: re.Match[str], file: str, number: int) -> LogEvent | None:
    who = line["state"][0]
    if who not in _ENDED or line["state"][1] == "-":
        return None
    day, month, rest = line["time"].split("/", 2)
    began = (
        _time(f"{day}/{_MONTHS.index(month) + 1:02d}/{rest} UTC", "%d/%m/%Y:%H:%M:%S.%f") if month in _MONTHS else None
    )
    return LogEvent(
        kind=_ENDED[who],
        time=None if began is None else began + int(line["total"]) / 1000,
        pid=None,
        text=f"HAProxy: session state {line['state']}: {_STATES[who]}",
        file=file,
        line=number,
        address=line["address"],
        port=int(line["port"]),
        detail=line["state"],
    )


def _time(text: str, form: str) -> float | None:
    """Seconds since the epoch. A zone other than UTC is taken to be this host's: neither program writes an offset."""
    moment, _blank, zone = text.rpartition(" ")
    try:
        found = datetime.datetime.strptime(moment, form)
    except ValueError:
        return None
    return (found.replace(tzinfo=datetime.timezone.utc) if zone in ("UTC", "GMT") else found).timestamp()
