# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden on real servers of each major: the server, the kernel and the files are asked, not only the module."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from _hardening import SYSCTL_FILE, Host, answers, finish, milliseconds, profile
from support import Cluster

from ansible_collections.pgharden.connection.plugins.module_utils import _plan, _policy
from ansible_collections.pgharden.connection.plugins.plugin_utils import _profiles

ONE = pytest.mark.parametrize("major", [17])


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Host:
    return Host(cluster, tmp_path)


def test_everything_that_is_planned_is_in_force(host: Host) -> None:
    result = host.harden()
    planned = result["plan"]
    assert (result["rc"], result["changed"]) == (0, True)
    assert not host.wrong(planned["server"])
    lines = dict(
        host.cluster.query(
            "SELECT name, setting FROM pg_file_settings WHERE applied AND sourcefile LIKE '%%postgresql.auto.conf'"
        )
    )
    assert {name: milliseconds(value) for name, value in lines.items()} == {
        name: milliseconds(value) for name, value in planned["server"].items()
    }
    assert host.kernel() == {key: str(value) for key, value in planned["os"].items()}
    written = (host.sysctl_d / SYSCTL_FILE).read_text().splitlines()
    assert set(written) >= {f"{key} = {value}" for key, value in planned["os"].items()}
    with host.cluster.session() as session:
        idle = milliseconds(planned["server"]["tcp_keepalives_idle"]) / 1000
        # The kernel rounds a timer up to its ticks, by 1/8 at most.
        assert 0 < host.keepalive_seconds(session) <= idle * 1.125 + 1
    assert result["promises"]["before"] != result["promises"]["after"]
    assert host.revert_file.stat().st_mode & 0o777 == 0o600


def test_a_second_run_changes_nothing_however_it_logs_in(host: Host) -> None:
    policy = profile("web", slow_reader_grace="5min", slow_reader_roles=["slow"])
    host.cluster.query("CREATE ROLE slow LOGIN")
    first = host.harden(policy)
    assert first["changed"]
    before = host.state()
    for way in ("tcp", "unix", "os_user"):
        again = host.harden(policy, way=way)
        assert (again["changed"], again["diff"], again["changes"]) == (False, [], {}), way
        assert again["promises"]["after"] == again["promises"]["before"] == first["promises"]["after"]
    assert host.state() == before


def test_a_check_changes_nothing_and_foresees_everything(host: Host) -> None:
    policy = profile("analytics", slow_reader_grace="30min", slow_reader_roles=["slow"], close_transaction_after="8h")
    host.cluster.query("CREATE ROLE slow")
    before = host.state()
    foreseen = host.harden(policy, check=True, overrides={"tcp_keepalives_count": 4, "log_disconnections": True})
    assert host.state() == before
    done = host.harden(policy, overrides={"tcp_keepalives_count": 4, "log_disconnections": True})
    assert foreseen == done
    assert done["changed"]
    assert host.state() != before
    assert host.harden(policy, check=True, overrides={"tcp_keepalives_count": 4})["diff"] == []


def test_what_a_major_lacks_is_listed_with_the_key_that_is_not_kept(host: Host) -> None:
    policy = profile("web", close_idle_session_after="1h", close_transaction_after="2h")
    result = host.harden(policy)
    lacking = {name for name, since in _plan.SINCE.items() if host.cluster.major < since}
    assert {row["setting"] for row in result["unsupported"]} == lacking
    keys = {
        "client_connection_check_interval": "stop_orphaned_query_within",
        "idle_session_timeout": "close_idle_session_after",
        "transaction_timeout": "close_transaction_after",
    }
    assert {row["key"] for row in result["unsupported"]} == {keys[name] for name in lacking}
    assert {row["key"] for row in result["not_kept"]} == {keys[name] for name in lacking}
    assert not host.wrong(result["plan"]["server"])


@ONE
@pytest.mark.parametrize("name", _profiles.names())
def test_every_profile_is_kept(host: Host, name: str) -> None:
    result = host.harden(profile(name))
    assert (result["rc"], result["not_kept"], result["unsupported"]) == (0, [], [])
    assert not host.wrong(result["plan"]["server"])
    assert host.kernel() == {key: str(value) for key, value in result["plan"]["os"].items()}
    bounds = {(row["phase"], row["fault"]): row["bound"] for row in result["promises"]["after"]}
    policy = _policy.parse(profile(name))
    for phase in ("idle", "idle_unacknowledged", "sending", "idle_in_transaction"):
        assert bounds[phase, "peer_vanished"] * 1000 <= (policy.detect_dead_peer_within or 0)
    assert bounds["executing", "peer_vanished"] * 1000 <= policy.orphan_limit


@ONE
def test_overrides_win_and_what_they_break_is_said(host: Host) -> None:
    overrides = {"TCP_user_timeout": "10min", "client_connection_check_interval": None, "work_mem": "8MB"}
    result = host.harden(overrides=overrides)
    values = host.settings()
    assert (values["tcp_user_timeout"], values["client_connection_check_interval"]) == ("600000", "0")
    assert values["work_mem"] == "8192"
    assert {row["key"] for row in result["not_kept"]} == {"detect_dead_peer_within", "stop_orphaned_query_within"}
    after = {(row["phase"], row["fault"]): row["seconds"] for row in result["promises"]["after"]}
    assert after["sending", "peer_vanished"] == 600.2
    assert after["executing", "peer_vanished"] is None
    assert not host.harden(overrides=overrides)["changed"]


@ONE
def test_slow_readers_get_a_longer_user_timeout_and_nobody_else(host: Host) -> None:
    for role in ("slow", "Röle \"x'"):
        host.cluster.query(f"""CREATE ROLE "{role.replace('"', '""')}" LOGIN""")
    policy = profile("web", slow_reader_grace="10min", slow_reader_roles=["slow", "Röle \"x'"])
    result = host.harden(policy)
    assert result["rc"] == 0, result
    for role in policy["slow_reader_roles"]:
        # Over TCP this is what the kernel has on the socket of that role's session.
        assert host.settings(user=role)["tcp_user_timeout"] == "601000"
        rows = {(row["phase"], row["fault"]): row for row in result["promises"]["roles"][role]}
        assert rows["sending", "peer_vanished"]["seconds"] == 601.2
    assert host.settings()["tcp_user_timeout"] == str(milliseconds(result["plan"]["server"]["tcp_user_timeout"]))
    assert result["shadowed"] == {}
    assert any("slow" in note for note in result["notes"])


@ONE
@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"policy": profile("web", slow_reader_grace="5min", slow_reader_roles=["nobody_here"])}, "no_such_role"),
        ({"overrides": {"no_such_parameter": 1}}, "unknown_parameter"),
        ({"overrides": {"tcp_keepalives_idle": "10 parsecs"}}, None),
        ({"overrides": {"tcp_keepalives_idle": 40000}}, None),
        ({"overrides": {"log_min_messages": "loud"}}, None),
        ({"login_db": "no_such_database"}, "login_failed"),
        ({"login_port": 1}, "login_failed"),
    ],
)
def test_what_cannot_be_done_changes_no_layer(host: Host, wanted: dict[str, t.Any], code: str, check: bool) -> None:
    before = host.state()
    result = host.harden(check=check, **wanted)
    assert result["rc"] == 1
    assert code in (None, result["failure"]["code"])
    assert "\n" not in result["msg"]
    assert host.state() == before


@ONE
@pytest.mark.parametrize(
    ("policy", "code", "words"),
    [
        ({"detect_dead_peer": "5s"}, None, "detect_dead_peer"),
        ({"connect_within": "soon"}, "bad_duration", "soon"),
        ({"survive_lost_probes": "many"}, "bad_policy_value", "many"),
        ({"detect_dead_peer_within": "10s", "tolerate_outage_of": "1min"}, "policy_conflict", "tolerate_outage_of"),
    ],
)
@pytest.mark.parametrize("layers", [["os", "server"], ["os"]])
def test_a_bad_policy_is_found_before_the_host_is_asked(
    host: Host, policy: dict[str, t.Any], code: str | None, words: str, layers: list[str]
) -> None:
    before = host.state()
    # Nobody listens there: whoever tried to log in would report that instead.
    result = host.harden(policy, login_port=1, layers=layers)
    assert (result["rc"], result.get("failure", {}).get("code")) == (1, code)
    assert words in result["msg"]
    assert "\n" not in result["msg"]
    assert host.state() == before


@ONE
@pytest.mark.parametrize("layer", ["os", "server"])
def test_one_layer_alone_leaves_the_other(host: Host, layer: str) -> None:
    kernel, files, settings = host.kernel(), host.files(), host.settings()
    # The kernel's settings need no login.
    result = host.harden(layers=[layer], **({"login_port": 1} if layer == "os" else {}))
    assert (result["rc"], result["changed"], result["server_down"]) == (0, True, False)
    if layer == "os":
        assert host.kernel() == {key: str(value) for key, value in result["plan"]["os"].items()}
        same = {path: content for path, content in host.files().items() if SYSCTL_FILE not in path}
        assert same == files
        assert result["plan"]["server"] == {}
        assert host.settings()["tcp_user_timeout"] == settings["tcp_user_timeout"]
    else:
        assert (host.kernel(), result["plan"]["os"]) == (kernel, {})
        assert not (host.sysctl_d / SYSCTL_FILE).exists()
        assert not host.wrong(result["plan"]["server"])
    assert not host.harden(layers=[layer])["changed"]
    assert host.revert()["changed"]
    assert (host.kernel(), host.files()) == (kernel, files)


@ONE
def test_open_sessions_live_on_and_are_stale_until_their_client_speaks(host: Host) -> None:
    with host.cluster.session() as one, host.cluster.session() as other:
        result = host.harden()
        assert {row["pid"] for row in result["stale_sessions"]} == {one.pid, other.pid}
        assert result["terminated"] == []
        assert answers(one)
        again = host.harden()
        assert {row["pid"] for row in again["stale_sessions"]} == {other.pid}
        assert again["changed"] is False
        # The kernel's own timer agrees: two hours at the one, seconds at the other.
        assert host.keepalive_seconds(other) > 3600 > host.keepalive_seconds(one)
        assert answers(other)
        assert host.harden()["stale_sessions"] == []
        assert answers(one)


@ONE
def test_stale_sessions_are_ended_only_on_request(host: Host) -> None:
    with host.cluster.session() as session:
        result = host.harden(terminate_stale_sessions=True)
        assert result["terminated"] == [session.pid]
        assert not answers(session)


@ONE
def test_runs_at_once_end_as_one(host: Host) -> None:
    processes = [host.start() for _turn in range(4)]
    results = [finish(process) for process in processes]
    assert [result.get("msg") for result in results] == [None] * 4
    assert [result["changed"] for result in results].count(True) >= 1
    assert not host.wrong(results[0]["plan"]["server"])
    assert host.kernel() == {key: str(value) for key, value in results[0]["plan"]["os"].items()}
    before = Host(host.cluster, host.revert_file.parent)
    assert before.revert()["changed"]
    assert host.settings()["tcp_user_timeout"] == "0"
    assert host.kernel() == {
        "net.ipv4.tcp_keepalive_time": "7200",
        "net.ipv4.tcp_keepalive_intvl": "75",
        "net.ipv4.tcp_keepalive_probes": "9",
    }


@ONE
def test_what_outranks_the_plan_is_said_and_not_promised(host: Host) -> None:
    host.cluster.query("CREATE ROLE fast")
    host.cluster.query("ALTER ROLE fast SET tcp_user_timeout = '9s'")
    foreseen = host.harden(check=True)
    result = host.harden()
    assert foreseen["shadowed"] == result["shadowed"]
    (row,) = result["shadowed"]["tcp_user_timeout"]
    assert (row["role"], row["value"]) == ("fast", "9s")
    assert not host.harden()["changed"]
