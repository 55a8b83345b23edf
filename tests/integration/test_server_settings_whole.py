# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_settings, all or nothing: whatever fails or ends a run, and however many run at once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import typing as t

import pytest
from _settings import (
    LOCK_KEY,
    Running,
    alive,
    apply,
    as_root,
    in_force,
    one_major,
    over_tcp,
    refuse,
    run,
    state,
    wait_until,
)
from support import Cluster, Session, places

IDLE, INTERVAL, COUNT = "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"
NAMES = (IDLE, INTERVAL, COUNT, "authentication_timeout")
ONE = dict(zip(NAMES, (61, 11, 6, 51), strict=True))
OTHER = dict(zip(NAMES, (62, 12, 7, 52), strict=True))

through_child = pytest.mark.parametrize(
    "access", [pytest.param({}, marks=as_root, id="child"), pytest.param({"login_host": "127.0.0.1"}, id="direct")]
)


def test_the_second_statement_is_refused(cluster: Cluster) -> None:
    cluster.query(f"ALTER SYSTEM SET {INTERVAL} = 9")
    cluster.reload()
    before = state(cluster)
    # Only ALTER SYSTEM itself can tell that this value is bad.
    result = run(cluster, {IDLE: 60, INTERVAL: None, "log_destination": "nowhere"})
    assert result["failure"]["code"] == "server_refused"
    assert result["failure"]["put_back"]
    assert "log_destination" in result["msg"]
    assert state(cluster) == before


@one_major
def test_the_server_has_not_what_was_asked_for(cluster: Cluster) -> None:
    cluster.query("ALTER SYSTEM SET tcp_keepalives_interval = 9")
    cluster.reload()
    before = state(cluster)
    # A list in one text is one odd schema to ALTER SYSTEM.
    result = run(cluster, {IDLE: 60, INTERVAL: 10, "search_path": "public, pg_catalog"})
    assert result["failure"]["code"] == "not_in_force"
    assert result["failure"]["put_back"]
    assert state(cluster) == before


@one_major
@pytest.mark.parametrize("place", [{"role": "postgres"}, {"database": "postgres"}])
def test_a_role_has_all_or_nothing(cluster: Cluster, place: dict[str, t.Any]) -> None:
    apply(cluster, {INTERVAL: 9}, **place)
    # Only the server can tell that this value is bad, and it is the last one.
    message = refuse(cluster, {IDLE: 60, INTERVAL: None, "datestyle": "roman"}, "server_refused", **place)
    assert "DateStyle" in message


@one_major
def test_a_setting_that_would_end_the_run_itself(cluster: Cluster) -> None:
    before = state(cluster)
    result = run(cluster, {"statement_timeout": "1ms"}, **over_tcp(cluster))
    if result.get("failed"):  # a fast machine may well do it all in a millisecond each
        assert result["failure"]["put_back"]
        assert state(cluster) == before


def hold(cluster: Cluster, dbname: str = "postgres") -> Session:
    """A session that has the lock of a run."""
    session = cluster.session(tcp=False, dbname=dbname)
    session.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
    return session


def waits(cluster: Cluster) -> list[tuple[t.Any, ...]]:
    """The server's process of a run that has logged in and asks for the lock."""
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'pgharden.connection' AND query ~ %s"
    return cluster.query(sql, ("advisory_(un)?lock|pg_locks",))


@one_major
def test_a_run_in_another_database_is_waited_for(cluster: Cluster) -> None:
    before = state(cluster)
    session = hold(cluster, "template1")
    running = Running(cluster, ONE)
    wait_until(lambda: waits(cluster))
    assert state(cluster) == before
    session.close()
    assert running.result()["changed"]
    assert in_force(cluster, *NAMES) == list(map(str, ONE.values()))


@one_major
@through_child
def test_terminated_between_the_change_and_the_reload(cluster: Cluster, access: dict[str, t.Any]) -> None:
    """The server is slow to reload, and somebody loses patience: with the module, or with all of its processes."""
    cluster.query(f"ALTER SYSTEM SET {INTERVAL} = 9")
    cluster.reload()
    before = state(cluster)
    session = hold(cluster)
    running = Running(cluster, ONE, reload_timeout=60, **access)
    wait_until(lambda: waits(cluster))
    ((backend,),) = waits(cluster)
    os.kill(cluster.postmaster_pid, signal.SIGSTOP)
    session.close()
    try:
        wait_until(lambda: b"authentication_timeout = '51'" in cluster.auto_conf.read_bytes())
        os.kill(backend, signal.SIGSTOP)
        time.sleep(0.5)  # by now the run waits for the answer to a statement, which must not be taken for another's
        for _turn in range(3):
            # More than once: what puts things back is not to be interrupted.
            os.killpg(running.process.pid, signal.SIGTERM)
        os.kill(backend, signal.SIGCONT)
        wait_until(lambda: b"authentication_timeout" not in cluster.auto_conf.read_bytes())
    finally:
        os.kill(cluster.postmaster_pid, signal.SIGCONT)
    result = running.result()
    assert result["failure"]["code"] == "interrupted"
    assert result["failure"]["put_back"]
    assert state(cluster) == before


@one_major
def test_a_reload_that_never_comes(cluster: Cluster) -> None:
    before = state(cluster)
    session = hold(cluster)
    running = Running(cluster, ONE, reload_timeout=0.5, login_host="127.0.0.1")
    wait_until(lambda: waits(cluster))
    os.kill(cluster.postmaster_pid, signal.SIGSTOP)
    session.close()
    try:
        result = running.result()
    finally:
        os.kill(cluster.postmaster_pid, signal.SIGCONT)
    assert result["failure"]["code"] == "reload_timeout"
    assert result["failure"]["put_back"]
    assert state(cluster) == before


@one_major
@through_child
def test_its_session_is_ended_while_it_waits(cluster: Cluster, access: dict[str, t.Any]) -> None:
    before = state(cluster)
    session = hold(cluster)
    running = Running(cluster, ONE, **access)
    wait_until(lambda: waits(cluster))
    cluster.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pgharden.connection'"
    )
    result = running.result()
    assert result["failure"]["code"] == "server_refused"
    assert state(cluster) == before
    session.close()


@as_root
@one_major
def test_the_child_is_another_os_user_and_goes_with_the_module(cluster: Cluster) -> None:
    session = hold(cluster)
    for hang in (False, True):
        running = Running(cluster, ONE, login_os_user=cluster.os_user)
        wait_until(lambda: waits(cluster))
        (child,) = running.children()
        with open(f"/proc/{child}/status") as status:
            ids = dict(line.split(":", 1) for line in status)
        user = places.server_user()
        assert set(ids["Uid"].split()) == {str(user.pw_uid)}
        assert set(ids["Gid"].split()) == {str(user.pw_gid)}
        assert set(ids["Groups"].split()) == set(map(str, os.getgrouplist(user.pw_name, user.pw_gid)))
        assert not int(ids["CapEff"], 16)
        if hang:  # the server does not answer, and the child waits for it
            cluster.pause()
            time.sleep(0.5)
        running.process.kill()
        running.process.wait()
        wait_until(lambda child=child: not alive(child))
        cluster.resume()
        wait_until(lambda: not waits(cluster))
    session.close()
    running = Running(cluster, ONE, login_os_user=cluster.os_user)
    assert running.result()["changed"]
    with pytest.raises(ProcessLookupError):
        os.killpg(running.process.pid, 0)


@one_major
@pytest.mark.parametrize("through", ["alter_system", "config_file"])
def test_runs_at_once_leave_one_set_whole(cluster: Cluster, through: str) -> None:
    options: dict[str, t.Any] = {"apply_through": through}
    if through == "config_file":
        options["config_file"] = str(cluster.config_file)
    sets = [list(map(str, wanted.values())) for wanted in (ONE, OTHER)]
    for _turn in range(3):
        # Into two databases: the lock has to be the server's.
        runs = [
            Running(cluster, wanted, login_db=database, **options)
            for wanted, database in ((ONE, "postgres"), (OTHER, "template1"), (ONE, "postgres"))
        ]
        results = [one.result() for one in runs]
        assert not [one["msg"] for one in results if one.get("failed")]
        assert in_force(cluster, *NAMES) in sets
        with contextlib.closing(cluster.session()) as session:
            assert session.execute("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL") == [(0,)]
            names = "SELECT count(*), count(DISTINCT name) FROM pg_file_settings WHERE name = ANY(%s)"
            assert session.execute(names, (list(NAMES),)) == [(4, 4)]
