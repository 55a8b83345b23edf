# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look: what an audit reads of a server beside its settings: sessions worth a look, replication, what waits.

In one query. No statement's text, and of a connection string the keywords alone that concern TCP.
"""

from __future__ import annotations

import typing as t

from .. import _kernel, _poolers
from .._cursor import psycopg2
from .._database import Database
from .._diagnosis import _live

#: Sessions are read up to so many, those in trouble first, and returned up to so many.
_READ, _SHOWN = 1000, 50
#: Seconds; from these on a session is worth a look.
_IDLE, _IDLE_IN_TRANSACTION = 3600, 60
#: Worst first.
REASONS = ("silent", "blocked", "idle_in_transaction", "not_reading", "idle")
_OF_CAUSE = {"client_vanished": "silent", "slow_reader_cut": "not_reading"}
_KEYWORDS = (
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "connect_timeout",
)
_QUERY = """
    SELECT json_build_object(
        'date', (clock_timestamp() AT TIME ZONE 'UTC')::date::text,
        'settings', (SELECT json_build_object('pending_restart', json_agg(name) FILTER (WHERE pending_restart),
            'primary_conninfo', max(setting) FILTER (WHERE name = 'primary_conninfo')) FROM pg_settings),
        'sessions', (SELECT json_agg(json_build_object('pid', pid, 'role', usename, 'database', datname,
                'application_name', application_name, 'client_addr', host(client_addr), 'client_port', client_port,
                'state', state, 'seconds', round(extract(epoch FROM clock_timestamp() - state_change)::numeric, 1),
                'blocked_by', CASE wait_event_type WHEN 'Lock' THEN pg_blocking_pids(pid) END))
            FROM (SELECT * FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                ORDER BY wait_event_type = 'Lock' DESC NULLS LAST, state LIKE 'idle in transaction%%' DESC,
                    state_change LIMIT %(most)s) a),
        'standbys', (SELECT json_agg(json_build_object('pid', pid, 'application_name', application_name,
                'client_addr', host(client_addr), 'client_port', client_port, 'state', state, 'sync_state', sync_state)
                ORDER BY application_name, pid) FROM pg_stat_replication),
        'slots', (SELECT json_agg(json_build_object('slot_name', slot_name, 'slot_type', slot_type, 'active', active,
                'wal_status', wal_status, 'synced', to_json(s) -> 'synced',
                'retained_bytes', pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                    ELSE pg_current_wal_lsn() END, restart_lsn)::bigint) ORDER BY slot_name)
            FROM pg_replication_slots s WHERE NOT temporary),
        'receiver', (SELECT json_build_object('status', status) FROM pg_stat_wal_receiver LIMIT 1)
    )
"""

Row = t.Dict[str, t.Any]


def of_server(database: Database, port: int) -> Row:
    """``date``, ``pending_restart``, ``replication``, ``notable`` sessions and ``pooler_roles``, as the module returns.

    *port* is the server's.
    """
    found = database.ask("looking at sessions and replication", _QUERY, {"most": _READ})
    sessions, standbys = found["sessions"] or [], found["standbys"] or []
    over_tcp = any(row["client_addr"] for row in (*sessions, *standbys))
    timers = _kernel.timers(port) if over_tcp else {}
    return {
        "date": found["date"],
        "pending_restart": found["settings"]["pending_restart"] or [],
        "replication": {
            "standbys": [{**row, "evidence": _silence(row, timers, port)[1]} for row in standbys],
            "slots": found["slots"] or [],
            "receiver": found["receiver"],
            "primary_conninfo": _about(found["settings"]["primary_conninfo"]),
        },
        "notable": _notable(sessions, timers, port),
        "pooler_roles": sorted({row["role"] for row in sessions if _poolers.by_application_name([_name(row)])}),
    }


def _name(row: Row) -> str:
    return row["application_name"] or ""


def _notable(sessions: list[Row], timers: t.Mapping[_kernel.Key, _kernel.Timer], port: int) -> Row:
    """Sessions with a reason to look at them: how many of each ``reason`` there are, and the worst of them."""
    counts = dict.fromkeys(REASONS, 0)
    rows = []
    for row in sessions:
        reason, evidence = _silence(row, timers, port)
        seconds, state = row["seconds"] or 0, row["state"] or ""
        reasons = {
            reason,
            "blocked" if row["blocked_by"] else None,
            "idle" if state == "idle" and seconds >= _IDLE else None,
            "idle_in_transaction"
            if state.startswith("idle in transaction") and seconds >= _IDLE_IN_TRANSACTION
            else None,
        }
        named = [name for name in REASONS if name in reasons]
        for name in named:
            counts[name] += 1
        if named:
            rows.append({**row, "blocked_by": row["blocked_by"] or [], "reasons": named, "evidence": evidence})
    rows.sort(key=lambda row: REASONS.index(row["reasons"][0]))  # the longest of each stay first
    return {"counts": counts, "rows": rows[:_SHOWN]}


def _silence(row: Row, timers: t.Mapping[_kernel.Key, _kernel.Timer], port: int) -> tuple[str | None, str | None]:
    """What the kernel of the server's host says of a connection: the reason to look at it, and the evidence."""
    timer = timers.get((port, row["client_addr"], row["client_port"]))
    found = _live.silence(timer) if timer else None
    return (_OF_CAUSE[found[0]], found[1]) if found else (None, None)


def _about(conninfo: str | None) -> Row | None:
    """The keywords of a connection string that concern TCP, and whether it goes over a Unix socket; no secret."""
    if not conninfo:
        return None
    try:
        parsed = psycopg2.extensions.parse_dsn(conninfo)
    except psycopg2.Error:
        return None
    hosts = str(parsed.get("host", "")).split(",")
    unix = "hostaddr" not in parsed and all(not host or host.startswith(("/", "@")) for host in hosts)
    return {"unix_socket": unix, **{key: parsed[key] for key in _KEYWORDS if key in parsed}}
