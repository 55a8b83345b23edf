# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose network a server and a file belong to, by a /proc of our own; real namespaces are in the integration tests."""

from __future__ import annotations

import os
import socket
import typing as t
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _database, _namespaces


class Connection:
    """What a session is made of, as far as its socket goes."""

    autocommit = False

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()


class Session(_database.Database):
    """A session that knows its own address."""

    def __init__(self, end: socket.socket, address: str | None = None) -> None:
        super().__init__(Connection(end))
        self._address = address

    def own_session(self) -> dict[str, t.Any]:
        return {"client_addr": self._address, "client_port": 40000, "server_port": 5432}


@pytest.fixture
def ends() -> t.Iterator[tuple[socket.socket, socket.socket]]:
    """A pair of Unix sockets; the process at the other end is this one."""
    with socket.socketpair()[0] as one, socket.socketpair()[0] as other:
        yield one, other


def process(proc: Path, pid: int | str, comm: str, network: str) -> None:
    (proc / str(pid) / "ns").mkdir(parents=True)
    (proc / str(pid) / "comm").write_text(f"{comm}\n")
    (proc / str(pid) / "ns" / "net").symlink_to(network)


@pytest.mark.parametrize(
    ("comm", "network", "same"),
    [
        ("postgres", "net:[1]", True),
        ("postmaster", "net:[2]", False),
        ("pgbouncer", "net:[2]", None),
    ],
)
def test_the_process_behind_a_unix_socket(
    tmp_path: Path, ends: tuple[socket.socket, socket.socket], comm: str, network: str, same: bool | None
) -> None:
    process(tmp_path, "self", "python", "net:[1]")
    assert _namespaces.of_server(Session(ends[0]), str(tmp_path)) is None  # nobody is to be seen
    process(tmp_path, os.getpid(), comm, network)
    assert _namespaces.of_server(Session(ends[0]), str(tmp_path)) is same


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#: 127.0.0.1:5432 to 127.0.0.1:40000, established
OURS = (
    "   0: 0100007F:1538 0100007F:9C40 01 00000000:00000000 02:000005DC 00000000     0        0 1 2 0 20 4 30 10 -1\n"
)


def test_the_socket_of_a_session_over_tcp(tmp_path: Path) -> None:
    with socket.socket() as end:
        session = Session(end, "127.0.0.1")
        assert _namespaces.of_server(session, str(tmp_path)) is None  # no Linux
        (tmp_path / "net").mkdir()
        (tmp_path / "net" / "tcp").write_text(HEAD)
        assert _namespaces.of_server(session, str(tmp_path)) is False
        (tmp_path / "net" / "tcp").write_text(HEAD + OURS)
        assert _namespaces.of_server(session, str(tmp_path)) is True
        assert session.peer() is None  # over TCP nobody can be asked


def test_a_file_is_of_the_network_of_those_who_share_its_directory(tmp_path: Path) -> None:
    proc, directory = tmp_path / "proc", tmp_path / "sysctl.d"
    directory.mkdir()
    process(proc, "self", "python", "net:[2]")

    def of_another() -> bool:
        return _namespaces.files_of_another_network(str(directory), str(proc))

    assert of_another() is False  # nobody else is to be seen, as in a container
    parent = os.getppid()
    process(proc, parent, "sh", "net:[2]")
    (proc / str(parent) / "root").symlink_to("/")
    (proc / str(parent) / "stat").write_text(f"{parent} (a ) b) S 1 1 1\n")
    assert of_another() is False  # it has our own network
    process(proc, 1, "init", "net:[1]")
    (proc / "1" / "root").symlink_to(tmp_path)
    (proc / "1" / "stat").write_text("1 (init) S 0 1 1\n")
    assert of_another() is False  # it has other files
    (proc / "1" / "root").unlink()
    (proc / "1" / "root").symlink_to("/")
    assert of_another() is True
    (proc / "sys" / "net" / "core").mkdir(parents=True)
    (proc / "sys" / "net" / "core" / "netdev_budget").touch()
    assert of_another() is False  # ours is the machine's own


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    assert _namespaces.files_of_another_network(str(tmp_path / "no"), str(tmp_path)) is False
