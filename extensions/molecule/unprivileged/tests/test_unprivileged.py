# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done without privileges is done, what cannot is listed, and nothing is half done."""

from __future__ import annotations

import typing as t

import pytest
from support import machine

SYSCTLS = [f"net.ipv4.tcp_keepalive_{part}" for part in ("intvl", "probes", "time")]


@pytest.fixture(scope="module")
def hardened(variables: dict[str, t.Any]) -> bool:
    """Whether this machine's server can be hardened."""
    return bool(variables["inventory_hostname"] != "not-granted")


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


def test_what_the_kernel_forbids_is_listed(
    result: dict[str, t.Any], variables: dict[str, t.Any], hardened: bool
) -> None:
    if hardened:
        assert [(row["layer"], row["setting"]) for row in result["unsupported"]] == [("os", key) for key in SYSCTLS]
        reason = "read-only" if variables["login_as"] == "root" else "as root"
        assert all(reason in row["reason"] for row in result["unsupported"])


def test_refusal_says_what_to_do(result: dict[str, t.Any], hardened: bool) -> None:
    assert result.get("failed", False) is not hardened
    if not hardened:
        assert result["failure"]["code"] == "not_allowed"
        assert "Log in as superuser" in result["msg"]


def test_a_refusal_leaves_everything_as_it_was(host: t.Any, hardened: bool) -> None:
    now, first = machine.found_now(host), machine.found_first(host)
    assert (now == first) is not hardened


def test_revert_file_belongs_to_who_hardened(host: t.Any, variables: dict[str, t.Any], hardened: bool) -> None:
    home = "/var/lib" if variables["login_as"] == "root" else "/home/dba/.local/state"
    found = host.check_output(f"find {home}/pgharden-connection -name '*.json' -printf '%u %m' 2>/dev/null || true")
    assert found == (f"{variables['login_as']} 600" if hardened else "")
