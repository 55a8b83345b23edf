# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packed: what is in a file, also if it is compressed; by what it begins with, since names lie."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import stat
import subprocess
import typing as t
import zlib

#: What reading may raise where a file is damaged or cut off.
DAMAGED = (EOFError, OSError, zlib.error, lzma.LZMAError)

_OPENERS: tuple[tuple[bytes, t.Callable[[t.Any], t.Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
    (b"\x5d\x00\x00", lzma.open),
)
#: Programs for what Python has nothing for.
_PROGRAMS = (
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x1f\x9d", "gzip"),  # of compress, .Z
)
_ARCHIVES = (
    *((b"PK\x03\x04", "zip"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!", "rar"), (b"LZIP", "lzip")),
    (b"\x89LZO", "lzop"),
)


class Unreadable(Exception):
    """A file that cannot be read; the message says why."""


@contextlib.contextmanager
def opened(path: str) -> t.Iterator[t.Any]:
    """A stream of the file's content, uncompressed. Raises OSError and Unreadable."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Unreadable("is no regular file")  # opening a pipe would wait for its writer
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(open(path, "rb"))
        magic = raw.read(6)
        raw.seek(0)
        if not magic:
            raise Unreadable("is empty")
        archive, program, opener = (_of(magic, known) for known in (_ARCHIVES, _PROGRAMS, _OPENERS))
        if archive:
            raise Unreadable(f"is packed with {archive}, which is not read here; unpack it")
        if program:
            if not shutil.which(program):
                raise Unreadable(f"is compressed with {program}, and there is no program {program} here")
            os.lseek(raw.fileno(), 0, os.SEEK_SET)  # the program knows nothing of the buffer here
            yield stack.enter_context(output_of([program, "-dcq"], raw))
        else:
            yield stack.enter_context(opener(raw)) if opener else raw


def _of(magic: bytes, known: t.Iterable[tuple[bytes, t.Any]]) -> t.Any:
    return next((what for start, what in known if magic.startswith(start)), None)


@contextlib.contextmanager
def output_of(command: list[str], stdin: t.Any = subprocess.DEVNULL) -> t.Iterator[t.Any]:
    """What a command writes. Raises Unreadable where it fails, after its output."""
    # pylint: disable-next=ansible-bad-function  # run_command waits for the end
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        complete = False
        try:
            yield process.stdout
            complete = True
        finally:
            if not complete:
                process.kill()
        complaint = t.cast(t.IO[bytes], process.stderr).read().decode("utf-8", "replace").strip()
        if process.wait():
            raise Unreadable(f"{command[0]} failed: {' '.join(complaint.split())[:200]}")
