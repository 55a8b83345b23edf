# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan, a pure room: policy and facts of a host to the settings of each layer, and what cannot be kept there and why.

A layer is one entry of `LAYERS`: a function from policy, timers and facts to the settings of that place. Adding
``client`` or ``pgbouncer`` adds an entry and changes nothing here.
"""

from __future__ import annotations

import dataclasses
import typing as t

from . import _duration, _settings, _timers
from ._errors import Failure
from ._policy import Policy
from ._systems import _table

OLDEST, NEWEST = 13, 18

#: The major version that brought a parameter, where it is newer than the oldest one supported.
SINCE = {
    "client_connection_check_interval": 14,
    "idle_session_timeout": 14,
    "transaction_timeout": 17,
}


class Facts(t.NamedTuple):
    """What the plan must know of the server: its major version and the operating system it runs on."""

    version: int
    platform: str = "linux"


class Unsupported(t.NamedTuple):
    """A setting that the host cannot have, with the policy key that it serves."""

    layer: str
    setting: str
    key: str
    reason: str


@dataclasses.dataclass
class Plan:
    """Settings by layer. Server values are spelled with units as PostgreSQL reads them; ``os`` has whole numbers."""

    server: dict[str, str] = dataclasses.field(default_factory=dict)
    roles: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    os: dict[str, int] = dataclasses.field(default_factory=dict)
    unsupported: list[Unsupported] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    #: the key of the policy that each setting of ``server`` serves
    keys: dict[str, str] = dataclasses.field(default_factory=dict)

    def surprises(self, name: str, shadows: t.Iterable[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
        """Those of the *shadows* of a setting that this plan does not make itself, as its exceptions for roles."""
        return [one for one in shadows if name not in self.roles.get(one.get("role") or "", ())]

    def as_dict(self) -> dict[str, t.Any]:
        whole = {**vars(self), "unsupported": [row._asdict() for row in self.unsupported]}
        del whole["keys"]
        return whole


Layer = t.Callable[[Plan, Policy, _timers.Timers, Facts], None]


def make(policy: Policy, facts: Facts, layers: t.Iterable[str] = ("server", "os")) -> Plan:
    """The settings that keep *policy* on a host with these *facts*.

    Raises Failure ``policy_conflict`` where two durations exclude each other, ``unsupported_version`` below 13.
    """
    if facts.version < OLDEST:
        raise Failure(
            "unsupported_version",
            f"hardening PostgreSQL {facts.version}",
            f"the oldest version supported is {OLDEST}",
            "Upgrade the server.",
        )
    timers = _timers.solve(policy, facts.platform)
    plan = Plan()
    if facts.version > NEWEST:
        plan.notes.append(
            f"PostgreSQL {facts.version} is newer than {NEWEST}, the newest that this plan was tested with."
        )
    for layer in layers:
        LAYERS[layer](plan, policy, timers, facts)
    return plan


def _server(plan: Plan, policy: Policy, timers: _timers.Timers, facts: Facts) -> None:
    """What ALTER SYSTEM or postgresql.conf get, and what single roles get."""
    cause = _cause(policy)
    wishes = [
        ("tcp_keepalives_idle", cause, _seconds(timers.idle)),
        ("tcp_keepalives_interval", cause, _seconds(timers.interval)),
        ("tcp_keepalives_count", cause, None if timers.count is None else str(timers.count)),
        ("tcp_user_timeout", cause, _milliseconds(timers.user_timeout)),
        ("client_connection_check_interval", policy.orphan_key, _milliseconds(timers.check_interval)),
    ]
    for key, name in _settings.CLOSING.items():
        wishes.append((name, key, _milliseconds(getattr(policy, key))))
    if policy.connect_within:
        # Start-up packet and authentication have a timer each: together they may take twice the setting.
        half = int(policy.connect_within / 2000 / _settings.SLACK)
        wishes.append(("authentication_timeout", "connect_within", _seconds(min(600, half))))
    if policy.detect_dead_standby_within:
        timeout = int(policy.detect_dead_standby_within / 1000 / _settings.SLACK)
        for name in ("wal_sender_timeout", "wal_receiver_timeout"):
            wishes.append((name, "detect_dead_standby_within", _seconds(timeout)))
    for name, key, value in wishes:
        reason = _missing(name, facts)
        if value is None or (reason and value == "0"):
            continue  # a server that lacks the setting behaves as if it were 0
        if reason:
            plan.unsupported.append(Unsupported("server", name, key, reason))
        else:
            plan.server[name] = value
            plan.keys[name] = key
    _slow_roles(plan, policy, timers)


def _slow_roles(plan: Plan, policy: Policy, timers: _timers.Timers) -> None:
    """Roles that read slowly get a longer user timeout; their sessions are then noticed as much later."""
    if not policy.slow_reader_grace or "tcp_user_timeout" not in plan.server or not timers.user_timeout:
        return
    timeout = policy.slow_reader_grace // 1000 * 1000 + 1000
    if timeout <= timers.user_timeout:
        return  # the timeout for all is long enough for them too
    for role in policy.slow_reader_roles:
        plan.roles[role] = {"tcp_user_timeout": _duration.spell(timeout)}
    plan.notes.append(
        f"Sessions of {', '.join(plan.roles)} may stop reading for {_duration.spell(policy.slow_reader_grace)}; "
        f"a dead peer of theirs is noticed after {_duration.human(timeout / 1000)} instead of "
        f"{_duration.human(timers.user_timeout / 1000)}."
    )


def _os(plan: Plan, policy: Policy, timers: _timers.Timers, facts: Facts) -> None:
    """The kernel's values: for the sockets of poolers, proxies and drivers that turn keepalive on but set no times."""
    values = (timers.idle, timers.interval, timers.count)
    if facts.platform in _table.SYSTEMS:
        # Where the count is fixed the timers were worked out with it.
        plan.os.update(_table.SYSTEMS[facts.platform].settings(*values))
        return
    for name, value in zip(_table.LINUX.names, values):
        if value is not None:
            reason = f"this is a setting of Linux, the host runs {facts.platform}"
            plan.unsupported.append(Unsupported("os", name, _cause(policy), reason))


LAYERS: dict[str, Layer] = {"server": _server, "os": _os}


def _cause(policy: Policy) -> str:
    """The first of the stated keys that keepalive and user timeout serve together."""
    keys = ("detect_dead_peer_within", "path_idle_limit", "tolerate_outage_of", "stop_orphaned_query_within")
    return next((key for key in keys if getattr(policy, key)), "slow_reader_grace")


def _missing(name: str, facts: Facts) -> str | None:
    """Why a server with these *facts* lacks the setting, None where it has it."""
    if facts.version < SINCE.get(name, 0):
        return f"it came with PostgreSQL {SINCE[name]}, the server has {facts.version}"
    if name == "tcp_user_timeout" and facts.platform != "linux":
        return f"only Linux has TCP_USER_TIMEOUT, the server runs on {facts.platform}"
    if name == "tcp_keepalives_count" and facts.platform == "windows":
        return "PostgreSQL cannot set the count on Windows, which always sends 10 probes"
    if name == "client_connection_check_interval" and (
        facts.platform == "windows" or (facts.version == 14 and facts.platform != "linux")
    ):
        return f"PostgreSQL {facts.version} on {facts.platform} cannot look at a socket while it is busy"
    return None


def _seconds(value: int | None) -> str | None:
    return None if value is None else _milliseconds(value * 1000)


def _milliseconds(value: int | None) -> str | None:
    return None if value is None else _duration.spell(value)
