# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill disturbs nobody and leaves nothing behind, however it ends: asked of the server and of the kernel."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import _drill
import pytest
from _drill import NOTHING, Running, as_root, await_nothing, drill, kept, one_major
from support import Cluster, places

if t.TYPE_CHECKING:
    from conftest import NewCluster

DRILLS = Path(__file__).with_name("_drills_main.py")
#: Seconds that what has ended may take to be seen off by a busy machine.
SLACK = 15.0
METHODS = [pytest.param("socket", id="socket"), pytest.param("namespace", id="namespace", marks=as_root)]


def test_all_is_well_with_two_drills_at_once(new_cluster: NewCluster) -> None:
    cluster = new_cluster(15, conf=_drill.conf(), hba=_drill.HBA)
    method = "namespace" if places.is_root() else "socket"
    phases = ["idle", "executing", "lock_wait", "sending", "idle_in_transaction"]
    with Running(cluster, phases=phases) as first, Running(cluster, phases=phases, method=method) as second:
        second.await_sessions("query ~ 'pg_sleep'", 4)  # of both together
        for running in (first, second):
            assert len(kept(running.result())) == 14
    await_nothing(cluster)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_an_interrupted_drill_tidies_up(
    new_cluster: NewCluster, number: signal.Signals, method: str, tmp_path: Path
) -> None:
    cluster = new_cluster(15, conf=_drill.conf(client_connection_check_interval="0"), hba=_drill.HBA)
    environment = {"TMPDIR": str(tmp_path)}
    with Running(cluster, method=method, patience="60s", outage="50s", environment=environment) as running:
        # Seven last for most of a minute; those that are noticed sooner may be gone before anybody has counted them.
        running.await_sessions("query ~ 'pg_sleep|COPY|advisory_lock|count'", 6)
        if method == "namespace":
            message = _drill.refused(drill(cluster, method=method), "another_drill")
            assert "another one is under way on this host" in message
        time.sleep(1)  # into the faults
        children = running.children()
        assert len(children) >= 6
        began = time.monotonic()
        # A terminal's goes to the children, too.
        os.killpg(running.process.pid, number) if number == signal.SIGINT else running.process.send_signal(number)
        message = _drill.refused(running.result(), "interrupted")
        assert time.monotonic() - began < SLACK
    assert number.name in message
    assert _drill.left(cluster) == NOTHING
    assert not [pid for pid in children if Path("/proc", str(pid)).exists()]
    assert _drill.processes(cluster) == set()
    assert list(tmp_path.iterdir()) == []
    kept(drill(cluster, phases=["idle"], faults=["process_died"]))


@pytest.mark.parametrize("method", METHODS)
def test_the_next_drill_removes_what_a_killed_one_left(new_cluster: NewCluster, method: str) -> None:
    # Nothing of the server's own ends a busy backend.
    cluster = new_cluster(15, conf=_drill.conf(client_connection_check_interval="0"), hba=_drill.HBA)
    phases = ["idle", "executing", "lock_wait", "sending"]
    with Running(cluster, method=method, phases=phases, faults=["peer_vanished"], patience="60s") as running:
        running.await_sessions("query ~ 'pg_sleep|COPY|advisory_lock'", 3)
        time.sleep(1)  # into the faults
        children = running.children()
        assert len(children) >= 4
        running.process.kill()
    deadline = time.monotonic() + SLACK
    while alive := [pid for pid in children if Path("/proc", str(pid)).exists()]:
        assert time.monotonic() < deadline, alive
    left = _drill.left(cluster)
    assert [query for _pid, _state, query in left["sessions"] if "pg_sleep" in query]  # no goodbye wakes it
    # Somebody else's sessions only have a similar name.
    names = ("pgharden drill", "pgharden drill x", "pgharden drill 0123456", "my pgharden drill 01234567")
    others = [cluster.session(application_name=name) for name in names]
    kept(drill(cluster, method=method, phases=["idle"], faults=["process_died"]))
    for other in others:
        assert other.execute("SELECT 1") == [(1,)]
        other.close()
    await_nothing(cluster)
    assert _drill.processes(cluster) == set()


@one_major
def test_what_a_killed_drill_left_ends_by_itself(cluster: Cluster) -> None:
    phases = ["executing", "executing_cpu", "lock_wait", "idle_in_transaction", "sending"]
    wish = {"phases": phases, "faults": ["peer_vanished"], "patience": 12}
    plan = {"wish": wish, "signal": "KILL", "after": 8}  # by when they are there, on any machine
    # Its sessions may live for the patience and this.
    assert _run_drills(cluster, [[plan]], spare_seconds=3) == [["killed"]]
    left = " ".join(query for _pid, _state, query in _drill.left(cluster)["sessions"])
    for statement in ("pg_sleep", "generate_series(1, 10"):
        assert statement in left  # the default settings of PostgreSQL do not end these for now
    await_nothing(cluster, 12 + 3 + SLACK)


@one_major
def test_a_server_that_goes_down_under_it(cluster: Cluster) -> None:
    with Running(cluster, patience="60s") as running:
        running.await_sessions("query ~ 'pg_sleep|COPY|^SELECT 1'", 6)
        children = running.children()
        cluster.stop("immediate")
        began = time.monotonic()
        result = running.result()
        assert time.monotonic() - began < SLACK
    assert result["failed"] and "cells" not in result
    assert result["failure"]["code"] in ("server_refused", "phase_not_reached", "login_failed"), result["msg"]
    assert re.search("server closed the connection|terminating connection|Connection refused", result["msg"])
    assert not [pid for pid in children if Path("/proc", str(pid)).exists()]
    assert _drill.processes(cluster) == set()
    cluster.start_again()
    await_nothing(cluster)


def test_two_hundred_busy_clients_do_not_notice(new_cluster: NewCluster) -> None:
    cluster = new_cluster(15, conf=_drill.conf(max_connections="250"))
    bench = cluster.source.bindir / "pgbench"
    target = ["-h", cluster.host, "-p", str(cluster.port), "-U", cluster.superuser, "postgres"]
    subprocess.run(cluster._as_server(bench, "-i", "-q", *target), check=True, capture_output=True)
    # At a pace that leaves this machine something to do besides.
    load = cluster._as_server(bench, "-n", "-c", "200", "-j", "2", "-T", "20", "-R", "300", *target)
    with subprocess.Popen(load, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/") as process:
        deadline = time.monotonic() + 30
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'"
        while cluster.query(count) != [(200,)]:
            assert time.monotonic() < deadline
        with Running(cluster) as running:
            running.await_sessions("query ~ 'pg_sleep|COPY'", 4)
            assert cluster.query(count) == [(200,)]
            assert len(kept(running.result())) == 19
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "aborted" not in errors
    processed = re.search(r"number of transactions actually processed: (\d+)", output)
    assert processed and int(processed[1]) > 100, output
    assert re.search(r"number of failed transactions: 0 \(", output), output
    assert cluster.query("SELECT count(*) FROM pgbench_history") == [(int(processed[1]),)]
    await_nothing(cluster)


# ---- many of them


def test_two_hundred_drills_leave_nothing_behind(new_cluster: NewCluster, tmp_path: Path) -> None:
    quick = {"tcp_keepalives_idle": "1", "tcp_keepalives_count": "1", "tcp_user_timeout": "3s"}
    cluster = new_cluster(15, conf=_drill.conf(max_connections="200", **quick), hba=_drill.HBA)
    outcomes = _run_drills(cluster, _lanes(), TMPDIR=str(tmp_path))
    flat = list(itertools.chain(*outcomes))
    assert len(flat) == 200
    # Every way to end has been gone often, and no drill failed in any other way.
    interrupted, killed = flat.count("interrupted"), flat.count("killed")
    assert interrupted >= 20 and killed >= 20
    ended = [outcome for outcome in flat if isinstance(outcome, list)]
    assert len(ended) + interrupted + killed == 200, [one for one in flat if one not in ended]
    # On a machine this busy an outage may last longer than was meant, and the verdict then says so.
    allowed = ("kept", "beyond_patience", "not_promised")
    assert [row for row in itertools.chain(*ended) if row["verdict"] not in allowed] == []
    # What killed ones left is removed by the next one.
    for method in ("socket", "namespace") if places.is_root() else ("socket",):
        kept(drill(cluster, method=method, phases=["idle"], faults=["process_died"]))
    await_nothing(cluster)
    assert _drill.processes(cluster) == set()
    assert list(tmp_path.iterdir()) == []


def _lanes() -> list[list[dict[str, t.Any]]]:
    """200 plans in sixteen processes: only one of them has namespaces, since these exclude each other."""
    chance = random.Random(1)
    wishes: list[dict[str, t.Any]] = [
        {"phases": ["executing"], "faults": ["process_died"]},
        {"phases": ["sending", "authenticating"], "faults": ["peer_vanished"]},
        {"phases": ["idle_in_transaction"], "faults": ["peer_vanished"]},
        {"phases": ["idle", "sending"], "faults": ["short_outage"]},
        {"phases": ["idle_unacknowledged"], "faults": ["peer_vanished"]},
        {"side": "client", "phases": ["waiting", "connecting"]},
        {"phases": ["lock_wait"], "faults": ["peer_vanished"]},
    ]
    ends: list[dict[str, t.Any]] = [{}, {"signal": "TERM"}, {}, {"signal": "KILL"}, {}]
    lanes = []
    for lane, number in enumerate([8, *[13] * 12, *[12] * 3]):
        method = "namespace" if lane == 0 and places.is_root() else "socket"
        lanes.append(
            [
                {
                    "wish": {**wishes[(turn + lane) % len(wishes)], "method": method, "patience": 1},
                    **ends[(turn + lane) % len(ends)],
                    "after": chance.uniform(0.1, 2.5),
                }
                for turn in range(number)
            ]
        )
    return lanes


def _run_drills(
    cluster: Cluster, lanes: list[list[dict[str, t.Any]]], spare_seconds: float = 90, **environment: str
) -> list[list[t.Any]]:
    """Run the plans of each lane one after the other, and the lanes side by side."""
    login = {"host": cluster.host, "port": cluster.port, "connect_params": {"connect_timeout": 5}}
    order = {"collections": str(places.COLLECTIONS), "login": login, "spare_seconds": spare_seconds}
    running = []
    try:
        for lane in lanes:
            process = subprocess.Popen(
                cluster.argv([sys.executable, DRILLS]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **environment},
            )
            running.append(process)
            assert process.stdin
            process.stdin.write(json.dumps({**order, "plans": lane}))
            process.stdin.close()
            process.stdin = None
        outcomes = []
        for process in running:
            output, errors = process.communicate(timeout=900)  # for what hangs
            assert process.returncode == 0, errors
            outcomes.append(json.loads(output))
        return outcomes
    finally:
        for process in running:
            process.kill()
            process.wait()
