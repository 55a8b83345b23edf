# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL of the drill: its queries, each for one JSON value (see `Database.ask`)."""

from __future__ import annotations

#: Of the drill's sessions; what follows is the drill's number in hexadecimal.
NAME = "pgharden drill "
#: Advisory locks of the two-number kind: the second number is the drill's.
OWNER_LOCK, WAIT_LOCK, TRANSACTION_LOCK = 0x70676401, 0x70676402, 0x70676403

#: The session itself: where the server sees it come from, and what is in force for it.
SESSION = """
    SELECT json_build_object(
        'pid', pid,
        'backend_start', backend_start::text,
        'age', extract(epoch FROM clock_timestamp() - backend_start),
        'client_addr', host(inet_client_addr()),
        'client_port', inet_client_port(),
        'server_started', extract(epoch FROM pg_postmaster_start_time()),
        'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name = ANY(%(names)s)),
        'sources', (SELECT json_object_agg(name, source) FROM pg_settings WHERE name = ANY(%(names)s)))
    FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""
#: Ends a session of the drill that nobody is left to end. Timeouts that are set already are left alone, for promises
#: count on them, unless the session is to survive.
LIMIT_LIFE = """
    SELECT json_agg(set_config(name, CASE name WHEN 'lock_timeout' THEN '0' ELSE %(lifetime)s END, false))
    FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout') OR (%(survive)s OR setting = '0') AND name IN
        ('idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout')
"""
#: The sessions of this drill.
WATCH = """
    SELECT coalesce(json_agg(json_build_object('pid', pid, 'backend_start', backend_start::text, 'state', state,
        'wait_event_type', wait_event_type, 'wait_event', wait_event)), '[]')
    FROM pg_stat_activity WHERE application_name = %(name)s AND pid <> pg_backend_pid()
"""
#: Sessions of this role that another drill has left behind: nobody holds its lock any more.
LEFT_BEHIND = """
    SELECT coalesce(json_agg(json_build_object('pid', pid, 'backend_start', backend_start::text)), '[]')
    FROM pg_stat_activity a WHERE usename = session_user AND application_name ~ ('^' || %(name)s || '[0-9a-f]{8}$')
        AND NOT EXISTS (SELECT FROM pg_locks l WHERE locktype = 'advisory' AND granted AND classid = %(lock)s
            AND objid = ('x' || right(application_name, 8))::bit(32)::bigint::oid)
"""
PID = "SELECT to_json(pg_backend_pid())"
LOCK = "SELECT to_json(pg_try_advisory_lock(%(lock)s, %(number)s))"
#: Connections that can still be opened by those who are no superuser. The type of others' is not for everybody.
FREE_CONNECTIONS = """
    SELECT to_json(current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0)
        - (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND usesysid IS NOT NULL
            AND coalesce(backend_type, 'client backend') = 'client backend'))
"""
LOGGING = """
    SELECT json_build_object(
        'prefix', current_setting('log_line_prefix'),
        'pid', pg_backend_pid(),
        'may_read', has_function_privilege('pg_catalog.pg_read_binary_file(text,bigint,bigint)', 'execute')
            AND has_function_privilege('pg_catalog.pg_current_logfile()', 'execute'))
"""
LOG_FILE = """
    SELECT CASE WHEN pg_current_logfile() IS NULL THEN 'null' ELSE json_build_object(
        'path', pg_current_logfile(), 'size', (pg_stat_file(pg_current_logfile())).size) END
"""
READ_LOG = """
    SELECT to_json(encode(pg_read_binary_file(%(path)s, %(offset)s, %(length)s), 'base64'))
"""

#: What brings a session into a phase, and keeps it there for longer than the drill lasts.
WORK = "SELECT 1"
SLEEP = "SELECT pg_catalog.pg_sleep(%s)"
#: In the select list the series is not written to a temporary file.
COMPUTE = "SELECT count(*) FROM (SELECT pg_catalog.generate_series(1, 10000000000000)) s"
WAIT_FOR_LOCK = "SELECT pg_catalog.pg_advisory_lock(%s, %s)"
HOLD_IN_TRANSACTION = "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock_shared(%s, %s)"
STREAM = "COPY (SELECT repeat('x', 1000), pg_catalog.generate_series(1, 1000000000000)) TO STDOUT"
