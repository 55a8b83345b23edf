# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Database: a session, and the SQL statements of hardening, one method each, with results that are plain JSON.

Plain JSON, because the methods are also called from another process (see `_other_user`). What one room alone asks for
has its query there, and goes through `ask`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import typing as t

try:
    from psycopg2 import sql
except ImportError:  # `_login.connect` says so
    sql = None  # type: ignore[assignment]

from ._cursor import Cursor, psycopg2
from ._errors import Failure

#: An arbitrary key of our own for pg_advisory_lock: "pgharden" as a number.
_LOCK_KEY = 0x70676861726465

# Names as pg_catalog has them, whatever search_path the login role has.
_SAFE_PATH = "SET search_path TO pg_catalog; "

_SERVER = """
    SELECT json_build_object(
        'version', current_setting('server_version'),
        'version_num', current_setting('server_version_num')::int,
        'build', version(),
        'in_recovery', pg_is_in_recovery(),
        'user', session_user,
        'superuser', current_setting('is_superuser') = 'on',
        'may_reload', has_function_privilege('pg_catalog.pg_reload_conf()', 'execute'),
        'over_tcp', inet_client_addr() IS NOT NULL,
        'load_time', pg_conf_load_time()::text,
        'files', f.files,
        'patroni', CASE WHEN f.by_patroni THEN 'parameters'
            WHEN EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'Patroni%%') THEN 'session' END,
        'settings', (SELECT json_agg(s) FROM pg_settings s WHERE lower(name) = ANY(%(names)s)),
        'overrides', (SELECT json_agg(json_build_object('role', r.rolname, 'database', d.datname,
                'name', lower(split_part(c, '=', 1)), 'value', substr(c, strpos(c, '=') + 1)) ORDER BY 1, 2)
            FROM pg_db_role_setting s CROSS JOIN unnest(setconfig) c
            LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
            WHERE lower(split_part(c, '=', 1)) = ANY(%(names)s)),
        'roles', (SELECT json_agg(rolname) FROM pg_roles WHERE rolname = %(role)s),
        'databases', (SELECT json_agg(datname) FROM pg_database WHERE datname = %(database)s),
        'file_settings', {files}
    ) FROM (
        SELECT json_object_agg(name, setting) FILTER (WHERE name <> ALL(%(patroni)s)) AS files,
            count(*) FILTER (WHERE name = ANY(%(patroni)s) AND source = 'command line') = cardinality(%(patroni)s)
                AS by_patroni
        FROM pg_settings WHERE name = ANY(%(patroni)s)
            OR name IN ('config_file', 'data_directory', 'listen_addresses', 'port', 'allow_alter_system')
    ) f
"""
#: What Patroni puts on the command line of every server, lest ALTER SYSTEM change it (its CMDLINE_OPTIONS). Nobody else
#: has a reason to name all of these there. Everybody may see where a value comes from, and what a session is called.
_BY_PATRONI = [
    "cluster_name",
    "hot_standby",
    "max_locks_per_transaction",
    "max_worker_processes",
    "track_commit_timestamp",
    "wal_log_hints",
]
# A line whose name no parameter has, or that has no name, makes a reload apply nothing at all of any file. Names are
# compared byte by byte (COLLATE "C"), because those of a file need not be text in the database's encoding.
_FILES = """(SELECT json_agg(json_build_object('sourcefile', sourcefile, 'sourceline', sourceline,
                'name', lower(name COLLATE "C"), 'setting', setting, 'applied', applied, 'error', error,
                'fatal', error IS NOT NULL AND NOT coalesce(lower(name COLLATE "C") IN
                    (SELECT lower(g.name COLLATE "C") FROM pg_settings g) OR strpos(name, '.') > 0, false))
                ORDER BY seqno)
            FROM pg_file_settings WHERE lower(name COLLATE "C") = ANY(%(names)s) OR error IS NOT NULL)"""

# An advisory lock is one of a database, but there is one set of files for all of them.
_LOCKED_ELSEWHERE = """
    SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND classid::bigint = %(key)s >> 32 AND objid::bigint = %(key)s & 4294967295 AND pid <> pg_backend_pid())
"""
_OWN = """
    SELECT json_build_object(
        'client_addr', host(inet_client_addr()),
        'client_port', inet_client_port(),
        'server_port', inet_server_port(),
        'age', extract(epoch FROM clock_timestamp() - backend_start),
        'server_started', extract(epoch FROM pg_postmaster_start_time()),
        'reads_statistics', pg_has_role('pg_read_all_stats', 'usage'))
    FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""


class Database:
    """One session. Every method raises Failure ``server_refused`` with the server's own message and SQLSTATE."""

    def __init__(self, connection: t.Any) -> None:
        self._connection = connection
        # ALTER SYSTEM refuses to run inside a transaction.
        connection.autocommit = True

    def snapshot(self, names: list[str], role: str | None = None, database: str | None = None) -> dict[str, t.Any]:
        """All that is known of the parameters *names*: pg_settings, the files, overrides per role and database.

        ``file_settings`` is None where the login may not read pg_file_settings. ``patroni`` is what shows that Patroni
        manages this server (its ``parameters`` or a ``session``), else None.
        """
        wanted = [name.lower() for name in names]
        parameters = {"names": wanted, "role": role, "database": database, "patroni": _BY_PATRONI}
        try:
            found = self._json(_SERVER.replace("{files}", _FILES), parameters)
        except Failure as failure:
            if failure.details.get("sqlstate") != "42501":  # insufficient_privilege
                raise
            found = self._json(_SERVER.replace("{files}", "NULL"), parameters)
            found["file_settings"] = None
        else:
            found["file_settings"] = found["file_settings"] or []
        for key in ("settings", "overrides", "roles", "databases"):
            found[key] = found[key] or []
        return t.cast("dict[str, t.Any]", found)

    def check_values(self, values: dict[str, str]) -> None:
        """Let the server check *values* by setting them in a transaction that is rolled back."""
        asked = f"setting {', '.join(f'{name} = {value}' for name, value in values.items())}"
        calls = "SELECT pg_catalog.set_config(%s, %s, true); " * len(values)
        with self._cursor(asked) as cursor:
            try:
                # In one message, lest a short idle_in_transaction_session_timeout end this very session.
                cursor.execute(f"BEGIN; {calls}ROLLBACK", [text for pair in values.items() for text in pair])
            except psycopg2.Error:
                self._rollback()
                raise

    def may_alter_system(self, names: list[str]) -> list[str]:
        """Those of *names* that the login may set by ALTER SYSTEM without being superuser (PostgreSQL 15 and newer)."""
        with self._cursor("asking for privileges") as cursor:
            cursor.execute(
                "SELECT name FROM pg_catalog.unnest(%s::text[]) name"
                " WHERE pg_catalog.has_parameter_privilege(name, 'ALTER SYSTEM')",
                (names,),
            )
            return [row[0] for row in cursor.fetchall()]

    def alter_system(self, name: str, value: str | None) -> None:
        """Set *name* in postgresql.auto.conf, or take it out of there where *value* is None."""
        with self._cursor(f"ALTER SYSTEM for {name}") as cursor:
            cursor.execute(_alteration(sql.SQL("ALTER SYSTEM"), name, value))

    def alter_role(
        self, role: str | None, database: str | None, values: dict[str, str | None], rehearse: bool = False
    ) -> None:
        """Set or reset *values* for a *role*, a *database*, or a role in a database; undone at once to *rehearse*."""
        if role is None:
            head = sql.SQL("ALTER DATABASE {}").format(sql.Identifier(str(database)))
        else:
            head = sql.SQL("ALTER ROLE {}").format(sql.Identifier(role))
            if database is not None:
                head = sql.SQL("{} IN DATABASE {}").format(head, sql.Identifier(database))
        place = " in ".join(filter(None, (role and f"role {role}", database and f"database {database}")))
        statements = [_alteration(head, name, value) for name, value in values.items()]
        with self._cursor(f"setting {', '.join(values)} for {place}") as cursor:
            try:
                # In one message, lest a short idle_in_transaction_session_timeout end this very session.
                end = sql.SQL("ROLLBACK" if rehearse else "COMMIT")
                cursor.execute(sql.SQL("; ").join([sql.SQL("BEGIN"), *statements, end]))
            except psycopg2.Error:
                self._rollback()
                raise

    def reload(self) -> None:
        """Ask the server to read its files again; it does so later (see `load_time`)."""
        with self._cursor("pg_reload_conf()") as cursor:
            cursor.execute("SELECT pg_catalog.pg_reload_conf()")

    def load_time(self) -> str:
        """When this session last took a reload. The server signals sessions after it has read the files itself."""
        with self._cursor("pg_conf_load_time()") as cursor:
            cursor.execute("SELECT pg_catalog.pg_conf_load_time()::text")
            return str(cursor.fetchone()[0])

    def session_values(self, names: list[str]) -> dict[str, str]:
        """What *names* are in this session; over TCP the tcp_ parameters are what the kernel has on its socket."""
        with self._cursor("reading this session's settings") as cursor:
            cursor.execute("SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", (names,))
            return dict(cursor.fetchall())

    def own_session(self) -> dict[str, t.Any]:
        """Where this session's socket is as the server sees it, its age in seconds, and what else it may see."""
        return t.cast("dict[str, t.Any]", self._json(_OWN))

    def peer(self) -> int | None:
        """The process that listens at the other end of a Unix socket, as this host numbers it; None if it has none."""
        with socket.socket(fileno=os.dup(self._connection.fileno())) as end:
            if end.family != socket.AF_UNIX or not hasattr(socket, "SO_PEERCRED"):
                return None
            credentials = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid: int = struct.unpack("3i", credentials)[0]
            return pid or None  # 0: in another pid namespace, which is not below this one

    def terminate(self, pid: int, backend_start: str) -> bool:
        """End one session, unless its process id belongs to another one by now, or it is not this login's to end."""
        with self._cursor(f"pg_terminate_backend({pid})") as cursor:
            try:
                cursor.execute(
                    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                    " WHERE pid = %s AND backend_start = %s::timestamptz",
                    (pid, backend_start),
                )
            except psycopg2.Error as error:
                if error.pgcode != "42501":  # insufficient_privilege
                    raise
                return False
            row = cursor.fetchone()
            return bool(row and row[0])

    def try_lock(self) -> bool:
        """Keep every other run of ours off this server until the session ends; False if another one has it."""
        with self._cursor("taking the advisory lock") as cursor:
            cursor.execute("SELECT pg_catalog.pg_try_advisory_lock(%s)", (_LOCK_KEY,))
            if not cursor.fetchone()[0]:
                return False
            cursor.execute(_LOCKED_ELSEWHERE, {"key": _LOCK_KEY})
            if not cursor.fetchone()[0]:
                return True
        self.unlock()
        return False

    def lift_timeouts(self) -> None:
        """Free this session from timeouts that it may have got from the very settings that are to be put back."""
        with self._cursor("lifting this session's timeouts") as cursor:
            cursor.execute("SET statement_timeout TO 0")  # alone, for it might not let anything longer pass
            cursor.execute(
                "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings"
                " WHERE name IN ('lock_timeout', 'idle_session_timeout', 'transaction_timeout')"
            )

    def unlock(self) -> None:
        """Release what `try_lock` took."""
        with self._cursor("releasing the advisory lock") as cursor:
            cursor.execute("SELECT pg_catalog.pg_advisory_unlock(%s)", (_LOCK_KEY,))

    def acknowledge(self) -> None:
        """Over TCP, where the kernel can: acknowledge the last answer at once instead of with the next question."""
        if hasattr(socket, "TCP_QUICKACK"):
            with socket.fromfd(self._connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
                same.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def ask(self, asked: str, query: str, parameters: t.Mapping[str, t.Any] | None = None) -> t.Any:
        """What a *query* for one JSON value returns."""
        with self._cursor(asked) as cursor:
            # As bytes: what configuration files have need not be text in any encoding.
            cursor.execute(f"{_SAFE_PATH} SELECT textsend(({query})::text)", parameters)
            return json.loads(bytes(cursor.fetchone()[0]).decode("utf-8", "replace"))

    def _rollback(self) -> None:
        # A session that has ended by then has been rolled back by the server.
        with contextlib.suppress(psycopg2.Error), self._connection.cursor() as cursor:
            cursor.execute("ROLLBACK")

    def _json(self, query: str, parameters: t.Mapping[str, t.Any] | None = None) -> t.Any:
        return self.ask("reading the server's settings", query, parameters)

    def _cursor(self, asked: str) -> Cursor:
        return Cursor(self._connection, asked)


def _alteration(head: sql.Composable, name: str, value: str | None) -> sql.Composable:
    # A qualified name (pg_stat_statements.max) is an identifier for each part.
    parameter = sql.Identifier(*name.split(".", 1))
    if value is None:
        return sql.SQL("{} RESET {}").format(head, parameter)
    return sql.SQL("{} SET {} TO {}").format(head, parameter, sql.Literal(value))
