# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of logging (PGC6xx), a pure room: what a later diagnosis of lost connections will look for in the log.

They are info all of them: no connection is at risk.
"""

from __future__ import annotations

import re
import typing as t

from ._host import Host
from ._rule import Found, in_room, rule, server

#: Levels at which the lines of lost connections (LOG) are left out.
_TOO_HIGH = ("fatal", "panic")
_ESCAPE = re.compile(r"%-?\d*([a-zA-Z%])")
_ENGLISH = ("", "c", "posix", "en", "english")
#: What turns log_connections off: in 18, where it is a list, as it was written.
_OFF = ("", "off", "false", "no", "0")
#: What syslog writes in front of each line by itself.
_OF_SYSLOG = "mp"


def _prefix(host: Host) -> set[str] | None:
    """The escapes of log_line_prefix; None where it is not known, or where csvlog or jsonlog has all of them."""
    text, destination = host.text("log_line_prefix"), (host.text("log_destination") or "").lower()
    if text is None or re.search("csvlog|jsonlog", destination):
        return None
    return {*_ESCAPE.findall(text), *(_OF_SYSLOG if "syslog" in destination else "")}


def _set(host: Host) -> str:
    if host.part("patroni"):
        return "Set it for the cluster with pgharden.connection.patroni, by overrides"
    return "Set it for the server with pgharden.connection.server_settings"


def _lacks(host: Host, escapes: str, what: str) -> t.Iterator[Found]:
    prefix = _prefix(host)
    if prefix is not None and not prefix & set(escapes):
        missing = " or ".join(f"%{escape}" for escape in escapes)
        yield Found(
            "log_line_prefix",
            f"{host.shown('log_line_prefix')!s} has no {missing}: a line does not tell {what}",
            f"{_set(host)}, such as log_line_prefix = '%m [%p] %q%u@%d %r %e '.",
        )


@rule("PGC601", "info", "Ends of sessions are not logged", server)
def no_disconnections(host: Host) -> t.Iterator[Found]:
    if host.text("log_disconnections") == "off":
        yield Found(
            "log_disconnections",
            f"{host.shown('log_disconnections')}: how long a lost session had lived, and whether it ended at all, "
            "is not in the log",
            f"{_set(host)}: log_disconnections = on.",
        )


@rule("PGC602", "info", "Logins are not logged", server)
def no_connections(host: Host) -> t.Iterator[Found]:
    if str(host.text("log_connections")).strip().lower() in _OFF:
        yield Found(
            "log_connections",
            f"{host.shown('log_connections')}: which client a process served is not in the log",
            f"{_set(host)}: log_connections = on.",
        )


@rule("PGC603", "info", "Log lines do not tell the client's address", server)
def no_address(host: Host) -> t.Iterator[Found]:
    yield from _lacks(host, "rh", "whose connection it was about")


@rule("PGC604", "info", "Log lines do not tell the time", server)
def no_time(host: Host) -> t.Iterator[Found]:
    yield from _lacks(host, "mtn", "when it was written")


@rule("PGC605", "info", "Log lines do not tell the process", server)
def no_process(host: Host) -> t.Iterator[Found]:
    yield from _lacks(host, "pc", "which lines belong to one session")


@rule("PGC606", "info", "Log lines do not tell the SQLSTATE", server)
def no_sqlstate(host: Host) -> t.Iterator[Found]:
    yield from _lacks(host, "e", "what happened other than in words")


@rule("PGC607", "info", "The log is in another language and without SQLSTATE", server)
def translated(host: Host) -> t.Iterator[Found]:
    language = re.split(r"[_.@]", (host.text("lc_messages") or "").lower())[0]
    prefix = _prefix(host)
    if language not in _ENGLISH and prefix is not None and "e" not in prefix:
        yield Found(
            "lc_messages",
            f"{host.shown('lc_messages')}: what a line means has to be read from its words, which differ by version",
            f"{_set(host)}: lc_messages = 'C', or add %e to log_line_prefix.",
        )


@rule("PGC608", "info", "Lost connections are below the level of the log", server)
def too_high(host: Host) -> t.Iterator[Found]:
    if host.text("log_min_messages") in _TOO_HIGH:
        yield Found(
            "log_min_messages",
            f"{host.shown('log_min_messages')}: 'could not receive data from client' and its like are left out",
            f"{_set(host)}: log_min_messages = warning.",
        )


RULES = in_room(globals())
