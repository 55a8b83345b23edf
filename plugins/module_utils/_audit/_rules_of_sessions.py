# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of sessions (PGC3xx), a pure room: the open ones, and how those before them ended."""

from __future__ import annotations

import typing as t

from .. import _duration
from ._host import Facts, Host, number_of
from ._rule import Found, in_room, rule, server

#: So many are named in the evidence.
_NAMED = 3
#: Of the connections that are there for everybody.
_NEARLY_ALL = 0.8
#: Counters say something from so many sessions on, where so large a share ended otherwise than by a goodbye.
_SESSIONS, _SHARE = 100, 0.05


def _notable(host: Host, reason: str) -> tuple[int, list[dict[str, t.Any]]]:
    """How many sessions were worth a look for that reason, and those of them that are shown."""
    rows = [row for row in host.rows("sessions", "notable", "rows") if reason in (row.get("reasons") or ())]
    return number_of(host.part("sessions", "notable", "counts").get(reason)) or len(rows), rows


def _named(row: Facts) -> str:
    parts = [f"pid {row.get('pid')}", f"role {row.get('role')}", f"database {row.get('database')}"]
    if row.get("application_name"):
        parts.append(str(row["application_name"]))
    if row.get("client_addr"):
        parts.append(f"from {row['client_addr']}")
    return ", ".join(parts)


def _since(row: Facts) -> str:
    seconds = row.get("seconds")
    return "" if seconds is None else f", for {_duration.human(float(seconds))}"


def _evidence(row: Facts) -> str:
    return f": {row.get('evidence')}"


def _listed(rows: list[str], count: int) -> str:
    more = f", and {count - _NAMED} more" if count > _NAMED else ""
    return "; ".join(rows[:_NAMED]) + more


@rule("PGC301", "warning", "Open sessions run on old socket options", server)
def stale(host: Host) -> t.Iterator[Found]:
    rows = host.rows("sessions", "stale")
    if rows:
        shown = _listed([_named(row) + _evidence(row) for row in rows], len(rows))
        end = f"SELECT pg_terminate_backend({rows[0].get('pid')})"
        if not host.part("patroni"):
            end = f"run pgharden.connection.harden with terminate_stale_sessions, or {end}"
        yield Found(
            "sessions",
            f"{len(rows)}: {shown}",
            f"They take a reload with their client's next message, and never if that is gone: {end}.",
        )


@rule("PGC302", "info", "Sessions have been idle for hours", server)
def idle(host: Host) -> t.Iterator[Found]:
    yield from _of_reason(
        host,
        "idle",
        "Close them where they come from (a pool's idle timeout), or harden their role with close_idle_session_after.",
    )


@rule("PGC303", "warning", "Sessions are idle in transaction for minutes", server)
def idle_in_transaction(host: Host) -> t.Iterator[Found]:
    yield from _of_reason(
        host,
        "idle_in_transaction",
        f"Correct the application; {host.hardening} with close_idle_in_transaction_after ends them.",
    )


@rule("PGC304", "error", "A session waits for a lock of one whose client does not answer", server)
def blocked_by_silent(host: Host) -> t.Iterator[Found]:
    _count, blocked = _notable(host, "blocked")
    silent = {row.get("pid"): row for row in _notable(host, "silent")[1]}
    for pid, holder in silent.items():
        waiting = [_named(row) for row in blocked if pid in (row.get("blocked_by") or ())]
        if waiting:
            yield Found(
                "sessions",
                f"{_named(holder)} holds the lock, {holder.get('evidence')}; {_listed(waiting, len(waiting))} "
                f"{'wait' if len(waiting) > 1 else 'waits'} for it",
                f"End it: SELECT pg_terminate_backend({pid}). {host.hardening} bounds how long it stays next time.",
            )


@rule("PGC305", "warning", "The clients of sessions do not answer", server)
def silent(host: Host) -> t.Iterator[Found]:
    yield from _of_reason(
        host, "silent", f"Run pgharden.connection.diagnose; {host.hardening} bounds for how long they stay.", _evidence
    )


@rule("PGC306", "info", "The clients of sessions do not read", server)
def not_reading(host: Host) -> t.Iterator[Found]:
    yield from _of_reason(
        host,
        "not_reading",
        "tcp_user_timeout ends them, healthy or not: state slow_reader_grace and slow_reader_roles in the policy.",
        _evidence,
    )


@rule("PGC307", "warning", "Nearly all connections are in use", server)
def nearly_full(host: Host) -> t.Iterator[Found]:
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    most, *reserved = (number_of(host.part("settings", name, "layers", "session").get("value")) or 0 for name in names)
    total = number_of(host.part("sessions").get("total")) or 0
    if most and total >= _NEARLY_ALL * (most - sum(reserved)):
        idle_ones = number_of(host.part("sessions").get("idle")) or 0
        yield Found(
            "max_connections",
            f"{total} sessions, {idle_ones} of them idle, of {most - sum(reserved)} that "
            f"max_connections = {most} leaves",
            f"Pool connections (profile pooled); {host.hardening} keeps vanished clients from taking the rest.",
        )


@rule("PGC308", "warning", "Many sessions end without a goodbye", server)
def abandoned(host: Host) -> t.Iterator[Found]:
    yield from _of_counter(
        host,
        "sessions_abandoned",
        "lost their client",
        "Run pgharden.connection.diagnose: clients that exit without closing are noise, lost paths are not.",
    )


@rule("PGC309", "warning", "Many sessions end by a fatal error", server)
def fatal(host: Host) -> t.Iterator[Found]:
    yield from _of_counter(
        host,
        "sessions_fatal",
        "ended by a fatal error: a timeout of the server, or a client lost while a statement ran",
        "Run pgharden.connection.diagnose; the server's log has a line for each.",
    )


@rule("PGC310", "info", "Many sessions are ended by an administrator", server)
def killed(host: Host) -> t.Iterator[Found]:
    yield from _of_counter(
        host,
        "sessions_killed",
        "were ended by pg_terminate_backend or a shutdown",
        "Look for the job that does so; timeouts of the server (close_idle_session_after) tell the client why.",
    )


def _of_reason(host: Host, reason: str, remedy: str, more: t.Callable[[Facts], str] = _since) -> t.Iterator[Found]:
    """The sessions that were worth a look for *reason*, each with what there is *more* to say of it."""
    count, rows = _notable(host, reason)
    if rows:
        yield Found("sessions", f"{count}: {_listed([_named(row) + more(row) for row in rows], count)}", remedy)


def _of_counter(host: Host, counter: str, what: str, remedy: str) -> t.Iterator[Found]:
    for row in host.rows("sessions", "databases"):
        count, sessions = number_of(row.get(counter)) or 0, number_of(row.get("sessions")) or 0
        if sessions >= _SESSIONS and count >= _SHARE * sessions:
            since = f" since {row['stats_reset']}" if row.get("stats_reset") else ""
            share = f"{count} of {sessions} sessions ({100 * count / sessions:.0f} %){since}"
            yield Found(f"database {row.get('datname')}", f"{share} {what}", remedy)


RULES = in_room(globals())
