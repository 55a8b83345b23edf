# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster and the application's host: asked by REST and SQL, run playbooks on, and made to lose their leader."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import time
import typing as t
from pathlib import Path

from support.programs import Program, machine

HERE = Path(__file__).parent
DIRECTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
#: What was measured, for the end of the run.
ROWS = DIRECTORY / "patroni-table.json"
NODES = ("node1", "node2", "node3")
#: As in prepare.yml and haproxy.cfg.j2, in seconds.
TTL, LOOP_WAIT = 20, 2
#: At worst, until there is another leader: Patroni's candidates wait 2 s for the one that has vanished.
FAILOVER = TTL + LOOP_WAIT + 2
INTER, FALL, RISE = 1, 3, 2
PATIENCE = 120
#: The scenario's policy, for playbooks that know other variables than path_policy.
POLICY: dict[str, t.Any] = {
    "harden_profile": "replication",
    "harden_policy": {
        "detect_dead_peer_within": "12s",
        "stop_orphaned_query_within": "12s",
        "tolerate_outage_of": "2s",
        "slow_reader_grace": "5s",
        "detect_dead_standby_within": "20s",
        "close_idle_in_transaction_after": "5min",
    },
}

_REST = """
import json, sys, urllib.request, yaml
own = yaml.safe_load(open("/etc/patroni.yml"))["restapi"]["authentication"]
manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
manager.add_password(None, "http://127.0.0.1:8008/", own["username"], own["password"], is_authenticated=True)
opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
body = sys.argv[3].encode() or None
request = urllib.request.Request("http://127.0.0.1:8008" + sys.argv[2], body, method=sys.argv[1])
sys.stdout.write(opener.open(request, timeout=60).read().decode())
"""


class Client(Program):
    """Sessions, and attempts to write, of an ordinary user on the application's host, through HAProxy."""

    def __init__(self) -> None:
        super().__init__("application", "app", HERE / "client_main.py")


def rest(name: str, path: str, body: t.Any = None, method: str = "GET") -> str:
    """What Patroni on that node answers, asked there and with its credentials."""
    text = "" if body is None else json.dumps(body)
    return t.cast(str, machine(name).check_output("python3 -c %s %s %s %s", _REST, method, path, text))


def config(name: str = NODES[0]) -> dict[str, t.Any]:
    """The dynamic configuration."""
    return t.cast("dict[str, t.Any]", json.loads(rest(name, "/config")))


def members(name: str) -> list[dict[str, t.Any]]:
    """The members, as that node sees them; none while it cannot say."""
    try:
        return t.cast("list[dict[str, t.Any]]", json.loads(rest(name, "/cluster"))["members"])
    except AssertionError:
        return []


def leader(name: str = NODES[0], besides: str = "") -> str:
    """Who leads, as that node sees it; waits until there is a leader, *besides* another one."""
    found: list[str] = []

    def known() -> bool:
        found[:] = [one["name"] for one in members(name) if one["role"] == "leader" and one["name"] != besides]
        return bool(found)

    wait(known, f"a leader that {name} knows" + (f", besides {besides}" if besides else ""))
    return found[0]


def whole(name: str) -> bool:
    """Whether there are a leader and two standbys that follow it."""
    return sorted(one["state"] for one in members(name)) == ["running", "streaming", "streaming"]


def switch_over(old: str) -> str:
    """Ask for another leader; its name. What Patroni answers is not of interest: it waits 20 s for the end of it."""
    wait(lambda: whole(old), "standbys that can take over")
    with contextlib.suppress(AssertionError):
        rest(old, "/switchover", {"leader": old}, "POST")
    return leader(besides=old)


def wait(true: t.Callable[[], t.Any], what: str) -> None:
    """Poll until it is *true*."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.2)


def sql(name: str, statement: str) -> str:
    """What a superuser gets there over the Unix socket, a line for each row."""
    command = "cd / && runuser -u postgres -- psql --no-psqlrc --tuples-only --no-align --command=%s"
    return t.cast(str, machine(name).check_output(command, statement))


def playbook(name: str, *options: str, fails: bool = False, **variables: t.Any) -> str:
    """Run a playbook of the collection as a user does; what it printed."""
    command = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], f"pgharden.connection.{name}"]
    command += [*options, "--extra-vars", json.dumps(variables)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stdout


def report(directory: Path) -> dict[str, t.Any]:
    """The report of the path in *directory*."""
    return t.cast("dict[str, t.Any]", json.loads((directory / "path.json").read_text()))


@functools.cache
def address(name: str) -> str:
    """Its address on the network of the scenario."""
    return t.cast(str, machine(name).check_output("hostname --all-ip-addresses").split()[0])


def name_at(of: str) -> str:
    """The node with that address."""
    return next(name for name in NODES if address(name) == of)


@contextlib.contextmanager
def vanished(name: str) -> t.Iterator[float]:
    """A machine that nobody hears from, and that hears from nobody; gives when, in seconds since boot."""
    script = """
        table inet vanished {
          chain arriving { type filter hook input priority filter; iif != "lo" drop; }
          chain leaving { type filter hook output priority filter; oif != "lo" drop; }
        }
    """
    command = "read now idle </proc/uptime; printf %s | nft --file - && echo $now"
    began = float(machine(name).check_output(command, script))
    try:
        yield began
    finally:
        machine(name).check_output("nft delete table inet vanished")


def coordinator_elsewhere(name: str) -> None:
    """Have etcd led by another node: its own election is not what is measured."""
    listed = "etcdctl --write-out=json --endpoints=http://127.0.0.1:2379 endpoint status"
    members_listed = "etcdctl --write-out=json --endpoints=http://127.0.0.1:2379 member list"
    status = json.loads(machine(name).check_output(f"ETCDCTL_API=3 {listed}"))[0]["Status"]
    if status["leader"] == status["header"]["member_id"]:
        known = json.loads(machine(name).check_output(f"ETCDCTL_API=3 {members_listed}"))["members"]
        other = next(one["ID"] for one in known if one["ID"] != status["leader"])
        command = f"etcdctl --endpoints=http://127.0.0.1:2379 move-leader {other:x}"
        machine(name).check_output(f"ETCDCTL_API=3 {command}")


def note(what: str, measured: str, said: str) -> None:
    """Put a figure into the table."""
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    rows[what] = [measured, said]
    ROWS.write_text(json.dumps(rows))


def table() -> str:
    """All rows so far, in Markdown."""
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    lines = ["| | measured | at worst |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {measured} | {said} |" for what, (measured, said) in rows.items())])
