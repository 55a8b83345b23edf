# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's processes on this host. It is a room of its own so that a host without any compiles no more of Patroni."""

from __future__ import annotations

import contextlib
import os
import typing as t

_NAME = "patroni"


def running(proc: str = "/proc") -> t.Iterator[int]:
    """Those whose files are this host's: a container has another root directory."""
    own = os.stat("/")
    there = os.listdir(proc) if os.path.isdir(proc) else []  # macOS has none
    for entry in sorted(filter(str.isdigit, there), key=int):
        directory = os.path.join(proc, entry)
        with contextlib.suppress(OSError):
            root = os.stat(os.path.join(directory, "root"))
            if (root.st_dev, root.st_ino) == (own.st_dev, own.st_ino) and arguments(directory) is not None:
                yield int(entry)


def arguments(directory: str) -> list[str] | None:
    """What follows the program on the command line of a Patroni; None for any other process."""
    with open(os.path.join(directory, "cmdline"), "rb") as stream:
        words = os.fsdecode(stream.read()).rstrip("\0").split("\0")
    # python3 /usr/bin/patroni FILE, python3 -m patroni FILE, or a program of that name
    interpreted = os.path.basename(words[0]).startswith("py")
    for index, word in enumerate(words[: 4 if interpreted else 1]):
        if os.path.basename(word) in (_NAME, f"{_NAME}.py"):
            return words[index + 1 :]
        if index and not word.startswith("-"):
            break
    return None
