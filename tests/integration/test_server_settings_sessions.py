# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_settings and open sessions: none is ended, stale ones are told, and ss is the witness."""

from __future__ import annotations

import typing as t

import pytest
from _settings import Result, apply, one_major, over_socket, over_tcp, wait_until
from support import Cluster, Session

IDLE, USER_TIMEOUT = "tcp_keepalives_idle", "tcp_user_timeout"


def stale(result: Result) -> set[int]:
    return {one["pid"] for one in result["stale_sessions"]}


def timer(cluster: Cluster, session: Session) -> float:
    """Seconds left on the keepalive timer of the server's socket."""
    found: list[float] = []

    def armed() -> bool:  # until the last answer is acknowledged, another timer runs
        for one in cluster.sockets():
            if one.local_port == cluster.port and one.peer_port == session.local_port and one.timer == "keepalive":
                found.append(one.seconds or 0)
        return bool(found)

    wait_until(armed)
    return found[0]


def backend(session: Session) -> int:
    """Raises an error where the session has ended."""
    return int(session.execute("SELECT pg_backend_pid()")[0][0])


def test_a_session_is_stale_until_its_next_statement(cluster: Cluster) -> None:
    idle, talking, local = cluster.session(), cluster.session(), cluster.session(tcp=False)
    wanted = {IDLE: 60, USER_TIMEOUT: "75s"}
    assert stale(apply(cluster, wanted, check=True)) == set()
    result = apply(cluster, wanted)
    assert stale(result) == {idle.pid, talking.pid}
    (told,) = [one for one in result["stale_sessions"] if one["pid"] == idle.pid]
    assert told["client_port"] == idle.local_port
    assert "timer" in told["evidence"]
    backend(talking)
    assert timer(cluster, idle) > 7000
    assert timer(cluster, talking) <= 60
    for access in (over_tcp(cluster), over_socket(cluster)):
        again = apply(cluster, wanted, **access)
        assert not again["changed"]
        assert stale(again) == {idle.pid}
    assert backend(idle) == idle.pid
    assert timer(cluster, idle) <= 60
    assert stale(apply(cluster, wanted)) == set()
    assert [backend(one) for one in (idle, talking, local)] == [idle.pid, talking.pid, local.pid]


@one_major
def test_those_and_no_others_are_ended_when_asked(cluster: Cluster) -> None:
    idle, talking, local = cluster.session(), cluster.session(), cluster.session(tcp=False)
    wanted = {IDLE: 60}
    apply(cluster, wanted)
    backend(talking)
    fresh = cluster.session()
    foreseen = apply(cluster, wanted, check=True, terminate_stale_sessions=True)
    assert (stale(foreseen), foreseen["terminated"], foreseen["changed"]) == ({idle.pid}, [], True)
    result = apply(cluster, wanted, terminate_stale_sessions=True)
    assert (result["terminated"], result["changed"]) == ([idle.pid], True)
    wait_until(lambda: not cluster.query("SELECT pid FROM pg_stat_activity WHERE pid = %s", (idle.pid,)))
    assert [backend(one) for one in (talking, local, fresh)] == [talking.pid, local.pid, fresh.pid]
    again = apply(cluster, wanted, terminate_stale_sessions=True)
    assert (again["terminated"], again["changed"], stale(again)) == ([], False, set())


@one_major
def test_a_statement_that_ran_through_the_reload_leaves_its_session_stale(cluster: Cluster) -> None:
    """Its end is no message from the client: the session still has the old options."""
    busy = cluster.session()
    busy.execute("SELECT pg_advisory_lock(1)")
    waiting = cluster.session()
    waiting.send("SELECT pg_advisory_lock(1)")
    wait_until(lambda: cluster.query("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
    apply(cluster, {IDLE: 60})
    busy.execute("SELECT pg_advisory_unlock(1)")
    waiting.receive()
    assert timer(cluster, waiting) > 7000
    assert stale(apply(cluster, {IDLE: 60})) == {waiting.pid}


@one_major
def test_a_change_that_no_timer_shows(cluster: Cluster) -> None:
    """Of the user timeout the kernel tells nothing: then silence since the reload counts, in that run."""
    with cluster.session() as idle:
        assert stale(apply(cluster, {USER_TIMEOUT: "75s"})) == {idle.pid}
        assert stale(apply(cluster, {"idle_in_transaction_session_timeout": "1h"})) == set()


@one_major
def test_sessions_with_overrides_of_their_own_are_not_stale(cluster: Cluster) -> None:
    for statement in (
        "CREATE ROLE slow LOGIN",
        "CREATE ROLE odd LOGIN",
        f"ALTER ROLE slow SET {IDLE} = '10min'",
        f"ALTER ROLE odd SET {IDLE} = '10min'",
        f"ALTER ROLE odd IN DATABASE postgres SET {IDLE} = '20min'",
    ):
        cluster.query(statement)
    sessions = [cluster.session(user=user) for user in ("slow", "odd", "postgres")]
    assert [timer(cluster, one) // 600 for one in sessions] == [0, 1, 11]
    assert stale(apply(cluster, {IDLE: 60})) == {sessions[2].pid}
    assert stale(apply(cluster, {IDLE: 60})) == {sessions[2].pid}
    result = apply(cluster, {IDLE: 60}, terminate_stale_sessions=True)
    assert result["terminated"] == [sessions[2].pid]
    assert [backend(one) for one in sessions[:2]] == [one.pid for one in sessions[:2]]


@one_major
@pytest.mark.parametrize("place", [{"role": "slow"}, {"role": "slow", "database": "postgres"}])
def test_a_role_s_settings_concern_its_sessions_only(cluster: Cluster, place: dict[str, t.Any]) -> None:
    cluster.query("CREATE ROLE slow LOGIN")
    mine, other = cluster.session(user="slow"), cluster.session()
    elsewhere = cluster.session(user="slow", dbname="template1")
    concerned = {mine.pid} if "database" in place else {mine.pid, elsewhere.pid}
    assert stale(apply(cluster, {IDLE: 60}, **place)) == concerned
    # A statement does not help: such settings are for sessions that begin.
    backend(mine)
    assert timer(cluster, mine) > 7000
    assert stale(apply(cluster, {IDLE: 60}, **place)) == concerned
    result = apply(cluster, {IDLE: 60}, terminate_stale_sessions=True, **place)
    assert set(result["terminated"]) == concerned
    assert backend(other) == other.pid


@one_major
def test_the_kernel_s_own_default_is_what_no_setting_means(cluster: Cluster) -> None:
    cluster.set_sysctl("net.ipv4.tcp_keepalive_time", 20000)
    with cluster.session() as session:
        assert timer(cluster, session) > 19000
        apply(cluster, {"work_mem": "5MB"})
        assert stale(apply(cluster, {"work_mem": "5MB"})) == set()


@one_major
def test_a_run_says_goodbye(cluster: Cluster) -> None:
    """The server counts sessions that end without: an audit takes those for lost clients."""
    abandoned = "SELECT sum(sessions_abandoned) FROM pg_stat_database"
    cluster.query("ALTER SYSTEM SET log_min_messages = debug1")
    cluster.reload()
    before = cluster.query(abandoned)
    for access in (over_tcp(cluster), over_socket(cluster)):
        apply(cluster, {IDLE: 60}, **access)
    wait_until(lambda: not cluster.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pgharden%'"))
    assert "unexpected EOF" not in cluster.log().split("log_min_messages")[-1]
    assert cluster.query(abandoned) == before
