# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring: the newest packets in a bounded number of files, and always room left on the disk."""

from __future__ import annotations

import contextlib
import datetime
import errno
import os
import time
import typing as t

from ._records import Stream
from ._wish import Wish

#: File systems run out of names as well as of bytes.
LEAST_INODES = 100


class Full(Exception):
    """There is no more room; says of what."""


def need_room(directory: str, least_free: int, coming: int = 0) -> None:
    """Raises Full when *coming* more bytes would leave too little of the file system."""
    status = os.statvfs(directory)
    if status.f_bavail * status.f_frsize - coming < least_free:
        raise Full("bytes")
    if status.f_files and status.f_favail < LEAST_INODES:  # some file systems do not count them
        raise Full("inodes")


class _File:
    """One file of the ring."""

    def __init__(self, path: str, header: bytes) -> None:
        self.path = path
        self.size = self.packets = 0
        self.first = self.last = 0.0
        # Only ever a new one: nobody else's file, nor what a link points to, is written to.
        self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._write(header)
        except OSError:
            self.close()
            raise

    def add(self, packets: list[tuple[float, bytes]]) -> None:
        """Times and records of packets; all of them or, the file system being full, none."""
        self._write(b"".join(record for _when, record in packets))
        self.packets += len(packets)
        self.first = self.first or packets[0][0]
        self.last = packets[-1][0]

    def _write(self, data: bytes) -> None:
        handle = t.cast(int, self._fd)
        written = 0
        try:
            while written < len(data):
                written += os.write(handle, data[written:])
        except OSError:
            os.ftruncate(handle, self.size)
            raise
        self.size += written

    def close(self) -> None:
        """No more of it; one without a packet is of no use."""
        if self._fd is None:
            return
        os.close(self._fd)
        self._fd = None
        if not self.packets:
            os.unlink(self.path)

    def told(self) -> dict[str, t.Any]:
        """What a user is told of it."""
        return {
            "path": self.path,
            "size": self.size,
            "packets": self.packets,
            "first": _iso(self.first),
            "last": _iso(self.last),
        }


class Ring:
    """The newest packets, in at most as many files of at most such a size as wished for."""

    def __init__(self, wish: Wish, directory: str, stream: Stream) -> None:
        self._wish, self._directory, self._stream = wish, directory, stream
        self._prefix = f"capture-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
        self._number = 0
        self._files: list[_File] = []
        self._pending: list[tuple[float, bytes]] = []
        self._size = 0  # of the newest file with what is pending
        self.overwritten = 0

    def add(self, chunk: bytes) -> None:
        """Keep what of *chunk* is wanted. Raises Full when there is no room for it."""
        need_room(self._directory, self._wish.least_free)
        for when, record in self._stream.feed(chunk):
            if not self._fits(when, record):
                self._flush()
                self._rotate()
            self._size += len(record)
            self._pending.append((when, record))
        self._flush()

    def told(self) -> list[dict[str, t.Any]]:
        """What a user is told of each file."""
        return [file.told() for file in self._files if file.packets]

    def close(self) -> None:
        """No more packets for the newest file."""
        for file in self._files[-1:]:
            file.close()

    def _fits(self, when: float, record: bytes) -> bool:
        if not self._files or self._size + len(record) > self._wish.file_size:
            return False
        began = self._files[-1].first or (self._pending[0][0] if self._pending else when)
        return not self._wish.rotate_every or when - began < self._wish.rotate_every

    def _rotate(self) -> None:
        self.close()
        while len(self._files) >= self._wish.files:
            oldest = self._files.pop(0)
            self.overwritten += oldest.packets
            with contextlib.suppress(FileNotFoundError):
                os.unlink(oldest.path)
        self._number += 1
        path = os.path.join(self._directory, f"{self._prefix}-{self._number:05}.pcap")
        with _enough():
            self._files.append(_File(path, self._stream.header))
        self._size = self._files[-1].size

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            need_room(self._directory, self._wish.least_free, sum(len(record) for _when, record in pending))
            with _enough():
                self._files[-1].add(pending)


@contextlib.contextmanager
def _enough() -> t.Iterator[None]:
    """A file system or a quota that is full is no error, but a reason to stop."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Full("bytes") from None
        raise


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
