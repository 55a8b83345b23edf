# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hardened: every member has it in force, keeps its promises, and does so after a switchover and a failover."""

from __future__ import annotations

import json
import re
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import lab
import pytest
from support import machine

CONFIG = json.loads(lab.machine(lab.NODES[0]).check_output("cat /root/config.json"))
#: What the plan comes to for the policy of the scenario: idle, interval, count, user timeout.
TIMERS = (4, 1, 5, 9.0)
SETTINGS = {
    "tcp_keepalives_idle": "4s",
    "tcp_keepalives_interval": "1s",
    "tcp_keepalives_count": "5",
    "tcp_user_timeout": "9s",
    "client_connection_check_interval": "1s",
    "idle_in_transaction_session_timeout": "5min",
    "authentication_timeout": "13s",
    "wal_sender_timeout": "17s",
    "wal_receiver_timeout": "17s",
}
#: Seconds that a busy machine may be late.
TOLERANCE = 5
SILENT = 9 * machine.SLACK


def in_force(name: str) -> None:
    """A fresh session there has the planned timers, and the kernel counts them down on its very socket."""
    host = lab.machine(name)
    session = machine.session(host)
    assert session.timers() == TIMERS
    assert session.socket.timer == "keepalive" and session.socket.seconds <= TIMERS[0] * machine.SLACK
    assert session.value("client_connection_check_interval") == 1000
    assert session.value("wal_sender_timeout") == session.value("wal_receiver_timeout") == 17_000
    for setting in SETTINGS:
        assert session.settings[setting]["sourcefile"] == "/var/lib/postgresql/17/demo/postgresql.conf", setting


@pytest.fixture(scope="module", autouse=True)
def drilled(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Future[list[dict[str, t.Any]]]]:
    """Of the leader, beside the tests that leave it alone."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(drill, lab.leader(), tmp_path_factory.mktemp("drill"))


@pytest.mark.parametrize("name", lab.NODES)
def test_member_has_it_in_force(name: str) -> None:
    in_force(name)
    automatic = lab.machine(name).check_output("cat /var/lib/postgresql/17/demo/postgresql.auto.conf")
    assert not [line for line in automatic.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("name", lab.NODES)
def test_dynamic_configuration_has_it_and_nothing_else_is_touched(name: str) -> None:
    now = lab.config(name)
    parameters = now["postgresql"].pop("parameters")
    found = CONFIG["postgresql"]["parameters"]
    assert parameters == {**found, **SETTINGS}
    assert now == {**CONFIG, "postgresql": {k: v for k, v in CONFIG["postgresql"].items() if k != "parameters"}}


def test_member_that_is_down_is_named() -> None:
    standby = next(name for name in lab.NODES if name != lab.leader())
    inventory_name = {"patroni_hosts": "nodes", "patroni_serial": 2}
    lab.machine(standby).check_output("mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        told = lab.playbook("patroni", fails=True, **inventory_name, **lab.POLICY)
    finally:
        lab.machine(standby).check_output("mv /usr/bin/python3.away /usr/bin/python3")
    assert f"Not reached so far: {standby}" in " ".join(told.split()), told


def audit(directory: Path) -> dict[str, set[tuple[str, str]]]:
    """The findings of each host, id and place, that are no mere information; sessions over TCP are looked at, too."""
    login = {"audit_login_host": "127.0.0.1", "audit_login_user": "tester"}
    variables = {"audit_hosts": "nodes", "audit_report_dir": str(directory), "audit_formats": ["json"], **login}
    lab.playbook("audit", **variables, **lab.POLICY)
    (path,) = directory.glob("*.json")
    told = json.loads(path.read_text())
    assert not [row for host in told["hosts"] for row in host["findings"] if row["id"] in ("PGC706", "PGC709")]
    return {
        host["host"]: {(row["id"], row["where"]) for row in host["findings"] if row["severity"] != "info"}
        for host in told["hosts"]
    }


def test_audit_finds_nothing_wrong_and_then_the_member_that_went_astray(
    tmp_path: Path, drilled: Future[list[dict[str, t.Any]]]
) -> None:
    drilled.result()  # its sessions have clients that do not answer, which an audit rightly tells
    assert audit(tmp_path / "before") == {name: set() for name in lab.NODES}
    astray = next(name for name in lab.NODES if name != lab.leader())
    lab.sql(astray, "ALTER SYSTEM SET tcp_keepalives_idle = '100s'")
    lab.sql(astray, "SELECT pg_reload_conf()")
    try:
        lab.wait(lambda: machine.session(lab.machine(astray)).timers()[0] == 100, "its effect on new sessions")
        after = audit(tmp_path / "after")
        told = lab.playbook("patroni", patroni_hosts="nodes", **lab.POLICY)
    finally:
        lab.sql(astray, "ALTER SYSTEM RESET tcp_keepalives_idle")
        lab.sql(astray, "SELECT pg_reload_conf()")
    assert [name for name in lab.NODES if after[name]] == [astray], after
    assert "tcp_keepalives_idle" in {where for _id, where in after[astray]}
    assert told.count("changed=0") == len(lab.NODES), told
    told = " ".join(told.split())
    assert re.search(rf"{astray}: nothing to change; (?:(?!node\d).)*outranked: tcp_keepalives_idle", told), told
    lab.wait(lambda: machine.session(lab.machine(astray)).timers() == TIMERS, "the reset")


def drill(name: str, directory: Path) -> list[dict[str, t.Any]]:
    """Cells of a drill on that node, all of which it has to keep."""
    told = lab.playbook(
        "drill",
        drill_hosts=name,
        drill_report_dir=str(directory),
        drill_login_host="127.0.0.1",
        drill_login_user="tester",
        drill_login_db="app",  # where few others are counted: an audit tells of many that were lost
        drill_become=True,
        drill_phases=["idle", "idle_unacknowledged", "executing", "sending", "idle_in_transaction"],
        drill_faults=["peer_vanished", "process_died"],
    )
    (path,) = directory.glob("**/*.json")
    cells = json.loads(path.read_text())["after"]["cells"]
    assert {cell["verdict"] for cell in cells} == {"kept"}, told
    return t.cast("list[dict[str, t.Any]]", cells)


def test_leader_keeps_its_promises(drilled: Future[list[dict[str, t.Any]]]) -> None:
    cells = drilled.result()
    vanished = [cell for cell in cells if cell["fault"] == "peer_vanished"]
    assert len(vanished) == 5 and all(cell["measured"] > 4 for cell in vanished)


def test_proxy_ends_the_sessions_of_a_leader_that_is_gone_once_it_is_told_to(tmp_path: Path) -> None:
    """What the report asked for, done by hand; a second run of the playbook finds nothing to say against it."""
    host = lab.machine("application")
    edit = "s/fall 3 rise 2$/fall 3 rise 2 on-marked-down shutdown-sessions/"
    host.check_output(f"sed -i {edit!r} /etc/haproxy/haproxy.cfg && systemctl reload haproxy")
    told = lab.playbook("path", path_report_dir=str(tmp_path))
    assert told.count("changed=0") == 1 + len(lab.NODES), told
    findings = {row["id"]: row for row in lab.report(tmp_path)["findings"]}
    assert {name for name, row in findings.items() if row["severity"] != "info"} == set()
    assert "PGC414" in findings


def test_after_a_switchover_the_new_leader_keeps_its_promises(tmp_path: Path) -> None:
    old = lab.leader()
    with lab.Client() as client:
        (address,) = client.ask(open=["idle"])
        assert lab.name_at(address) == old
        new = lab.switch_over(old)
        lab.wait(lambda: lab.whole(new), "the old leader as a standby")
        assert client.ask(lost=True)[0] is not None
    for name in lab.NODES:
        in_force(name)
    drill(new, tmp_path)


def test_after_a_failover_sessions_end_and_writes_go_on(tmp_path: Path) -> None:
    old = lab.leader()
    other = next(name for name in lab.NODES if name != old)
    lab.coordinator_elsewhere(old)
    lab.wait(lambda: _write_once() == old, "that the proxy uses the leader")
    with lab.Client() as client:
        addresses = client.ask(open=["idle", "executing"])
        assert {lab.name_at(one) for one in addresses} == {old}
        with lab.vanished(old) as began:
            client.ask(write=True)
            lab.wait(lambda: _written(client, began), "a write on another leader")
            lost = client.ask(lost=True)
            first = _written(client, began)
            new = lab.name_at(first[2])
            assert lab.leader(other, besides=old) == new != old
        down = lab.FALL * 2 * lab.INTER
        noticed = [one and one - began for one in lost]
        failover = first[1] - began
        said = lab.FAILOVER + lab.RISE * lab.INTER
        lab.note("session to the leader that vanished", " and ".join(f"{one:.1f}" for one in noticed), f"{down}")
        lab.note("until a write succeeded elsewhere", f"{failover:.1f}", f"{said}")
        assert all(one is not None and one <= min(down, SILENT) + TOLERANCE for one in noticed), noticed
        assert failover <= said + TOLERANCE
    lab.wait(lambda: lab.whole(new), "the old leader as a standby")
    for name in lab.NODES:
        in_force(name)


def _written(client: lab.Client, began: float) -> list[t.Any]:
    """The first attempt that succeeded after *began*."""
    return next((one for one in client.ask(written=True) if one[0] > began and one[3] is None), [])


def _write_once() -> str:
    with lab.Client() as client:
        client.ask(write=True)
        done: list[list[t.Any]] = []
        lab.wait(lambda: done.extend(client.ask(written=True)) or done, "an attempt to write")
        return lab.name_at(done[0][2]) if done[0][3] is None else ""
