# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of replication (PGC5xx), a pure room: senders, receivers, slots, and how a standby connects."""

from __future__ import annotations

import re
import typing as t

from ._host import Facts, Host, number_of
from ._rule import Found, in_room, rule, server, standby

_CONNINFO = (
    "Add keepalives_idle, keepalives_interval, keepalives_count, tcp_user_timeout and connect_timeout: "
    "the filter pgharden.connection.client_parameters gives them for a policy."
)
_CONNINFO_OF_PATRONI = (
    "Patroni writes it and has no place for them: harden the kernel of this host (pgharden.connection.harden with "
    "layers: [os]), and set wal_receiver_timeout (detect_dead_standby_within) for the cluster."
)
_KEEPALIVES = ("keepalives_idle", "keepalives_interval", "keepalives_count")


def _replication(host: Host) -> str:
    return f"Run {host.hardening} with profile replication (detect_dead_standby_within)."


def _conninfo(host: Host) -> dict[str, t.Any] | None:
    """The keywords of primary_conninfo that concern TCP; None where it is empty, not readable, or a Unix socket's."""
    found = host.part("replication").get("primary_conninfo")
    return None if not found or found.get("unix_socket") else dict(found)


@rule("PGC501", "info", "primary_conninfo leaves a standby to the kernel's timers", standby)
def bare_conninfo(host: Host) -> t.Iterator[Found]:
    found = _conninfo(host)
    if found is None:
        return
    missing = [name for name in ("tcp_user_timeout", "connect_timeout") if not number_of(found.get(name))]
    if str(found.get("keepalives", "1")) == "0":
        missing.append("keepalives (they are switched off)")
    elif "keepalives_idle" not in found and host.os.tcp_keepalive_time >= 3600:
        missing.append("keepalives_idle")
    if missing:
        yield Found(
            "primary_conninfo",
            f"without {', '.join(missing)}: a primary that has vanished is noticed by "
            f"{host.shown('wal_receiver_timeout')} once WAL streams, and while connecting by the kernel alone",
            _CONNINFO_OF_PATRONI if host.part("patroni") else _CONNINFO,
        )


@rule("PGC502", "error", "primary_conninfo has a keepalive of 0", standby)
def zero_conninfo(host: Host) -> t.Iterator[Found]:
    found = _conninfo(host) or {}
    zero = [f"{name}=0" for name in _KEEPALIVES if str(found.get(name)) == "0"]
    if zero and str(found.get("keepalives", "1")) != "0":
        yield Found(
            "primary_conninfo",
            f"{', '.join(zero)}: on Linux libpq then cannot connect (setsockopt: Invalid argument), whatever the "
            "manual says",
            "Leave them out to have the system's defaults.",
        )


@rule("PGC503", "warning", "wal_sender_timeout is off", server)
def no_sender_timeout(host: Host) -> t.Iterator[Found]:
    for where, value, shown in host.everywhere("wal_sender_timeout"):
        if value == 0:
            yield Found(
                where, f"{shown}: a standby that has vanished keeps its sender, and its slot in use", _replication(host)
            )


@rule("PGC504", "warning", "wal_receiver_timeout is off", server)
def no_receiver_timeout(host: Host) -> t.Iterator[Found]:
    if host.value("wal_receiver_timeout") == 0:
        yield Found(
            "wal_receiver_timeout",
            f"{host.shown('wal_receiver_timeout')}: a standby waits for a primary that has vanished, and does not "
            "connect to the next one",
            _replication(host),
        )


@rule("PGC505", "info", "A standby reports no sooner than the sender gives it up", server)
def rare_status(host: Host) -> t.Iterator[Found]:
    status, timeout = host.value("wal_receiver_status_interval"), host.value("wal_sender_timeout")
    if status is not None and timeout and (status == 0 or status * 1000 >= timeout):
        yield Found(
            "wal_receiver_status_interval",
            f"{host.shown('wal_receiver_status_interval')} beside {host.shown('wal_sender_timeout')}: only the "
            "sender's question after half of its timeout keeps the standby connected",
            "Set wal_receiver_status_interval to a third of wal_sender_timeout or less.",
        )


@rule("PGC506", "warning", "A replication slot is not in use", server)
def inactive_slot(host: Host) -> t.Iterator[Found]:
    for slot in host.rows("replication", "slots"):
        if not (slot.get("active") or slot.get("synced") or _kept_for_failover(host, slot)):
            yield Found(
                f"slot {slot.get('slot_name')}",
                f"{slot.get('slot_type')}, nobody reads from it, and {_kept(slot)}",
                "Bring its standby or subscriber back, or drop it: SELECT pg_drop_replication_slot. "
                "max_slot_wal_keep_size and idle_replication_slot_timeout (18) bound what it costs.",
            )


def _kept(slot: Facts) -> str:
    """What a slot costs, in words."""
    kept = number_of(slot.get("retained_bytes"))
    if slot.get("wal_status") == "lost":
        return "the WAL that its reader would need is gone: it is of no use any more"
    if kept is None:
        return "no WAL is kept for it so far"
    return f"the server keeps WAL for it, {kept // 1024**2} MB so far"


def _kept_for_failover(host: Host, slot: Facts) -> bool:
    """Whether it is one that Patroni has on a standby for another member, and moves on as that receives WAL."""
    names = [_slot_of(str(row.get("name"))) for row in host.rows("patroni", "cluster", "members")]
    return standby(host) and slot.get("slot_type") == "physical" and slot.get("slot_name") in names


def _slot_of(member: str) -> str:
    """The name that Patroni gives to a member's slot."""
    return re.sub(r"[^a-z0-9_]", lambda c: "_" if c[0] in "-." else f"u{ord(c[0]):04d}", member.lower())[:63]


@rule("PGC507", "warning", "A standby receives no WAL from its primary", standby)
def no_receiver(host: Host) -> t.Iterator[Found]:
    replication = host.part("replication")
    if replication.get("primary_conninfo") is not None and not replication.get("receiver"):
        yield Found(
            "primary_conninfo",
            "it is set, and no WAL receiver runs",
            "See the standby's log for why it cannot connect.",
        )


@rule("PGC508", "warning", "A standby does not answer", server)
def silent_standby(host: Host) -> t.Iterator[Found]:
    for row in host.rows("replication", "standbys"):
        if row.get("evidence"):
            yield Found(
                f"standby {row.get('application_name') or row.get('client_addr')}",
                f"{row['evidence']}; {host.shown('wal_sender_timeout')}",
                _replication(host),
            )


RULES = in_room(globals())
