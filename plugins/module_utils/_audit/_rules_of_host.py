# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the host (PGC7xx), a pure room: versions, what stands in front of a server, what could not be seen of it."""

from __future__ import annotations

import typing as t

from .. import _plan
from ._host import Host
from ._rule import Found, in_room, rule, server

#: When the project ends its support of a major version (www.postgresql.org/support/versioning).
_SUPPORTED_UNTIL = {
    10: "2022-11-10",
    11: "2023-11-09",
    12: "2024-11-21",
    13: "2025-11-13",
    14: "2026-11-12",
    15: "2027-11-11",
    16: "2028-11-09",
    17: "2029-11-08",
    18: "2030-11-14",
}


@rule("PGC701", "info", "The version lacks a setting", server)
def lacking(host: Host) -> t.Iterator[Found]:
    for name, since in _plan.SINCE.items():
        if host.major < since:
            yield Found(name, f"it came with PostgreSQL {since}, the server has {host.major}", "Upgrade when you can.")


@rule("PGC702", "info", "The version is out of support", server)
def out_of_support(host: Host) -> t.Iterator[Found]:
    until, today = _SUPPORTED_UNTIL.get(host.major), host.server.get("date")
    if until and today and str(today) > until:
        yield Found(
            "version",
            f"{host.server.get('version')}: the project supported {host.major} until {until}",
            "Upgrade: errors are no longer corrected.",
        )


@rule("PGC703", "info", "The version is newer than the newest that was tested", server)
def newer(host: Host) -> t.Iterator[Found]:
    if host.major > _plan.NEWEST:
        yield Found(
            "version",
            f"{host.server.get('version')}: promises were measured up to PostgreSQL {_plan.NEWEST}",
            "Prove them on it: pgharden.connection.drill.",
        )


@rule("PGC704", "info", "A pooler or proxy stands in front", server)
def pooler(host: Host) -> t.Iterator[Found]:
    for row in host.rows("poolers"):
        yield Found(
            str(row.get("name")),
            f"{row.get('evidence')} ({row.get('seen_in')}): the server's keepalive watches the pooler, not the "
            "application behind it",
            "Harden the pooler's own two legs, and see the whole: playbook pgharden.connection.path.",
        )


@rule("PGC705", "info", "The server listens on Unix sockets only", server)
def unix_only(host: Host) -> t.Iterator[Found]:
    if host.server.get("listen_addresses") == "":
        yield Found(
            "listen_addresses",
            "it is empty: keepalive and tcp_user_timeout do nothing, and are not judged",
            "Nothing; sessions of the server's own host end with their process.",
        )


@rule("PGC706", "info", "The login may not see everything", server)
def unreadable(host: Host) -> t.Iterator[Found]:
    rows = host.rows("server", "unreadable")
    if rows:
        shown = "; ".join(f"{row.get('what')} (needs {row.get('privilege')})" for row in rows)
        yield Found("login", f"{host.server.get('user')} does not see {shown}", "Grant it, or audit as superuser.")


@rule("PGC707", "info", "The server was down", lambda host: host.facts.get("server_down"))
def down(host: Host) -> t.Iterator[Found]:
    yield Found("server", f"{host.facts.get('reason')}: of its settings nothing is known", "Start it, and audit again.")


@rule("PGC708", "info", "The server does not run on Linux", server)
def other_platform(host: Host) -> t.Iterator[Found]:
    if not host.linux:
        yield Found(
            "platform",
            f"{host.server.get('platform')}: its timers were not judged, and its promises are by sources, not measured",
            "Prove what holds there: pgharden.connection.drill.",
        )


@rule("PGC709", "info", "No fresh session over TCP could be looked at", server)
def not_looked_at(host: Host) -> t.Iterator[Found]:
    effective = host.facts.get("effective")
    if host.over_tcp and effective is not None and not effective.get("settings"):
        yield Found(
            "effective",
            f"{effective.get('reason')}: whether sessions get what is configured is not proven",
            "Let the login in over TCP from the host itself (pg_hba.conf, a .pgpass), or set login_host.",
        )


RULES = in_room(globals())
