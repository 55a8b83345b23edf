# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command in the namespaces of another process: enter_main.py PID USER COMMAND... (USER may be empty).

Unlike nsenter it keeps the network capabilities of a plain user who enters a user namespace of their own.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pwd
import sys

# os.execvp imports it, maybe when the new user may no longer read this interpreter's library.
importlib.import_module("warnings")

CAPABILITIES = (12, 13)  # CAP_NET_ADMIN, CAP_NET_RAW: sysctls and sockets, but no power over files
CAPABILITY_VERSION_3 = 0x20080522
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2


def keep_capabilities() -> None:
    """An exec as a user other than root drops every capability that is not ambient."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()
    libc.capget(header, data)
    data[2] = sum(1 << capability for capability in CAPABILITIES)  # inheritable, low word
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")
    for capability in CAPABILITIES:
        if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def become(name: str) -> None:
    """Turn for good into another OS user."""
    user = pwd.getpwnam(name)
    if user.pw_uid != os.getuid():
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
    os.environ.update(HOME=user.pw_dir, USER=name, LOGNAME=name)


def main() -> None:
    """Enter, become, exec."""
    pid, user, command = sys.argv[1], sys.argv[2], sys.argv[3:]
    directory = os.getcwd()
    kinds = ["mnt", "net"] if os.geteuid() == 0 else ["user", "mnt", "net"]
    handles = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    for handle in handles:
        os.setns(handle)
        os.close(handle)
    if "user" in kinds:
        keep_capabilities()
    os.chdir(directory)  # entering a mount namespace led to its root
    if user:
        become(user)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
