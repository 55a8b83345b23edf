# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers on libpq, a pure room: its own keywords wherever they are written. Source: libpq's manual, and the drivers.

libpq's keepalives_idle=0 makes connecting fail on Linux, so what nothing is wanted for is left out.
"""

from __future__ import annotations

import typing as t

from ._driver import LIBPQ, Driver, Row, Values, Why, conninfo, lines, pairs, query, semicolons

_KEYWORDS = tuple(Row(name, name) for name in LIBPQ)


def _fdw(own: Values, pool: Values) -> str:
    """Options of ALTER SERVER; SET instead of ADD for those that are there already."""
    return "OPTIONS (" + ", ".join(f"ADD {name} '{value}'" for name, value in own.items()) + ")"


def _guc(own: Values, pool: Values) -> str:
    return f"primary_conninfo = '{conninfo(own, pool)}'"


def _subscription(own: Values, pool: Values) -> str:
    return f"CONNECTION '{conninfo(own, pool)}'"


def _pqopt(own: Values, pool: Values, wanted: t.Mapping[str, int]) -> dict[str, Why]:
    """What psqlodbc has no keyword for goes to libpq in braces."""
    others = ("keepalives_count", "tcp_user_timeout", "connect_timeout")
    rest: Values = {name: own.pop(name) for name in others if name in own}
    if rest:
        own["pqopt"] = "{" + pairs(rest, " ") + "}"
    return {}


_ON = {"keepalives": 1}

DRIVERS = {
    "libpq": Driver(_KEYWORDS, untouched=_ON, url=query, snippet=conninfo, proof="run"),
    "pg_service": Driver(_KEYWORDS, untouched=_ON, snippet=lines, proof="run"),
    "psycopg2": Driver(_KEYWORDS, untouched=_ON, url=query, snippet=conninfo, proof="run"),
    "psycopg": Driver(_KEYWORDS, untouched=_ON, url=query, snippet=conninfo, proof="run"),
    "ruby_pg": Driver(_KEYWORDS, untouched=_ON, url=query, snippet=conninfo, proof="run"),
    "pdo_pgsql": Driver(
        # It appends a connect_timeout of its own, 30 s unless this attribute says otherwise.
        (*_KEYWORDS[:-1], Row("PDO::ATTR_TIMEOUT", "connect_timeout")),
        untouched=_ON,
        url=lambda own, pool: pairs({name: own[name] for name in own if "::" not in name}, ";"),
        notes=("PDO::ATTR_TIMEOUT is an option of the constructor; the others belong into the DSN.",),
        proof="run",
    ),
    "psqlodbc": Driver(
        (Row("KeepaliveTime", "keepalives_idle"), Row("KeepaliveInterval", "keepalives_interval"), *_KEYWORDS[3:]),
        url=semicolons,
        snippet=lambda own, pool: pairs(own, "\n"),
        adjust=_pqopt,
        implied=("keepalives",),
        untouched=_ON,
        proof="run",
    ),
    "primary_conninfo": Driver(
        _KEYWORDS,
        untouched=_ON,
        snippet=_guc,
        notes=("Add them to the primary_conninfo that is there: host, user and the rest stay.",),
        proof="run",
    ),
    "subscription": Driver(
        _KEYWORDS,
        untouched=_ON,
        snippet=_subscription,
        notes=("ALTER SUBSCRIPTION takes the whole string: host, user and the rest belong in it.",),
        proof="run",
    ),
    "postgres_fdw": Driver(_KEYWORDS, untouched=_ON, snippet=_fdw, proof="run"),
}
