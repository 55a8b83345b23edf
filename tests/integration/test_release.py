# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a release as CONTRIBUTING.md names them, in a clone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import places

NEW = "7.8.9"


class Clone:
    """A clone, and what a maintainer runs in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.git("clone", "--quiet", str(places.REPOSITORY), str(directory), cwd=directory.parent)

    def git(self, *command: str, cwd: Path | None = None) -> str:
        who = ["-c", "user.name=maintainer", "-c", "user.email=maintainer@example.org", "-c", "safe.directory=*"]
        done = subprocess.run(
            ["git", *who, *command], cwd=cwd or self.directory, check=True, capture_output=True, text=True
        )
        return done.stdout

    def release(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(self.directory / "tools" / "release.py"), *arguments]
        settings = {**os.environ, "ANSIBLE_HOME": str(self.directory.parent / "home")}
        done = subprocess.run(command, cwd=self.directory, env=settings, check=False, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = Clone(tmp_path_factory.mktemp("release") / "checkout")
    fragments = clone.directory / "changelogs" / "fragments"
    fragments.mkdir(exist_ok=True)
    (fragments / "news.yml").write_text("---\nbugfixes:\n  - harden - something that users notice.\n")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", "A change with its fragment")
    return clone


@pytest.mark.parametrize("version", ["0.1.0", "next", "1.2", "1.2.3.4", "01.2.3"])
def test_versions_that_are_refused(clone: Clone, version: str) -> None:
    code, said = clone.release("prepare", version)
    assert code == 1
    assert "no semantic version" in said or "never used twice" in said
    assert clone.git("status", "--porcelain") == ""


def test_from_a_change_to_a_tag(clone: Clone) -> None:
    code, said = clone.release("check")
    assert code == 1
    assert "news.yml" in said

    code, said = clone.release("prepare", NEW)
    assert code == 0, said
    code, said = clone.release("check")
    assert code == 1
    assert "not committed" in said

    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", NEW)
    assert clone.release("check", "--tag", NEW) == (0, f"{NEW} can be published\n")
    code, said = clone.release("check", "--tag", "7.8.8")
    assert code == 1
    assert "the tag is 7.8.8" in said

    galaxy = yaml.safe_load((clone.directory / "galaxy.yml").read_text())
    assert galaxy["version"] == NEW
    assert list((clone.directory / "changelogs").glob("fragments/*.yml")) == []
    assert "something that users notice" in (clone.directory / "CHANGELOG.md").read_text()
    (clone.directory / "galaxy.yml").write_text("version: 7.9.0\n")
    code, said = clone.release("check")
    assert code == 1
    assert "has no release 7.9.0" in said
