# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the client: sessions in their phases, for as long as its standard input is open.

The first line of the input says which, {"phases": [...], "parameters": {...}}, and is answered with [{"pid", "phase",
"port"}, ...]. Each line after that is {"use": pid, "statement": ..., "patience": seconds}, and is answered with
{"seconds", "answer", "error"}.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import socket
import sys
import threading
import time

import psycopg2

#: The locks are held by server_main.py, which gives the shared one back when the results shall be sent.
STATEMENTS = {
    "idle": "SELECT 1",
    "idle_unacknowledged": "SELECT pg_advisory_lock_shared(2)",
    "executing": "SELECT pg_sleep(3600)",
    "lock_wait": "SELECT pg_advisory_lock(1)",
    "sending": "SELECT repeat('x', 8192), pg_sleep(0.05) FROM generate_series(1, 20000)",
    "idle_in_transaction": "BEGIN",
}


def execute(connection, statement: str) -> dict:
    began = time.monotonic()
    answer = error = None
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            answer = cursor.fetchone()[0] if cursor.description else None
    except psycopg2.Error as problem:
        error = str(problem).strip()
    return {"seconds": time.monotonic() - began, "answer": answer, "error": error}


def background(function, *arguments) -> concurrent.futures.Future:
    """In a thread that does not keep the process alive."""
    future: concurrent.futures.Future = concurrent.futures.Future()
    threading.Thread(target=lambda: future.set_result(function(*arguments)), daemon=True).start()
    return future


def local_port(connection) -> int:
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        return same.getsockname()[1]


def main() -> None:
    wanted = json.loads(sys.stdin.readline())
    sessions = {}
    told = []
    for phase in wanted["phases"]:
        connection = psycopg2.connect(host="router", user="drill", dbname="postgres", **wanted["parameters"])
        connection.autocommit = True
        pid = connection.info.backend_pid
        sessions[pid] = connection
        told.append({"pid": pid, "phase": phase, "port": local_port(connection)})
        doing = background(execute, connection, STATEMENTS[phase])
        if phase in ("idle", "idle_in_transaction"):
            doing.result()  # the others go on until the session is lost
    print(json.dumps(told), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer = background(execute, sessions[order["use"]], order["statement"])
        try:
            told = answer.result(order["patience"])
        except concurrent.futures.TimeoutError:
            told = {"seconds": order["patience"], "answer": None, "error": None}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
