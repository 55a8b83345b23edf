# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session does when the fault strikes, and the lines and packets that a fault leaves."""

from __future__ import annotations

import time

from .clients import Client

TRICKLE = "\\copy (SELECT repeat('x', 2000), pg_sleep(0.02) FROM generate_series(1, 100000)) TO '/dev/null'"
FLOOD = "\\copy (SELECT repeat('x', 2000) FROM pg_sleep(2), generate_series(1, 20000)) TO '/dev/null'"  # in 2 s

TIMED_OUT = "could not receive data from client: Connection timed out"
RESET = "could not receive data from client: Connection reset by peer"
SEND_TIMED_OUT = "could not send data to client: Connection timed out"
LOST = "connection to client lost"
EOF_IN_TRANSACTION = "unexpected EOF on client connection with an open transaction"
ANY_LOSS = "could not (receive|send) data|connection to client lost|unexpected EOF"

BY_CLIENT, BY_SERVER = "dst port 5432", "src port 5432"
FIN, RST = "(tcp[tcpflags] & tcp-fin) != 0", "(tcp[tcpflags] & tcp-rst) != 0"


def begin(client: Client, phase: str) -> None:
    """Bring a session into a phase: idle, in_transaction, executing, copying_in or sending."""
    if phase == "in_transaction":
        client.ask("BEGIN; SELECT txid_current()")
    elif phase == "executing":
        client.send("SELECT pg_sleep(7)")
    elif phase == "copying_in":
        client.ask("CREATE TEMPORARY TABLE copied (x text); SELECT 1")
        client.send("\\copy copied FROM PROGRAM 'echo 1; sleep 30'")
    elif phase == "sending":
        client.send(TRICKLE)
    else:
        client.ask("SELECT 1")
    time.sleep(0.7)
