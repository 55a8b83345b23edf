# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of failover, a pure room: whether who is in front of a cluster keeps step with what makes a new leader."""

from __future__ import annotations

import typing as t

from .. import _duration
from .._detection import silent
from .._findings import Finding
from ._hops import Checks, Failover, Hop, Path

#: What Patroni answers with 200 for whatever member runs, or for each member.
_ANY_MEMBER = ("/health", "/liveness", "/readiness", "/patroni", "/cluster", "/config", "/history", "/metrics")


def findings(path: Path) -> t.Iterator[Finding]:
    """What is wrong with *path* where its server is a cluster with failover; nothing where none is known of."""
    failover = path.hops[-1].failover
    if failover is None:
        return
    for hop in path.hops:
        for checks in hop.checks:
            if checks.servers > 1 and checks.kind != "other":
                yield from _of_checks(hop, checks, failover)
    if len(path.hops) == 2:
        for name, keywords in path.hops[0].services.items():
            yield from _of_list(f"{path.hops[0].label}, service {name}", keywords, failover)


def _of_checks(hop: Hop, checks: Checks, failover: Failover) -> t.Iterator[Finding]:
    where = f"{hop.label}, {checks.section}"
    blind = _blind(checks, failover)
    if blind:
        yield Finding(
            "PGC412",
            "error",
            where,
            f"{checks.servers} servers, and {blind}: connections reach standbys too, or nobody",
            f"Let {failover.manager} answer the check: 'option httpchk OPTIONS /primary', 'http-check expect status "
            f"200', and 'check port {failover.api_port or 8008}' for each server.",
        )
        return
    if not checks.ends_sessions:
        rule = silent(hop.server_side.settings(), hop.os) if hop.server_side and hop.server_side.keepalive else None
        kept = _duration.human(rule.bound) if rule and rule.bound else "for ever"
        yield Finding(
            "PGC411",
            "warning",
            where,
            f"it keeps the sessions of a server that it has marked down: one of a leader that has vanished stays "
            f"({kept}) though the check would know after {_seconds(checks.down_after)}",
            "Add 'on-marked-down shutdown-sessions' to default-server, or to each server.",
        )
    if checks.down_after > failover.soonest:
        yield Finding(
            "PGC413",
            "warning",
            where,
            f"it marks a leader that has vanished down after {_seconds(checks.down_after)} at worst (fall "
            f"{checks.fall}, each with inter {_seconds(checks.interval)} and a wait of {_seconds(checks.patience)}), "
            f"and {failover.manager} may have made another one after {_seconds(failover.soonest)} (ttl less "
            "loop_wait): new connections go to both until then",
            "Lower inter, or fall.",
        )
    yield Finding(
        "PGC414",
        "info",
        where,
        f"when the leader vanishes, there is another one after {_seconds(failover.latest)} at worst (ttl, loop_wait, "
        f"and 2 s for the vote), and it is used {_seconds(checks.up_after)} later (rise x inter); after a switchover "
        "the old leader, which is a standby then, may get new connections for "
        f"{_seconds(checks.demoted_after)} (fall x inter)",
        f"Let applications try again for longer than {_seconds(failover.latest + checks.up_after)}, also after "
        "'cannot execute ... in a read-only transaction'.",
    )


def _blind(checks: Checks, failover: Failover) -> str:
    """Why the check cannot tell the leader; empty if it can, or asks on purpose for another kind of member."""
    if checks.kind == "none":
        return "they are not checked"
    if checks.kind == "tcp":
        return "the check only sees whether they accept connections, which standbys do as well"
    if checks.kind == "pgsql":
        return "option pgsql-check only sees whether PostgreSQL answers, which standbys do as well"
    others = [str(port) for port in checks.ports if failover.api_port and port != failover.api_port]
    if others:
        return (
            f"the check asks port {', '.join(others)}, and {failover.manager}'s REST API listens on {failover.api_port}"
        )
    if checks.uri.partition("?")[0].rstrip("/") in _ANY_MEMBER:
        return f"the check asks for {checks.uri}, which standbys answer as the leader does"
    return ""


def _of_list(where: str, keywords: t.Mapping[str, str], failover: Failover) -> t.Iterator[Finding]:
    """libpq tries one host after the other."""
    given = keywords.get("connect_timeout", "").strip()
    if given in ("", "0") or given.startswith("-"):
        yield Finding(
            "PGC415",
            "warning",
            where,
            "it names several hosts and no connect_timeout: where the first one has vanished, each attempt waits for "
            f"it for over two minutes, though {failover.manager} has another leader after {_seconds(failover.latest)}",
            "Set connect_timeout; it counts for each host.",
        )
    if keywords.get("target_session_attrs", "any").strip() == "any":
        yield Finding(
            "PGC416",
            "warning",
            where,
            "it names several hosts and no target_session_attrs: the first one that answers is taken, be it a standby",
            "Set target_session_attrs=read-write, or what the application needs.",
        )


def _seconds(milliseconds: int) -> str:
    return _duration.human(milliseconds / 1000)
