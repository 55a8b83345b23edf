# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a server can be reached over TCP from its own host."""

from __future__ import annotations

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
