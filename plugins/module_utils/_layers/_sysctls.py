# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sysctls of a system: what the layer os must know of the kernel of its host; one class for each system."""

from __future__ import annotations

import os
import typing as t

from . import _sysctlconf

# In the upper part of the range that sysctl.d(5) gives to /etc, so that it wins over what packages and images ship
# (10-, 50-, 60-). A 99- file is somebody's last word: it wins over ours, and verify() says so with its file and line.
#: The file of Linux. On other systems this name stands for theirs.
SYSCTL_FILE = "/etc/sysctl.d/90-pgharden-connection.conf"


class Sysctls:
    """One system's way to have TCP settings in force, now and after the next boot. A file's bytes are None for none."""

    #: the file that a host of this system gets unless another is asked for
    default_file = ""
    #: who reads files, one after the other
    readers: tuple[str, ...] = ("boot",)
    #: why nothing reads a file that is none of those that are read
    unread = ""
    #: what helps where a live value could not be put back
    remedy = "Run it as root; it can be repeated."

    def file(self, asked: str) -> str:
        """The file that is meant by *asked*."""
        return self.default_file if asked == SYSCTL_FILE else asked

    # ---- live values

    def read(self, key: str) -> dict[str, str | None]:
        """The value in force, and the reason why it could not be set, if there is one."""
        raise NotImplementedError

    def write(self, key: str, value: str | None) -> None:
        """Set a value; the kernel's refusal is an OSError."""
        raise NotImplementedError

    def write_all(self, values: t.Mapping[str, str | None]) -> list[str]:
        """Set all values that can be set; what could not."""
        problems = []
        for key, value in values.items():
            try:
                self.write(key, value)
            except OSError as error:
                problems.append(f"{key} = {value}: {error.strerror or error}")
        return problems

    def namespace(self) -> str | None:
        """Whose network this is, where a system has several."""
        return None

    def check(self, key: str, wanted: int | None) -> None:
        """Raise Failure for what no TCP setting can be, before anything is read."""
        raise NotImplementedError

    def outside(self, key: str, value: str | None, wanted: int | None, reason: str) -> str:
        """Why root cannot set *key* here, and where it can be set."""
        raise NotImplementedError

    # ---- the file for the next boot

    def lines(self, path: str, content: bytes | None) -> bytes | None:
        """What a file sets, as lines of a sysctl.conf."""
        return content

    def edit(self, path: str, content: bytes | None, settings: t.Mapping[str, int | None]) -> bytes | None:
        """The file with *settings* in it; None takes a key out."""
        raise NotImplementedError

    def sources(self, own: str, content: bytes | None) -> list[_sysctlconf.Source]:
        """Every file that is read at boot, as lines, in its order, as if *own* had *content*."""
        raise NotImplementedError

    def written(self, path: str) -> None:
        """The file was written or removed. Raises Failure where it would not be read at the next boot."""


def of_host(proc: str, search: t.Sequence[str]) -> Sysctls:
    """Those of the system that this runs on; one that is not known is asked as Linux is, and has none of it."""
    name = os.uname().sysname
    if name in ("Darwin", "FreeBSD"):
        from . import _bsd  # no other system needs it

        return _bsd.Darwin() if name == "Darwin" else _bsd.FreeBSD()
    from . import _procsys

    return _procsys.Linux(proc, search)
