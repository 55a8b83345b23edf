# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Long-lived client sessions that run where the server runs."""

from __future__ import annotations

import socket
import subprocess
import sys
import typing as t
from multiprocessing.connection import Connection
from pathlib import Path

from .namespace import Namespace

MAIN = Path(__file__).with_name("session_main.py")
Row = tuple[t.Any, ...]


class Session:
    """A psycopg2 session in a process of its own, whose exceptions are raised here as they were there."""

    def __init__(self, namespace: Namespace, parameters: dict[str, t.Any], user: str = "") -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                namespace.argv([sys.executable, MAIN, str(theirs.fileno()), user]),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._channel = Connection(ours.detach())
        self._busy = False
        self._channel.send(parameters)
        try:
            self.pid, self.local_port = self.receive(60)
        except BaseException:
            self.kill()
            raise

    pid: int
    """The server process of this session."""
    local_port: int | None
    """The client's TCP port."""

    def execute(self, sql: str, parameters: t.Any = None, *, timeout: float = 60) -> list[Row]:
        """Run a statement (autocommit, unless the session says BEGIN) and wait for its rows."""
        self.send(sql, parameters)
        return self.receive(timeout)

    def send(self, sql: str, parameters: t.Any = None) -> None:
        """Begin a statement without waiting for it."""
        self._busy = True
        self._channel.send((sql, parameters))

    def receive(self, timeout: float = 60) -> t.Any:
        """What the statement that was sent returned."""
        if not self._channel.poll(timeout):
            raise TimeoutError(f"the session gave no answer in {timeout} s")
        try:
            answer = self._channel.recv()
        except EOFError:
            raise RuntimeError(f"the client process ended, code {self.process.wait()}") from None
        self._busy = False
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """Say goodbye to the server; a client in the middle of a statement is killed instead."""
        self._channel.close()
        try:
            # Ample time for one that is idle: a busy machine is no reason to end it without its goodbye.
            self.process.wait(1 if self._busy else 30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill the client: its kernel closes the connection."""
        self._channel.close()
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
