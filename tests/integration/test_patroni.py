# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module patroni on a real cluster of two members: what its REST API, servers and files say, not the module."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from _hardening import profile
from _patronis import WEB, Runs, auto_conf, config, file_lines, in_force, started
from support import places
from support.patronis import LOOP_WAIT, RETRY_TIMEOUT, TTL, Patroni, Patronis, wait_for

from ansible_collections.pgharden.connection.plugins.module_utils._audit import _rules

PLACE = "patroni: dynamic configuration"
PENDING = "SELECT FROM pg_settings WHERE pending_restart"


@pytest.fixture(scope="module")
def _pair() -> t.Iterator[Patronis]:
    with started(2) as patronis:
        yield patronis


@pytest.fixture
def pair(_pair: Patronis) -> Patronis:
    """A leader and a replica, as they were at first."""
    _pair.reset()
    return _pair


@pytest.fixture
def runs(pair: Patronis, tmp_path: Path) -> Runs:
    return Runs(pair, tmp_path)


def test_harden_verify_revert(pair: Patronis, runs: Runs) -> None:
    """One run changes the configuration, the other finds it in force, and the way back leads to the very bytes."""
    leader, replica = pair.members
    before = config(pair)
    foreseen = runs.harden(leader, check=True)
    assert foreseen["changed"]
    assert config(pair) == before
    assert not runs.revert_file(leader).exists()
    done = runs.harden(leader)
    assert (done["diff"], done["promises"]) == (foreseen["diff"], foreseen["promises"])
    assert done["diff"][0]["before"] == "tcp_keepalives_idle = 240s\n"
    assert done["not_kept"] == []
    assert in_force(leader, WEB) == WEB

    again = runs.harden(replica)
    assert not again["changed"]
    assert in_force(replica, WEB) == WEB
    assert file_lines(replica, "tcp_user_timeout") == [("71s", True)]
    assert [auto_conf(member) for member in pair.members] == ["", ""]
    cluster = again["cluster"]
    assert (cluster["scope"], cluster["leader"], cluster["paused"]) == ("test", "m0", False)
    members = [(row["name"], row["role"], row["port"], row["own"], row["seen"]) for row in cluster["members"]]
    assert members == [("m0", "leader", 5432, False, True), ("m1", "replica", 5433, True, True)]

    # Only what differed was changed, where it was; the rest is what it was, in its order.
    now, then = json.loads(config(pair)), json.loads(before)
    assert [key for key in now["postgresql"]["parameters"] if key not in WEB] == [
        "log_min_duration_statement",
        "work_mem",
    ]
    now["postgresql"]["parameters"] = then["postgresql"]["parameters"]
    assert json.dumps(now) == json.dumps(then)

    after = config(pair)
    assert not runs.harden(leader)["changed"]
    assert config(pair) == after

    assert runs.revert(leader)["changed"]
    assert config(pair) == before
    assert in_force(leader, ["tcp_user_timeout", "tcp_keepalives_idle"]) == {
        "tcp_user_timeout": "0",
        "tcp_keepalives_idle": "240",
    }
    pair.settle()  # on the replica, too
    assert not runs.revert_file(leader).exists()
    # The replica has nothing to put back, and wants nothing any more either.
    assert runs.notes(replica) == ["m1.hardened.json"]
    assert not runs.revert(replica)["changed"]
    assert runs.notes(replica) == []


def test_another_member_first(pair: Patronis, runs: Runs) -> None:
    """Through the replica as well; what it found is what is put back, whichever member changes something later."""
    leader, replica = pair.members
    before = config(pair)
    assert runs.harden(replica)["changed"]
    assert in_force(replica, WEB) == WEB
    assert not runs.harden(leader)["changed"]
    shorter = profile("web", detect_dead_peer_within="60s", stop_orphaned_query_within="60s")
    changes = runs.harden(leader, shorter)["changes"][PLACE]
    assert "tcp_user_timeout" in [row["name"] for row in changes]
    # What the leader found was put there by the replica's run: it has nothing to lead back to.
    assert runs.revert(replica)["changed"]
    assert not runs.revert(leader)["changed"]
    assert config(pair) == before


def test_same_values_in_other_units(pair: Patronis, runs: Runs) -> None:
    """A number in the base unit and another unit are no difference; 30 without a unit is 30 ms, and is one."""
    parameters = {"tcp_keepalives_idle": 35, "TCP_User_Timeout": "71000", "client_connection_check_interval": 5}
    assert pair.leader.request("PATCH", "/config", {"postgresql": {"parameters": parameters}})[0] == 200
    changes = {row["name"]: row["before"] for row in runs.harden(pair.leader, check=True)["changes"][PLACE]}
    assert "tcp_keepalives_idle" not in changes
    assert "tcp_user_timeout" not in changes
    assert changes["client_connection_check_interval"] == "5ms"


def line_of(shadow: dict[str, t.Any]) -> str:
    """What is written where it is said to be."""
    return Path(shadow["sourcefile"]).read_text().splitlines()[shadow["sourceline"] - 1].strip()


def test_what_outranks_it_is_named(pair: Patronis, runs: Runs) -> None:
    """ALTER SYSTEM, the member's own configuration and ALTER ROLE: in check mode and after, with their places."""
    leader = pair.leader
    leader.query("ALTER SYSTEM SET tcp_keepalives_idle = 77")
    leader.query("ALTER ROLE ALL SET tcp_keepalives_count = 3")
    leader.configure(tcp_user_timeout="33s")
    leader.hang_up()
    wait_for(lambda: in_force(leader, ["tcp_user_timeout"]) == {"tcp_user_timeout": "33000"}, leader.log)
    try:
        for check in (True, False):
            result = runs.harden(leader, check=check)
            shadowed = {name: rows[0] for name, rows in result["shadowed"].items()}
            assert sorted(shadowed) == ["tcp_keepalives_count", "tcp_keepalives_idle", "tcp_user_timeout"]
            system = shadowed["tcp_keepalives_idle"]
            assert (system["kind"], system["value"]) == ("alter system", "77")
            assert line_of(system) == "tcp_keepalives_idle = '77'"
            local = shadowed["tcp_user_timeout"]
            assert (local["kind"], local["value"]) == ("local configuration", "33s")
            assert (Path(local["sourcefile"]), line_of(local)) == (leader.config_file, "tcp_user_timeout: 33s")
            assert shadowed["tcp_keepalives_count"]["kind"] == "all roles"
            # 77 s and a probe 6 s later, and what the kernel is late, are more than 90 s
            assert "detect_dead_peer_within" in {row["key"] for row in result["not_kept"]}
        # None of the three is touched, and the promises are those of what is in force.
        names = ["tcp_keepalives_idle", "tcp_user_timeout", "tcp_keepalives_count"]
        assert list(in_force(leader, sorted(names)).values()) == ["3", "77", "33000"]
        # The replica has none of it but what is in the catalogs, and the cluster's values are in force there.
        elsewhere = runs.harden(pair.members[1])
        assert list(elsewhere["shadowed"]) == ["tcp_keepalives_count"]
        assert in_force(pair.members[1], names)["tcp_user_timeout"] == "71000"
    finally:
        leader.query("ALTER ROLE ALL RESET ALL")


def test_a_restart_is_reported_and_not_made(pair: Patronis, runs: Runs) -> None:
    leader, replica = pair.members
    sql = "SELECT pg_postmaster_start_time()"
    started_at = leader.query(sql)
    wish = {"superuser_reserved_connections": 4}
    assert runs.harden(leader, check=True, overrides=wish)["restart_required"] == list(wish)
    done = runs.harden(leader, overrides=wish)
    assert done["restart_required"] == list(wish)
    own = next(row for row in done["cluster"]["members"] if row["own"])
    assert own["pending_restart"]
    wait_for(
        lambda: [row.get("pending_restart") for row in leader.get("/cluster")["members"]] == [True, True], leader.log
    )
    told = runs.harden(leader, overrides=wish)
    assert all("superuser_reserved_connections" in row["pending_restart_reason"] for row in told["cluster"]["members"])
    assert leader.query(sql) == started_at
    assert leader.query("SHOW superuser_reserved_connections") == [("3",)]
    # The server keeps its flag when the line goes, and drops it when the line says what is in force.
    body = {"postgresql": {"parameters": {"superuser_reserved_connections": 3}}}
    assert leader.request("PATCH", "/config", body)[0] == 200
    wait_for(lambda: not leader.query(PENDING) and not replica.query(PENDING), leader.log)


def test_a_paused_cluster(pair: Patronis, runs: Runs) -> None:
    """In maintenance mode Patroni applies the configuration all the same."""
    assert pair.leader.request("PATCH", "/config", {"pause": True})[0] == 200
    result = runs.harden(pair.leader, profile("web", detect_dead_standby_within="30s"))
    assert result["cluster"]["paused"]
    assert any("maintenance mode" in note for note in result["notes"])
    wanted = {**WEB, "wal_sender_timeout": "26000", "wal_receiver_timeout": "26000"}
    assert in_force(pair.leader, wanted) == wanted
    for member in pair.members:  # both have seen it, and the other one applies it a moment later
        wait_for(lambda member=member: in_force(member, wanted) == wanted, member.log)


def test_a_member_that_cannot_apply_it(pair: Patronis, runs: Runs) -> None:
    """A run that fails half-way puts the configuration back, and leaves no note; the next one works."""
    if not places.is_root():
        pytest.skip("the member's own user could write the file again")
    before = config(pair)
    conf = pair.leader.data_dir / "postgresql.conf"
    user = places.server_user()
    os.chown(conf, 0, 0)
    conf.chmod(0o644)
    try:
        result = runs.harden(pair.leader, settle_timeout="3s")
    finally:
        os.chown(conf, user.pw_uid, user.pw_gid)
        conf.chmod(0o600)
    assert result["failure"]["code"] == "not_in_force"
    assert "everything was put back" in result["msg"]
    assert config(pair) == before
    assert not runs.revert_file(pair.leader).exists()
    pair.settle()
    assert runs.harden(pair.leader)["changed"]
    assert in_force(pair.leader, WEB) == WEB


def test_roles_that_read_slowly(pair: Patronis, runs: Runs) -> None:
    """Their settings are made on the leader, and reach the replica with its catalogs."""
    leader, replica = pair.members
    leader.query("CREATE ROLE reporting LOGIN")
    policy = profile("web", slow_reader_grace="10min", slow_reader_roles=["reporting"])
    sql = "SELECT rolconfig FROM pg_roles WHERE rolname = 'reporting'"
    try:
        wait_for(lambda: replica.query(sql) == [(None,)], replica.log)
        runs.harden(replica, policy)
        assert leader.query(sql) == [(None,)]
        assert runs.harden(leader, policy)["changed"]
        assert leader.query(sql) == [(["tcp_user_timeout=601s"],)]
        wait_for(lambda: replica.query(sql) == leader.query(sql), replica.log)
        assert not runs.harden(replica, policy)["changed"]
        runs.revert(leader)
        assert leader.query(sql) == [(None,)]
    finally:
        leader.query("DROP ROLE reporting")


def test_the_api_of_another_member(pair: Patronis, runs: Runs) -> None:
    leader, replica = pair.members
    before = config(pair)
    result = runs.harden(leader, api_url=replica.url)
    assert result["failure"]["code"] == "other_member"
    assert config(pair) == before


def test_what_an_audit_finds(pair: Patronis, runs: Runs) -> None:
    """A line of ALTER SYSTEM and one of the member's own configuration, on the member that has them."""
    leader, replica = pair.members
    body = {"postgresql": {"parameters": {"tcp_user_timeout": "50s"}}}
    assert leader.request("PATCH", "/config", body)[0] == 200
    leader.query("ALTER SYSTEM SET tcp_keepalives_idle = 77")
    leader.configure(tcp_user_timeout="33s")
    leader.hang_up()
    wait_for(lambda: in_force(leader, ["tcp_user_timeout"]) == {"tcp_user_timeout": "33000"}, leader.log)

    def found(member: Patroni) -> dict[str, tuple[str, str]]:
        facts = runs.run("connection_info", member)
        assert facts["patroni"]["timing"] == {"ttl": TTL, "loop_wait": LOOP_WAIT, "retry_timeout": RETRY_TIMEOUT}
        return {one.id: (one.where, one.evidence) for one in _rules.findings(facts) if one.id.startswith("PGC8")}

    there = found(leader)
    assert sorted(there) == ["PGC801", "PGC802"]
    where, evidence = there["PGC801"]
    assert where == "tcp_keepalives_idle"
    assert "= 77 (" in evidence
    assert "where the cluster has 240" in evidence
    where, evidence = there["PGC802"]
    assert where == "tcp_user_timeout"
    assert f"= 33s ({leader.config_file}:" in evidence
    assert "where the cluster has 50s" in evidence
    assert found(replica) == {}


def test_a_member_that_does_not_answer(pair: Patronis, runs: Runs) -> None:
    """It is told of and not waited for; its own run would say what is in force there."""
    leader, replica = pair.members
    with replica.frozen():
        result = runs.harden(leader)
    assert [(row["name"], row["seen"]) for row in result["cluster"]["members"]] == [("m0", True), ("m1", None)]
    assert in_force(leader, WEB) == WEB
    assert not runs.harden(replica)["changed"]
    assert in_force(replica, WEB) == WEB
