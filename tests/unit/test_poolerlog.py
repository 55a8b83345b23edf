# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where poolers write their logs, by a /proc of our own; real poolers are in the integration tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _poolerlog


class Processes:
    """A /proc with processes of one network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.add("self")

    def add(self, pid: str, comm: str = "", *arguments: str, net: str = "net:[1]", mnt: str = "mnt:[1]") -> Path:
        own = self.root / pid
        (own / "ns").mkdir(parents=True)
        (own / "comm").write_text(f"{comm}\n")
        (own / "cmdline").write_text("\0".join([comm, *arguments, ""]))
        (own / "ns" / "net").symlink_to(net)
        (own / "ns" / "mnt").symlink_to(mnt)
        return own

    def logs(self, of_haproxy: Path | None = None) -> _poolerlog.Found:
        return _poolerlog.logs(str(self.root), str(of_haproxy or "/nowhere"))


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path / "proc")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "pgbouncer.log"
    path.touch()
    return path


def test_the_setting_of_pgbouncer_with_what_was_rotated_away(processes: Processes, log: Path, tmp_path: Path) -> None:
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text(f"[databases]\n* =\n[pgbouncer]\n;logfile = /no\nlogfile = {log}  \nauth_type = any\n")
    rotated = tmp_path / "pgbouncer.log.1.gz"
    rotated.touch()
    processes.add("99", "pgbouncer", "-d", str(ini))
    processes.add("100", "pgbouncer", str(ini))
    processes.add("101", "postgres", str(ini))
    assert processes.logs() == ([str(log), str(rotated)], [], [])


def test_paths_as_the_process_sees_them(processes: Processes, log: Path, tmp_path: Path) -> None:
    own = processes.add("99", "pgbouncer", "conf/it.ini", mnt="mnt:[2]")
    (own / "cwd").symlink_to("/etc/pool")
    conf = own / "root" / "etc" / "pool" / "conf"
    conf.mkdir(parents=True)
    (conf / "it.ini").write_text("%include conf/more.ini\n")
    (conf / "more.ini").write_text("logfile = log\n%include conf/more.ini\n")  # in a circle
    inside = own / "root" / "etc" / "pool" / "log"
    inside.touch()
    assert processes.logs().files == [str(inside)]


def test_other_hosts_and_processes_that_have_ended(processes: Processes, log: Path, tmp_path: Path) -> None:
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text(f"logfile = {log}\n")
    processes.add("99", "pgbouncer", str(ini), net="net:[2]")
    (processes.root / "100").mkdir()
    assert processes.logs() == ([], [], [])
    assert _poolerlog.logs(str(tmp_path / "nowhere")) == ([], [], [])


def test_haproxy(processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "haproxy.log"
    path.touch()
    processes.add(str(2**22 + 1), "haproxy")
    assert processes.logs(path).files == [str(path)]
    assert processes.logs() == ([], [], [])


def test_a_log_that_is_not_known_is_a_line(processes: Processes, tmp_path: Path) -> None:
    ini = tmp_path / "pgbouncer.ini"
    ini.write_text("logfile =\n")
    processes.add(str(2**22 + 1), "pgbouncer", str(ini))
    processes.add(str(2**22 + 2), "pgbouncer")
    ini.with_name("other.ini").write_text("logfile = /nowhere/it.log\n")
    processes.add(str(2**22 + 3), "pgbouncer", str(ini.with_name("other.ini")))
    found = processes.logs()
    assert (found.files, found.units, len(found.problems)) == ([], [], 3)
    assert all("\n" not in line and "pgbouncer" in line for line in found.problems)
    assert "/nowhere/it.log" in found.problems[2]
