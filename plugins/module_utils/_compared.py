# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compared: what the hardening of a host promises, before and after, in all of the places that it covers."""

from __future__ import annotations

import dataclasses
import math
import typing as t

from . import _broken_promises, _duration, _in_force, _plan, _policy, _promises, _scope, _settings


@dataclasses.dataclass
class Host:
    """What is in force on the host: in the *sessions* of each place that is hardened, and the kernel's values.

    Without a server there are no sessions.
    """

    sessions: list[_settings.Settings]
    os: _settings.OsValues


def promises(
    policy: _policy.Policy,
    before: Host,
    after: Host,
    plan: _plan.Plan,
    scope: _scope.Scope,
    snapshot: dict[str, t.Any] | None,
) -> dict[str, t.Any]:
    """Promises before and after, for the sessions that are hardened and for roles with settings of their own."""
    if not after.sessions or not before.sessions or snapshot is None:
        return {}
    limit = policy.path_idle_limit
    found: dict[str, t.Any] = {
        "before": _rows(before.sessions, before.os, limit),
        "after": _rows(after.sessions, after.os, limit),
        "roles": {},
    }
    others = after.sessions[0] if scope.whole or scope.databases else _in_force.settings(snapshot)
    for role, settings in plan.roles.items():
        timeout = _duration.parse("tcp_user_timeout", settings["tcp_user_timeout"])
        base = after.sessions[list(scope.settings).index((role, None))] if role in scope.roles else others
        own = dataclasses.replace(base, tcp_user_timeout=timeout)
        found["roles"][role] = _rows([own], after.os, limit)
    return found


def _rows(sessions: list[_settings.Settings], kernel: _settings.OsValues, limit: int | None) -> list[dict[str, t.Any]]:
    """The worst of each promise, where sessions of several places have different ones."""
    tables = [_promises.promises(settings, kernel, limit) for settings in sessions]
    return [max(same, key=_lateness).as_dict() for same in zip(*tables)]


def _lateness(promise: _promises.Promise) -> float:
    return math.inf if promise.bound is None else promise.bound


def not_kept(policy: _policy.Policy, after: Host) -> list[dict[str, t.Any]]:
    """Keys of the policy that sessions of any of the places do not keep."""
    rows = [row for settings in after.sessions for row in _broken_promises.broken(policy, settings, after.os)]
    return [row._asdict() for row in {(row.key, row.phase): row for row in reversed(rows)}.values()][::-1]
