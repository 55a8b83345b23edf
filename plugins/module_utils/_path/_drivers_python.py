# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers for Python that are more than libpq, a pure room. Read in asyncpg 0.32, pg8000 1.31, psycopg_pool 3.3,
SQLAlchemy 2.1.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ._driver import Driver, Row, Values, Why, lasting, nothing, pairs, query
from ._driver import no_socket_options as without
from ._drivers_libpq import DRIVERS as LIBPQ_DRIVERS

_KEYWORDS = LIBPQ_DRIVERS["psycopg"].parameters

#: The server's side of the same connection, set by the session itself; a setting of the server has to be text.
_OF_SERVER = (
    Row("server_settings.tcp_keepalives_idle", "keepalives_idle", str),
    Row("server_settings.tcp_keepalives_interval", "keepalives_interval", str),
    Row("server_settings.tcp_keepalives_count", "keepalives_count", str),
    Row("server_settings.tcp_user_timeout", "tcp_user_timeout", str),
)
_SERVER_SIDE = (
    "server_settings sets the server's end of the connection, not the client's. PgBouncer refuses such parameters"
    " unless its ignore_startup_parameters lists them: leave them out behind it."
)
_ASYNCPG = Driver(
    (Row("timeout", "connect_timeout", float), *_OF_SERVER),
    missing={
        **without("asyncpg", keepalive=False),
        "tcp_user_timeout": ("asyncpg has no such setting", "command_timeout, where statements are short"),
    },
    notes=(_SERVER_SIDE,),
    proof="run",
)
_PG8000 = Driver(
    (Row("tcp_keepalive", "keepalives", bool),),
    untouched=LIBPQ_DRIVERS["libpq"].untouched,
    missing={
        **without("pg8000", keepalive=True),
        "connect_timeout": (
            "its timeout is one of the socket, which would end every read that takes longer",
            "net.ipv4.tcp_syn_retries of the client's host: the kernel gives up after about 2 min",
        ),
    },
    proof="run",
)


def _asyncpg_pool(own: Values, pool: Values) -> str:
    """asyncpg takes what it does not know of a DSN's query for settings of the server."""
    return pairs(own.get("server_settings", {}), "&", quoted=True)


def _check(own: Values, pool: Values, wanted: t.Mapping[str, int]) -> dict[str, Why]:
    """Every connection is tried before it is handed out; psycopg_pool does so only when it is told."""
    pool["check"] = "ConnectionPool.check_connection"
    return {}


def _queue_pool(own: Values, pool: Values, wanted: t.Mapping[str, int]) -> dict[str, Why]:
    """pool_size is what QueuePool keeps, not what it may open; without a limit when it is 0."""
    pool["pool_pre_ping"] = True
    left_out: dict[str, Why] = {}
    if pool.get("pool_size") == 0:
        del pool["pool_size"]
        left_out["pool_min_size"] = ("pool_size=0 means no limit", "poolclass=NullPool, which keeps none")
    elif "pool_size" in pool:
        # Its default total of 15 stays.
        pool["max_overflow"] = max(0, 15 - pool["pool_size"])
    if wanted.get("pool_max_idle"):
        left_out["pool_max_idle"] = (
            "QueuePool closes connections when they come back or are taken out, none that idles",
            "pool_pre_ping, which replaces a dead one as it is taken out",
        )
    return left_out


def _sqlalchemy(dbapi: Driver, with_url: bool) -> Driver:
    return dataclasses.replace(
        dbapi,
        pool=(
            Row("pool_recycle", "pool_max_age", lambda seconds: seconds or -1),
            Row("pool_timeout", "connect_timeout", float),
            Row("pool_size", "pool_min_size"),
        ),
        url=query if with_url else nothing,
        snippet=_engine,
        adjust=_queue_pool,
    )


def _engine(own: Values, pool: Values) -> str:
    arguments = [f"    connect_args={own!r},", *(f"    {name}={value!r}," for name, value in pool.items())]
    return "\n".join(["create_engine(", "    url,", *arguments, ")"])


DRIVERS = {
    "psycopg_pool": Driver(
        _KEYWORDS,
        (
            Row("min_size", "pool_min_size"),
            Row("max_idle", "pool_max_idle", lasting),
            Row("max_lifetime", "pool_max_age", lasting),
            Row("timeout", "connect_timeout", float),
        ),
        untouched=LIBPQ_DRIVERS["libpq"].untouched,
        url=query,
        adjust=_check,
        notes=(
            "max_size is the application's: without it the pool has min_size connections, all of which it keeps.",
            "AsyncConnectionPool has AsyncConnectionPool.check_connection.",
        ),
        proof="run",
    ),
    "sqlalchemy+psycopg2": _sqlalchemy(LIBPQ_DRIVERS["psycopg2"], with_url=True),
    "sqlalchemy+psycopg": _sqlalchemy(LIBPQ_DRIVERS["psycopg"], with_url=True),
    "sqlalchemy+asyncpg": _sqlalchemy(_ASYNCPG, with_url=False),
    "sqlalchemy+pg8000": _sqlalchemy(_PG8000, with_url=False),
    "asyncpg": dataclasses.replace(
        _ASYNCPG,
        pool=(
            Row("min_size", "pool_min_size"),
            Row("max_inactive_connection_lifetime", "pool_max_idle", float),
        ),
        url=_asyncpg_pool,
        missing={
            **_ASYNCPG.missing,
            "pool_max_age": ("its pool knows no age of connections", "max_queries, after which it replaces one"),
        },
        notes=(_SERVER_SIDE, "max_size, 10 unless it is given, must not be smaller than min_size."),
    ),
    "pg8000": _PG8000,
}
