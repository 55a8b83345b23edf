# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctls of FreeBSD and macOS: live values through the program sysctl; /etc/sysctl.conf, or a job of launchd."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import typing as t

from .. import _files
from .._errors import Failure
from .._systems import _launchd, _sysctl, _table
from . import _sysctlconf
from ._sysctls import Sysctls

_NAME = re.compile(r"net\.(?:inet\.tcp\.|ipv4\.tcp_)[a-z0-9_.]+\Z")
_STYLE = _sysctlconf.Style("net.inet.tcp.", "=")
#: For programs that would wait for somebody.
_TIMEOUT = 30


class Program:
    """The program sysctl."""

    def __init__(self, command: t.Sequence[str] = ()) -> None:
        self._command = tuple(command)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it in the language that its messages are known in."""
        command = self._command or (next(filter(os.path.exists, ("/sbin/sysctl", "/usr/sbin/sysctl")), "sysctl"),)
        return run([*command, *arguments])

    def values(self, names: t.Sequence[str]) -> dict[str, str]:
        """The settings of *names* that the kernel has."""
        return {name: found.stdout.strip() for name in names if not (found := self.run("-n", name)).returncode}


def run(command: t.Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A program's answer. One that is missing or hangs answers with an error."""
    try:
        return subprocess.run(  # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
            list(command),
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(list(command), 127, "", str(error))


class _Bsd(Sysctls):
    """What FreeBSD and macOS have in common."""

    system = _table.FREEBSD
    #: what sysctl needs before an assignment
    write_option: tuple[str, ...] = ()

    def __init__(self, program: Program | None = None) -> None:
        self._program = program or Program()

    def check(self, key: str, wanted: int | None) -> None:
        if not _NAME.match(key):
            raise Failure(
                "not_a_tcp_sysctl",
                f"set {key}",
                f"only settings named net.inet.tcp.* are managed on {self.system.label}",
                "Set any other with the program sysctl.",
                key=key,
            )
        if wanted is not None:
            self.system.check(key, wanted)

    def read(self, key: str) -> dict[str, str | None]:
        found = self._program.run("-n", key)
        if found.returncode:
            return {"value": None, "reason": "absent" if _sysctl.is_unknown(found.stderr) else "forbidden"}
        value = found.stdout.strip()
        if _sysctlconf.single_number(value) is None:
            remedy = "Set it with the program sysctl."
            raise Failure("not_a_number", f"set {key}", f"its value is not one number but '{value}'", remedy, key=key)
        return {"value": value, "reason": self._obstacle()}

    def _obstacle(self) -> str | None:
        """Only setting a value would tell for certain."""
        return "forbidden" if os.geteuid() else None

    def write(self, key: str, value: str | None) -> None:
        answer = self._program.run(*self.write_option, f"{key}={value}")
        if answer.returncode:
            raise OSError(errno.EPERM, (answer.stderr or answer.stdout).strip() or f"status {answer.returncode}")

    def edit(self, path: str, content: bytes | None, settings: t.Mapping[str, int | None]) -> bytes | None:
        return _sysctlconf.edit(content, settings, _STYLE)


class FreeBSD(_Bsd):
    """rc(8) reads /etc/sysctl.conf and then /etc/sysctl.conf.local."""

    default_file = "/etc/sysctl.conf"
    unread = "FreeBSD reads /etc/sysctl.conf and /etc/sysctl.conf.local alone"
    search: tuple[str, ...] = ("/etc/sysctl.conf", "/etc/sysctl.conf.local")

    def _obstacle(self) -> str | None:
        """A jail has none of these settings of its own, and may not set those of the host."""
        jailed = self._program.run("-n", "security.jail.jailed").stdout.strip() == "1"
        return "forbidden" if jailed else super()._obstacle()

    def outside(self, key: str, value: str | None, wanted: int | None, reason: str) -> str:
        return f"{key} is {value} and a jail may not set it: set {key}={wanted} on the host of the jail"

    def sources(self, own: str, content: bytes | None) -> list[_sysctlconf.Source]:
        found = []
        for path in self.search:
            data = content if os.path.realpath(path) == os.path.realpath(own) else _sysctlconf.bytes_of(path)
            if data is not None:
                found.append(_sysctlconf.Source(path, data, True))
        return found


class Darwin(_Bsd):
    """A job of launchd that runs sysctl; a file that is no property list is a sysctl.conf, as old releases read it."""

    system = _table.DARWIN
    write_option = ("-w",)
    default_file = _launchd.FILE
    unread = "launchd reads the property lists (.plist) in /Library/LaunchDaemons, old releases /etc/sysctl.conf"
    directory = os.path.dirname(_launchd.FILE)

    def __init__(self, program: Program | None = None, launchctl: t.Sequence[str] = ("/bin/launchctl",)) -> None:
        super().__init__(program)
        self._launchctl = tuple(launchctl)

    def outside(self, key: str, value: str | None, wanted: int | None, reason: str) -> str:
        return f"{key} is {value} and the kernel forbids to set it: leave it out"

    def lines(self, path: str, content: bytes | None) -> bytes | None:
        return content if content is None or not _is_job(path) else _launchd.lines(content, f"edit {path}")

    def edit(self, path: str, content: bytes | None, settings: t.Mapping[str, int | None]) -> bytes | None:
        if not _is_job(path):
            return super().edit(path, content, settings)
        return _launchd.edit(content, settings, f"edit {path}", _label(path))

    def sources(self, own: str, content: bytes | None) -> list[_sysctlconf.Source]:
        """Our file, where it is read. Other jobs run at the same time as ours, in no order that could be relied on."""
        read = os.path.dirname(own) == self.directory if _is_job(own) else own == "/etc/sysctl.conf"
        lines = self.lines(own, content)
        return [_sysctlconf.Source(own, lines, True)] if read and lines is not None else []

    def written(self, path: str) -> None:
        """Let launchd load the job now: it then says what it does not like about the file."""
        if not _is_job(path) or os.path.dirname(path) != self.directory:
            return
        data = _files.read(path)
        # One that is not loaded cannot be taken out, and nothing tells apart why.
        label = _label(path) if data is None else _launchd.label_of(data, f"load {path}")
        run([*self._launchctl, "bootout", f"system/{label}"])
        if data is None:
            return
        answer = run([*self._launchctl, "bootstrap", "system", path])
        if answer.returncode:
            raise Failure(
                "not_loaded",
                f"load {path}",
                f"launchctl answered '{(answer.stderr or answer.stdout).strip()}'",
                "See that root owns the file and its directory, and that nobody else may write them.",
            )


def _is_job(path: str) -> bool:
    return path.endswith(".plist")


def _label(path: str) -> str:
    """launchd wants a job to be called as its file is."""
    return os.path.basename(path)[: -len(".plist")]
