"""SQLAlchemy with psycopg2, psycopg 3 or pg8000: an engine with pre-ping, and bounded retries of idempotent work."""

import random
import time

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

TRANSIENT = {"40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"}  # and class 08
# libpq has no SQLSTATE for a login that failed. A server that answers with another FATAL than these means it.
PASSING = ("starting up", "shutting down", "recovery mode", "not yet accepting", "too many clients", "slots")


def open_engine(url, size=4, **parameters):
    return create_engine(url, pool_size=size, pool_pre_ping=True, pool_recycle=1800, connect_args=parameters)


def is_transient(error):
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if code:
        return code in TRANSIENT or code.startswith("08")
    if error.connection_invalidated:
        return True  # it was lost
    text = str(error.orig)
    return "connection" in text and ("FATAL" not in text or any(one in text for one in PASSING))


def run(engine, work, patience=30.0):
    """work(connection) in one transaction, again after a transient failure, for *patience* seconds; idempotent work."""
    deadline = time.monotonic() + patience
    attempt = 0
    while True:
        try:
            with engine.begin() as connection:
                return work(connection)
        except DBAPIError as error:
            delay = random.uniform(0, min(2.0, 0.1 * 2**attempt))
            if not is_transient(error) or time.monotonic() + delay >= deadline:
                raise
        time.sleep(delay)
        attempt += 1
