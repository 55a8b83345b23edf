# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of the module diagnosis_info, judged as it judges, for tests of the report."""

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _judge
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clues import Surroundings
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow, LogEvent, Loss, Silence

Result = dict[str, t.Any]

LOG = "/var/log/postgresql/postgresql-17-main.log"
#: 2026-11-23 03:12:01 UTC
MORNING = 1795403521.0
TIMED_OUT = "could not receive data from client: Connection timed out"
IDLE = "terminating connection due to idle-session timeout"


def event(
    kind: str, text: str, after: float = 0.0, address: str = "10.0.0.7", port: int = 50001, **more: t.Any
) -> Loss:
    """A connection that ended with one line of the log."""
    line = 1000 + int(after)
    some = {"user": "app", "database": "shop", **more}
    found = LogEvent(kind, MORNING + after, 4000 + port % 1000, text, LOG, line, address, port, **some)
    return Loss(found.time, address, port, found.pid, (found,))


def forgotten(after: float, port: int) -> Loss:
    """A connection that the log and a capture of the client's host know of: a firewall forgot it after 350 s."""
    loss = event("receive_timed_out", TIMED_OUT, after, port=port)
    flow = Flow(
        "/tmp/app1.pcap",
        "client",
        ("10.0.0.7", port),
        ("10.0.0.5", 5432),
        MORNING - 400,
        MORNING + after,
        established=True,
        silence=Silence(351.0),
        retransmitting="client",
        retransmissions=9,
    )
    return loss._replace(flows=(flow,))


def health_check(after: float) -> Loss:
    line = event("connection_received", "connection received", after, "10.0.0.2", 40000 + int(after), user=None)
    return line._replace(events=(line.events[0]._replace(database=None),))


def diagnosed(losses: t.Sequence[Loss] = (), **more: t.Any) -> Result:
    """What the module returns for *losses*."""
    verdicts = [verdict for loss in losses if (verdict := _judge.judge(loss, Surroundings()))]
    return {
        "changed": False,
        "causes": _judge.summary(verdicts),
        "losses": [verdict.as_dict() for verdict in verdicts],
        "healthy": all(_judge.CAUSES[verdict.cause].harmless for verdict in verdicts),
        "connections": {"seen": 431, "normal_closes": 419, "empty": 0},
        "sources": {"logs": [LOG], "captures": []},
        "server": {"version": "17.2 (Debian 17.2-1.pgdg120+1)", "version_num": 170002},
        "suspects": [],
        "standbys": [],
        "statistics": {"seconds": 5.0, "databases": {"shop": {"sessions": 9, "sessions_fatal": 0}}, "kernel": {}},
        "look": {"at": MORNING, "databases": {}, "kernel": {}},
        "host": {"pressure": {"cpu": 0.5}, "run_queue": 0.1, "conntrack": {}, "reasons": []},
        "problems": [],
        **more,
    }


SUSPECT = {
    "pid": 4711,
    "role": "app",
    "database": "shop",
    "application_name": "worker",
    "address": "10.0.0.9",
    "port": 50123,
    "state": "idle in transaction",
    "wait_event": "ClientRead",
    "seconds": 335.2,
    "age": 400.0,
    "tls": True,
    "in_transaction": True,
    "cause": "client_vanished",
    "evidence": "keepalive probed 3 times and got no answer",
}
