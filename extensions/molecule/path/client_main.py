# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the client: sessions in their phases, for as long as its standard input is open.

The first line of the input says which, {"phases": [...], "seconds": n}, and is answered with [{"pid", "phase",
"port"}, ...]. The lines after that are orders, each answered in a line:
{"send": true} lets the sessions in phase client_sending run a statement, and says when;
{"lost": true} with {pid: when the client knew}, of those that have been lost so far;
{"use": pid, "patience": seconds} runs a statement, after the one that is under way: {"answer", "error"}.
"When" is the kernel's time since boot, which all machines on one kernel share.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
import time

import psycopg2

#: What a session does when it has been opened.
STATEMENTS = {
    "idle": None,
    "client_sending": None,
    "idle_in_transaction": "BEGIN",
    "executing": "SELECT pg_sleep(3600)",
    "executing_for_a_while": "SELECT pg_sleep({})",
    "sending": "SELECT repeat('x', 8192), pg_sleep(0.05) FROM generate_series(1, 20000)",
}


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Session:
    """One connection, with a thread that waits for its end."""

    def __init__(self, phase: str, seconds: float) -> None:
        self.phase = phase
        self.connection = psycopg2.connect("service=app")
        self.connection.autocommit = True
        # Of the server's process, not the one that the pooler made up.
        self.pid = self.execute("SELECT pg_backend_pid()")
        self.lost: float | None = None
        self.ordered, self.done = threading.Event(), threading.Event()
        statement = (STATEMENTS[phase] or "SELECT 1").format(seconds)
        self.busy = phase in ("executing", "executing_for_a_while", "sending")
        if not self.busy:
            self.execute(statement)
        threading.Thread(target=self.live, args=[statement], daemon=True).start()

    def execute(self, statement: str) -> object:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None

    def live(self, statement: str) -> None:
        try:
            if self.busy:
                self.execute(statement)
            elif self.phase == "client_sending":
                self.ordered.wait()
                self.execute("SELECT 1")
            else:
                # Nothing is read: what arrives unasked is the end, and an application may see as much.
                poll = select.poll()
                poll.register(self.connection.fileno(), select.POLLIN | select.POLLRDHUP)
                while not self.ordered.is_set():
                    if poll.poll(100):
                        self.lost = now()
                        break
        except psycopg2.Error:
            self.lost = now()
        self.done.set()

    def use(self, patience: float) -> dict:
        self.ordered.set()
        if not self.done.wait(patience):
            return {"answer": None, "error": None}
        try:
            return {"answer": self.execute("SELECT 1"), "error": None}
        except psycopg2.Error as problem:
            return {"answer": None, "error": str(problem).strip()}

    def port(self) -> int:
        with socket.socket(fileno=os.dup(self.connection.fileno())) as same:
            return same.getsockname()[1]


def main() -> None:
    wanted = json.loads(sys.stdin.readline())
    sessions = {}
    for phase in wanted["phases"]:
        one = Session(phase, wanted["seconds"])
        sessions[one.pid] = one
    told: object = [{"pid": pid, "phase": one.phase, "port": one.port()} for pid, one in sessions.items()]
    print(json.dumps(told), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        if "send" in order:
            told = now()
            for one in sessions.values():
                if one.phase == "client_sending":
                    one.ordered.set()
        elif "lost" in order:
            told = {pid: one.lost for pid, one in sessions.items() if one.lost is not None}
        else:
            told = sessions[order["use"]].use(order["patience"])
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
