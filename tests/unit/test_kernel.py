# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server can be reached over TCP from its own host."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _kernel


@pytest.mark.parametrize(
    ("listen_addresses", "expected"),
    [
        ("", []),
        (" , ", []),
        ("*", ["127.0.0.1", "::1"]),
        ("0.0.0.0", ["127.0.0.1"]),
        ("::", ["::1"]),
        ("localhost", ["localhost"]),
        ("0.0.0.0, ::, 127.0.0.1", ["127.0.0.1", "::1"]),
        ("10.0.0.1, 10.0.0.2 ,10.0.0.1", ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_addresses(listen_addresses: str, expected: list[str]) -> None:
    assert _kernel.addresses(listen_addresses) == expected


def test_sockets_towards_a_server_and_whether_one_is_here() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert (_kernel.listens(port), _kernel.towards(port)) == (True, [])
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _address = listener.accept()
            assert [(address, state) for address, state, _timer in _kernel.towards(port)] == [("127.0.0.1", 1)]
            accepted.close()
            assert [(address, state) for address, state, _timer in _kernel.towards(port)] == [("127.0.0.1", 8)]
    assert not _kernel.listens(port)


def test_a_server_that_listens_on_a_unix_socket_alone(tmp_path: Path) -> None:
    assert not _kernel.listens(65432, str(tmp_path / "nowhere"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / ".s.PGSQL.65432"))
        assert (_kernel.listens(65432), _kernel.listens(65433)) == (True, False)
