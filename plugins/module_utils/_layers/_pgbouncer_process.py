# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer's process: which one runs here, with which configuration file, from which version of the program."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
import re
import shutil
import signal
import subprocess
import typing as t

from .. import _files
from .._errors import Failure
from . import _pgbouncerini

DEFAULT_FILE = "/etc/pgbouncer/pgbouncer.ini"
_NAME = "pgbouncer"
_VERSION = re.compile(r"PgBouncer (\d+(?:\.\d+)*)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Process:
    """A PgBouncer that runs; *config_file* is an absolute path, *cwd* what paths in that file are relative to."""

    pid: int
    uid: int
    config_file: str
    cwd: str

    @property
    def user(self) -> str | None:
        """The name of the OS user that it runs as."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return None

    def hang_up(self) -> None:
        """Have it read its files again; it does so some time later and says nothing."""
        try:
            os.kill(self.pid, signal.SIGHUP)
        except OSError as error:
            raise Failure(
                "cannot_reload",
                f"sending SIGHUP to PgBouncer, process {self.pid}",
                str(error.strerror),
                "Run the task as root or as PgBouncer's user, or log in to its console.",
            ) from error


def find(config_file: str | None, proc: str = "/proc") -> Process | None:
    """The one that runs with *config_file*, or the only one there is. Raises Failure ``several_pgbouncers``."""
    running = list(_running(proc))
    if config_file:
        wanted = os.path.realpath(config_file)
        running = [one for one in running if os.path.realpath(one.config_file) == wanted]
    # A service may have mounts of its own (PrivateTmp), but so have those that are none of ours (ip netns exec).
    own = _mounts(os.path.join(proc, "self"))
    running = [one for one in running if _mounts(os.path.join(proc, str(one.pid))) == own] or running
    files = sorted({one.config_file for one in running})
    if len(files) > 1:
        raise Failure(
            "several_pgbouncers",
            "finding PgBouncer's configuration file",
            f"several run here, with {', '.join(files)}",
            "Name one of them as config_file.",
        )
    return running[0] if running else None


def version(process: Process | None) -> tuple[int, ...]:
    """What the program says of itself, without asking the running one. Raises Failure ``unknown_version``."""
    programs = [f"/proc/{process.pid}/exe"] if process else []
    programs += [path for path in (shutil.which(_NAME), shutil.which(_NAME, path="/usr/sbin:/usr/local/sbin")) if path]
    for program in programs:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            # A pipe that is closed at once, and no shell: this is no AnsibleModule.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                [program, "--version"], check=False, capture_output=True, text=True, timeout=10
            )
            found = parse_version(done.stdout)
            if found:
                return found
    raise Failure(
        "unknown_version",
        "settings of PgBouncer",
        "it does not run and its program cannot be found, so its version is unknown",
        "Install or start it; the role does with pgbouncer_install.",
    )


def loader(process: Process | None, config_file: str) -> _pgbouncerini.Load:
    """Reads included files; their paths are relative to the directory that PgBouncer was started in.

    Where it is down that is not known: services are started in /, people start it beside its file.
    """
    directories = [process.cwd] if process else ["/", os.path.dirname(config_file)]

    def load(path: str) -> bytes | None:
        contents = (_files.read(os.path.join(directory, path)) for directory in directories)
        return next((content for content in contents if content is not None), None)

    return load


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers in what ``--version`` and SHOW VERSION say; () where there are none."""
    match = _VERSION.search(text)
    return tuple(map(int, match[1].split("."))) if match else ()


def hidden(config_file: str | None, proc: str = "/proc") -> list[int]:
    """Those whose files we may not see, and that may read *config_file*."""
    found = []
    for directory, arguments in _named(proc):
        read = _config_file(arguments)
        other = config_file and read and os.path.isabs(read) and os.path.realpath(read) != os.path.realpath(config_file)
        if not read or other:
            continue
        try:
            os.stat(os.path.join(directory, "root"))
        except PermissionError:
            found.append(int(os.path.basename(directory)))
        except OSError:
            pass  # it has ended
    return found


def _running(proc: str) -> t.Iterator[Process]:
    """Those whose files are this host's: a container has another root directory."""
    own = os.stat("/")
    for directory, arguments in _named(proc):
        with contextlib.suppress(OSError):
            root = os.stat(os.path.join(directory, "root"))
            if (root.st_dev, root.st_ino) != (own.st_dev, own.st_ino):
                continue
            cwd = os.readlink(os.path.join(directory, "cwd"))
            config_file = _config_file(arguments)
            if config_file:
                pid, uid = int(os.path.basename(directory)), os.stat(directory).st_uid
                yield Process(pid, uid, os.path.join(cwd, config_file), cwd)


def _named(proc: str) -> t.Iterator[tuple[str, list[str]]]:
    """The directories of all processes of that name, and their arguments."""
    for entry in sorted(filter(str.isdigit, os.listdir(proc)), key=int):
        directory = os.path.join(proc, entry)
        with contextlib.suppress(OSError):
            with open(os.path.join(directory, "comm"), encoding="utf-8", errors="replace") as stream:
                if stream.read().strip() != _NAME:
                    continue
            with open(os.path.join(directory, "cmdline"), "rb") as stream_of_bytes:
                yield directory, os.fsdecode(stream_of_bytes.read()).split("\0")[1:]


def _mounts(directory: str) -> str:
    """The mount namespace of a process."""
    try:
        return os.readlink(os.path.join(directory, "ns", "mnt"))
    except OSError:
        return ""  # it is another user's


def _config_file(arguments: list[str]) -> str | None:
    """The argument that is no option, nor the name that ``-u`` and ``--user`` take."""
    rest = iter(arguments)
    found = None
    for argument in rest:
        if argument in ("-u", "--user"):
            next(rest, None)
        elif argument and not argument.startswith("-"):
            found = argument
    return found
