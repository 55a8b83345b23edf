# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live: what server and host show of connections now, beside their logs. Two looks give rates."""

from __future__ import annotations

import ipaddress
import os
import re
import time
import typing as t

from .. import _kernel, _statistics
from .._database import Database
from . import _strain

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

#: An address of this host among the routes of /proc/net/fib_trie, which has each twice.
_LOCAL = re.compile(r"\|-- (\S+)\n\s+/32 host LOCAL")

Row = t.Dict[str, t.Any]

#: Sessions over TCP with what a diagnosis has to know of them, and nothing else that a client has sent.
_SESSIONS = """
    SELECT coalesce(json_agg(json_build_object('pid', a.pid, 'role', usename, 'database', datname,
        'address', host(client_addr), 'port', client_port, 'state', state, 'wait_event', wait_event,
        'seconds', round(extract(epoch FROM clock_timestamp() - state_change)::numeric, 1),
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
    databases = _statistics.of_databases(database, version_num) if database else []
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
    seconds = after["at"] - before["at"] if after["at"] and before["at"] else 0.0
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
        evidence = timer and silence(timer)
        if evidence:
            found.append({**session, "cause": evidence[0], "evidence": evidence[1]})
    return found


def silence(timer: _kernel.Timer) -> tuple[str, str] | None:
    """The cause that a socket's timer speaks for, and the evidence; None where its peer answers."""
    times = f"{timer.unanswered} times"
    if timer.kind == "retransmission" and timer.unanswered > 2:
        return "client_vanished", f"{timer.unsent} bytes were sent {times} and not acknowledged"
    if timer.kind == "zero_window_probe":
        return "slow_reader_cut", f"its client does not read: {timer.unsent} bytes wait for a window"
    if timer.kind == "keepalive" and timer.unanswered > 0:
        return "client_vanished", f"keepalive probed {times} and got no answer"
    return None


#: States of include/net/tcp_states.h that say something of a client's connections.
_STATES = {1: "open", 2: "connecting", 8: "closed_by_server"}


def sockets(port: int, proc: str = "/proc") -> list[Row]:
    """What this host has to do with servers on other hosts, a row for each of them.

    How many connections are open, how many attempts have no answer yet (connecting), how many the server has closed and
    the program here has not (closed_by_server: it would fail at its next statement), and on how many something was
    sent repeatedly and not acknowledged (unanswered).
    """
    found: dict[str, Row] = {}
    for address, state, timer in _kernel.towards(port, os.path.join(proc, "net")):
        if state in _STATES:
            row = found.setdefault(address, {"address": address, "port": port, **dict.fromkeys(_STATES.values(), 0)})
            row[_STATES[state]] += 1
            silent = timer.kind == "retransmission" and timer.unanswered > 2
            late = state == 1 and (silent or (timer.kind == "keepalive" and timer.unanswered > 0))
            row["unanswered"] = row.get("unanswered", 0) + late
    return [row for _address, row in sorted(found.items())]


def has_server(port: int, proc: str = "/proc") -> bool:
    """Whether a PostgreSQL server may be on this host: somebody listens, or has left a socket where servers do."""
    places = [f"{directory}/.s.PGSQL.{port}" for directory in ("/var/run/postgresql", "/tmp")]
    return _kernel.listens(port, os.path.join(proc, "net")) or any(map(os.path.exists, places))


def standbys(database: Database) -> list[Row]:
    """The receivers of WAL, with the seconds since their last reply."""
    return t.cast("list[Row]", database.ask("looking at the standbys", _STANDBYS))


def strain(proc: str = "/proc") -> Row:
    """What may make this host answer late: pressure (PSI, average of a minute), run queue, memory, conntrack."""
    found: Row = {"at": time.time(), "addresses": addresses(os.path.join(proc, "net")), "pressure": {}}
    for name in ("cpu", "io", "memory"):
        share = _pressure(os.path.join(proc, "pressure", name))
        if share is not None:
            found["pressure"][name] = share
    found["run_queue"] = round(os.getloadavg()[0] / (os.cpu_count() or 1), 2)
    memory = _memory(os.path.join(proc, "meminfo"))
    if memory is not None:
        found["memory_available"] = memory
    found["reasons"] = _strain.reasons(found)
    found["conntrack"] = _conntrack(os.path.join(proc, "sys", "net", "netfilter"))
    count, most = (found["conntrack"].get(key) for key in ("nf_conntrack_count", "nf_conntrack_max"))
    if count and most and count >= 0.9 * most:
        found["reasons"].append(f"the table of tracked connections is full to {100 * count / most:.0f} %")
    return found


def addresses(root: str = "/proc/net") -> list[str]:
    """Under which other hosts know this one: neither loopback nor the addresses of a single link."""
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
    found += map(ipaddress.IPv4Address, _LOCAL.findall(_text(os.path.join(root, "fib_trie"))))
    rows = _text(os.path.join(root, "if_inet6")).splitlines()
    found += (ipaddress.IPv6Address(int(row.split()[0], 16)) for row in rows)
    return [str(one) for one in dict.fromkeys(found) if not (one.is_loopback or one.is_link_local)]


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""  # no IPv6, or no Linux


def _pressure(path: str) -> float | None:
    try:
        with open(path, encoding="utf-8") as stream:
            words = stream.readline().split()
    except OSError:
        return None
    return next((float(word[6:]) for word in words if word.startswith("avg60=")), None)


def _memory(path: str) -> float | None:
    """How much of the memory is available, per cent."""
    try:
        with open(path, encoding="utf-8") as stream:
            sizes = {line.partition(":")[0]: line.split()[1] for line in stream if ":" in line}
        return round(100 * int(sizes["MemAvailable"]) / int(sizes["MemTotal"]), 1)
    except (OSError, KeyError, IndexError, ValueError, ZeroDivisionError):
        return None


def _conntrack(root: str) -> dict[str, int]:
    found = {}
    for name in _CONNTRACK:
        try:
            with open(os.path.join(root, name), encoding="utf-8") as stream:
                found[name] = int(stream.read())
        except (OSError, ValueError):
            continue
    return found
