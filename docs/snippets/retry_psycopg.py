"""psycopg 3 with psycopg_pool: a pool that hands out living connections, and bounded retries of idempotent work."""

import random
import time

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

TRANSIENT = {"40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"}  # and class 08


def open_pool(dsn, size=4, **parameters):
    check = ConnectionPool.check_connection
    pool = ConnectionPool(dsn, kwargs=parameters, min_size=1, max_size=size, timeout=10, check=check, open=True)
    pool.wait(10)  # a wrong password shows here, at the start
    return pool


def is_transient(error):
    if error.sqlstate:
        return error.sqlstate in TRANSIENT or error.sqlstate.startswith("08")
    # The connection was lost. PoolTimeout: the pool has already tried to connect for as long as it may.
    return isinstance(error, psycopg.OperationalError) and not isinstance(error, PoolTimeout)


def run(pool, work, patience=30.0):
    """work(connection) in one transaction, again after a transient failure, for *patience* seconds; idempotent work."""
    deadline = time.monotonic() + patience
    attempt = 0
    while True:
        try:
            with pool.connection() as connection:
                return work(connection)
        except psycopg.Error as error:
            delay = random.uniform(0, min(2.0, 0.1 * 2**attempt))
            if not is_transient(error) or time.monotonic() + delay >= deadline:
                raise
        time.sleep(delay)
        attempt += 1
