# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespaces: whether a server has the network, and with it the TCP settings of the kernel, that this run has.

A container or another network namespace on the same host has TCP settings of its own, and so has another host: what is
set here does nothing for a server there.
"""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from . import _kernel

if t.TYPE_CHECKING:
    from ._database import Database

#: Why a setting of the kernel is not made for a server.
ELSEWHERE = (
    "the server runs in another network namespace (a container, ip netns) or on another host, and its kernel settings "
    "are its own: run it there, or set them where the container is made (docker run --sysctl, securityContext.sysctls)"
)
_LOOKS = 3
_BETWEEN_LOOKS = 0.1


def of_server(database: Database, proc: str = "/proc") -> bool | None:
    """Whether the server's network is ours, by the session itself; None where that cannot be told."""
    own = database.own_session()
    if own["client_addr"]:
        return _of_socket((own["server_port"], own["client_addr"], own["client_port"]), proc)
    pid = database.peer()
    return _of_process(pid, proc) if pid else None


def _of_socket(key: _kernel.Key, proc: str) -> bool | None:
    """Over TCP: whether the kernel here has the server's end of the session."""
    root = os.path.join(proc, "net")
    if not os.path.exists(os.path.join(root, "tcp")):
        return None
    for look in range(_LOOKS):  # while sockets come and go the kernel may leave one out
        if look:
            time.sleep(_BETWEEN_LOOKS)
        if key in _kernel.timers(key[0], root):
            return True
    return False


def _of_process(pid: int, proc: str) -> bool | None:
    """Over a Unix socket, which crosses networks: whether the server's first process is in this one."""
    try:
        with open(os.path.join(proc, str(pid), "comm"), encoding="utf-8", errors="replace") as comm:
            name = comm.read().strip()
        theirs = os.readlink(os.path.join(proc, str(pid), "ns", "net"))
        ours = os.readlink(os.path.join(proc, "self", "ns", "net"))
    except OSError:
        return None  # it is another user's, or its number means nothing here
    return theirs == ours if name in ("postgres", "postmaster") else None  # a pooler may be anywhere


def files_of_another_network(directory: str, proc: str = "/proc") -> bool:
    """Whether files in *directory* are read for another network than ours: the machine's, after ip netns exec.

    A process that this one descends from then has another network and the same directory. In a container none has.
    """
    if os.path.exists(os.path.join(proc, "sys", "net", "core", "netdev_budget")):
        return False  # the kernel has it in the machine's own network only
    try:
        ours, network = os.stat(directory), os.readlink(os.path.join(proc, "self", "ns", "net"))
    except OSError:
        return False
    for pid in _ancestors(proc):
        with contextlib.suppress(OSError):  # not everybody may look at every one of them
            theirs = os.stat(f"{proc}/{pid}/root{directory}")
            same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
            if same and os.readlink(os.path.join(proc, str(pid), "ns", "net")) != network:
                return True
    return False


def _ancestors(proc: str) -> t.Iterator[int]:
    pid = os.getppid()
    while pid:
        yield pid
        try:
            with open(os.path.join(proc, str(pid), "stat"), encoding="utf-8", errors="replace") as stat:
                # the fields after the name, which may hold anything: state, parent
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return
