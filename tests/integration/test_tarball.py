# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The released tarball: the same bytes from any clone, whole for `ansible-galaxy`, and nothing in it for developers."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from support import places

DAY = 86_400


def clone(directory: Path, umask: int) -> Path:
    """A clone of what is committed, made by a user with that umask."""
    command = ["git", "-c", "safe.directory=*", "clone", "--quiet", "--no-hardlinks", str(places.REPOSITORY), "."]
    directory.mkdir()
    subprocess.run(command, cwd=directory, check=True, umask=umask)
    return directory


def tarball(checkout: Path, target: Path, umask: int, **environment: str) -> Path:
    """What a maintainer gets there."""
    command = [sys.executable, str(checkout / "tools" / "tarball.py"), "--output-path", str(target)]
    settings = {**os.environ, "ANSIBLE_HOME": str(target / "home"), **environment}
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, umask=umask, env=settings)
    (made,) = target.glob("*.tar.gz")
    return made


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tarballs of one commit from two clones, whose files differ in order, age, mode, and in what lies about."""
    scratch = tmp_path_factory.mktemp("tarballs")
    first, second = clone(scratch / "a", 0o022), clone(scratch / "b", 0o077)
    for path in second.rglob("*"):
        if ".git" not in path.parts:
            os.utime(path, (DAY, DAY), follow_symlinks=False)
    (second / "plugins" / "modules" / "__pycache__").mkdir()
    (second / "plugins" / "modules" / "__pycache__" / "harden.pyc").write_bytes(b"x")
    (second / "pgharden-connection-0.0.1.tar.gz").write_bytes(b"x")
    # A memory file system lists its entries in another order than those on disk do.
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as memory:
        elsewhere = {"TZ": "Asia/Tokyo", "TMPDIR": memory}
        return tarball(first, scratch / "of_a", 0o022, TZ="UTC"), tarball(second, scratch / "of_b", 0o077, **elsewhere)


def test_two_clones_give_the_same_bytes(two: tuple[Path, Path]) -> None:
    first, second = two
    assert first.name == second.name
    assert digest(first) == digest(second)


def test_the_time_is_that_of_the_commit_or_the_one_that_is_stated(two: tuple[Path, Path], tmp_path: Path) -> None:
    checkout = two[0].parents[1] / "a"
    command = ["git", "log", "-1", "--format=%ct"]
    committed = int(subprocess.run(command, cwd=checkout, check=True, capture_output=True, text=True).stdout)
    stated = tarball(checkout, tmp_path, 0o022, SOURCE_DATE_EPOCH=str(DAY))
    assert digest(stated) != digest(two[0])
    for path, when in ((two[0], committed), (stated, DAY)):
        with tarfile.open(path) as archive:
            assert {member.mtime for member in archive} == {when}


def test_it_is_whole_and_installs(two: tuple[Path, Path], tmp_path: Path) -> None:
    settings = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "home")}
    galaxy = [sys.executable, "-m", "ansible", "galaxy", "collection"]
    for arguments in (
        ["install", str(two[0]), "--collections-path", str(tmp_path), "--offline"],
        ["verify", "--offline", "pgharden.connection"],
    ):
        done = subprocess.run([*galaxy, *arguments], check=False, capture_output=True, text=True, env=settings)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully verified" in done.stdout


def test_what_developers_need_is_not_in_it(two: tuple[Path, Path]) -> None:
    with tarfile.open(two[0]) as archive:
        members = archive.getmembers()
    top = {member.name.partition("/")[0] for member in members}
    files = {"CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md"}
    assert top - files <= {"changelogs", "CODE_OF_CONDUCT.md", "docs", "meta", "playbooks", "plugins", "roles"}
    assert files <= top
    assert not any(member.issym() or member.islnk() for member in members)
    assert {(member.uid, member.gid, member.uname) for member in members} == {(0, 0, "")}
    assert {member.mode for member in members} <= {0o644, 0o755}
    assert two[0].stat().st_size < 2_000_000
