# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does idempotent work through one of the snippets for Python until the end of the input: retry_python.py SNIPPET.

Prints what came of it.
"""

from __future__ import annotations

import asyncio
import collections
import importlib
import itertools
import json
import sys
import threading
import time
import typing as t
from pathlib import Path

Given = dict[str, t.Any]
sys.path.append(str(Path(__file__).resolve().parents[2] / "docs" / "snippets"))


class Tally:
    """What came of the requests of all workers."""

    def __init__(self) -> None:
        self.ended = False
        self.done = 0
        self.failures: collections.Counter[str] = collections.Counter()


def load(snippet: t.Any, given: Given, tally: Tally) -> None:
    """Two threads, each of which does one request after the other."""
    name, patience = given["name"], given["patience"]
    dsn = " ".join(f"{name}={value}" for name, value in given["server"].items())
    if snippet.__name__ == "retry_sqlalchemy":
        from sqlalchemy import text

        server = given["server"]
        pool = snippet.open_engine(
            f"postgresql+psycopg://{server['user']}@{server['host']}:{server['port']}/{server['dbname']}"
        )
        statement = text("SELECT do_once(:name, :key)")
    else:
        pool = snippet.open_pool(dsn)
        statement = "SELECT do_once(%(name)s, %(key)s)"

    def worker(number: int) -> None:
        for request in itertools.count():
            key = f"{given['name']}-{number}-{request}"
            try:
                snippet.run(pool, lambda place, key=key: place.execute(statement, {"name": name, "key": key}), patience)
                tally.done += 1
            except Exception as error:
                tally.failures[f"{type(error).__name__}: {error}"] += 1
                time.sleep(0.05)
            if tally.ended:
                return

    threads = [threading.Thread(target=worker, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    tally.ended = True
    for thread in threads:
        thread.join()
    if hasattr(pool, "close"):
        pool.close()


async def load_async(snippet: t.Any, given: Given, tally: Tally) -> None:
    """The same with two tasks."""
    server = given["server"]
    pool = await snippet.open_pool(
        f"postgresql://{server['user']}@{server['host']}:{server['port']}/{server['dbname']}"
    )

    async def call(connection: t.Any, key: str) -> None:
        await connection.execute("SELECT do_once($1, $2)", given["name"], key)

    async def worker(number: int) -> None:
        for request in itertools.count():
            key = f"{given['name']}-{number}-{request}"
            try:
                await snippet.run(pool, lambda connection, key=key: call(connection, key), given["patience"])
                tally.done += 1
            except Exception as error:
                tally.failures[f"{type(error).__name__}: {error}"] += 1
                await asyncio.sleep(0.05)
            if tally.ended:
                return

    async def end() -> None:
        await asyncio.to_thread(sys.stdin.read)
        tally.ended = True

    await asyncio.gather(worker(1), worker(2), end())
    pool.terminate()


def main() -> None:
    snippet = importlib.import_module(sys.argv[1])
    given = json.loads(sys.stdin.readline())
    tally = Tally()
    if asyncio.iscoroutinefunction(snippet.run):
        asyncio.run(load_async(snippet, given, tally))
    else:
        load(snippet, given, tally)
    print(json.dumps({"done": tally.done, "failures": tally.failures}))


if __name__ == "__main__":
    main()
