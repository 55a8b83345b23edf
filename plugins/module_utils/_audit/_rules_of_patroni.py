# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of Patroni (PGC8xx), a pure room: where a member differs from what its cluster is configured to be."""

from __future__ import annotations

import posixpath
import typing as t

from ._host import Host, in_unit, line_of
from ._rule import Found, in_room, rule

_AUTO = "postgresql.auto.conf"


def _member(host: Host) -> bool:
    """It is a member of a cluster, and that could be asked."""
    return bool(host.part("patroni").get("cluster"))


def _says(host: Host, name: str) -> str:
    """What the cluster's configuration has, in words."""
    value = host.part("patroni", "parameters").get(name)
    return "which the cluster's configuration does not have" if value is None else f"where the cluster has {value}"


@rule("PGC801", "warning", "ALTER SYSTEM on one member outranks its cluster's configuration", _member)
def altered(host: Host) -> t.Iterator[Found]:
    for name in host.part("settings"):
        lines = [
            row
            for row in host.rows("settings", name, "layers", "file")
            if posixpath.basename(str(row.get("sourcefile"))) == _AUTO
        ]
        if lines:
            yield Found(
                name,
                f"{name} = {lines[-1].get('value')} ({line_of(lines[-1])}), {_says(host, name)}; the other members do "
                "not have this line, and a failover changes the value",
                f"ALTER SYSTEM RESET {name} here, and pgharden.connection.patroni for the cluster.",
            )


@rule("PGC802", "warning", "A member's own configuration outranks its cluster's", _member)
def local(host: Host) -> t.Iterator[Found]:
    cluster = host.part("patroni", "parameters")
    for name, row in host.part("patroni", "local").items():
        unit = host.part("settings", name).get("unit")
        own, wanted = row.get("value"), cluster.get(name)
        numbers = in_unit(own, unit), in_unit(wanted, unit)
        if wanted is not None and own != wanted and (None in numbers or numbers[0] != numbers[1]):
            yield Found(
                name,
                f"{name} = {own} ({line_of(row)}), {_says(host, name)}",
                "Take it out of postgresql.parameters there and reload Patroni, unless this member is to be different.",
            )


@rule("PGC803", "warning", "A member waits for a restart through Patroni", _member)
def pending_restart(host: Host) -> t.Iterator[Found]:
    for row in host.rows("patroni", "cluster", "members"):
        if row.get("own") and row.get("pending_restart"):
            reasons = [_reason(name, one) for name, one in (row.get("pending_restart_reason") or {}).items()]
            yield Found(
                f"member {row.get('name')}",
                f"Patroni has set its flag{': ' if reasons else ''}{', '.join(reasons)}; a failover brings the new "
                "value at a time that nobody chose",
                "patronictl restart at a quiet time: of max_connections and its like, a higher value on the standbys "
                "first, a lower one on the leader first.",
            )


def _reason(name: str, change: t.Any) -> str:
    if not isinstance(change, t.Mapping):
        return str(name)
    return f"{name} from {change.get('old_value')} to {change.get('new_value')}"


@rule("PGC804", "info", "Patroni could not be asked", lambda host: host.part("patroni").get("reason"))
def not_asked(host: Host) -> t.Iterator[Found]:
    yield Found(
        "patroni",
        f"{host.part('patroni')['reason']}; what differs on this member from its cluster was not judged",
        "Run the audit as root, with PyYAML there, while Patroni runs.",
    )


RULES = in_room(globals())
