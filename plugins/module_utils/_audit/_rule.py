# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rule, a pure room: one thing that an audit looks for."""

from __future__ import annotations

import typing as t

from .._findings import Finding
from ._host import Host


class Found(t.NamedTuple):
    """What a rule's check yields: *where* (short and stable, for `ignore`), *evidence*, *remedy*."""

    where: str
    evidence: str
    remedy: str


Check = t.Callable[[Host], t.Iterator[Found]]
Need = t.Callable[[Host], t.Any]


class Rule(t.NamedTuple):
    """Its stable *id*, the *severity* of what it finds, a *title* for catalogues, what it *needs*, and the *check*."""

    id: str
    severity: str
    title: str
    needs: Need
    check: Check

    def findings(self, host: Host) -> t.Iterator[Finding]:
        """What it finds on *host*."""
        if self.needs(host):
            for found in self.check(host):
                yield Finding(self.id, self.severity, *found)


def rule(id: str, severity: str, title: str, needs: Need) -> t.Callable[[Check], Rule]:
    """Make a rule of a check."""
    return lambda check: Rule(id, severity, title, needs, check)


def in_room(names: t.Mapping[str, t.Any]) -> list[Rule]:
    """The rules among the *names* of a room, in the order of their ids."""
    return sorted((value for value in names.values() if isinstance(value, Rule)), key=lambda one: one.id)


# ---- what rules need


def server(host: Host) -> bool:
    """The server was there."""
    return bool(host.server)


def tcp(host: Host) -> bool:
    """It listens on TCP, on Linux: over a Unix socket TCP's settings do nothing, elsewhere the formulas differ."""
    return host.over_tcp and host.linux


def kernel(host: Host) -> bool:
    """The sysctls that were read are those of the server."""
    return host.kernel_is_ours


def standby(host: Host) -> bool:
    """It is a standby."""
    return bool(host.server.get("in_recovery"))


def policy(host: Host) -> bool:
    """The server was there, and something is wanted of it."""
    return bool(host.server) and host.policy is not None
