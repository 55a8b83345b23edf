# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's process: found by its data directory, however it was started and wherever its configuration is."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _patroni_process as room

PASSWORD = "S3cret-Of-The-Test"
CONFIG = """\
scope: main
restapi:
  connect_address: 10.0.0.1:8008
  authentication: {username: u, password: S3cret-Of-The-Test}
postgresql:
  data_dir: data
  parameters:
    # not the cluster's
    Work_Mem: 8MB
    'log_line_prefix': '%m '
"""


class Proc:
    """A /proc, and a directory with what its processes name."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = directory / "files"
        (self.files / "data").mkdir(parents=True)
        self.path = directory / "proc"
        self.path.mkdir()

    def add(self, pid: int, *argv: str, root: str = "/", **environment: str) -> Path:
        process = self.path / str(pid)
        process.mkdir()
        (process / "cmdline").write_bytes("".join(f"{word}\0" for word in argv).encode())
        (process / "environ").write_bytes("".join(f"{key}={value}\0" for key, value in environment.items()).encode())
        (process / "cwd").symlink_to(self.files)
        (process / "root").symlink_to(root)
        return process

    def find(self, name: str = "data") -> room.Member | None:
        return room.find(str(self.files / name), str(self.path))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path)
    (made.files / "patroni.yml").write_text(CONFIG)
    return made


@pytest.mark.parametrize(
    "argv",
    [
        ("/usr/bin/python3", "/usr/bin/patroni", "patroni.yml"),
        ("/opt/venv/bin/python", "-u", "-m", "patroni", "patroni.yml"),
        ("python3", "/srv/patroni/patroni.py", "patroni.yml"),
        ("patroni", "patroni.yml"),
    ],
)
def test_found(proc: Proc, argv: tuple[str, ...]) -> None:
    proc.add(7, *argv)
    member = proc.find()
    assert member is not None
    assert (member.pid, member.config["scope"]) == (7, "main")
    assert PASSWORD not in repr(member)
    lines = {name: (line.value, line.sourceline) for name, line in member.parameters.items()}
    assert lines == {"work_mem": ("8MB", 9), "log_line_prefix": ("%m ", 10)}
    assert member.parameters["work_mem"].sourcefile == str(proc.files / "patroni.yml")


@pytest.mark.parametrize(
    "argv",
    [
        ("/usr/bin/python3", "/usr/bin/patronictl", "list"),
        ("vim", "patroni", "patroni.yml"),
        ("/usr/bin/python3", "/usr/bin/other", "patroni", "patroni.yml"),
        ("sh", "-c", "patroni patroni.yml"),
        (),
    ],
)
def test_not_a_patroni(proc: Proc, argv: tuple[str, ...]) -> None:
    proc.add(7, *argv)
    assert proc.find() is None


def test_another_data_directory_and_another_root(proc: Proc, tmp_path: Path) -> None:
    proc.add(7, "patroni", "patroni.yml")
    assert proc.find("other") is None
    proc.add(8, "patroni", "patroni.yml", root=str(tmp_path), PATRONI_POSTGRESQL_DATA_DIR=str(proc.files / "other"))
    assert proc.find("other") is None
    proc.add(9, "patroni", "patroni.yml", PATRONI_POSTGRESQL_DATA_DIR=str(proc.files / "other"))
    found = proc.find("other")
    assert found is not None
    assert found.pid == 9
    # a path that leads there by another name is the same
    (proc.files / "link").symlink_to(proc.files / "data")
    assert proc.find("link") is not None


def test_a_directory_of_files(proc: Proc) -> None:
    directory = proc.files / "conf.d"
    directory.mkdir()
    (directory / "1.yml").write_text(CONFIG)
    (directory / "2.yaml").write_text("postgresql: {parameters: {work_mem: 9MB}}\n")
    (directory / "3.txt").write_text("postgresql: {parameters: {work_mem: 1MB}}\n")
    proc.add(7, "patroni", "conf.d")
    member = proc.find()
    assert member is not None
    line = member.parameters["work_mem"]
    assert (line.value, line.sourcefile, line.sourceline) == ("9MB", str(directory / "2.yaml"), 1)


def test_all_in_the_environment(proc: Proc) -> None:
    proc.add(7, "patroni", PATRONI_CONFIGURATION=CONFIG)
    member = proc.find()
    assert member is not None
    assert member.parameters["work_mem"].sourcefile == "PATRONI_CONFIGURATION"


@pytest.mark.parametrize(
    ("content", "code", "found"),
    [
        (textwrap.dedent("scope: main\n password: S3cret-Of-The-Test\n"), "bad_config_file", "at line 2"),
        (None, "not_allowed", "No such file"),
        (b"scope: \xff\n", "not_allowed", "UTF-8"),
    ],
)
def test_what_cannot_be_read(proc: Proc, content: str | bytes | None, code: str, found: str) -> None:
    """It may be that of the server in question, so it is an error; unless another one is found to be."""
    path = proc.files / "broken.yml"
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    proc.add(7, "patroni", "broken.yml")
    with pytest.raises(Failure) as caught:
        proc.find()
    assert caught.value.code == code
    assert found in str(caught.value)
    assert PASSWORD not in str(caught.value)
    proc.add(8, "patroni", "patroni.yml")
    assert proc.find() is not None


def test_without_pyyaml(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "HAS_YAML", False)
    proc.add(7, "patroni", "patroni.yml")
    with pytest.raises(Failure) as caught:
        proc.find()
    assert caught.value.code == "missing_library"
