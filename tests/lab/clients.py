# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients: psql in a process of its own, which can be killed, frozen or cut off."""

from __future__ import annotations

import functools
import os
import re
import select
import signal
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from support import Unavailable, find_source

from .hosts import BUSY, Host, LabError, stop, wait


@functools.cache
def program(name: str) -> Path:
    """A client program of the distribution's own PostgreSQL (the wheels lack most of them)."""
    for major in (15, 16, 17, 18, 14, 13):
        try:
            source = find_source(major, kind="host")
        except Unavailable:
            continue
        return source.bindir / name
    raise Unavailable(f"no {name} here: install postgresql")


class Client:
    """psql, connected. *pid* and *seen_as* are the server's process and the address and port that it sees."""

    def __init__(self, host: Host, conninfo: str, *, wait_for_login: bool = True) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self.process = host.start(
            [program("psql"), "-XqAtn", "-d", conninfo],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )
        self._host = host
        self._unread = b""
        self.pid = 0
        self.seen_as: tuple[str, int] = ("", 0)
        self.local: tuple[str, int] = ("", 0)
        if wait_for_login:
            try:
                self._log_in()
            except BaseException:
                self.close()
                raise

    def _log_in(self) -> None:
        answer = self.ask("SELECT pg_backend_pid(), host(inet_client_addr()), inet_client_port()")
        pid, address, port = answer.split("|")
        self.pid, self.seen_as, self.local = int(pid), (address, int(port)), self._own_end()

    def _own_end(self) -> tuple[str, int]:
        for line in self._host.run(["ss", "-Htnp"]).splitlines():
            if f"pid={self.process.pid}," in line:
                address, _colon, port = line.split()[3].rpartition(":")
                return address.strip("[]"), int(port)
        raise LabError(f"psql has no connection: {self.errors()}")

    def send(self, sql: str) -> None:
        """Begin a statement, or one of psql's own commands, without waiting for it."""
        assert self.process.stdin
        try:
            self.process.stdin.write((sql if sql.startswith("\\") else f"{sql};").encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise LabError(f"psql has ended: {self.errors()}") from None

    def receive(self, seconds: float = 10) -> str:
        """The next line that the server has sent; *seconds* as those of `wait`."""
        assert self.process.stdout
        seconds *= BUSY
        deadline = time.monotonic() + seconds
        while b"\n" not in self._unread:
            ready, _writable, _broken = select.select(
                [self.process.stdout], [], [], max(0, deadline - time.monotonic())
            )
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                raise LabError(f"psql gave no answer in {seconds:g} s: {self.errors()}")
            self._unread += piece
        line, _newline, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def ask(self, sql: str, seconds: float = 10) -> str:
        """Run a statement that returns one row."""
        self.send(sql)
        return self.receive(seconds)

    def errors(self) -> str:
        """What psql said on its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def fails(self, pattern: str, seconds: float = 10) -> None:
        """Wait until the client complains of what *pattern* says."""
        wait(f"the client's error {pattern!r}", lambda: re.search(pattern, self.errors()), seconds)

    def freeze(self) -> None:
        """The process stops; its kernel still answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """The process goes on."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """The process dies without a goodbye."""
        stop(self.process, signal.SIGKILL)

    def quit(self) -> None:
        """The client says goodbye and ends."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10 * BUSY)

    def close(self) -> None:
        """Whatever its state, end it."""
        self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream
            try:
                stream.close()
            except BrokenPipeError:
                continue
        self._errors.close()

    def gone(self, seconds: float) -> float:
        """Wait until the server has let go of the session; when that was."""

        def ended() -> bool:
            return not Path("/proc", str(self.pid)).exists()

        wait(f"the end of the server process {self.pid}", ended, seconds)
        return time.time()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
