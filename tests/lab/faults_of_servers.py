# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases: the server ends sessions, crashes, shuts down, hangs, or its host is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
import typing as t

from .cases import case
from .clients import program
from .evidence import Lost
from .hosts import LabError, stop, wait
from .lab import MAJOR, PORT, Lab
from .phases import BY_CLIENT, BY_SERVER, FIN, RST, begin
from .starvation import Group

#: A client that notices by itself that its server is gone.
WATCHFUL = "keepalives_idle=2 keepalives_interval=1 keepalives_count=3 tcp_user_timeout=4000"


@case("server_crash", log_tells=True, arguments={"number": signal.SIGKILL})
@case("server_crash", "tls", log_tells=True, tls=True, arguments={"number": signal.SIGKILL})
@case("server_crash", "segv", log_tells=True, arguments={"number": signal.SIGSEGV})
def server_crash(lab: Lab, number: signal.Signals) -> None:
    """One backend is killed, as by the kernel when memory is short, or by a bug; the server ends all others."""
    clients = [lab.connect() for _turn in range(3)]
    for client in clients:
        begin(client, "idle")
    lab.fault()
    os.kill(clients[0].pid, number)
    for client in clients:
        lab.lost(client, "server_crash", within=10)
    lab.logged(f"was terminated by signal {number:d}")
    lab.logged("ready to accept connections", count=2, seconds=20)


#: Of one backend, and how much memory the whole server has.
EAT = "SELECT length(string_agg(repeat('x', 1000000), '')) FROM generate_series(1, 900)"
MEMORY = str(250 << 20)


@case("server_crash", "out_of_memory", log_tells=True, programs=("dmesg",))
def server_out_of_memory(lab: Lab) -> None:
    """A backend wants more memory than the server's control group (its container) has; the kernel kills it."""
    clients = [lab.connect() for _turn in range(2)]
    for client in clients:
        begin(client, "idle")
    with contextlib.closing(Group("memory")) as group:
        group.limit({"memory.max": MEMORY}, {"memory.limit_in_bytes": MEMORY})
        group.add(lab.cluster.postmaster_pid)
        for client in clients:
            group.add(client.pid)
        lab.fault()
        clients[0].send(EAT)
        for client in clients:
            lab.lost(client, "server_crash", within=20)
        lab.logged("was terminated by signal 9")
        lab.logged("ready to accept connections", count=2, seconds=20)
        group.release()
    if f"Killed process {clients[0].pid} (postgres)" not in lab.kernel_log():
        raise LabError("it was not the kernel that killed the backend")


@case("server_shutdown", "fast", arguments={"mode": "fast"}, log_tells=True)
@case("server_shutdown", "immediate", arguments={"mode": "immediate"}, log_tells=True)
def server_shutdown(lab: Lab, mode: t.Literal["fast", "immediate"]) -> None:
    """The administrator stops the server."""
    clients = [lab.connect(), lab.connect()]
    begin(clients[0], "idle")
    begin(clients[1], "executing")
    lab.fault()
    lab.cluster.stop(mode)
    for client in clients:
        lab.lost(client, "server_shutdown", within=10)
    lab.logged(f"received {mode} shutdown request")


@case("backend_terminated", "idle", arguments={"phase": "idle"}, log_tells=True, rises=("sessions_killed",))
@case("backend_terminated", "executing", arguments={"phase": "executing"}, log_tells=True, rises=("sessions_killed",))
def backend_terminated(lab: Lab, phase: str) -> None:
    """Somebody calls pg_terminate_backend."""
    client = lab.connect()
    begin(client, phase)
    lab.fault()
    lab.cluster.query("SELECT pg_terminate_backend(%s)", (client.pid,))
    lab.lost(client, "backend_terminated", within=5)
    lab.logged("terminating connection due to administrator command")


@case("idle_session_timeout", log_tells=True, rises=("sessions_fatal",), conf={"idle_session_timeout": "3s"})
@case("idle_session_timeout", "tls", log_tells=True, conf={"idle_session_timeout": "3s"}, tls=True)
@case(
    "idle_session_timeout",
    "then_used",
    log_tells=True,
    rises=("sessions_fatal",),
    conf={"idle_session_timeout": "2s"},
    arguments={"use": True},
)
def idle_session_timeout(lab: Lab, use: bool = False) -> None:
    """The server ends an idle session; a pool may find that out only when it uses it."""
    client = lab.connect()
    begin(client, "idle")
    lab.fault()
    lab.lost(client, "idle_session_timeout", within=10)
    lab.logged("terminating connection due to idle-session timeout")
    if use:
        client.send("SELECT 1")
        client.fails("terminating connection due to idle-session timeout")


@case(
    "idle_in_transaction_timeout",
    log_tells=True,
    rises=("sessions_fatal",),
    conf={"idle_in_transaction_session_timeout": "3s"},
)
def idle_in_transaction_timeout(lab: Lab) -> None:
    """The server ends a session that left a transaction open."""
    client = lab.connect()
    begin(client, "in_transaction")
    lab.fault()
    lab.lost(client, "idle_in_transaction_timeout", within=10)
    lab.logged("terminating connection due to idle-in-transaction timeout")


@case("transaction_timeout", log_tells=True, rises=("sessions_fatal",), conf={"transaction_timeout": "2s"}, major=18)
def transaction_timeout(lab: Lab) -> None:
    """The server ends a session whose transaction took too long (17 and later)."""
    client = lab.connect()
    lab.fault()
    client.send("BEGIN; SELECT pg_sleep(1); SELECT pg_sleep(10)")
    lab.lost(client, "transaction_timeout", within=10)
    lab.logged("terminating connection due to transaction timeout")


@case("statement_timeout", log_tells=True, conf={"statement_timeout": "2s"})
def statement_timeout(lab: Lab) -> None:
    """The server cancels a statement; the connection lives on."""
    client = lab.connect()
    lab.fault()
    client.send("SELECT pg_sleep(10)")
    client.fails("canceling statement due to statement timeout")
    client.ask("SELECT 1")
    client.quit()
    lab.lost(client, "statement_timeout")


# pg_receivewal is the distribution's, and refuses a newer server.
WALSENDER: dict[str, t.Any] = {"log_tells": True, "conf": {"wal_sender_timeout": "3s"}, "major": MAJOR}


@case("walsender_timeout", **WALSENDER, arguments={"cause": "walsender_timeout", "fault": "stop"})
@case("walsender_timeout", "vanished", **WALSENDER, arguments={"cause": "walsender_timeout", "fault": "vanish"})
@case("client_exited", "walreceiver", **WALSENDER, arguments={"cause": "client_exited", "fault": "kill"})
def receiver_of_wal(lab: Lab, cause: str, fault: str) -> None:
    """A receiver of WAL does not answer any more: it is stopped, its host is gone, or it is killed."""
    with tempfile.TemporaryDirectory() as directory:
        receiver = lab.network.client.start(
            [program("pg_receivewal"), "-w", "-D", directory, "-d", f"host={lab.address} user=postgres port={PORT}"],
            stderr=subprocess.DEVNULL,
        )
        try:
            query = "SELECT client_port, pid, host(client_addr) FROM pg_stat_replication WHERE state = 'streaming'"
            port, pid, address = wait("the receiver", lambda: lab.cluster.query(query), every=0.3)[0]
            time.sleep(0.5)
            lab.fault()
            if fault == "vanish":
                lab.client_vanishes()
            else:
                receiver.send_signal(signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
            timeout = "terminating walsender process due to replication timeout"
            lab.logged("unexpected EOF on standby connection" if fault == "kill" else timeout, seconds=10)
            lab.losses.append(Lost(cause, address, port, pid, (address, port), time.time()))
        finally:
            stop(receiver)


@case("socket_destroyed", log_tells=True, rises=("sessions_abandoned",))
def socket_destroyed(lab: Lab) -> None:
    """The administrator of the server's host destroys the socket."""
    client = lab.connect()
    begin(client, "idle")
    lab.fault()
    lab.network.server.run(["ss", "--kill", "--tcp", "dst", client.seen_as[0], "dport", "=", str(client.seen_as[1])])
    lab.lost(client, "socket_destroyed", within=5)
    lab.logged("could not receive data from client: Software caused connection abort")


@case("server_vanished", "idle", arguments={"phase": "idle"})
@case("server_vanished", "waiting", arguments={"phase": "executing"})
def server_vanished(lab: Lab, phase: str) -> None:
    """The server's host is gone without a word; the client notices by its own timers."""
    client = lab.connect(WATCHFUL)
    begin(client, phase)
    lab.fault()
    lab.server_vanishes()
    if phase == "idle":
        client.send("SELECT 1")
    client.fails("could not receive data from server: Connection timed out", 15)
    lab.lost(client, "server_vanished")


@case("server_reset", "idle", arguments={"phase": "idle"})
@case("server_reset", "waiting", arguments={"phase": "executing"})
def server_reset(lab: Lab, phase: str) -> None:
    """The server's host comes back without its connections, and says so when it is asked."""
    client = lab.connect(WATCHFUL)
    begin(client, phase)
    lab.fault()
    lab.server_vanishes(and_returns=True)
    if phase == "idle":
        client.send("SELECT 1")
    client.fails("server closed the connection unexpectedly", 15)
    lab.lost(client, "server_reset")
    if not lab.packets("client", f"{BY_SERVER} and {RST}"):
        raise LabError("the server's host has not refused the connection that it does not know")


@case("server_hung")
def server_hung(lab: Lab) -> None:
    """The server's processes stand still; its kernel still answers."""
    client = lab.connect()
    begin(client, "idle")
    lab.fault()
    lab.reachable = False
    lab.cluster.pause()
    client.send("SELECT 1")
    newcomer = lab.connect("connect_timeout=4", wait_for_login=False)
    newcomer.fails("timeout expired")
    client.kill()
    lab.lost(client, "server_hung")
    lab.losses += lab.attempts("server_hung")
    if lab.packets("client", f"{BY_SERVER} and ({RST} or {FIN})") or not lab.packets(
        "client", f"{BY_CLIENT} and {FIN}"
    ):
        raise LabError("it was not the client who gave up")
