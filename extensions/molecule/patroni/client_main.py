# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the application's host: sessions through HAProxy, and attempts to write, until its standard input ends.

Each line of the input is an order, answered in a line:
{"open": ["idle", "executing"]} with the address of the server that each session has;
{"lost": true} with when the client knew, for each of them, null for those that it still has;
{"write": true} begins to write with a new connection every quarter of a second;
{"written": true} with [when it began, when it ended, the server's address, the error] of each attempt so far.
"When" is the kernel's time since boot, which all machines on one kernel share.
"""

from __future__ import annotations

import json
import select
import sys
import threading
import time

import psycopg2

ADDRESS = "SELECT host(inet_server_addr())"


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Session:
    """One connection, with a thread that waits for its end."""

    def __init__(self, phase: str) -> None:
        self.connection = psycopg2.connect("service=app")
        self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            cursor.execute(ADDRESS)
            self.address = cursor.fetchone()[0]
        self.lost: float | None = None
        threading.Thread(target=self.execute if phase == "executing" else self.idle, daemon=True).start()

    def execute(self) -> None:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(3600)")
        except psycopg2.Error:
            self.lost = now()

    def idle(self) -> None:
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN | select.POLLRDHUP)
        while not poll.poll(100):
            pass
        self.lost = now()


def attempt() -> list:
    """One write with a connection of its own; on a standby it is an error."""
    began, address, error = now(), None, None
    try:
        connection = psycopg2.connect("service=app connect_timeout=2")
        try:
            with connection.cursor() as cursor:
                cursor.execute(ADDRESS)
                address = cursor.fetchone()[0]
                cursor.execute("CREATE TABLE IF NOT EXISTS written (at timestamptz)")
                cursor.execute("INSERT INTO written VALUES (now())")
            connection.commit()
        finally:
            connection.close()
    except psycopg2.Error as problem:
        error = str(problem).strip()
    return [began, now(), address, error]


def write(attempts: list) -> None:
    while True:
        attempts.append(attempt())
        time.sleep(0.25)


def main() -> None:
    sessions: list = []
    attempts: list = []
    for line in sys.stdin:
        order = json.loads(line)
        if "open" in order:
            sessions = [Session(phase) for phase in order["open"]]
            answer: object = [one.address for one in sessions]
        elif "lost" in order:
            answer = [one.lost for one in sessions]
        elif "write" in order:
            threading.Thread(target=write, args=[attempts], daemon=True).start()
            answer = True
        else:
            answer = list(attempts)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
