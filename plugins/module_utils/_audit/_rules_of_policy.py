# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the policy (PGC14x), a pure room: what the operator wants and what is in force does not promise."""

from __future__ import annotations

import typing as t

from .. import _broken_promises, _plan, _settings
from .._errors import Failure
from .._policy import Policy
from ._host import Host
from ._rule import Found, in_room, policy, rule


@rule("PGC140", "error", "The policy is not kept", policy)
def not_kept(host: Host) -> t.Iterator[Found]:
    for key, rows in _by_key(host).items():
        if key not in _beyond(host):
            yield Found(
                key,
                f"{key} is {rows[0].wanted}, and what is in force promises {_shown(rows)}",
                f"Run {host.hardening} with this {key}.",
            )


@rule("PGC141", "warning", "The server cannot keep the policy", policy)
def cannot_be_kept(host: Host) -> t.Iterator[Found]:
    for key, rows in _by_key(host).items():
        if key in _beyond(host):
            yield Found(
                key,
                f"{key} is {rows[0].wanted}, and what is in force promises {_shown(rows)}: {_beyond(host)[key]}",
                "Upgrade the server or set it where it can be set, or state for this host what it can keep.",
            )


def _by_key(host: Host) -> dict[str, list[_broken_promises.Broken]]:
    """By key of the policy. A server without TCP has sessions of its own host alone, whose ends it always notices."""
    found: dict[str, list[_broken_promises.Broken]] = {}
    for one in _broken_promises.broken(t.cast(Policy, host.policy), host.settings, host.os):
        if host.over_tcp or one.key in _settings.CLOSING:
            found.setdefault(one.key, []).append(one)
    return found


def _beyond(host: Host) -> dict[str, str]:
    """Keys of the policy that this version or platform has no setting for, and why."""
    facts = _plan.Facts(host.major, str(host.server.get("platform") or "linux"))
    try:
        plan = _plan.make(t.cast(Policy, host.policy), facts, ("server",))
    except Failure:
        return {}  # a policy that nothing could keep; harden says so
    reasons = {row.key: f"{row.setting}: {row.reason}" for row in plan.unsupported}
    scope = host.part("hardened", "scope")
    return {**{row["key"]: f"{row['setting']}: {row['reason']}" for row in scope.get("unsupported") or ()}, **reasons}


def _shown(rows: list[_broken_promises.Broken]) -> str:
    return ", ".join(f"{row.promised} ({row.phase.replace('_', ' ')})" if row.phase else row.promised for row in rows)


RULES = in_room(globals())
