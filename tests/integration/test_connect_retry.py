# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins that fail for a reason that passes are tried again, the others never: the server's log is counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import typing as t

import pytest
from conftest import NewCluster
from support import Cluster
from support.modules import module_argv, module_input

ONE = pytest.mark.parametrize("major", [17])
#: More than any pause between two attempts (2 s), and room for a machine that is loaded.
RETRY = "60s"


def login(cluster: Cluster, **options: t.Any) -> dict[str, t.Any]:
    return {"login_host": cluster.host, "login_port": cluster.port, "require_server": True, **options}


@contextlib.contextmanager
def running(cluster: Cluster, arguments: dict[str, t.Any]) -> t.Iterator[t.Callable[[], dict[str, t.Any]]]:
    """The module connection_info in the background; what it gives waits for its result."""
    module = subprocess.Popen(
        module_argv(cluster, "connection_info"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert module.stdin
    module.stdin.write(module_input(arguments))
    module.stdin.close()
    module.stdin = None

    def result() -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(module.communicate(timeout=100)[0]))

    try:
        yield result
    finally:
        module.kill()
        module.wait()


def wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def run(cluster: Cluster, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
    with running(cluster, arguments) as result:
        return result()


@ONE
def test_a_server_that_comes_up_is_waited_for(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major)
    cluster.stop()
    with running(cluster, login(cluster, connect_retry=RETRY)) as result:
        time.sleep(2)  # several attempts, on any machine at least one
        cluster.start_again()
        found = result()
    assert not found.get("failed"), found
    assert found["server_down"] is False


@ONE
def test_a_server_that_takes_no_connections_yet_is_waited_for(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf="hot_standby = off")
    cluster.stop()
    (cluster.data_dir / "standby.signal").touch()
    cluster.start_again()
    with running(cluster, login(cluster, connect_retry=RETRY)) as result:
        wait_for(lambda: cluster.log().count("FATAL:  the database system is not accepting connections") >= 2)
        (cluster.data_dir / "promote").touch()
        os.kill(cluster.postmaster_pid, signal.SIGUSR1)
        found = result()
    assert not found.get("failed"), found


@ONE
def test_a_full_server_is_waited_for(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf="max_connections = 5\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0")
    sessions = [cluster.session() for _number in range(5)]
    with running(cluster, login(cluster, connect_retry=RETRY)) as result:
        wait_for(lambda: cluster.log().count("too many clients") >= 2)
        for session in sessions:
            session.close()
        found = result()
    assert not found.get("failed"), found


@ONE
def test_a_full_server_is_not_waited_for_longer_than_was_asked(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf="max_connections = 5\nsuperuser_reserved_connections = 0\nmax_wal_senders = 0")
    sessions = [cluster.session() for _number in range(5)]
    assert run(cluster, login(cluster, connect_retry="off"))["failed"]
    assert cluster.log().count("too many clients") == 1
    found = run(cluster, login(cluster, connect_retry="3s"))
    assert found["failed"]
    assert found["failure"]["code"] == "login_failed"
    # 0.1 s, 0.2 s, 0.4 s, 0.8 s, 1.6 s and what is left; each up to half of that shorter, and the attempts' own time
    assert 2 <= cluster.log().count("too many clients") - 1 <= 9
    for session in sessions:
        session.close()


@ONE
@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"login_password": "wrong"}, "password authentication failed"),
        ({"login_db": "nowhere", "login_password": Cluster.password}, 'database "nowhere" does not exist'),
        ({"login_user": "nobody_here", "login_password": "x"}, "password authentication failed"),
    ],
)
def test_what_stays_wrong_is_tried_once(
    new_cluster: NewCluster, major: int, wrong: dict[str, t.Any], text: str
) -> None:
    cluster = new_cluster(major, auth="scram")
    before = cluster.log().count("FATAL")
    found = run(cluster, login(cluster, connect_retry=RETRY, **wrong))
    assert found["failed"]
    assert text in found["msg"]
    assert cluster.log().count("FATAL") - before == 1


@ONE
def test_nobody_waits_for_a_socket_that_is_not_there(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major)
    cluster.stop()
    arguments = {"login_unix_socket": str(cluster.socket_dir), "login_port": cluster.port, "require_server": True}
    started = time.monotonic()
    found = run(cluster, {**arguments, "connect_retry": RETRY})
    assert found["failed"]
    assert time.monotonic() - started < 30  # RETRY is twice that


@ONE
def test_nobody_waits_for_a_server_that_may_be_down(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major)
    cluster.stop()
    started = time.monotonic()
    found = run(cluster, {**login(cluster, connect_retry=RETRY), "require_server": False})
    assert found["server_down"] is True
    assert time.monotonic() - started < 30  # RETRY is twice that


@ONE
def test_a_duration_that_is_none_is_one_clear_error(cluster: Cluster) -> None:
    found = run(cluster, login(cluster, connect_retry="10"))
    assert found["failed"]
    assert found["failure"]["code"] == "bad_duration"
