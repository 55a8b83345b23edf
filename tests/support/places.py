# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where throwaway things live, and as whom the servers run."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import pwd
import shutil
import tempfile
import time
import typing as t
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
COLLECTIONS = REPOSITORY / ".ansible" / "collections"
PREFIX = "pgharden-test-"
SHARED_MEMORY = Path("/dev/shm")
ROOM = 2 << 30


def is_root() -> bool:
    """Whether this process may become another user."""
    return os.geteuid() == 0


@functools.cache
def server_user() -> pwd.struct_passwd:
    """The OS user that runs the servers: PostgreSQL refuses to be root."""
    if not is_root():
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _memory() -> Path | None:
    """A file system in memory with room, from which programs may run; none if TMPDIR names another place."""
    if "TMPDIR" in os.environ or not os.access(SHARED_MEMORY, os.W_OK):
        return None
    status = os.statvfs(SHARED_MEMORY)
    roomy = status.f_bavail * status.f_frsize > ROOM
    return SHARED_MEMORY if roomy and not status.f_flag & os.ST_NOEXEC else None


@functools.cache
def base() -> Path:
    """One directory for everything, short because a Unix socket's path may have only 107 bytes.

    It is not under the home directory, because the servers' OS user must get there. Memory comes first: a data
    directory is a thousand files, which takes a loaded disk a second or two for each server.
    """
    path = (_memory() or Path(tempfile.gettempdir())) / f"{PREFIX}{os.geteuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid != os.geteuid():
        raise RuntimeError(f"{path} belongs to somebody else: remove it, or set TMPDIR")
    path.chmod(0o755)  # whatever the umask
    return path


@functools.cache
def clusters() -> Path:
    """The parent of the clusters' directories, rid of those of processes that were killed with all their children."""
    parent = base() / "clusters"
    parent.mkdir(exist_ok=True)
    parent.chmod(0o755)
    for path in parent.iterdir():
        owner = path.name.split("-")[1]
        with contextlib.suppress(FileNotFoundError):  # its holder has just removed it
            if not Path("/proc", owner).exists() and time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path, ignore_errors=True)
    return parent


@contextlib.contextmanager
def locked(name: str) -> t.Iterator[None]:
    """Hold a lock that other test processes of this user respect."""
    with open(base() / f"{name}.lock", "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
