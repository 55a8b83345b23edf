# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strain, a pure room: whether a host was short of processor, memory or I/O, and so answered late."""

from __future__ import annotations

import typing as t

from .._errors import Failure

#: PSI above this share of time (per cent, over a minute), a run queue longer than so many a processor, or less memory
#: than so much (per cent) delay answers.
PRESSED, QUEUED, SCARCE = 20.0, 2.0, 5.0
#: A look is of the minute before it; it counts for what happened so many seconds before or after.
_NEAR = 60.0

Row = t.Mapping[str, t.Any]


def reasons(look: Row) -> list[str]:
    """What of a look at a host makes it answer late, in words; empty if nothing does."""
    found = [
        f"processes waited for {name} {share:.0f} % of the last minute"
        for name, share in look.get("pressure", {}).items()
        if share >= PRESSED
    ]
    queue, memory = look.get("run_queue", 0.0), look.get("memory_available", 100.0)
    if queue >= QUEUED:
        found.append(f"the run queue is {queue:.1f} processes a processor long")
    if memory < SCARCE:
        found.append(f"{memory:.1f} % of its memory are available")
    return found


class Look(t.NamedTuple):
    """What a look at a client's host showed: *reasons* as above."""

    at: float
    addresses: frozenset[str]
    reasons: tuple[str, ...]


def looks(rows: t.Iterable[Row]) -> list[Look]:
    """Looks at clients' hosts, as a user gives them. An address that several hosts have, as bridges do, tells none.

    Raises Failure ``bad_client_hosts`` for what is none.
    """
    found = []
    for row in rows:
        try:
            addresses = frozenset(map(str, list(row["addresses"])))
            found.append(Look(float(row["at"]), addresses, tuple(reasons(row))))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise Failure(
                "bad_client_hosts",
                f"client_hosts: a look with {', '.join(map(str, row)) or 'nothing'}",
                "a look at a client's host needs its addresses, and what this module returned there as host",
                "Give what this module returns in host on the client's host.",
            ) from None
    hosts: dict[str, set[frozenset[str]]] = {}
    for look in found:
        for address in look.addresses:
            hosts.setdefault(address, set()).add(look.addresses)
    return [look._replace(addresses=frozenset(one for one in look.addresses if len(hosts[one]) == 1)) for look in found]


def meanwhile(rows: t.Sequence[Look], addresses: t.Collection[str], time: float | None) -> list[str] | None:
    """What made the host with one of these addresses answer late at that time; None if nobody has looked."""
    near = [
        look
        for look in rows
        if not look.addresses.isdisjoint(addresses) and time is not None and abs(look.at - time) <= _NEAR
    ]
    return list(dict.fromkeys(reason for look in near for reason in look.reasons)) if near else None
