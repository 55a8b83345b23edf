# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Statistics: what the server counts for each database, and how many sessions are in which state."""

from __future__ import annotations

import typing as t

from ._database import Database

_COUNTERS = """
    SELECT coalesce(json_agg(row_to_json(c)), '[]') FROM (
        SELECT datname, numbackends, {columns} stats_reset::text FROM pg_stat_database WHERE datname IS NOT NULL
        ORDER BY datname) c
"""
_ACTIVITY = """
    SELECT json_build_object(
        'total', count(*),
        'over_tcp', count(*) FILTER (WHERE client_addr IS NOT NULL),
        'idle', count(*) FILTER (WHERE state = 'idle'),
        'idle_in_transaction', count(*) FILTER (WHERE state LIKE 'idle in transaction%'),
        'active', count(*) FILTER (WHERE state = 'active'),
        'application_names', (SELECT json_agg(DISTINCT application_name) FROM pg_stat_activity
            WHERE application_name <> ''))
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def of_databases(database: Database, version_num: int) -> list[dict[str, t.Any]]:
    """Counters since the last reset; those of sessions came with PostgreSQL 14."""
    counters = "sessions, sessions_abandoned, sessions_fatal, sessions_killed," if version_num >= 140000 else ""
    query = _COUNTERS.replace("{columns}", counters)
    return t.cast("list[dict[str, t.Any]]", database.ask("reading the counters", query))


def of_sessions(database: Database) -> dict[str, t.Any]:
    """How many sessions of clients there are in each state, this one aside, and what they call themselves."""
    return t.cast("dict[str, t.Any]", database.ask("counting the sessions", _ACTIVITY))
