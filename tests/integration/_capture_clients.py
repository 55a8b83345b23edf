# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that end in all sorts of ways: _capture_clients.py CONNINFO; prints the port that each had as JSON.

A script of its own because it runs in the network namespace of the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import sys
import threading
import time
import typing as t

import psycopg2
import psycopg2.extensions

IP_MINTTL = 21
CONNINFO = sys.argv[1]
PORTS: dict[str, int] = {}


def port_of(descriptor: int) -> int:
    with socket.socket(fileno=os.dup(descriptor)) as client:
        return int(client.getsockname()[1])


def connect(name: str, **settings: t.Any) -> t.Any:
    """A session with these settings; its port is noted under *name*."""
    options = " ".join(f"-c {key}={value}" for key, value in settings.items())
    connection = psycopg2.connect(CONNINFO, options=options)
    connection.autocommit = True
    PORTS[name] = port_of(connection.fileno())
    return connection


def bare(name: str, port: int = 5432) -> socket.socket:
    """A connection without libpq."""
    client = socket.socket()
    client.bind(("127.0.0.1", 0))
    PORTS[name] = client.getsockname()[1]
    client.settimeout(10)
    client.connect(("127.0.0.1", port))
    return client


def vanished() -> None:
    """Discards what the server sends, as a host that is gone would; the server needs 2 + 2 × 1 s to see it."""
    connection = connect("vanished", tcp_keepalives_idle=2, tcp_keepalives_interval=1, tcp_keepalives_count=2)
    with socket.socket(fileno=os.dup(connection.fileno())) as client:
        client.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 255)
        time.sleep(7)
        client.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 0)
    connection.close()


def alive() -> None:
    """Answers the server's probes."""
    connection = connect("alive", tcp_keepalives_idle=1, tcp_keepalives_interval=1, tcp_keepalives_count=2)
    time.sleep(4.5)
    connection.close()


def aborted() -> None:
    """Closes with an RST, after the greeting."""
    client = bare("aborted")
    parameters = b"user\0postgres\0database\0postgres\0\0"
    client.sendall(struct.pack("!II", 8 + len(parameters), 3 << 16) + parameters)
    while not client.recv(65536).endswith(b"Z\0\0\0\5I"):
        pass
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def terminated() -> None:
    """Ended by an administrator; its next query comes too late."""
    connection, other = connect("terminated"), connect("administrator")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", (connection.info.backend_pid,))
    other.close()
    time.sleep(1.5)
    with contextlib.suppress(psycopg2.Error):
        connection.cursor().execute("SELECT 1")
    connection.close()


def idle() -> None:
    connection = connect("idle", idle_session_timeout=2000)
    time.sleep(4)
    connection.close()


def slow() -> None:
    """Reads nothing of a large result for longer than the server waits; reads on when it is too late."""
    connection = psycopg2.connect(CONNINFO, options="-c tcp_user_timeout=2000", async_=True)
    while connection.poll() != psycopg2.extensions.POLL_OK:
        time.sleep(0.01)
    PORTS["slow"] = port_of(connection.fileno())
    connection.cursor().execute("SELECT repeat('x', 100000) FROM generate_series(1, 1000)")
    time.sleep(7)
    with socket.socket(fileno=os.dup(connection.fileno())) as client, contextlib.suppress(OSError):
        client.setblocking(True)
        client.settimeout(2)
        while client.recv(1 << 20):
            pass
    connection.close()


def refused() -> None:
    with contextlib.suppress(ConnectionRefusedError):
        bare("refused", port=5433)


def http() -> None:
    with bare("http") as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while client.recv(1000):
                pass


def health_check() -> None:
    bare("health_check").close()


def main() -> None:
    ways = [vanished, alive, aborted, terminated, idle, slow, refused, http, health_check]
    threads = [threading.Thread(target=way) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(PORTS))


if __name__ == "__main__":
    main()
