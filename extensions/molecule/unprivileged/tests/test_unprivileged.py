# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done without privileges is done, what cannot is listed, and nothing is half done."""

from __future__ import annotations

import typing as t

import pytest
from support import machine

SYSCTLS = [f"net.ipv4.tcp_keepalive_{part}" for part in ("intvl", "probes", "time")]


ROLE = """SELECT name || ' = ' || reset_val FROM pg_settings
    WHERE name IN ('tcp_user_timeout', 'client_connection_check_interval', 'authentication_timeout') ORDER BY 1"""


@pytest.fixture(scope="module")
def reaches(variables: dict[str, t.Any]) -> str:
    """How much of this machine's server can be hardened: all of it, sessions of the login's role, nothing."""
    return t.cast("str", variables["reaches"])


@pytest.fixture(scope="module")
def hardened(reaches: str) -> bool:
    """Whether sessions of others are hardened, too."""
    return reaches == "server"


@pytest.fixture(scope="module")
def result(host: t.Any) -> dict[str, t.Any]:
    """What the collection answered."""
    return machine.result(host)


def test_server_keeps_the_policy_where_it_can(
    session: machine.Session, policy: dict[str, t.Any], hardened: bool
) -> None:
    soonest, latest = machine.silent_peer(*session.timers())
    assert (policy["tolerate_outage_of"] <= soonest and latest <= policy["detect_dead_peer_within"]) is hardened


def test_the_kernel_counts_down_on_this_very_socket(session: machine.Session, hardened: bool) -> None:
    assert session.socket.timer == "keepalive"
    assert session.socket.seconds is not None
    assert (session.socket.seconds <= 350) is hardened


def test_kernel_is_as_it_was(host: t.Any, session: machine.Session) -> None:
    assert session.sysctls == machine.found_first(host)["sysctls"]
    assert machine.boot_values(host) == machine.KERNEL_DEFAULTS
    assert not host.file("/etc/sysctl.d/90-pgharden-connection.conf").exists


def test_own_role_has_what_a_role_can_have(host: t.Any, reaches: str) -> None:
    if reaches != "role":
        return
    told = host.check_output("cd / && runuser -u dba -- psql --no-psqlrc -At postgres -c %s", ROLE).split("\n")
    # No role can have a value of the first one of its own.
    assert told == [
        "authentication_timeout = 60",
        "client_connection_check_interval = 5000",
        "tcp_user_timeout = 71000",
    ]
    now, first = machine.found_now(host), machine.found_first(host)
    ((_database, role, settings),) = now.pop("role settings")
    assert role == "dba"
    assert "tcp_user_timeout=71s" in settings
    assert now == {key: value for key, value in first.items() if key != "role settings"}


def test_what_is_out_of_reach_is_listed(result: dict[str, t.Any], variables: dict[str, t.Any], reaches: str) -> None:
    if reaches == "nothing":
        return
    expected = [("server", "authentication_timeout")] if reaches == "role" else []
    expected += [("os", key) for key in SYSCTLS]
    assert [(row["layer"], row["setting"]) for row in result["unsupported"]] == expected
    reason = "read-only" if variables["login_as"] == "root" else "as root"
    assert all(reason in row["reason"] for row in result["unsupported"] if row["layer"] == "os")


def test_refusal_says_what_to_do(result: dict[str, t.Any], reaches: str) -> None:
    assert result.get("failed", False) is (reaches == "nothing")
    if reaches == "nothing":
        assert result["failure"]["code"] == "not_allowed"
        assert "Log in as superuser" in result["msg"]


def test_a_refusal_leaves_everything_as_it_was(host: t.Any, reaches: str) -> None:
    now, first = machine.found_now(host), machine.found_first(host)
    assert (now == first) is (reaches == "nothing")


def test_revert_file_belongs_to_who_hardened(host: t.Any, variables: dict[str, t.Any], reaches: str) -> None:
    home = "/var/lib" if variables["login_as"] == "root" else "/home/dba/.local/state"
    found = host.check_output(f"find {home}/pgharden-connection -name '*.json' -printf '%u %m\\n' 2>/dev/null || true")
    # the revert file, and what was put in force
    assert found.split("\n") == ([""] if reaches == "nothing" else [f"{variables['login_as']} 600"] * 2)
