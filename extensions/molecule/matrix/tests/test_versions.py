# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a major version cannot do is said, and true; what it can do is done."""

from __future__ import annotations

import typing as t

import pytest
from support import machine

#: The setting, the policy's key that it is for, and the first major that has it.
NEWER = [
    ("client_connection_check_interval", "stop_orphaned_query_within", 14),
    ("idle_session_timeout", "close_idle_session_after", 14),
    ("transaction_timeout", "close_transaction_after", 17),
]


@pytest.fixture(scope="module")
def major(session: machine.Session, variables: dict[str, t.Any]) -> int:
    """The server's own word for its version, which has to be that of the host's name."""
    version = int(session.settings["server_version_num"]["setting"]) // 10000
    assert variables["inventory_hostname"] == f"postgresql-{version}"
    return version


def test_what_the_version_lacks_is_listed_with_its_reason(host: t.Any, major: int) -> None:
    listed = [(row["layer"], row["setting"], row["key"]) for row in machine.result(host)["unsupported"]]
    assert listed == [("server", name, key) for name, key, since in NEWER if major < since]
    for row in machine.result(host)["unsupported"]:
        assert f"the server has {major}" in row["reason"]


@pytest.mark.parametrize(("name", "key", "since"), NEWER)
def test_what_came_later_is_set_where_it_exists(
    session: machine.Session, policy: dict[str, t.Any], major: int, name: str, key: str, since: int
) -> None:
    if major < since:
        assert name not in session.settings
    elif key.startswith("close_"):
        assert session.value(name) / 1000 == policy[key]
    else:
        assert 0 < session.value(name) / 1000 < policy[key]
