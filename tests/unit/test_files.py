# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the files room, on real files; what cannot be had for real is made to fail."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _files
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

NOBODY = 65534
SOMEBODY = 12345
MODULE = _files.__name__

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")


@pytest.fixture
def place() -> t.Iterator[Path]:
    """A directory that any user may get at, unlike pytest's own; it must hold no temporary file at the end."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o777)
        yield path
        assert not list(path.rglob(".*pgharden*"))


@contextlib.contextmanager
def acting_as(uid: int) -> t.Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@contextlib.contextmanager
def refused(code: str, text: str | None = None) -> t.Iterator[None]:
    with pytest.raises(Failure, match=text) as caught:
        yield
    assert caught.value.code == code
    assert caught.value.remedy


def start(script: str, *args: str | Path, **kw: t.Any) -> subprocess.Popen[str]:
    """Another process that has the room as `files`."""
    head = f"import sys, time, {MODULE} as files\n"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-c", head + script, *map(str, args)]
    return subprocess.Popen(argv, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **kw)


@contextlib.contextmanager
def locked_elsewhere(place: Path) -> t.Iterator[subprocess.Popen[str]]:
    script = "with files.lock(sys.argv[1]):\n print('locked', flush=True)\n sys.stdin.read()"
    with start(script, place) as process:
        assert process.stdout and process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


# ---- reading


def test_a_file_is_read(place: Path) -> None:
    (place / "a").write_bytes(b"\xff\r\n")
    assert _files.read(str(place / "a")) == b"\xff\r\n"


def test_a_file_that_is_not_there_reads_as_none(place: Path) -> None:
    (place / "link").symlink_to("nowhere")
    for name in ("a", "no/a", "link"):
        assert _files.read(str(place / name)) is None


def test_what_is_no_file_is_not_read(place: Path) -> None:
    os.mkfifo(place / "fifo")
    for path in (place, place / "fifo"):
        with refused("not_a_file"):
            _files.read(str(path))


@needs_root
def test_a_file_that_may_not_be_read(place: Path) -> None:
    (place / "a").touch(0o600)
    with refused("file_not_readable", "Permission denied. Run as root"), acting_as(NOBODY):
        _files.read(str(place / "a"))


# ---- replacing


@pytest.mark.parametrize(("mode", "found"), [(None, 0o644), (0o600, 0o600), (0o664, 0o664)])
def test_a_new_file(place: Path, mode: int | None, found: int) -> None:
    umask = os.umask(0o077)
    try:
        _files.replace(str(place / "a"), b"new", mode=mode)
    finally:
        os.umask(umask)
    assert (place / "a").read_bytes() == b"new"
    assert stat.S_IMODE((place / "a").stat().st_mode) == found
    assert os.listdir(place) == ["a"]


@needs_root
def test_a_new_file_belongs_to_whom_its_directory_belongs(place: Path) -> None:
    os.chown(place, SOMEBODY, NOBODY)
    _files.replace(str(place / "a"), b"new")
    assert ((place / "a").stat().st_uid, (place / "a").stat().st_gid) == (SOMEBODY, NOBODY)
    with acting_as(NOBODY):
        _files.replace(str(place / "b"), b"new")
    assert (place / "b").stat().st_uid == NOBODY


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o4750])
def test_an_existing_file_keeps_its_mode(place: Path, mode: int) -> None:
    (place / "a").write_bytes(b"old")
    (place / "a").chmod(mode)
    _files.replace(str(place / "a"), b"new", mode=0o644)
    assert (place / "a").read_bytes() == b"new"
    assert stat.S_IMODE((place / "a").stat().st_mode) == mode


@needs_root
def test_an_existing_file_keeps_its_owner_and_group(place: Path) -> None:
    (place / "a").touch()
    os.chown(place / "a", SOMEBODY, NOBODY)
    _files.replace(str(place / "a"), b"new")
    assert ((place / "a").stat().st_uid, (place / "a").stat().st_gid) == (SOMEBODY, NOBODY)


@needs_root
def test_the_owner_may_replace_a_file_of_one_of_its_groups_only(place: Path) -> None:
    for name, uid, gid in (("mine", NOBODY, NOBODY), ("my", NOBODY, SOMEBODY), ("other", SOMEBODY, NOBODY)):
        (place / name).write_bytes(b"old")
        os.chown(place / name, uid, gid)
    with acting_as(NOBODY):
        _files.replace(str(place / "mine"), b"new")
        for name in ("my", "other"):
            with refused("cannot_keep_owner", f"uid {NOBODY} may not"):
                _files.replace(str(place / name), b"new")
    assert [(place / name).read_bytes() for name in ("mine", "my", "other")] == [b"new", b"old", b"old"]


def test_links_stay(place: Path) -> None:
    (place / "etc").mkdir()
    (place / "etc" / "a").write_bytes(b"old")
    (place / "link").symlink_to("etc/a")
    (place / "link to link").symlink_to(place / "link")
    (place / "dangling").symlink_to("etc/new")
    _files.replace(str(place / "link to link"), b"new")
    _files.replace(str(place / "dangling"), b"newer")
    assert os.readlink(place / "link") == "etc/a"
    assert (place / "link to link").is_symlink()
    assert (place / "etc" / "a").read_bytes() == b"new"
    assert (place / "etc" / "new").read_bytes() == b"newer"


def test_a_file_in_the_current_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    _files.replace("a", b"new")
    assert (place / "a").read_bytes() == b"new"
    _files.remove("a")
    assert not (place / "a").exists()


def test_what_cannot_be_replaced(place: Path) -> None:
    os.mkfifo(place / "fifo")
    (place / "loop").symlink_to("loop")
    (place / "file").write_bytes(b"old")
    for path in (place, place / "fifo", place / "loop"):
        with refused("not_a_file"):
            _files.replace(str(path), b"new")
    with refused("file_not_writable", "No such file or directory. Create the directory"):
        _files.replace(str(place / "no" / "a"), b"new")
    with refused("file_not_writable", "Not a directory"):
        _files.replace(str(place / "file" / "a"), b"new")


def test_a_file_with_two_names_is_left_alone(place: Path) -> None:
    (place / "a").write_bytes(b"old")
    os.link(place / "a", place / "b")
    with refused("hard_linked", "2 names"):
        _files.replace(str(place / "a"), b"new")
    assert (place / "a").samefile(place / "b")
    assert (place / "a").read_bytes() == b"old"


@needs_root
def test_a_directory_that_may_not_be_written(place: Path) -> None:
    (place / "a").write_bytes(b"old")
    os.chown(place / "a", NOBODY, NOBODY)
    place.chmod(0o755)
    with acting_as(NOBODY):
        with refused("file_not_writable", "write .*/a: Permission denied. Run as root"):
            _files.replace(str(place / "a"), b"new")
        with refused("file_not_writable", "remove .*/a: Permission denied"):
            _files.remove(str(place / "a"))
    assert (place / "a").read_bytes() == b"old"


def test_a_full_file_system(place: Path) -> None:
    """On a file system of its own, in a mount namespace of its own."""
    script = f"""
import os, {MODULE} as files
path = {str(place)!r} + "/a"
open(path, "wb").write(b"old")
try:
    files.replace(path, b"new" * 100_000)
except files.Failure as failure:
    print(failure.code, failure.found, open(path).read(), os.listdir({str(place)!r}), sep="; ")
"""
    argv = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-ec"]
    argv += ['mount -t tmpfs -o size=64k none "$0" && exec "$@"', str(place), sys.executable, "-c", script]
    if not shutil.which("unshare") or subprocess.run([*argv[:-3], "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace to be had")
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "file_not_writable; No space left on device; old; ['a']\n", done.stderr


def test_a_file_that_gets_too_large(place: Path) -> None:
    (place / "a").write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with refused("file_not_writable", "File too large"):
            _files.replace(str(place / "a"), b"new" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (place / "a").read_bytes() == b"old"


@pytest.mark.parametrize("call", ["fchmod", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.EIO, "no"), OSError(errno.EBUSY, "no"), KeyboardInterrupt()])
def test_a_failure_on_the_way_changes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    (place / "a").write_bytes(b"old")

    def fail(*_args: object, **_kw: object) -> None:
        assert any(name.startswith(".a.pgharden-") for name in os.listdir(place))
        raise error

    monkeypatch.setattr(os, call, fail)
    expected = refused("file_not_writable") if isinstance(error, OSError) else pytest.raises(KeyboardInterrupt)
    with expected:
        _files.replace(str(place / "a"), b"new")
    assert os.listdir(place) == ["a"]
    assert (place / "a").read_bytes() == b"old"
    with _files.lock(str(place), timeout=0):
        pass


def test_a_directory_that_cannot_be_synced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def fail(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no")
        fsync(fd)

    monkeypatch.setattr(os, "fsync", fail)
    _files.replace(str(place / "a"), b"new")
    assert (place / "a").read_bytes() == b"new"


def test_leftovers_of_a_killed_run_are_removed(place: Path) -> None:
    for name in (".a.pgharden-0123abcd", ".a.pgharden-4567cdef"):
        (place / name).write_bytes(b"half")
    others = [".a.pgharden-0123", ".ab.pgharden", "a.pgharden-0123abcd"]
    for name in others:
        (place / name).write_bytes(b"not ours")
    _files.replace(str(place / "a"), b"new")
    assert sorted(os.listdir(place)) == sorted(["a", *others])
    (place / ".a.pgharden-0123abcd").write_bytes(b"half")
    _files.remove(str(place / "a"))
    assert sorted(os.listdir(place)) == sorted(others)
    for name in others:
        (place / name).unlink()


# ---- extended attributes


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An ACL as the kernel keeps it: tag, permissions and id of each entry."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 0xFFFFFFFF
OWNER, USER, GROUP, MASK, OTHER = 1, 2, 4, 16, 32
ACL = acl((OWNER, 6, NO_ID), (USER, 4, SOMEBODY), (GROUP, 4, NO_ID), (MASK, 4, NO_ID), (OTHER, 0, NO_ID))


def set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"{name} cannot be had here: {error}")


def test_extended_attributes_are_kept(place: Path) -> None:
    (place / "a").touch(0o600)
    set_attribute(place / "a", "user.made_by", b"me\x00")
    _files.replace(str(place / "a"), b"new")
    assert os.getxattr(place / "a", "user.made_by") == b"me\x00"


@needs_root
def test_attributes_that_vouch_for_the_content_are_not_kept(place: Path) -> None:
    (place / "a").touch()
    set_attribute(place / "a", "security.pgharden_test", b"label")
    set_attribute(place / "a", "security.ima", b"\x01" + b"0" * 20)
    _files.replace(str(place / "a"), b"new")
    assert os.listxattr(place / "a") == ["security.pgharden_test"]


def test_an_acl_is_kept_and_the_directory_s_is_not_taken(place: Path) -> None:
    (place / "a").touch()
    (place / "b").touch(0o640)
    set_attribute(place / "a", "system.posix_acl_access", ACL)
    set_attribute(place, "system.posix_acl_default", ACL)
    for name in ("a", "b", "new"):
        _files.replace(str(place / name), b"new")
    assert os.getxattr(place / "a", "system.posix_acl_access") == ACL
    assert os.listxattr(place / "b") == []
    assert [stat.S_IMODE((place / name).stat().st_mode) for name in ("a", "b", "new")] == [0o640, 0o640, 0o644]


def test_an_attribute_that_cannot_be_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "a").write_bytes(b"old")
    set_attribute(place / "a", "user.made_by", b"me")

    def fail(*_args: object) -> None:
        raise OSError(errno.EPERM, "no")

    monkeypatch.setattr(os, "setxattr", fail)
    with refused("cannot_keep_attributes", r"user\.made_by"):
        _files.replace(str(place / "a"), b"new")
    assert (place / "a").read_bytes() == b"old"


def test_an_attribute_that_is_there_already_is_not_set(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A label that the new file has by itself: setting it may need more rights than there are."""
    (place / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "listxattr", lambda _file: ["security.selinux"])
    monkeypatch.setattr(os, "getxattr", lambda _file, _name: b"label")
    monkeypatch.delattr(os, "setxattr")
    _files.replace(str(place / "a"), b"new")
    assert (place / "a").read_bytes() == b"new"


@pytest.mark.parametrize("error", [errno.ENOTSUP, errno.EIO, None])
def test_without_extended_attributes(place: Path, monkeypatch: pytest.MonkeyPatch, error: int | None) -> None:
    (place / "a").write_bytes(b"old")

    def fail(_file: object) -> None:
        raise OSError(error, "no")

    if error is None:  # as on another system than Linux
        monkeypatch.delattr(os, "listxattr")
    else:
        monkeypatch.setattr(os, "listxattr", fail)
    with refused("file_not_writable") if error == errno.EIO else contextlib.nullcontext():
        _files.replace(str(place / "a"), b"new")
    assert (place / "a").read_bytes() == (b"old" if error == errno.EIO else b"new")


# ---- removing


def test_remove(place: Path) -> None:
    (place / "a").touch()
    (place / "b").touch()
    (place / "link").symlink_to("b")
    for name in ("a", "a", "link", "link", "no/a"):
        _files.remove(str(place / name))
    assert os.listdir(place) == ["link"]
    with refused("file_not_writable"):
        _files.remove(str(place))


def test_remove_what_another_run_has_just_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "a").touch()
    monkeypatch.setattr(_files, "_remove_leftovers", lambda _folder, _name: (place / "a").unlink())
    _files.remove(str(place / "a"))


# ---- the lock


def test_the_lock_keeps_another_process_out_and_names_it(place: Path) -> None:
    with locked_elsewhere(place) as process:
        with refused("locked", rf"process {process.pid} \(python"), _files.lock(str(place), timeout=0.2):
            pytest.fail("two have the lock")
        process.kill()
        process.wait()
        with _files.lock(str(place), timeout=0):
            pass
    assert os.listdir(place) == []


def test_the_lock_is_waited_for(place: Path) -> None:
    with locked_elsewhere(place) as process:
        assert process.stdin
        process.stdin.close()
        with _files.lock(str(place), timeout=30):
            pass


def test_a_holder_that_cannot_be_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked_elsewhere(place), monkeypatch.context() as patch:
        patch.setattr(os, "major", lambda _device: 0xFFFF)
        with refused("locked", "another process"), _files.lock(str(place), timeout=0):
            pytest.fail("two have the lock")


def test_the_lock_can_be_taken_again(place: Path) -> None:
    with _files.lock(str(place)):
        with _files.lock(str(place), timeout=0):
            _files.replace(str(place / "a"), b"new")
        with start("files.lock(sys.argv[1], timeout=0).__enter__()", place, stderr=subprocess.PIPE) as process:
            assert "has locked the directory" in process.communicate()[1]


def test_the_lock_ends_with_its_block(place: Path) -> None:
    """Whatever ends the block, and also where a child process has inherited the descriptor."""
    with contextlib.suppress(ZeroDivisionError), _files.lock(str(place)):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        raise ZeroDivisionError
    try:
        with start("files.lock(sys.argv[1], timeout=0).__enter__()", place) as process:
            assert process.wait() == 0
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_directory_that_cannot_be_locked(place: Path) -> None:
    (place / "a").touch()
    with refused("file_not_writable", "lock .*/no: No such file"), _files.lock(str(place / "no")):
        pytest.fail("there is nothing to lock")
    with refused("file_not_writable", "lock .*/a: Not a directory"), _files.lock(str(place / "a")):
        pytest.fail("this is not to be locked")


def test_no_edit_of_two_runs_at_once_is_lost(place: Path) -> None:
    script = """
for _turn in range(50):
    with files.lock(sys.argv[1]):
        path = sys.argv[1] + "/a"
        files.replace(path, b"%d" % (int(files.read(path)) + 1))
"""
    (place / "a").write_bytes(b"0")
    processes = [start(script, place) for _turn in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    for process in processes:
        process.communicate()
    assert (place / "a").read_bytes() == b"200"
