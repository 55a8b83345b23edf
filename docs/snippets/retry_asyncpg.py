"""asyncpg: a pool that hands out living connections, and bounded retries of idempotent work."""

import asyncio
import random
import time

import asyncpg

TRANSIENT = {"40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"}  # and class 08
# What asyncpg raises when it loses the connection; TimeoutError is an OSError, the second a race within asyncpg.
LOST = (OSError, asyncpg.InternalClientError, asyncpg.InterfaceError)


async def open_pool(dsn, size=4, **parameters):
    async def ping(connection):
        await connection.fetchval("SELECT 1", timeout=5)

    return await asyncpg.create_pool(dsn, min_size=1, max_size=size, setup=ping, **parameters)


def is_transient(error):
    if isinstance(error, asyncpg.PostgresError):
        return error.sqlstate in TRANSIENT or error.sqlstate.startswith("08")
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error)  # else it is a mistake in the program
    return True


async def run(pool, work, patience=30.0):
    """work(connection) in one transaction, again after a transient failure, for *patience* seconds; idempotent work."""
    deadline = time.monotonic() + patience
    attempt = 0
    while True:
        try:
            async with pool.acquire() as connection, connection.transaction():
                return await work(connection)
        except (asyncpg.PostgresError, *LOST) as error:
            delay = random.uniform(0, min(2.0, 0.1 * 2**attempt))
            if not is_transient(error) or time.monotonic() + delay >= deadline:
                raise
        await asyncio.sleep(delay)
        attempt += 1
