# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden that fails or is killed half-way: every layer is as it was, or the revert file leads back to that."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from _hardening import IS_ROOT, SYSCTLS, Host, NewCluster, answers, finish, profile, wait_for
from support import Cluster

pytestmark = pytest.mark.parametrize("major", [15])
TIME = SYSCTLS[0]
SLOW = profile("web", slow_reader_grace="10min", slow_reader_roles=["slow"])


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Host:
    cluster.query("CREATE ROLE slow LOGIN")
    return Host(cluster, tmp_path)


def test_the_server_refuses_the_last_value(host: Host) -> None:
    before = host.state()
    # Only ALTER SYSTEM itself checks this one; all of the plan is written by then.
    result = host.harden(overrides={"log_timezone": "Nowhere/None"})
    assert (result["rc"], result["failure"]["put_back"]) == (1, True)
    assert "log_timezone" in result["msg"]
    assert host.state() == before


@pytest.mark.parametrize("way", ["tcp", "os_user"])
def test_a_reload_that_takes_too_long(host: Host, way: str) -> None:
    before = host.state()
    # Short for the test, and so long that the watcher sees the run wait on a busy machine, too.
    with host.halfway(reload_timeout=3, way=way, policy=SLOW) as process:
        result = finish(process)
        # Files and kernel are back although the server cannot be asked.
        assert host.files() == before["files"]
        assert host.kernel() == before["kernel"]
    assert (result["failed"], result["failure"]["code"]) == (True, "reload_timeout")
    wait_for(lambda: host.settings() == before["settings"])
    assert host.state()["roles"] == []
    host.revert()
    assert host.state() == before


def test_a_value_that_something_else_sets_back(host: Host) -> None:
    before = host.state()
    with host.halfway() as process:
        assert host.kernel()[TIME] != "7200"
        host.cluster.set_sysctl(TIME, 7200)
        os.kill(host.cluster.postmaster_pid, signal.SIGCONT)
        result = finish(process)
    assert (result["failure"]["code"], result["failure"]["put_back"]) == ("not_in_force", True)
    assert host.state() == before


def test_somebody_breaks_the_configuration_meanwhile(host: Host) -> None:
    before = host.state()
    conf = host.cluster.config_file
    with host.halfway(reload_timeout=5) as process:
        conf.write_bytes(conf.read_bytes() + b"no_such_parameter = 1\n")
        os.kill(host.cluster.postmaster_pid, signal.SIGCONT)
        result = finish(process)
    assert result["failed"]
    assert host.kernel() == before["kernel"]
    # The edit is not ours to undo.
    assert host.files() == {**before["files"], str(conf): conf.read_bytes()}
    assert conf.read_bytes().endswith(b"no_such_parameter = 1\n")


def test_the_session_is_lost(host: Host) -> None:
    before = host.state()
    with host.cluster.session(tcp=False) as watcher, host.halfway() as process:
        assert host.kernel() != before["kernel"]
        watcher.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pgharden%'"
        )
        result = finish(process)
        assert host.kernel() == before["kernel"]
    assert (result["failed"], "exception" in result) == (True, False)
    assert result["failure"]["put_back"] is False
    assert "\n" not in result["msg"]
    # What only the server could put back, the revert file still knows.
    assert host.revert()["rc"] == 0
    assert host.state() == before


@pytest.mark.parametrize("way", ["tcp", "os_user"])
def test_a_terminated_run_puts_everything_back(host: Host, way: str) -> None:
    before = host.state()
    with host.cluster.session() as session, host.halfway(way=way, policy=SLOW) as process:
        process.send_signal(signal.SIGTERM)
        os.kill(host.cluster.postmaster_pid, signal.SIGCONT)
        result = finish(process)
        assert answers(session)
    assert result["failure"]["code"] == "interrupted"
    assert host.state() == before


@pytest.mark.parametrize("through", ["alter_system", "config_file"])
def test_after_a_kill_the_revert_file_leads_back(host: Host, through: str) -> None:
    before = host.state()
    options = {"apply_through": through, "config_file": str(host.cluster.config_file)}
    with host.halfway(policy=SLOW, **options) as process:
        process.kill()
        process.wait()
        assert host.files() != before["files"]
    assert host.revert()["rc"] == 0
    assert host.state() == before


def test_after_a_kill_the_next_run_finishes_the_work(host: Host) -> None:
    before = host.state()
    with host.halfway(policy=SLOW) as process:
        process.kill()
        process.wait()
    # The server has taken what was written, but the role's part is missing.
    result = host.harden(SLOW)
    assert (result["rc"], result["changed"]) == (0, True)
    assert not host.wrong(result["plan"]["server"])
    assert host.settings(user="slow")["tcp_user_timeout"] == "601000"
    host.revert()
    assert host.state() == before


@pytest.mark.skipif(not IS_ROOT, reason="mounts need root")
def test_a_read_only_proc_sys_leaves_the_server_part(new_cluster: NewCluster, major: int, tmp_path: Path) -> None:
    host = Host(new_cluster(major), tmp_path)
    host.cluster.run(["sh", "-ec", "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys"], check=True)
    kernel = host.kernel()
    foreseen = host.harden(check=True)
    result = host.harden()
    assert foreseen == result
    assert (result["rc"], result["changed"], host.kernel()) == (0, True, kernel)
    assert not host.wrong(result["plan"]["server"])
    assert {(row["layer"], row["setting"]) for row in result["unsupported"]} == {("os", key) for key in SYSCTLS}
    assert all("read-only" in row["reason"] for row in result["unsupported"])
    assert not list(host.sysctl_d.iterdir())
    assert result["not_kept"] == []
    assert not host.harden()["changed"]


@pytest.mark.skipif(not IS_ROOT, reason="other users need root")
def test_without_the_right_nothing_changes(host: Host) -> None:
    host.cluster.query("CREATE ROLE plain LOGIN")
    before = host.state()
    result = host.harden(login_user="plain", scope="server")
    assert (result["rc"], result["failure"]["code"]) == (1, "not_allowed")
    assert "plain" in result["msg"]
    assert host.state() == before


def test_a_login_that_was_granted_the_parameters(host: Host) -> None:
    host.cluster.query("CREATE ROLE plain LOGIN")
    names = host.harden(check=True)["plan"]["server"]
    host.cluster.query(f"GRANT ALTER SYSTEM ON PARAMETER {', '.join(names)} TO plain")
    host.cluster.query("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO plain")
    result = host.harden(login_user="plain")
    assert (result["rc"], result["changed"]) == (0, True)
    assert not host.wrong(names)
    assert not host.harden(login_user="plain")["changed"]
    assert not host.harden()["changed"]


@pytest.mark.skipif(not IS_ROOT, reason="other users need root")
def test_another_os_user_than_root_does_the_servers_part(new_cluster: NewCluster, major: int, tmp_path: Path) -> None:
    host = Host(new_cluster(major), tmp_path)
    host.revert_file = host.cluster.directory / "of nobody" / "revert.json"
    host.revert_file.parent.mkdir()
    host.revert_file.parent.chmod(0o777)
    kernel = host.kernel()
    result = host.harden(as_user="nobody")
    assert result["rc"] == 0, result
    assert (result["changed"], host.kernel()) == (True, kernel)
    assert {row["layer"] for row in result["unsupported"]} == {"os"}
    assert all("become" in row["reason"] for row in result["unsupported"])
    assert not host.harden(as_user="nobody")["changed"]
