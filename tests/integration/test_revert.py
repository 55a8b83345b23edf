# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""revert: after whatever was hardened since, everything is as it was before the first time."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from _hardening import SYSCTL_FILE, Host, NewCluster, profile
from support import Cluster

ONE = pytest.mark.parametrize("major", [16])
SLOW = profile("web", slow_reader_grace="10min", slow_reader_roles=["slow", "gone"])
#: One hardening after the other: arguments of the module.
SEQUENCE: tuple[dict[str, t.Any], ...] = (
    {"policy": SLOW},
    {"policy": profile("analytics", close_idle_session_after="3h")},
    {
        "policy": profile("web"),
        "overrides": {"tcp_user_timeout": "3min", "work_mem": "8MB", "log_disconnections": True},
    },
    {"policy": profile("interactive"), "layers": ["os"]},
)


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Host:
    """A server that somebody has already set a few things on."""
    for sql in (
        "CREATE ROLE slow LOGIN",
        "CREATE ROLE gone LOGIN",
        "ALTER ROLE slow SET tcp_user_timeout = '7s'",
        "ALTER ROLE slow SET work_mem = '5MB'",
        "ALTER SYSTEM SET tcp_keepalives_idle = '123s'",
        "ALTER SYSTEM SET random_page_cost = 1.5",
    ):
        cluster.query(sql)
    cluster.reload()
    host = Host(cluster, tmp_path)
    host.cluster.set_sysctl("net.ipv4.tcp_keepalive_time", 4321)
    return host


def as_found(host: Host) -> dict[str, t.Any]:
    """The state, with ALTER SYSTEM's file as the server reads it: it puts a new line last, and so may leave one."""
    state = host.state()
    files = state["files"]
    lines = files.pop(str(host.cluster.auto_conf)).splitlines()
    return {**state, "roles": sorted(state["roles"]), "alter system": sorted(lines)}


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@ONE
def test_all_of_it_is_put_back_after_any_number_of_hardenings(host: Host, steps: int) -> None:
    before = as_found(host)
    for step in SEQUENCE[:steps]:
        assert host.harden(**step)["changed"]
    assert as_found(host) != before
    hardened = host.state()
    foreseen = host.revert(check=True)
    assert host.state() == hardened
    done = host.revert(way="unix")
    assert foreseen == done
    assert (done["rc"], done["changed"], done["skipped_entries"]) == (0, True, [])
    assert as_found(host) == before
    again = host.revert()
    assert (again["rc"], again["changed"], again["diff"]) == (0, False, [])
    assert as_found(host) == before


def test_every_major_leads_back(host: Host) -> None:
    before = as_found(host)
    host.harden(SLOW)
    host.revert()
    assert as_found(host) == before


@ONE
@pytest.mark.parametrize("target", ["postgresql.conf", "included.conf"])
def test_a_configuration_file_comes_back_byte_for_byte(host: Host, target: str) -> None:
    conf = host.cluster.config_file
    conf.write_bytes(
        conf.read_bytes()
        + b"# \xe9 mine\r\nTCP_Keepalives_Idle= 9  # old\nwork_mem = '6MB'\ninclude_if_exists 'included.conf'"
    )
    host.cluster.reload()
    before = as_found(host)
    path = conf.with_name(target)
    through = {"apply_through": "config_file", "config_file": str(path)}
    for step in SEQUENCE[:3]:
        result = host.harden(**step, **through)
        assert (result["rc"], result["changed"]) == (0, True), result
    assert path.read_bytes() != before["files"].get(str(path))
    assert host.revert()["rc"] == 0
    assert as_found(host) == before


@ONE
@pytest.mark.parametrize(
    "again", [None, {"policy": profile("analytics")}, {"policy": profile("analytics"), "layers": ["os"]}]
)
def test_what_others_edited_since_stays(host: Host, again: dict[str, t.Any] | None) -> None:
    conf, sysctls = host.cluster.config_file, host.sysctl_d / SYSCTL_FILE
    sysctls.write_text("# of the house\nnet.ipv4.tcp_keepalive_intvl = 70\n")
    conf.write_bytes(conf.read_bytes() + b"tcp_keepalives_interval = 44\n")
    host.cluster.reload()
    before = host.settings()
    through = {"apply_through": "config_file", "config_file": str(conf)}
    host.harden(**through)
    conf.write_bytes(conf.read_bytes() + b"# by the DBA\nwork_mem = '7MB'\n")
    sysctls.write_text(sysctls.read_text() + "net.ipv4.tcp_syn_retries = 5\n")
    if again:  # must not take the edits for its own
        assert host.harden(**again, **through)["changed"]
    assert host.revert()["rc"] == 0
    assert b"# by the DBA\nwork_mem = '7MB'\n" in conf.read_bytes()
    assert host.settings() == {**before, "work_mem": "7168"}
    assert sysctls.read_text().splitlines() == [
        "# of the house",
        "net.ipv4.tcp_keepalive_intvl = 70",
        "net.ipv4.tcp_syn_retries = 5",
    ]


@ONE
def test_another_sysctl_file_later_does_not_hide_what_was_in_force_first(host: Host) -> None:
    before = as_found(host)
    host.harden()
    host.harden(profile("analytics"), sysctl_file="/etc/sysctl.d/95-other.conf")
    assert host.revert()["rc"] == 0
    assert as_found(host) == before


@ONE
def test_a_dropped_role_is_skipped_and_said(host: Host) -> None:
    before = as_found(host)
    host.harden(SLOW)
    host.cluster.query("DROP ROLE gone")
    result = host.revert()
    assert (result["rc"], result["skipped_entries"]) == (0, ["the role gone does not exist any more"])
    assert as_found(host) == before


@ONE
@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b'{"format": 99, "layers": []}',
        b'{"format": 1}',
        b'{"format": 1, "layers": [7]}',
        b'{"format": 1, "layers": [{"layer": "moon"}]}',
        b'{"format": 1, "layers": [{"layer": "os"}]}',
        b'{"format": 1, "layers": [{"layer": "server"}]}',
    ],
)
def test_a_damaged_revert_file_is_one_clear_error(host: Host, damage: bytes) -> None:
    host.revert_file.write_bytes(damage)
    before = host.state()
    for result in (host.revert(), host.revert(check=True), host.harden(), host.harden(check=True)):
        assert (result["rc"], result["failure"]["code"]) == (1, "bad_revert_file")
        assert str(host.revert_file) in result["msg"]
        assert "\n" not in result["msg"]
    assert host.state() == before
    assert host.revert_file.read_bytes() == damage


@ONE
def test_half_way_back_is_no_way(host: Host) -> None:
    host.harden(SLOW)
    hardened = as_found(host)
    # The first entry goes back before the server refuses one of a later one.
    record = json.loads(host.revert_file.read_text())
    record["layers"][-1]["values"]["tcp_user_timeout"] = "of the wrong kind"
    host.revert_file.write_text(json.dumps(record))
    result = host.revert()
    assert (result["rc"], result["failure"]["code"]) == (1, "server_refused")
    assert as_found(host) == hardened
    assert host.revert_file.exists()


@ONE
def test_nothing_to_go_by_needs_no_server(host: Host) -> None:
    result = host.revert(login_port=1)
    assert (result["rc"], result["changed"], result["diff"]) == (0, False, [])


def test_files_go_back_while_the_server_is_down(new_cluster: NewCluster, tmp_path: Path) -> None:
    host = Host(new_cluster(16), tmp_path)
    before = host.files()
    host.harden(apply_through="config_file", config_file=str(host.cluster.config_file))
    host.cluster.stop()
    result = host.revert()
    assert (result["rc"], result["changed"]) == (0, True), result
    assert host.files() == before
    host.cluster.start_again()
    assert host.settings()["tcp_user_timeout"] == "0"
