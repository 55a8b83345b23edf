# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client session in a process of its own: session_main.py DESCRIPTOR USER; spoken to through a Connection."""

from __future__ import annotations

import socket
import sys
from multiprocessing.connection import Connection

import psycopg2
from enter_main import become


def main() -> None:
    """Connect as asked by the first message, then answer a (sql, parameters) with its rows or its exception."""
    channel = Connection(int(sys.argv[1]))
    if sys.argv[2]:
        become(sys.argv[2])  # only now: that user may have no right to read this interpreter's packages
    try:
        connection = psycopg2.connect(**channel.recv())
    except psycopg2.Error as problem:
        channel.send(problem)
        return
    connection.autocommit = True
    with socket.socket(fileno=connection.fileno()) as client:
        port = None if client.family == socket.AF_UNIX else client.getsockname()[1]
        client.detach()
    channel.send((connection.info.backend_pid, port))
    while True:
        try:
            sql, parameters = channel.recv()
        except EOFError:
            return
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                channel.send(cursor.fetchall() if cursor.description else [])
        except psycopg2.Error as problem:
            channel.send(problem)


if __name__ == "__main__":
    main()
