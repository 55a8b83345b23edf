# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live: what server and host show of connections now, beside their logs. Two looks give rates."""

from __future__ import annotations

import os
import time
import typing as t

from .. import _kernel
from .._database import Database

#: Of /proc/net/netstat (TcpExt) and /proc/net/snmp (Tcp): what dead peers and busy paths leave behind.
_COUNTERS = {
    "TcpExt": (
        "TCPAbortOnTimeout",
        "TCPAbortOnData",
        "TCPAbortOnClose",
        "TCPKeepAlive",
        "TCPTimeouts",
        "TCPRetransFail",
        "ListenOverflows",
        "TCPZeroWindowDrop",
    ),
    "Tcp": ("RetransSegs", "EstabResets", "OutRsts", "AttemptFails"),
}
_CONNTRACK = (
    "nf_conntrack_count",
    "nf_conntrack_max",
    "nf_conntrack_tcp_timeout_established",
    "nf_conntrack_tcp_loose",
)
#: PSI above these shares of time (per cent, over a minute), or a run queue above so many a processor, delay answers.
_PRESSED = 20.0
_QUEUED = 2.0

Row = t.Dict[str, t.Any]

#: Sessions over TCP with what a diagnosis has to know of them, and no statement.
_SESSIONS = """
    SELECT coalesce(json_agg(json_build_object('pid', a.pid, 'role', usename, 'database', datname,
        'application_name', application_name, 'address', host(client_addr), 'port', client_port, 'state', state,
        'wait_event', wait_event, 'seconds', round(extract(epoch FROM clock_timestamp() - state_change)::numeric, 1),
        'age', round(extract(epoch FROM clock_timestamp() - backend_start)::numeric, 1), 'tls', s.ssl,
        'in_transaction', xact_start IS NOT NULL)), '[]')
    FROM pg_stat_activity a LEFT JOIN pg_stat_ssl s ON s.pid = a.pid
    WHERE client_addr IS NOT NULL AND a.pid <> pg_backend_pid()
"""
_STANDBYS = """
    SELECT coalesce(json_agg(json_build_object('pid', pid, 'application_name', application_name,
        'address', host(client_addr), 'port', client_port, 'state', state,
        'silent', round(extract(epoch FROM clock_timestamp() - reply_time)::numeric, 1))), '[]')
    FROM pg_stat_replication
"""


def look(database: Database | None, version_num: int = 0, proc: str = "/proc") -> Row:
    """One look: ``at`` (epoch), ``databases`` (counters of pg_stat_database), ``kernel`` (counters of this network)."""
    databases = database.statistics(version_num >= 140000)["databases"] if database else []
    return {
        "at": time.time(),
        "databases": {row.pop("datname"): row for row in databases},
        "kernel": counters(os.path.join(proc, "net")),
    }


def counters(root: str = "/proc/net") -> dict[str, int]:
    """The kernel's counters of `_COUNTERS`; empty where there are none."""
    found: dict[str, int] = {}
    for name in ("netstat", "snmp"):
        try:
            with open(os.path.join(root, name), encoding="utf-8") as stream:
                lines = stream.read().splitlines()
        except OSError:
            continue
        for head, values in zip(lines[::2], lines[1::2]):
            group = head.partition(":")[0]
            numbers = dict(zip(head.split()[1:], values.split()[1:]))
            found.update({key: int(numbers[key]) for key in _COUNTERS.get(group, ()) if key in numbers})
    return found


def rates(before: Row, after: Row) -> Row:
    """What was counted between two looks, and in how many seconds. A counter that went back was reset: left out."""
    seconds = after["at"] - before["at"]
    databases = {}
    for name, row in after["databases"].items():
        earlier = before["databases"].get(name, {})
        grown = {key: _grown(earlier, row, key) for key in row if key.startswith("sessions")}
        databases[name] = {key: value for key, value in grown.items() if value is not None}
    kernel = {key: _grown(before["kernel"], after["kernel"], key) for key in after["kernel"]}
    return {
        "seconds": round(seconds, 1),
        "databases": databases,
        "kernel": {key: value for key, value in kernel.items() if value},
    }


def _grown(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any], key: str) -> int | None:
    if key not in before or after[key] < before[key]:
        return None
    return int(after[key] - before[key])


def suspects(database: Database, port: int, proc: str = "/proc") -> list[Row]:
    """Open sessions whose sockets say that nobody answers, with the evidence; only on the server's own host."""
    timers = _kernel.timers(port, os.path.join(proc, "net"))
    found = []
    for session in database.ask("looking at the sessions", _SESSIONS):
        timer = timers.get((port, session["address"], session["port"]))
        evidence = timer and _evidence(timer)
        if evidence:
            found.append({**session, "cause": evidence[0], "evidence": evidence[1]})
    return found


def _evidence(timer: _kernel.Timer) -> tuple[str, str] | None:
    times = f"{timer.unanswered} times"
    if timer.kind == "retransmission" and timer.unanswered > 2:
        return "client_vanished", f"{timer.unsent} bytes were sent {times} and not acknowledged"
    if timer.kind == "zero_window_probe":
        return "slow_reader_cut", f"its client does not read: {timer.unsent} bytes wait for a window"
    if timer.kind == "keepalive" and timer.unanswered > 0:
        return "client_vanished", f"keepalive probed {times} and got no answer"
    return None


def standbys(database: Database) -> list[Row]:
    """The receivers of WAL, with the seconds since their last reply."""
    return t.cast("list[Row]", database.ask("looking at the standbys", _STANDBYS))


def strain(proc: str = "/proc") -> Row:
    """What may make this host answer late: pressure (PSI, average of a minute), run queue, memory, conntrack."""
    found: Row = {"pressure": {}, "reasons": []}
    for name in ("cpu", "io", "memory"):
        share = _pressure(os.path.join(proc, "pressure", name))
        if share is not None:
            found["pressure"][name] = share
            if share >= _PRESSED:
                found["reasons"].append(f"processes waited for {name} {share:.0f} % of the last minute")
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    found["run_queue"] = round(load / processors, 2)
    if found["run_queue"] >= _QUEUED:
        found["reasons"].append(f"the run queue is {found['run_queue']:.1f} processes a processor long")
    found["conntrack"] = _conntrack(os.path.join(proc, "sys", "net", "netfilter"))
    count, most = (found["conntrack"].get(key) for key in ("nf_conntrack_count", "nf_conntrack_max"))
    if count and most and count >= 0.9 * most:
        found["reasons"].append(f"the table of tracked connections is full to {100 * count / most:.0f} %")
    return found


def _pressure(path: str) -> float | None:
    try:
        with open(path, encoding="utf-8") as stream:
            words = stream.readline().split()
    except OSError:
        return None
    return next((float(word[6:]) for word in words if word.startswith("avg60=")), None)


def _conntrack(root: str) -> dict[str, int]:
    found = {}
    for name in _CONNTRACK:
        try:
            with open(os.path.join(root, name), encoding="utf-8") as stream:
                found[name] = int(stream.read())
        except (OSError, ValueError):
            continue
    return found
