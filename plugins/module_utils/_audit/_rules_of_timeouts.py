# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of timeouts (PGC120 to 135), a pure room: the timers of a session beside each other."""

from __future__ import annotations

import math
import typing as t

from .. import _detection, _duration, _promises, _settings
from ._host import Host, in_unit
from ._rule import Found, in_room, rule, server, tcp

_HOUR = 3600
#: Seconds; a fail-over, a live migration or a switch that starts again takes as long.
_HICCUP = 30
#: Milliseconds; a reader that pauses for a moment is not gone.
_PAUSE = 15_000
#: Milliseconds for which poolers keep an unused connection, by their defaults: up to an hour.
_POOLED = 3_600_000
_IDLE_SESSION = "idle_session_timeout"


def _human(milliseconds: float) -> str:
    return _duration.human(milliseconds / 1000)


def _harden(host: Host) -> str:
    return f"Run {host.hardening} with a profile, such as web"


def _keepalive(host: Host) -> tuple[int, int, int]:
    return _settings.effective_keepalive(host.settings, host.os)


def _keepalives(host: Host) -> str:
    return host.shown("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")


@rule("PGC120", "warning", "Keepalive begins after an hour or later", tcp)
def late_keepalive(host: Host) -> t.Iterator[Found]:
    idle = _keepalive(host)[0]
    if idle >= _HOUR:
        yield Found(
            "tcp_keepalives_idle",
            f"{host.shown('tcp_keepalives_idle')}: the first probe comes after {_duration.human(idle)}, and an idle "
            f"session whose client has vanished stays for {_worst(host, 'idle')}",
            f"{_harden(host)}: detect_dead_peer_within and path_idle_limit set the keepalive.",
        )


@rule("PGC121", "warning", "The keepalive interval is longer than the idle time", tcp)
def interval_above_idle(host: Host) -> t.Iterator[Found]:
    idle, interval, _count = _keepalive(host)
    if interval > idle:
        yield Found(
            "tcp_keepalives_interval",
            f"{_keepalives(host)}: in between probes an idle path is silent for {_duration.human(interval)}",
            f"Set tcp_keepalives_interval below tcp_keepalives_idle. {_harden(host)}: it does.",
        )


@rule("PGC122", "warning", "One or two lost probes end a healthy session", tcp)
def few_probes(host: Host) -> t.Iterator[Found]:
    idle, interval, count = _keepalive(host)
    timeout = host.settings.tcp_user_timeout
    probes = math.ceil((timeout / 1000 - idle) / interval) if timeout else count
    if 0 < probes < 3:
        also = f", {host.shown('tcp_user_timeout')}" if timeout else ""
        yield Found(
            "tcp_keepalives_count",
            f"{_keepalives(host)}{also}: a session is given up after {probes} unanswered",
            "Use 3 probes or more: survive_lost_probes and tolerate_outage_of of the policy see to it.",
        )


@rule("PGC123", "warning", "Keepalive gives up within 30 seconds", tcp)
def hasty_keepalive(host: Host) -> t.Iterator[Found]:
    total = _detection.keepalive_seconds(host.settings, host.os)
    if total < _HICCUP and not (host.policy and host.policy.detect_dead_peer_within):
        yield Found(
            "tcp_keepalives_idle",
            f"{_keepalives(host)}: {_duration.human(total)} of silence end an idle session, and a fail-over or a live "
            "migration may take as long",
            f"State tolerate_outage_of in the policy and run {host.hardening}.",
        )


@rule("PGC124", "warning", "tcp_user_timeout is off", tcp)
def no_user_timeout(host: Host) -> t.Iterator[Found]:
    worst = _detection.in_flight(host.settings, host.os)
    if host.value("tcp_user_timeout") == 0 and (worst.seconds or 0) > 300:
        yield Found(
            "tcp_user_timeout",
            f"{host.shown('tcp_user_timeout')}: a client that vanishes before it has acknowledged what was sent is "
            f"noticed after {_duration.human(worst.seconds)} (tcp_retries2 = {host.os.tcp_retries2}), whatever the "
            "keepalive",
            f"{_harden(host)}: detect_dead_peer_within sets tcp_user_timeout.",
        )


@rule("PGC125", "warning", "tcp_user_timeout delays what keepalive would notice", tcp)
def late_user_timeout(host: Host) -> t.Iterator[Found]:
    idle, interval, count = _keepalive(host)
    total, timeout = max(idle, interval) + interval * count, host.settings.tcp_user_timeout
    if timeout > total * 1000:
        yield Found(
            "tcp_user_timeout",
            f"{host.shown('tcp_user_timeout')} is longer than {_keepalives(host)}, {_duration.human(total)} together: "
            f"Linux ignores the count then, and an idle session stays for {_worst(host, 'idle')}",
            "Set tcp_user_timeout to the total of the keepalive; for roles that read slowly there is "
            "slow_reader_roles.",
        )


@rule("PGC126", "warning", "tcp_user_timeout leaves keepalive one probe", tcp)
def early_user_timeout(host: Host) -> t.Iterator[Found]:
    idle, timeout = _keepalive(host)[0], host.settings.tcp_user_timeout
    if 1000 <= timeout <= idle * 1000:
        yield Found(
            "tcp_user_timeout",
            f"{host.shown('tcp_user_timeout')} is not above {host.shown('tcp_keepalives_idle')}: one lost probe "
            "ends an idle session",
            f"Set tcp_user_timeout to the total of the keepalive. {_harden(host)}: it does.",
        )


@rule("PGC127", "info", "tcp_user_timeout replaces the keepalive count", tcp)
def ignored_count(host: Host) -> t.Iterator[Found]:
    idle, interval, count = _keepalive(host)
    timeout = host.settings.tcp_user_timeout
    probes = math.ceil((timeout / 1000 - idle) / interval) if timeout else count
    if 0 < probes < count:
        yield Found(
            "tcp_keepalives_count",
            f"{host.shown('tcp_keepalives_count')}, but {host.shown('tcp_user_timeout')} ends a session after {probes} "
            "unanswered probes: with a user timeout Linux ignores the count",
            "Make both say the same, lest somebody rely on the count.",
        )


@rule("PGC128", "error", "Keepalive begins after the path has forgotten the connection", tcp)
def idle_above_path_limit(host: Host) -> t.Iterator[Found]:
    limit, silence = _path_limit(host), _detection.path_open_seconds(host.settings, host.os)
    if limit and silence * 1000 >= limit:
        yield Found(
            "tcp_keepalives_idle",
            f"{_keepalives(host)}: the first probe comes after up to {_duration.human(silence)}, and "
            f"path_idle_limit is {_human(limit)}",
            f"Run {host.hardening} with this path_idle_limit.",
        )


@rule("PGC129", "warning", "Keepalive leaves no room below the path's limit", tcp)
def idle_above_half(host: Host) -> t.Iterator[Found]:
    limit, silence = _path_limit(host), _detection.path_open_seconds(host.settings, host.os)
    if limit / 2 < _keepalive(host)[0] * 1000 and silence * 1000 < limit:
        yield Found(
            "tcp_keepalives_idle",
            f"{host.shown('tcp_keepalives_idle')} is more than half of path_idle_limit, {_human(limit)}: one lost "
            "probe may be one too many",
            f"Set at most half of the limit. Run {host.hardening} with this path_idle_limit.",
        )


@rule("PGC130", "warning", "Nobody looks for the client while a statement runs", server)
def no_check_interval(host: Host) -> t.Iterator[Found]:
    if host.linux and host.value("client_connection_check_interval") == 0:
        yield Found(
            "client_connection_check_interval",
            f"{host.shown('client_connection_check_interval')}: the statement of a client that is gone runs to "
            "its end, and what waits for a lock still takes it",
            f"{_harden(host)}: stop_orphaned_query_within sets it.",
        )


@rule("PGC131", "warning", "tcp_user_timeout cuts clients that only pause", tcp)
def slow_readers(host: Host) -> t.Iterator[Found]:
    grace = host.policy.slow_reader_grace if host.policy else None
    remedy = f"State slow_reader_grace, and slow_reader_roles for the roles that need it, and run {host.hardening}."
    if grace is None and 1000 <= host.settings.tcp_user_timeout < _PAUSE:
        evidence = (
            f"{host.shown('tcp_user_timeout')}: a client that does not read for so long is cut, a paused COPY too"
        )
        yield Found("tcp_user_timeout", evidence, remedy)
    for role in host.policy.slow_reader_roles if host.policy else ():
        timeout = host.of_role(role).tcp_user_timeout
        if 0 < timeout <= (grace or 0):
            evidence = (
                f"tcp_user_timeout is {_human(timeout)} for a role that may stop reading for {_human(grace or 0)}"
            )
            yield Found(f"tcp_user_timeout, role {role}", evidence, remedy)


@rule("PGC132", "warning", "Idle transactions are never ended", server)
def idle_in_transaction(host: Host) -> t.Iterator[Found]:
    wanted = host.policy.close_idle_in_transaction_after if host.policy else None
    ended = host.settings.transaction_timeout  # idle ones too
    if host.value("idle_in_transaction_session_timeout") == 0 and wanted != 0 and not ended:
        yield Found(
            "idle_in_transaction_session_timeout",
            f"{host.shown('idle_in_transaction_session_timeout')}: a transaction that its client forgot keeps its "
            "locks, and dead rows from being cleaned up",
            f"Run {host.hardening} with close_idle_in_transaction_after, or say off there if that is wanted.",
        )


@rule("PGC133", "warning", "The server closes the connections of a pooler", server)
def pooler_idle_session(host: Host) -> t.Iterator[Found]:
    unit = host.part("settings", _IDLE_SESSION).get("unit")
    for whose, value, way_out in _of_poolers(host):
        timeout = in_unit(value, unit) or 0
        if 0 < timeout <= _POOLED:
            yield Found(
                f"{_IDLE_SESSION}, {whose}" if whose else _IDLE_SESSION,
                f"{_human(timeout)}, and a pooler keeps its unused connections for minutes to an hour: it hands out "
                "what the server has closed",
                f"{way_out}; or set the pooler's server_idle_timeout lower.",
            )


def _of_poolers(host: Host) -> t.Iterator[tuple[str, t.Any, str]]:
    """Whose idle_session_timeout sessions of poolers may have ("" is the server's), the value, and what undoes it.

    A role's own value outranks those of databases and server, and its value in a database outranks all of them. Which
    role an unnamed pooler logs in as is not known: no role's own value is held against it.
    """
    roles = [str(role) for role in host.rows("sessions", "pooler_roles")]
    databases, own, in_databases = (
        host.rows("settings", _IDLE_SESSION, "layers", layer) for layer in ("database", "role", "role_in_database")
    )
    bare = [role for role in roles if role not in [row.get("role") for row in own]]
    if bare or (host.rows("poolers") and not roles):
        exempt = "; ".join(f"ALTER ROLE {role} SET {_IDLE_SESSION} = 0" for role in bare or ["NAME_OF_THE_POOLER"])
        yield "", host.value(_IDLE_SESSION), exempt
        for row in databases:
            yield f"database {row.get('database')}", row.get("value"), exempt
    for row in [*own, *in_databases]:
        if row.get("role") in roles:
            place = f"role {row['role']}" + (f" in database {row['database']}" if row.get("database") else "")
            command = place.replace("role", "ROLE", 1).replace(" in database ", " IN DATABASE ", 1)
            yield place, row.get("value"), f"ALTER {command} SET {_IDLE_SESSION} = 0"


@rule("PGC134", "warning", "authentication_timeout is far from what logins need", server)
def authentication(host: Host) -> t.Iterator[Found]:
    seconds = host.value("authentication_timeout") or 60
    if seconds < 5 or (seconds > 60 and not (host.policy and host.policy.connect_within)):
        yield Found(
            "authentication_timeout",
            f"{host.shown('authentication_timeout')}: a login that hangs keeps its place for twice as long, a slow one "
            "(TLS, LDAP, a busy host) is refused after it",
            f"Run {host.hardening} with connect_within, such as 60s.",
        )


@rule("PGC135", "info", "A timeout is without effect beside transaction_timeout", server)
def beside_transaction_timeout(host: Host) -> t.Iterator[Found]:
    whole = host.settings.transaction_timeout
    for name in ("idle_in_transaction_session_timeout", "statement_timeout"):
        if whole and (host.value(name) or 0) >= whole:
            yield Found(
                name,
                f"{host.shown(name)} is not below {host.shown('transaction_timeout')}, which comes first",
                "Set it below transaction_timeout, or to 0.",
            )


def _path_limit(host: Host) -> int:
    return (host.policy.path_idle_limit if host.policy else None) or 0


def _worst(host: Host, phase: str) -> str:
    return _duration.human(_promises.promise(phase, "peer_vanished", host.settings, host.os).seconds)


RULES = in_room(globals())
