# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files room: reads files, replaces them whole or not at all, and locks the directory they lie in.

A file is replaced by a new one of the same name, so that a reader, or a machine that loses power, finds the old or the
new content and nothing between. What the old file was known by (links to it, owner, mode, extended attributes) stays.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import time
import typing as t

from ._errors import Failure

_POLL_INTERVAL = 0.05

_REMEDIES = {
    errno.EACCES: "Run as root or as the owner of the file.",
    errno.EBUSY: "It is a mount point of its own; mount the directory that it lies in instead.",
    errno.EDQUOT: "Raise the quota or free some space.",
    errno.ENOENT: "Create the directory first, or correct the path.",
    errno.ENOSPC: "Free some space on that file system.",
    errno.EPERM: "Run as root or as the owner of the file, and see that it is not immutable (lsattr).",
    errno.EROFS: "Make that file system writable.",
}

# Checksums of the content, which the kernel makes anew; the old file's would lock the new one out.
_ATTRIBUTES_OF_CONTENT = ("security.evm", "security.ima")
_ACCESS_ACL = "system.posix_acl_access"

# The directories that this process has locked, by device and inode.
_locked: set[tuple[int, int]] = set()


def read(path: str) -> bytes | None:
    """What the file holds, or None where there is none."""
    asked = f"read {path}"
    with _failing("file_not_readable", asked):
        try:
            # Not to wait for a writer, should this be a FIFO.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            _need_regular(asked, os.fstat(fd))
            with open(fd, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(fd)


def encoded(data: bytes | None) -> str | None:
    """A content as JSON can have it; None where there is no file."""
    return None if data is None else base64.b64encode(data).decode("ascii")


def decoded(text: str | None) -> bytes | None:
    """The content that `encoded` was given."""
    return None if text is None else base64.b64decode(text)


def sha256(data: bytes | None) -> str | None:
    """The hash by which a record knows a content; None where there is no file."""
    return None if data is None else hashlib.sha256(data).hexdigest()


def hashes(before: bytes | None, after: bytes | None) -> list[str | None]:
    """Of a file that a record has: the contents that are none of anybody else's, before and after the run."""
    return [sha256(before), sha256(after)]


def replace(path: str, data: bytes, *, mode: int | None = None) -> None:
    """Make the file at *path* hold *data*, in one step.

    An existing file keeps its owner, group, mode and extended attributes; where *path* is a symbolic link, the file
    that it points to is replaced. A new file gets *mode* (0644) and, if root makes it, the owner and group of its
    directory.
    """
    asked = f"write {path}"
    real = os.path.realpath(path)
    name = os.path.basename(real)
    with _failing("file_not_writable", asked), lock(os.path.dirname(real), asked=asked) as folder:
        old = _existing(asked, folder, name)
        _remove_leftovers(folder, name)
        # The leading dot keeps it from PostgreSQL's include_dir and from sysctl.d, should it ever be left behind.
        temporary = f".{name}.pgharden-{os.urandom(4).hex()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        try:
            with open(fd, "wb") as file:
                if old:
                    _keep_owner(asked, fd, old)
                    _keep_attributes(asked, fd, real)
                elif os.geteuid() == 0:
                    owner = os.fstat(folder)
                    os.fchown(fd, owner.st_uid, owner.st_gid)
                file.write(data)
                # Last, since a change of owner or of an ACL changes the mode, too.
                os.fchmod(fd, stat.S_IMODE(old.st_mode) if old else 0o644 if mode is None else mode)
                file.flush()
                os.fsync(fd)
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            os.unlink(temporary, dir_fd=folder)
            raise
        _sync_directory(folder)


def remove(path: str) -> None:
    """Remove the file at *path*, or the one that the symbolic link there points to; none there is fine."""
    asked = f"remove {path}"
    real = os.path.realpath(path)
    name = os.path.basename(real)
    with _failing("file_not_writable", asked):
        try:
            os.lstat(real)
        except FileNotFoundError:
            return
        with lock(os.path.dirname(real), asked=asked) as folder:
            _remove_leftovers(folder, name)
            # Another run may have been faster.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            _sync_directory(folder)


def put(path: str, data: bytes | None, mode: int | None = None) -> None:
    """`replace`, or `remove` where there is to be no file."""
    if data is None:
        remove(path)
    else:
        replace(path, data, mode=mode)


@contextlib.contextmanager
def lock(directory: str, *, timeout: float = 60.0, asked: str | None = None) -> t.Iterator[int]:
    """Keep every other process that asks for this lock out of *directory*; gives a descriptor of the directory.

    The lock is on the directory itself: nothing is left behind, and the kernel releases it when the process dies. A
    process that has it may take it again. *asked* is what the lock is wanted for, as an error is to say it.
    """
    asked = asked or f"lock {directory}"
    with _failing("file_not_writable", asked):
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        status = os.fstat(folder)
        key = (status.st_dev, status.st_ino)
        if key in _locked:
            yield folder
            return
        with _failing("file_not_writable", asked):
            _wait_for_lock(asked, folder, timeout)
        _locked.add(key)
        try:
            yield folder
        finally:
            _locked.discard(key)
            # Closing is not enough: a child process may have inherited the descriptor.
            fcntl.flock(folder, fcntl.LOCK_UN)
    finally:
        os.close(folder)


def _wait_for_lock(asked: str, folder: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Failure(
                    "locked",
                    asked,
                    f"{_holder(folder)} has locked the directory, and {timeout:g} s were not enough for it to finish",
                    "Let it finish or end it, and try again.",
                ) from None
        time.sleep(_POLL_INTERVAL)


def _holder(folder: int) -> str:
    """Who has the lock, as far as the kernel tells."""
    status = os.fstat(folder)
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with contextlib.suppress(OSError):
        with open("/proc/locks", encoding="utf-8") as locks:
            found = re.search(rf"^\d+: FLOCK +\w+ +WRITE (\d+) {place} ", locks.read(), re.MULTILINE)
        if found:
            with open(f"/proc/{found[1]}/comm", encoding="utf-8", errors="replace") as comm:
                return f"process {found[1]} ({comm.read().strip()})"
    return "another process"


def _existing(asked: str, folder: int, name: str) -> os.stat_result | None:
    """The file that is to be replaced, if there is one, and if it can be."""
    try:
        old = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    _need_regular(asked, old)
    if old.st_nlink > 1:
        raise Failure(
            "hard_linked",
            asked,
            f"the file has {old.st_nlink} names (hard links), and the others would keep the old content",
            "Remove the other names, or make them symbolic links to this one.",
        )
    return old


def _need_regular(asked: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Failure("not_a_file", asked, "it is no regular file", "Give the path of a regular file.")


def _remove_leftovers(folder: int, name: str) -> None:
    """Remove what killed runs left behind: whoever has such a file in use has the lock."""
    pattern = re.compile(re.escape(f".{name}.pgharden-") + "[0-9a-f]{8}")
    for found in os.listdir(folder):
        if pattern.fullmatch(found):
            os.unlink(found, dir_fd=folder)


def _keep_owner(asked: str, fd: int, old: os.stat_result) -> None:
    try:
        os.fchown(fd, old.st_uid, old.st_gid)
    except OSError as error:
        raise Failure(
            "cannot_keep_owner",
            asked,
            f"it belongs to uid {old.st_uid}, gid {old.st_gid}, and uid {os.geteuid()} may not make such a file",
            "Run as root or as the owner of the file.",
        ) from error


def _keep_attributes(asked: str, fd: int, old: str) -> None:
    """Give the new file the SELinux label, the ACL and all other extended attributes of the old one."""
    if not hasattr(os, "listxattr"):  # only Linux has it
        return
    try:
        wanted = {name: os.getxattr(old, name) for name in os.listxattr(old)}
        present = {name: os.getxattr(fd, name) for name in os.listxattr(fd)}
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return
        raise
    for name, value in wanted.items():
        if name in _ATTRIBUTES_OF_CONTENT or present.get(name) == value:
            continue
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            raise _failure("cannot_keep_attributes", f"{asked} with its attribute {name}", error) from error
    # A default ACL of the directory is not for a file that had no ACL.
    if _ACCESS_ACL in present and _ACCESS_ACL not in wanted:
        os.removexattr(fd, _ACCESS_ACL)


def _sync_directory(folder: int) -> None:
    # The file has its new content by now; an error here leaves only open whether a power cut would undo that.
    with contextlib.suppress(OSError):
        os.fsync(folder)


@contextlib.contextmanager
def _failing(code: str, asked: str) -> t.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failure(code, asked, error) from error


def _failure(code: str, asked: str, error: OSError) -> Failure:
    remedy = _REMEDIES.get(error.errno or 0, "Look at the path and at the file system it is on.")
    return Failure(code, asked, os.strerror(error.errno or 0), remedy)
