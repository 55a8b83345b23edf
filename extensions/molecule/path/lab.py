# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four machines, and one fault: sessions in their phases, a machine that vanishes for them, and who notices when.

A machine vanishes for the sessions of one test only: it drops what they send and what is sent to them, on both of its
legs, so that its neighbours hear nothing from it any more. All others go on, and faults can be tried at the same time.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import time
import typing as t
from pathlib import Path

from support import sockets
from support.programs import Program, machine

HERE = Path(__file__).parent
DIRECTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
REPORT = DIRECTORY / "reports" / "path.json"
#: Where the rows of the table are collected, for all runs of the verifier.
ROWS = DIRECTORY / "path-table.json"

MACHINES = ("client", "haproxy", "pgbouncer", "server")
#: Phases of sessions, as `_promises` calls them from either end; "client_sending" is the client's "sending".
BACKEND = {"idle": "idle", "executing": "executing", "idle_in_transaction": "idle_in_transaction", "sending": "sending"}
CLIENT = {"idle": "idle", "executing": "waiting", "client_sending": "sending"}
PHASES = tuple(dict.fromkeys([*BACKEND, *CLIENT]))

HAPROXY_PORT, PGBOUNCER_PORT, SERVER_PORT = 5432, 6432, 5432


class Client(Program):
    """Sessions of one process on the client, through the whole path, as an ordinary user."""

    def __init__(self, phases: t.Iterable[str], seconds: float = 0) -> None:
        super().__init__("client", "app", HERE / "client_main.py")
        self.sessions = self.ask(phases=list(phases), seconds=seconds)

    def pids(self) -> list[int]:
        return [one["pid"] for one in self.sessions]

    def lost(self) -> dict[int, float]:
        """When the client knew, in seconds since boot, of the sessions that it has lost."""
        return {int(pid): when for pid, when in self.ask(lost=True).items()}

    def use(self, pid: int, patience: float) -> dict[str, t.Any]:
        """The answer to one more statement, or the error, or neither after *patience*."""
        return t.cast("dict[str, t.Any]", self.ask(patience + 30, use=pid, patience=patience))


class Ports(t.NamedTuple):
    """Of one session, on each of its legs: the port at the end that is no listener's."""

    client: int
    haproxy: int
    pgbouncer: int


def console(statement: str) -> list[dict[str, str]]:
    """What PgBouncer's console answers."""
    command = "runuser -u postgres -- psql --csv --no-psqlrc --host=/run/postgresql --port=6432 --username=pgbouncer"
    told = machine("pgbouncer").check_output(f"cd / && {command} --dbname=pgbouncer --command=%s", statement)
    return list(csv.DictReader(io.StringIO(told)))


def haproxy_ports() -> dict[int, int]:
    """The port that HAProxy has towards the pooler, by the process ID of the backend that the session has."""
    clients = {row["ptr"]: int(row["port"]) for row in console("SHOW CLIENTS")}
    servers = console("SHOW SERVERS")
    return {int(row["remote_pid"]): clients[row["link"]] for row in servers if row["link"] in clients}


def flows(name: str, ports: Ports) -> list[tuple[int, int]]:
    """Of one session, the pairs of ports on the legs that a machine has an end of."""
    legs = {
        ("client", "haproxy"): (ports.client, HAPROXY_PORT),
        ("haproxy", "pgbouncer"): (ports.haproxy, PGBOUNCER_PORT),
        ("pgbouncer", "server"): (ports.pgbouncer, SERVER_PORT),
    }
    return [flow for ends, flow in legs.items() if name in ends]


@contextlib.contextmanager
def vanished(name: str, sessions: t.Iterable[Ports]) -> t.Iterator[float]:
    """A machine that has vanished for these sessions; gives when it did, in seconds since boot."""
    pairs = [pair for ports in sessions for flow in flows(name, ports) for pair in (flow, flow[::-1])]
    elements = ", ".join(f"{source} . {target}" for source, target in pairs)
    rule = "tcp sport . tcp dport @gone drop"
    script = f"""
        table inet vanished {{
          set gone {{ type inet_service . inet_service; elements = {{ {elements} }} }}
          chain arriving {{ type filter hook input priority filter; {rule}; }}
          chain leaving {{ type filter hook output priority filter; {rule}; }}
        }}
    """
    command = "read now idle </proc/uptime; printf %s | nft --file - && echo $now"
    began = float(machine(name).check_output(command, script))
    try:
        yield began
    finally:
        machine(name).check_output("nft delete table inet vanished")


class Outcome(t.NamedTuple):
    """What became of a session: the seconds until its backend was gone, and until its client knew. None: not at all."""

    phase: str
    backend: float | None
    client: float | None


def lose(name: str, phases: t.Sequence[str], patience: float) -> list[Outcome]:
    """Sessions for which a machine vanishes, watched from both ends for *patience* seconds."""
    with Program("server", "postgres", HERE / "server_main.py") as server, Client(phases) as client:
        found = server.ask(expect={one["pid"]: one["phase"] for one in client.sessions})
        assert not found["others"], "these did not get into their phase"
        towards_pooler = haproxy_ports()
        ports = {
            pid: Ports(one["port"], towards_pooler[pid], found["ports"][str(pid)])
            for pid, one in ((one["pid"], one) for one in client.sessions)
        }
        time.sleep(0.5)  # until their last answers are acknowledged: quiet is what they shall be
        with vanished(name, ports.values()) as began:
            sent = client.ask(send=True)
            watched = server.ask(patience + 60, watch=client.pids(), seconds=patience)
            time.sleep(max(0.0, sent + patience - time.clock_gettime(time.CLOCK_BOOTTIME)))
            known = client.lost()
    gone = {int(pid): when for pid, when in watched.items()}
    return [
        Outcome(
            phase=one["phase"],
            backend=_since(began, gone.get(one["pid"])),
            client=_since(sent if one["phase"] == "client_sending" else began, known.get(one["pid"])),
        )
        for one in client.sessions
    ]


def _since(began: float, then: float | None) -> float | None:
    return None if then is None else then - began


def left_alone(phase: str, seconds: float, patience: float) -> dict[str, t.Any]:
    """What a client gets that was in *phase* for so long before its next statement."""
    with Client([phase], seconds) as client:
        time.sleep(seconds)
        return client.use(client.pids()[0], patience)


def table_of(name: str) -> list[sockets.Socket]:
    """All TCP sockets of a machine."""
    return sockets.parse(machine(name).check_output(" ".join(sockets.COMMAND)))


def note(lost: str, end: str, phase: str, column: str, figure: str) -> None:
    """Put a figure into the table."""
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    rows.setdefault(f"{lost} | {end} | {phase}", {})[column] = figure
    ROWS.write_text(json.dumps(rows))


def note_times(lost: str, end: str, phase: str, column: str, times: t.Iterable[float | None], patience: float) -> None:
    """The same for what was measured."""
    known = list(times)
    seconds = sorted(one for one in known if one is not None)
    figures = [f"{seconds[0]:.1f} to {seconds[-1]:.1f}"] if seconds else []
    if len(seconds) < len(known):
        figures.append(f"not after {patience:.0f}")
    note(lost, end, phase, column, ", ".join(figures))


def table() -> str:
    """All rows so far, in Markdown."""
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    columns = ("found", "hardened", "promised", "noticed by")
    lines = [
        "| vanished | end | phase | as found | hardened | promised | noticed by |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in sorted(rows.items(), key=lambda item: _place(item[0])):
        lines.append(f"| {name} | " + " | ".join(row.get(one, "") for one in columns) + " |")
    return "\n".join(lines)


def _place(row: str) -> tuple[str, int]:
    """By the end that is affected, then by the machine; the phases stay in the order of the tests."""
    lost, end, _phase = row.split(" | ")
    return end, MACHINES.index(lost)
