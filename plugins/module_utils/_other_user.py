# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other user: a session in a child process that runs as another OS user.

For peer authentication: a module that runs as root logs in as ``postgres`` without ``become_user`` and its temporary
files. The child has dropped its privileges for good before it connects, and answers calls of the session's methods with
JSON over a socket pair; it ends when the module does.
"""

from __future__ import annotations

import os
import pwd
import queue
import signal
import socket
import threading
import time
import typing as t

from . import _channel, _signals
from ._errors import Failure

#: How long a child goes on with what it has been asked for after its module has gone.
_GRACE_SECONDS = 1.0


class Child:
    """Stands in for a `Database`, or another kind of session, that lives in a child process of another OS user.

    *asked* says what the session is for, in messages; *entry* is the user.
    """

    def __init__(self, asked: str, entry: pwd.struct_passwd, open_session: t.Callable[[], t.Any]) -> None:
        self._socket, other = socket.socketpair()
        self._asked = asked
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _serve(other, entry, open_session)
        other.close()
        try:
            self._receive()
        except Failure:
            self._reap()
            raise

    def __getattr__(self, name: str) -> t.Callable[..., t.Any]:
        def call(*arguments: t.Any) -> t.Any:
            # A signal waits for the answer, as it does for libpq's: else the next call would get it.
            old = signal.pthread_sigmask(signal.SIG_BLOCK, _signals.ENDING)
            try:
                _channel.send(self._socket, {"call": name, "arguments": arguments})
                return self._receive()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, old)

        return call

    def close(self) -> None:
        """End the session and the child."""
        self._reap()

    def _receive(self) -> t.Any:
        answer = _channel.read(self._socket)
        if answer is None:
            raise Failure("login_failed", self._asked, "the child process with the session has died", "Try again.")
        if "failure" in answer:
            raise Failure(**answer["failure"])
        return answer["result"]

    def _reap(self) -> None:
        self._socket.close()
        if self._pid:
            os.waitpid(self._pid, 0)
            self._pid = 0


def _serve(channel: socket.socket, entry: pwd.struct_passwd, open_session: t.Callable[[], t.Any]) -> t.NoReturn:
    """The child: becomes *entry*'s user, logs in, answers calls until the module closes its end. Never returns."""
    try:
        for number in _signals.ENDING:
            # These may go to the whole process group. The module needs this session to put things back.
            signal.signal(number, signal.SIG_IGN)
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        os.chdir("/")
        os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
        database: t.Any = None

        def answer(call: t.Callable[[], t.Any]) -> None:
            try:
                _channel.send(channel, {"result": call()})
            except Failure as failure:
                _channel.send(channel, {"failure": failure.as_dict()})
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
                bug = Failure("unexpected", "talking to the server", found, "Report this as a bug.")
                _channel.send(channel, {"failure": bug.as_dict()})

        def log_in() -> None:
            nonlocal database
            database = open_session()

        requests: queue.Queue[t.Any] = queue.Queue()
        threading.Thread(target=_listen, args=(channel, requests), daemon=True).start()
        answer(log_in)
        while database is not None:
            request = requests.get()
            if request is None:
                # With a goodbye, lest the server count the session as abandoned.
                database.close()
                break
            answer(lambda: getattr(database, request["call"])(*request["arguments"]))  # noqa: B023 - called at once
    finally:
        # Not sys.exit: the parent's exit handlers and buffers are not the child's to run.
        os._exit(0)


def _listen(channel: socket.socket, requests: queue.Queue[t.Any]) -> None:
    """Pass on the requests; when the module has gone, end this process even if the server does not answer."""
    request: t.Any = True
    while request is not None:
        request = _channel.read(channel)
        requests.put(request)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)
