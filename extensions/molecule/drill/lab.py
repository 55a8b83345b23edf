# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three machines, and one series: sessions in their phases, which the router forgets, and what becomes of them."""

from __future__ import annotations

import json
import os
import time
import typing as t
from pathlib import Path

from support import sockets
from support.programs import Program, machine

HERE = Path(__file__).parent
PHASES = ("idle", "idle_unacknowledged", "executing", "lock_wait", "sending", "idle_in_transaction")
DROPS, REJECTS = "drop", "reject with tcp reset"
FORGOTTEN = {DROPS: "flow dropped", REJECTS: "flow rejected"}
VANISHED = "client vanished"
#: Where the rows of the table are collected, for both runs of the verifier.
ROWS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "drill.json"


def idle_limit() -> int:
    """Seconds after which the router forgets a flow, as its kernel says."""
    return int(machine("router").sysctl("net.netfilter.nf_conntrack_tcp_timeout_established"))


class Client(Program):
    """Sessions of one process on the client, through the router, as an ordinary user."""

    def __init__(self, phases: t.Iterable[str], **parameters: t.Any) -> None:
        super().__init__("client", "drill", HERE / "client_main.py")
        self.sessions = self.ask(phases=list(phases), parameters=parameters)

    def pids(self) -> list[int]:
        return [one["pid"] for one in self.sessions]

    def use(self, statement: str, patience: float) -> dict[str, t.Any]:
        """Run a statement in the first session: the answer, or the error, or neither after *patience*; the seconds."""
        return self.ask(patience + 30, use=self.pids()[0], statement=statement, patience=patience)


def set_router(mode: str) -> None:
    """What it does from now on with packets of a flow that it has forgotten."""
    script = f"flush chain inet router forgotten\nadd rule inet router forgotten counter {mode}\n"
    machine("router").check_output("printf %s | nft --file -", script)


def flows() -> set[int]:
    """The client's ports of the flows that the router knows."""
    table = machine("router").check_output("conntrack --dump --proto tcp --output extended 2>/dev/null")
    return {
        int(next(word for word in line.split() if word.startswith("sport=")).removeprefix("sport="))
        for line in table.splitlines()
        if "dport=5432 " in line
    }


def forget(ports: t.Iterable[int]) -> dict[int, float]:
    """Let the router forget these flows at once; when it was told to, for each, in seconds since boot."""
    forgetting = """
        for port in %s; do
            read now idle </proc/uptime && echo $port $now
            conntrack --delete --proto tcp --orig-port-src $port >/dev/null 2>&1
        done
    """
    told = machine("router").run(forgetting % " ".join(map(str, ports))).stdout
    return {int(port): float(now) for port, now in map(str.split, told.splitlines())}


class Outcome(t.NamedTuple):
    """What became of a session: the seconds until its backend was gone, and what is left of its socket.

    *known*: whether the router still knew its flow before it was told to forget it. *watched*: for how many seconds.
    """

    phase: str
    known: bool
    watched: float
    seconds: float | None
    socket: sockets.Socket | None


def lose(phases: t.Sequence[str], wait: float, patience: float) -> list[Outcome]:
    """Sessions that are left alone for *wait* seconds, then forgotten by the router, and watched for *patience*."""
    with Program("server", "postgres", HERE / "server_main.py") as server:
        server.ask(hold=True)
        with Client(phases) as client:
            time.sleep(wait)
            found = server.ask(expect={one["pid"]: one["phase"] for one in client.sessions})
            assert not found["others"], "these did not get into their phase"
            known = flows()
            cut = forget(one["port"] for one in client.sessions)
            sent = server.ask(send=True)
            # At once: a session that ended before counts as gone when it was first looked for.
            watched = server.ask(patience + 60, watch=client.pids(), seconds=patience)
            assert not flows() & set(cut)
            told = machine("server").check_output(" ".join(sockets.COMMAND))
    table = {one.peer_port: one for one in sockets.parse(told)}
    outcomes = []
    for one in client.sessions:
        phase, pid = one["phase"], str(one["pid"])
        # A result that is sent later is a loss that begins later.
        began = sent if phase == "idle_unacknowledged" else cut[one["port"]]
        gone = watched.get(pid)
        outcomes.append(
            Outcome(
                phase=phase,
                known=one["port"] in known,
                watched=patience,
                seconds=None if gone is None else gone - began,
                socket=table.get(found["ports"][pid]),
            )
        )
    return outcomes


def left_alone(phase: str, seconds: float, patience: float, **parameters: t.Any) -> dict[str, t.Any]:
    """What a client of the server gets that was in *phase* for so long before its next statement."""
    with Client([phase], **parameters) as client:
        time.sleep(seconds)
        return client.use("SELECT 1", patience)


def drill(**options: t.Any) -> dict[str, t.Any]:
    """The module, run by the ordinary user on the client, whose server is the router."""
    options |= {"login_host": "router", "login_user": "drill"}
    module = machine("client").ansible
    try:
        return module("pgharden.connection.drill", json.dumps(options), check=False, user="drill")
    except module.AnsibleException as failed:
        return failed.result  # a broken promise: with all that was measured


def note(phase: str, fault: str, column: str, figure: str) -> None:
    """Put a figure into the table."""
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    rows.setdefault(f"{phase} | {fault}", {})[column] = figure
    ROWS.write_text(json.dumps(rows))


def note_lost(mode: str, column: str, outcomes: list[Outcome]) -> None:
    """The same for what became of all sessions in a phase, whose flows the router forgot."""
    seconds = sorted(one.seconds for one in outcomes if one.seconds is not None)
    figures = [f"{seconds[0]:.1f} to {seconds[-1]:.1f}"] if seconds else []
    if len(seconds) < len(outcomes):
        figures.append(f"there after {outcomes[0].watched:.0f}")
    note(outcomes[0].phase, FORGOTTEN[mode], column, ", ".join(figures))


def note_drilled(column: str, cell: dict[str, t.Any], patience: float) -> None:
    """The same for a cell of the module's answer."""
    seconds = cell["measured"]
    note(cell["phase"], VANISHED, column, f"there after {patience:.0f}" if seconds is None else f"{seconds:.1f}")


def table() -> str:
    """All rows so far, in Markdown."""
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    lines = ["| phase | fault | as found | hardened | promised |", "|---|---|---|---|---|"]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(row.get(one, "") for one in ("found", "hardened", "promised")) + " |")
    return "\n".join(lines)
