# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on the server as its superuser: looks at sessions over the Unix socket.

Each line of its input is an order, answered in a line:
{"expect": {pid: phase}} with those that did not get into their phase, and the ports that the pooler gave to the rest;
{"watch": [pid, ...], "seconds": n} with when each backend was gone, or had been given back to the pool.
"When" is the kernel's time since boot, which all machines on one kernel share. At the end no session is left behind.
"""

from __future__ import annotations

import json
import sys
import time

import psycopg2

IDLE = [("idle", "ClientRead")]
SLEEP = ("active", "PgSleep")
PHASES = {
    "idle": IDLE,
    "client_sending": IDLE,
    "executing": [SLEEP],
    "sending": [SLEEP, ("active", None), ("active", "ClientWrite")],
    "idle_in_transaction": [("idle in transaction", "ClientRead")],
}


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Server:
    def __init__(self) -> None:
        self.connection = psycopg2.connect(dbname="postgres")
        self.connection.autocommit = True
        self.pids: list = []

    def query(self, statement: str, *parameters: object) -> list:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    def expect(self, phases: dict) -> dict:
        phases = {int(pid): phase for pid, phase in phases.items()}
        self.pids = list(phases)
        statement = "SELECT pid, state, wait_event, client_port FROM pg_stat_activity WHERE pid = ANY (%s)"
        deadline = now() + 20
        while True:
            found = {row[0]: row[1:] for row in self.query(statement, self.pids)}
            others = [
                [pid, phase, found.get(pid)]
                for pid, phase in phases.items()
                if pid not in found or found[pid][:2] not in PHASES[phase]
            ]
            if not others or now() > deadline:
                return {"others": others, "ports": {pid: row[2] for pid, row in found.items()}}
            time.sleep(0.1)

    def watch(self, pids: list, seconds: float) -> dict:
        # What the pooler sends before it lends the backend to the next client: nothing of the session is left then.
        statement = "SELECT pid FROM pg_stat_activity WHERE pid = ANY (%s) AND NOT (state = 'idle' AND query = %s)"
        deadline = now() + seconds
        gone: dict = {}
        while len(gone) < len(pids) and now() < deadline:
            there = {row[0] for row in self.query(statement, pids, "DISCARD ALL")}
            gone.update((pid, now()) for pid in pids if pid not in there and pid not in gone)
            time.sleep(0.05)
        return gone


def main() -> None:
    server = Server()
    for line in sys.stdin:
        order = json.loads(line)
        expected = order.get("expect")
        answer = server.expect(expected) if expected else server.watch(order["watch"], order["seconds"])
        print(json.dumps(answer), flush=True)
    server.query("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", server.pids)


if __name__ == "__main__":
    main()
