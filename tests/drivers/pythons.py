# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connects with a driver for Python: pythons.py DRIVER, and on standard input what `support.drivers` gives.

Prints what the driver's pool says of itself, as JSON, once it is connected; ends at the end of the input.
"""

from __future__ import annotations

import asyncio
import json
import sys
import typing as t

Given = dict[str, t.Any]


def psycopg2(given: Given) -> tuple[t.Any, Given]:
    import psycopg2

    return psycopg2.connect(*given["uri"], **given["keywords"]), {}


def psycopg(given: Given) -> tuple[t.Any, Given]:
    import psycopg

    return psycopg.connect(*given["uri"], **given["keywords"]), {}


def psycopg_pool(given: Given) -> tuple[t.Any, Given]:
    from psycopg_pool import ConnectionPool

    options = dict(given["pool"])
    if "check" in options:
        options["check"] = {"ConnectionPool.check_connection": ConnectionPool.check_connection}[options["check"]]
    pool = ConnectionPool(*given["uri"], kwargs=given["keywords"], open=True, max_size=4, **options)
    pool.wait(options.get("timeout", 20))
    said = {name: getattr(pool, name) for name in ("min_size", "max_idle", "max_lifetime", "timeout")}
    check = pool._check and f"ConnectionPool.{pool._check.__name__}"
    return pool, {**said, "check": check}


def pg8000(given: Given) -> tuple[t.Any, Given]:
    import pg8000.dbapi

    return pg8000.dbapi.connect(**_renamed(given["keywords"])), {}


async def asyncpg(given: Given) -> tuple[t.Any, Given]:
    import asyncpg

    pool = await asyncpg.create_pool(*given["uri"], **_renamed(given["keywords"]), **{"min_size": 1, **given["pool"]})
    idle = pool._holders[0]._max_inactive_time
    return pool, {"min_size": pool.get_min_size(), "max_inactive_connection_lifetime": idle}


def psqlodbc(given: Given) -> tuple[t.Any, Given]:
    import pyodbc

    server = given["server"]
    parts = ["Driver=PostgreSQL Unicode", f"Server={server['host']}", f"Port={server['port']}"]
    parts += [f"Uid={server['user']}", f"Database={server['dbname']}", given["url"]]
    return pyodbc.connect(";".join(parts)), {}


def sqlalchemy(given: Given) -> tuple[t.Any, Given]:
    from sqlalchemy import create_engine, text

    engine = create_engine(_url(given), connect_args=given["parameters"], **given["pool"])
    connection = engine.connect()
    connection.execute(text("SELECT 1"))
    return connection, _said(engine.pool)


async def sqlalchemy_asyncpg(given: Given) -> tuple[t.Any, Given]:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(_url(given), connect_args=given["parameters"], **given["pool"])
    connection = await engine.connect()
    await connection.execute(text("SELECT 1"))
    return connection, _said(engine.pool)


def _url(given: Given) -> str:
    server = given["server"]
    plain = f"postgresql://{server['user']}@{server['host']}:{server['port']}/{server['dbname']}"
    return "".join(given["uri"] or [plain]).replace(
        "postgresql", given["driver"].replace("sqlalchemy", "postgresql"), 1
    )


def _said(pool: t.Any) -> Given:
    said = {"pool_recycle": pool._recycle, "pool_timeout": pool.timeout(), "pool_size": pool.size()}
    return {**said, "pool_pre_ping": pool._pre_ping, "max_overflow": pool._max_overflow}


def _renamed(keywords: Given) -> Given:
    return {"database" if name == "dbname" else name: value for name, value in keywords.items()}


DRIVERS = {
    "psycopg2": psycopg2,
    "psycopg": psycopg,
    "psycopg_pool": psycopg_pool,
    "pg8000": pg8000,
    "asyncpg": asyncpg,
    "psqlodbc": psqlodbc,
    "sqlalchemy+psycopg2": sqlalchemy,
    "sqlalchemy+psycopg": sqlalchemy,
    "sqlalchemy+pg8000": sqlalchemy,
    "sqlalchemy+asyncpg": sqlalchemy_asyncpg,
}


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    given["uri"] = [given["uri"]] if "uri" in given else []
    if given["uri"]:
        given["parameters"] = {}  # they are in it
    given["keywords"] = {} if given["uri"] else {**given["server"], **given["parameters"]}
    connect = DRIVERS[given["driver"]]
    if asyncio.iscoroutinefunction(connect):
        _kept, said = await connect(given)
    else:
        _kept, said = connect(given)
    print(json.dumps(said), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
