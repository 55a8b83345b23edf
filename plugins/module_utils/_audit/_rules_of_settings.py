# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of settings (PGC101 to 111), a pure room: what decides about a setting, and what is no setting at all."""

from __future__ import annotations

import typing as t

from .. import _plan
from .._settings import KERNEL_LIMITS
from ._host import ALL_ROLES, Facts, Host, in_unit, line_of
from ._rule import Found, in_room, rule, server, tcp

#: In milliseconds, where a bare number looks like seconds. No session lives with less than a second of these.
_IN_MILLISECONDS = (
    "tcp_user_timeout",
    "client_connection_check_interval",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "wal_sender_timeout",
    "wal_receiver_timeout",
)
#: Lines that initdb and Debian's pg_createcluster put into postgresql.conf; None is any value. Nobody has chosen them.
_INSTALLED = {"max_connections": "100", "lc_messages": None, "log_line_prefix": "%m [%p] %q%u@%d "}
_PROTECTING = ("tcp_keepalives_idle", "tcp_user_timeout", "client_connection_check_interval")
#: Parameters that an older server does not know.
_SINCE = {
    **_plan.SINCE,
    "reserved_connections": 16,
    "idle_replication_slot_timeout": 18,
    "wal_sender_shutdown_timeout": 19,
}


def _harden(host: Host) -> str:
    return f"Run {host.hardening} with a profile, such as web"


@rule("PGC101", "warning", "A line of a configuration file loses to another one", server)
def shadowed(host: Host) -> t.Iterator[Found]:
    for name in host.part("settings"):
        row, lines = host.part("settings", name), host.rows("settings", name, "layers", "file")
        chosen = lines[1:] if lines and _is_installed(name, lines[0]) else lines
        losers = [_line(line) for line in chosen if not _is_base(line) and not _same(line, lines[-1], row.get("unit"))]
        if losers:
            by = _line(lines[-1])
            yield Found(
                name,
                f"{', '.join(losers)}: loses to {by}, which is read later",
                "Keep one of the lines. One made by ALTER SYSTEM goes with ALTER SYSTEM RESET.",
            )
        for shadow in host.rows("settings", name, "shadowed_by"):
            # Patroni writes what it passes on the command line into the file as well.
            agrees = bool(lines) and _same(shadow, lines[-1], row.get("unit")) and shadow.get("kind") == "command line"
            if shadow.get("kind") in ("command line", "environment variable", "override") and not agrees:
                yield Found(
                    name,
                    f"{host.spelled(name, shadow.get('value'))} ({shadow['kind']}): what the files say does not count",
                    "Change it where the server is started (its unit, a container's arguments, Patroni's "
                    "configuration).",
                )


def _is_base(line: Facts) -> bool:
    """Whether it is in the file of initdb that Patroni moves aside and includes first: all that it writes wins."""
    return str(line.get("sourcefile")).endswith("/postgresql.base.conf")


def _is_installed(name: str, line: Facts) -> bool:
    """Whether that line is as it was before anybody had touched the file."""
    wrote = name in _INSTALLED and _INSTALLED[name] in (None, line.get("value"))
    return wrote and str(line.get("sourcefile")).endswith("/postgresql.conf")


def _line(line: Facts) -> str:
    return f"{line_of(line)} ({line.get('value')})"


def _same(line: Facts, winner: Facts, unit: t.Any) -> bool:
    one, other = in_unit(line.get("value"), unit), in_unit(winner.get("value"), unit)
    return bool(line.get("value") == winner.get("value") or (one is not None and one == other))


@rule("PGC102", "info", "Single roles or databases have values of their own", server)
def overridden(host: Host) -> t.Iterator[Found]:
    for name in host.part("settings"):
        own = [f"{value} for {whose}" for whose, value in host.overrides(name)]
        if own:
            yield Found(
                name,
                f"{host.outranked(name)}, but {', '.join(own)}",
                "Nothing, if that is wanted. slow_reader_roles of the policy makes such overrides; any other goes with "
                "ALTER ROLE name RESET or ALTER DATABASE name RESET.",
            )


@rule("PGC103", "warning", "A role or database has a protection switched off", server)
def switched_off(host: Host) -> t.Iterator[Found]:
    for name in _PROTECTING:
        for where, value, shown in host.everywhere(name):
            if where != name and value == 0 and host.value(name):
                yield Found(
                    where,
                    f"{shown}: without the protection that other sessions have, {host.shown(name)}",
                    "Take the override away (module server_settings with role or database), or give it a longer time.",
                )


@rule("PGC104", "error", "A timeout is below a second: its unit is missing", server)
def wrong_unit(host: Host) -> t.Iterator[Found]:
    for name in _IN_MILLISECONDS:
        for where, value, shown in host.everywhere(name):
            if 0 < value < 1000 and not _has_unit(host, name, where):
                yield Found(
                    where,
                    f"{shown}: a number without a unit is in milliseconds",
                    f"Write the unit, as in {value}s. {_harden(host)}: it does.",
                )


def _has_unit(host: Host, name: str, where: str) -> bool:
    """Whether the value there was written with its unit: who writes 500ms means it."""
    written = {f"{name}, {whose}": text for whose, text in host.overrides(name)}
    lines = [str(row.get("value")) for row in host.rows("settings", name, "layers", "file") if row.get("applied")]
    written[name] = written.get(f"{name}, {ALL_ROLES}") or (lines or [""])[-1]
    return written[where][-1:].isalpha()


@rule("PGC105", "error", "A keepalive value is above what the kernel takes", tcp)
def above_kernel_limit(host: Host) -> t.Iterator[Found]:
    for name, limit in KERNEL_LIMITS.items():
        for where, value, shown in host.everywhere(name):
            if value > limit:
                yield Found(
                    where,
                    f"{shown}: Linux takes no more than {limit} and keeps its own value; all that tells is a line in "
                    "the log for each connection",
                    f"Set {limit} or less. {_harden(host)}: it does.",
                )


@rule("PGC106", "warning", "A setting waits for a restart", server)
def pending_restart(host: Host) -> t.Iterator[Found]:
    for name in map(str, host.rows("server", "pending_restart")):
        row, session = host.part("settings", name), host.part("settings", name, "layers", "session")
        both = f": {row.get('value')} instead of {session.get('value')}" if row else ""
        yield Found(
            name,
            f"its new value is in the files, and the old one is in force until the server is restarted{both}",
            "Restart the server at a quiet time, or take the change back.",
        )


@rule("PGC107", "error", "A line in error makes a reload apply nothing", server)
def fatal_line(host: Host) -> t.Iterator[Found]:
    for line, since in _errors(host, fatal=True):
        if not since:
            yield Found(
                line_of(line),
                f"{line.get('name') or 'the line'}: {line.get('error')}; a reload ignores all of the files, a restart "
                "fails",
                "Correct the line, then reload.",
            )


@rule("PGC108", "error", "A parameter is for a newer version of PostgreSQL", server)
def unknown_parameter(host: Host) -> t.Iterator[Found]:
    for line, since in _errors(host, fatal=True):
        if since:
            yield Found(
                line_of(line),
                f"{line['name']} came with PostgreSQL {since}, the server has {host.major}; a reload ignores all of "
                "the files, a restart fails",
                f"Take the line out. {_harden(host)}: it writes what the version knows.",
            )


@rule("PGC109", "error", "A line in error is left out", server)
def bad_value(host: Host) -> t.Iterator[Found]:
    waiting = host.rows("server", "pending_restart")
    for line, _since in _errors(host, fatal=False):
        if line.get("name") not in waiting:
            yield Found(
                line_of(line),
                f"{line.get('name')}: {line.get('error')}; a reload leaves it out, a restart fails if the value is "
                "wrong",
                "Correct the value, then reload.",
            )


def _errors(host: Host, *, fatal: bool) -> t.Iterator[tuple[Facts, int]]:
    """Lines in error, with the major version that brought the parameter if that is what is wrong."""
    for line in host.rows("server", "configuration_errors"):
        since = _SINCE.get(str(line.get("name")), 0)
        if bool(line.get("fatal")) is fatal:
            yield line, since if since > host.major else 0


@rule("PGC110", "warning", "The files were edited and not loaded", server)
def not_loaded(host: Host) -> t.Iterator[Found]:
    doubtful = [line.get("name") for line in host.rows("server", "configuration_errors")]
    doubtful += host.rows("server", "pending_restart")
    for name in host.part("settings"):
        row, session = host.part("settings", name), host.part("settings", name, "layers", "session")
        lines = host.part("settings", name, "layers").get("file")
        # a default that no line is about may be one that the server has worked out
        judged = session.get("source") == "configuration file" or (lines and session.get("source") == "default")
        both = row.get("value"), session.get("value")
        judged = judged and not row.get("place")  # it is a database's or role's, which needs no loading
        if judged and lines is not None and name not in doubtful and None not in both and both[0] != both[1]:
            yield Found(
                name,
                f"{host.shown(name)} by the files, and new sessions have {host.spelled(name, session['value'])}",
                "Reload the server: SELECT pg_reload_conf().",
            )


@rule("PGC111", "error", "A session does not get what is configured", tcp)
def not_effective(host: Host) -> t.Iterator[Found]:
    effective = host.part("effective")
    for name, got in (effective.get("settings") or {}).items():
        wanted = host.part("settings", name, "layers", "session").get("value")
        number = in_unit(wanted, None)
        if not number or number > KERNEL_LIMITS.get(name, number) or str(got) == str(wanted):
            continue
        yield Found(
            name,
            f"{host.spelled(name, wanted)} is configured, and a fresh session over TCP through "
            f"{effective.get('host')} has {host.spelled(name, got)}",
            "See the server's log for setsockopt, and whether a pooler or proxy is in between.",
        )


RULES = in_room(globals())
