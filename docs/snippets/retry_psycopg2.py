"""psycopg2: a pool that hands out living connections, and bounded retries of idempotent work."""

import random
import time

import psycopg2
import psycopg2.pool

TRANSIENT = {"40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"}  # and class 08
# libpq has no SQLSTATE for a login that failed. A server that answers with another FATAL than these means it.
PASSING = ("starting up", "shutting down", "recovery mode", "not yet accepting", "too many clients", "slots")


def open_pool(dsn, size=4, **parameters):
    return psycopg2.pool.ThreadedConnectionPool(1, size, dsn, **parameters)


def is_transient(error, connection):
    if error.pgcode:
        return error.pgcode in TRANSIENT or error.pgcode.startswith("08")
    if connection is not None:
        return bool(connection.closed)  # it was lost; what else has no SQLSTATE is a mistake in the program
    text = str(error)
    return isinstance(error, psycopg2.OperationalError) and ("FATAL" not in text or any(one in text for one in PASSING))


def living(pool):
    """A connection that has just answered; dead ones leave the pool here."""
    while True:
        connection = pool.getconn()
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            connection.rollback()
            return connection
        except psycopg2.Error:
            pool.putconn(connection, close=True)


def run(pool, work, patience=30.0):
    """work(cursor) in one transaction, again after a transient failure, for *patience* seconds; idempotent work."""
    deadline = time.monotonic() + patience
    attempt = 0
    while True:
        connection = None
        try:
            connection = living(pool)
            with connection, connection.cursor() as cursor:
                return work(cursor)
        except psycopg2.Error as error:
            delay = random.uniform(0, min(2.0, 0.1 * 2**attempt))
            if not is_transient(error, connection) or time.monotonic() + delay >= deadline:
                raise
        finally:
            if connection is not None:
                pool.putconn(connection)  # which drops a closed one
        time.sleep(delay)
        attempt += 1
