# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tcpdump: the program in a process that ends with this one, and what it says when it cannot begin."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import time
import typing as t

from .._errors import Failure
from ._wish import HEADERS, WHOLE, Wish

_CAP_NET_RAW = 13
_READ_AT_ONCE = 1 << 20
_KERNEL_BUFFER_KB = 16384
_TURN_SECONDS = 0.25
_END_SECONDS = 10.0

#: Ends tcpdump when its standard input ends, that is at the latest when the module has died of whatever. A signal on
#: the parent's death (PR_SET_PDEATHSIG) would not do: it is forgotten when tcpdump changes its user.
_GUARD = """
"$@" </dev/null &
trap '' HUP INT TERM
exec >/dev/null 2>&1
read -r end
kill 0
sleep 5
kill -KILL 0
"""


class Tcpdump:
    """tcpdump in a process that ends with this one."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command waits for the end
            ["/bin/sh", "-c", _GUARD, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # a signal to the group of this process is for this process alone
        )
        self.said = b""
        self._ending: float | None = None

    @property
    def listening(self) -> bool:
        return b"listening on" in self.said

    def chunks(self) -> t.Iterator[bytes]:
        """What it writes, until it ends; nothing for a while is an empty chunk."""
        stdout, stderr = (t.cast(t.IO[bytes], pipe).fileno() for pipe in (self._process.stdout, self._process.stderr))
        pipes = [stdout, stderr]
        while pipes:
            ready = select.select(pipes, [], [], _TURN_SECONDS)[0]
            chunk = b""
            for pipe in ready:
                data = os.read(pipe, _READ_AT_ONCE)
                if not data:
                    pipes.remove(pipe)
                elif pipe == stderr:
                    self.said += data
                else:
                    chunk = data
            if pipes:
                yield chunk
            if self._process.poll() is not None or (self._ending and time.monotonic() > self._ending + _END_SECONDS):
                self.kill()

    def end(self) -> None:
        """Ask it to; what it has caught by now still comes."""
        if self._ending is None:
            self._ending = time.monotonic()
            t.cast(t.IO[bytes], self._process.stdin).close()

    def kill(self) -> None:
        """Nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            t.cast(t.IO[bytes], pipe).close()

    def counted(self, what: str) -> int | None:
        """One of its own counters."""
        match = re.search(rf"^(\d+) packets? {what}", self.said.decode(errors="replace"), re.MULTILINE)
        return int(match[1]) if match else None


def command_line(asked: str, wish: Wish) -> list[str]:
    """tcpdump with all that does not depend on what is done with its output."""
    tcpdump = shutil.which("tcpdump", path=_environment()["PATH"])
    if not tcpdump:
        raise Failure(
            "no_tcpdump",
            asked,
            "there is no tcpdump on this host",
            "Install the package tcpdump (apt-get install tcpdump; or with dnf, zypper, apk: all call it so).",
        )
    if wish.interface != "any" and wish.interface not in [name for _number, name in socket.if_nameindex()]:
        known = ", ".join(name for _number, name in socket.if_nameindex())
        raise Failure("no_interface", asked, "there is no such interface", f"Write any, or one of {known}.")
    snap_length = (wish.snap_length or WHOLE) if wish.payload else HEADERS
    command = [tcpdump, "-n", "-i", wish.interface, "-s", str(snap_length), "-B", str(_KERNEL_BUFFER_KB)]
    user = _user(asked, wish.user)
    return [*command, "-Z", user] if user else command


def _user(asked: str, wanted: str | None) -> str | None:
    """Whom tcpdump is to become, if it can."""
    known = []
    for name in [wanted] if wanted else ["tcpdump", "nobody"]:
        with contextlib.suppress(KeyError):
            known.append(pwd.getpwnam(name).pw_name)
    if wanted and not known:
        raise Failure("no_user", asked, f"there is no OS user {wanted}", "Name another, or none for the default.")
    if os.geteuid() == 0:
        return known[0] if known else None
    if wanted and wanted != pwd.getpwuid(os.geteuid()).pw_name:
        raise Failure("no_user", asked, f"only root can have tcpdump run as {wanted}", "Become root, or name no user.")
    return None


def try_out(asked: str, command: list[str]) -> None:
    """Have tcpdump open the interface, compile its filter and show that, and catch nothing."""
    with contextlib.closing(Tcpdump(command)) as tcpdump:
        shown = any(list(tcpdump.chunks()))
    if not shown:
        raise explained(asked, tcpdump.said)


def explained(asked: str, said: bytes, **details: t.Any) -> Failure:
    """Why tcpdump ended before it should."""
    text = " ".join(said.decode(errors="replace").split())
    if "permission" in text or "not permitted" in text:
        return Failure("no_capture_right", asked, _lacking(), _RIGHT_REMEDY, **details)
    remedy = "Look at the interface, and whether somebody has ended tcpdump."
    return Failure("tcpdump_ended", asked, f"tcpdump ended: {text}", remedy, **details)


_RIGHT_REMEDY = (
    "Become root (become: true); or let others than root capture: setcap cap_net_raw+ep on the file tcpdump; in a "
    "container or a unit of systemd, add the capability NET_RAW."
)


def _lacking() -> str:
    """Which right is missing."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        effective = int(t.cast("re.Match[str]", re.search(r"^CapEff:\s*(\w+)", status.read(), re.MULTILINE))[1], 16)
    if effective >> _CAP_NET_RAW & 1:
        return "the kernel does not permit it, although the capability CAP_NET_RAW is there"
    if os.geteuid() == 0:
        return "this is root, but without the capability CAP_NET_RAW"
    return f"this is uid {os.geteuid()}, neither root nor with the capability CAP_NET_RAW"


def _environment() -> dict[str, str]:
    """With the places where administrators' programs are, which the PATH of a plain user may lack."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", "LC_ALL": "C"}
