# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cases: attempts to connect that fail, come from something else than PostgreSQL's clients, or only look."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import subprocess
import time
import typing as t
from pathlib import Path

from .cases import case
from .clients import Client, program
from .evidence import Lost
from .hosts import LabError, wait
from .lab import MAJOR, PORT, Lab
from .phases import ANY_LOSS, BY_CLIENT, BY_SERVER, FIN, RST, begin

VERSION_3 = 196608
QUIET: dict[str, t.Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
PASSWORD_WANTED = ("host all locked all scram-sha-256",)


def startup(user: str) -> bytes:
    """The first message of a client of PostgreSQL."""
    body = struct.pack("!i", VERSION_3) + f"user\0{user}\0database\0postgres\0\0".encode()
    return struct.pack("!i", len(body) + 4) + body


def read_to_end(connection: socket.socket, seconds: float = 15) -> bytes:
    """Everything that the server sends until it closes the connection."""
    connection.settimeout(seconds)
    found = b""
    try:
        while piece := connection.recv(4096):
            found += piece
    except ConnectionResetError:
        pass
    return found


@case("connect_refused")
def connect_refused(lab: Lab) -> None:
    """Nothing listens on the port that the client has been told."""
    port = PORT + 1
    lab.server = (lab.address, port)
    lab.fault()
    attempt = lab.connect(wait_for_login=False)
    attempt.fails("Connection refused")
    lab.losses += lab.attempts("connect_refused", port=port)
    if not lab.packets("server", f"src port {port} and {RST}"):
        raise LabError("it was not the server's host that refused")


@case("authentication_timeout", log_tells=True, conf={"authentication_timeout": "2s"}, hba=PASSWORD_WANTED)
def authentication_timeout(lab: Lab) -> None:
    """A client is asked for its password and does not answer."""
    lab.cluster.query("CREATE ROLE locked LOGIN PASSWORD 'unknown'")
    lab.fault()
    with lab.network.client.connect((lab.address, PORT)) as connection:
        connection.sendall(startup("locked"))
        read_to_end(connection)
        lab.lost_socket("authentication_timeout", connection.getsockname())
    lab.logged("canceling authentication due to timeout")


@case("authentication_timeout", "silent", conf={"authentication_timeout": "2s"}, never=ANY_LOSS)
def authentication_timeout_silent(lab: Lab) -> None:
    """A client connects and says nothing; the server closes without a word."""
    lab.fault()
    with lab.network.client.connect((lab.address, PORT)) as connection:
        answer = read_to_end(connection)
        lab.lost_socket("authentication_timeout", connection.getsockname())
    if answer or not lab.packets("client", f"{BY_SERVER} and {FIN}"):
        raise LabError(f"the server said {answer!r}")


@case("too_many_clients", log_tells=True, conf={"max_connections": 4, "superuser_reserved_connections": 0})
@case("too_many_clients", "reserved", log_tells=True, conf={"max_connections": 5})
def too_many_clients(lab: Lab) -> None:
    """All connections are taken, or all that are not kept for the administrator."""
    lab.cluster.query("CREATE ROLE guest LOGIN")
    lab.reachable = False  # until there is a free connection again
    lab.fault()
    guests: list[Client] = []
    with contextlib.suppress(LabError):
        for _turn in range(9):
            guests.append(lab.connect("user=guest"))
            lab.fine(guests[-1], "normal_close")
    lab.losses += lab.attempts("too_many_clients")
    lab.logged("too many clients already|remaining connection slots are reserved")
    for guest in guests:
        guest.quit()
        guest.gone(5)
    lab.reachable = True


@case("not_postgresql", "http", arguments={"said": "http"}, log_tells=True)
@case("not_postgresql", "garbage", arguments={"said": "garbage"}, log_tells=True)
@case("not_postgresql", "tls", arguments={"said": "tls"}, log_tells=True, major=MAJOR)  # 17 and later are silent
@case("not_postgresql", "ssh", arguments={"said": "ssh"}, log_tells=True)
def not_postgresql(lab: Lab, said: str) -> None:
    """Something speaks another protocol on the port."""
    texts = {
        "http": b"GET / HTTP/1.1\r\nHost: db.example.org\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
        "garbage": random.Random(5).randbytes(300),
        "tls": bytes.fromhex("16030100c8010000c40303") + random.Random(6).randbytes(192),
        "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n",
    }
    lab.fault()
    for _turn in range(2):
        with lab.network.client.connect((lab.address, PORT)) as connection:
            connection.sendall(texts[said])
            read_to_end(connection)
            lab.lost_socket("not_postgresql", connection.getsockname())
    lab.logged("invalid length of startup packet|unsupported frontend protocol", count=2)


@case("health_check", "close", arguments={"how": "close"}, never=ANY_LOSS)
@case("health_check", "reset", arguments={"how": "reset"})
@case("health_check", "startup", arguments={"how": "startup"})
def health_check(lab: Lab, how: str) -> None:
    """A load balancer connects, perhaps says hello, and closes, time and again."""
    lab.fault()
    for _turn in range(4):
        with lab.network.client.connect((lab.address, PORT)) as connection:
            local = connection.getsockname()
            if how == "startup":
                connection.sendall(startup("postgres"))
                connection.recv(1)
            if how != "close":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        lab.harmless.append(Lost("health_check", local[0], local[1], None, local, time.time()))
        time.sleep(1)
    lab.logged("connection received: host=10", count=5)
    if not lab.packets("server", f"{BY_CLIENT} and {FIN if how == 'close' else RST}"):
        raise LabError("the checks did not close as they should")


@case("health_check", "pg_isready")
def health_check_pg_isready(lab: Lab) -> None:
    """PostgreSQL's own program for this."""
    lab.fault()
    for _turn in range(4):
        lab.network.client.run([program("pg_isready"), "-q", "-h", lab.address, "-p", str(PORT)])
        time.sleep(0.5)
    lab.harmless += lab.attempts("health_check")


@case("normal_close", never=ANY_LOSS)
@case("normal_close", "tls", never=ANY_LOSS, tls=True)
@case("normal_close", "ipv6", never=ANY_LOSS, family=6)
def normal_close(lab: Lab) -> None:
    """Clients that say goodbye, one after some idle time."""
    lab.fault()
    client = lab.connect()
    lab.visit()
    time.sleep(5)  # so long that the server probes
    client.quit()
    lab.fine(client, "normal_close")
    lab.visit()


@case("healthy", "open", never=ANY_LOSS)
@case("healthy", "open_tls", never=ANY_LOSS, tls=True)
def healthy_open(lab: Lab) -> None:
    """Sessions that are still open when the captures end: one is at work, one is idle and answers probes."""
    lab.fault()
    busy, idle = lab.connect(), lab.connect("keepalives_idle=1 keepalives_interval=1")
    begin(busy, "sending")
    begin(idle, "idle")
    time.sleep(6)
    for client in (busy, idle):
        lab.fine(client, "healthy")


@case("healthy", never=ANY_LOSS)
@case("healthy", "tls", never=ANY_LOSS, tls=True)
def healthy(lab: Lab) -> None:
    """A busy server: short and long sessions, and a load balancer that looks at the port."""
    argv: list[str | Path] = [program("pgbench"), "-h", lab.address, "-p", str(PORT), "-U", "postgres", "postgres"]
    lab.network.client.run([*argv, "-i", "-q"])
    lab.fault()
    short = lab.network.client.start([*argv, "-n", "-S", "-C", "-c", "2", "-T", "4", "-R", "40"], **QUIET)
    long = lab.network.client.start([*argv, "-n", "-c", "2", "-T", "4", "-R", "40"], **QUIET)
    while short.poll() is None or long.poll() is None:
        lab.network.client.connect((lab.address, PORT)).close()
        time.sleep(0.7)
    if short.returncode or long.returncode:
        raise LabError("pgbench failed")
    wait("the end of the sessions", lambda: "ESTAB" not in lab.network.client.run(["ss", "-Htn"]))
