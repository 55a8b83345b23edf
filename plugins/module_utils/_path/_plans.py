# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of hops, a pure room: policy and version of a hop to its settings, and what it cannot keep and why.

Every hop gets the timers of the server's plan, so that a loss on any leg is noticed within the same time and whatever
is between two hops sees the same probes.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .. import _duration, _timers
from .._errors import Failure
from .._plan import Unsupported
from .._policy import Policy
from ._driver import lasting

Version = t.Tuple[int, ...]


@dataclasses.dataclass
class HopPlan:
    """Settings spelled as the program's configuration has them, in the order of the plan."""

    settings: dict[str, str] = dataclasses.field(default_factory=dict)
    unsupported: list[Unsupported] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)

    def as_dict(self) -> dict[str, t.Any]:
        return {**vars(self), "unsupported": [row._asdict() for row in self.unsupported]}


class _Wish(t.NamedTuple):
    """A setting, the policy key that it serves, its value (None: nothing is asked), and the version that brought it."""

    name: str
    key: str
    value: str | None
    since: Version = ()


def client(policy: Policy) -> dict[str, int]:
    """What a client asks of its driver, under libpq's names and in libpq's units, and of the driver's pool.

    ``keepalives`` 1, ``keepalives_idle`` and ``keepalives_interval`` in seconds, ``keepalives_count``,
    ``tcp_user_timeout`` in milliseconds, ``connect_timeout`` in seconds; ``pool_max_idle`` and ``pool_max_age`` in
    seconds, ``pool_min_size``. What the policy says nothing about is left out, never 0: libpq's keepalives_idle=0
    fails on Linux.
    """
    timers = _timers.solve(policy)
    wishes = {
        "keepalives": None if timers.idle is None else 1,
        "keepalives_idle": timers.idle,
        "keepalives_interval": timers.interval,
        "keepalives_count": timers.count,
        "tcp_user_timeout": timers.user_timeout,
        "connect_timeout": _whole_seconds(policy.connect_within or None, least=2),
        "pool_max_idle": _whole_seconds(_pooled_idle(policy)),
        "pool_max_age": _whole_seconds(policy.replace_pooled_connection_after),
        "pool_min_size": policy.spare_pooled_connections,
    }
    return {name: value for name, value in wishes.items() if value is not None}


def pgbouncer(policy: Policy, version: Version) -> HopPlan:
    """Settings of the section ``[pgbouncer]``, in its units: seconds, but milliseconds for tcp_user_timeout.

    Sources: PgBouncer's config reference and changelog; 1.16 to 1.25. 0 is off in all of them but server_lifetime, with
    which each connection is used once.
    """
    timers = _shared_timers(policy)
    age = _whole_seconds(policy.replace_pooled_connection_after)
    wishes = [
        *_keepalive(timers, "tcp_keepalive", "tcp_keepidle", "tcp_keepintvl", "tcp_keepcnt", switch="1"),
        _Wish("tcp_user_timeout", "detect_dead_peer_within", _text(timers.user_timeout)),
        _Wish("min_pool_size", "spare_pooled_connections", _text(policy.spare_pooled_connections)),
        _Wish("server_lifetime", "replace_pooled_connection_after", None if age is None else _text(lasting(age))),
    ]
    for name, key, milliseconds, since in (
        ("server_connect_timeout", "connect_within", _half(policy.connect_within), ()),
        ("query_wait_timeout", "connect_within", policy.connect_within or None, ()),
        ("client_login_timeout", "connect_within", policy.connect_within or None, ()),
        ("server_idle_timeout", "close_pooled_connection_after", _pooled_idle(policy), ()),
        ("idle_transaction_timeout", "close_idle_in_transaction_after", policy.close_idle_in_transaction_after, ()),
        ("client_idle_timeout", "close_idle_session_after", policy.close_idle_session_after, ()),
        ("transaction_timeout", "close_transaction_after", policy.close_transaction_after, (1, 25)),
    ):
        wishes.append(_Wish(name, key, _text(_whole_seconds(milliseconds)), since))
    return _plan("pgbouncer", "PgBouncer", policy, version, wishes)


#: HAProxy takes no more milliseconds.
_LONGEST = 2**31 - 1
#: As good as no limit, and ends what keepalive could not.
_NO_IDLE_LIMIT = 24 * 3600 * 1000
#: By so much HAProxy waits longer than the server or pool that is to end a session, and says why.
_LATER = 60_000


def haproxy(policy: Policy, version: Version) -> HopPlan:
    """Settings of the sections that carry PostgreSQL: ``option`` lines have the value "", the others a time or number.

    ``tcp-ut`` stands for the argument of both ``bind`` and ``server`` lines. Sources: HAProxy's configuration manual;
    2.2 to 3.2. Timeouts there count payload only, so keepalive does not keep a session from them; dead peers are
    keepalive's business. ``timeout tunnel`` is for sections that have one: it supersedes both others as soon as the
    connection to the server stands.
    """
    timers = _shared_timers(policy)
    wishes = []
    for side in ("clitcpka", "srvtcpka"):
        option, *times = _keepalive(timers, f"option {side}", f"{side}-idle", f"{side}-intvl", f"{side}-cnt", switch="")
        wishes.append(option)
        for wish, unit in zip(times, ("s", "s", "")):
            value = None if wish.value is None else wish.value + unit
            wishes.append(wish._replace(value=value, since=(2, 3)))
    longest = _longest_silence(policy)
    wishes += [
        _Wish("tcp-ut", "detect_dead_peer_within", _milliseconds(timers.user_timeout or None)),
        _Wish("timeout client", "close_idle_session_after", _milliseconds(longest)),
        _Wish("timeout server", "close_idle_session_after", _milliseconds(longest)),
        _Wish("timeout tunnel", "close_idle_session_after", _milliseconds(longest)),
        _Wish("timeout connect", "connect_within", _milliseconds(_half(policy.connect_within))),
        _Wish("timeout client-fin", "detect_dead_peer_within", _milliseconds(policy.detect_dead_peer_within or None)),
        _Wish("timeout server-fin", "detect_dead_peer_within", _milliseconds(policy.detect_dead_peer_within or None)),
    ]
    return _plan("haproxy", "HAProxy", policy, version, wishes)


def _longest_silence(policy: Policy) -> int:
    """Milliseconds for which a healthy session may move no payload: it idles, or its statement goes on.

    A day at least unless the policy limits both; that of idle sessions the server keeps by itself.
    """
    others = (
        policy.close_transaction_after,
        policy.close_idle_in_transaction_after,
        policy.close_pooled_connection_after,
    )
    longest = max(policy.close_idle_session_after or 0, *(one + _LATER if one else 0 for one in others))
    if not policy.close_idle_session_after or not policy.close_transaction_after:
        longest = max(longest, _NO_IDLE_LIMIT)
    return min(longest, _LONGEST)


def _keepalive(timers: _timers.Timers, on: str, idle: str, interval: str, count: str, switch: str) -> list[_Wish]:
    key = "detect_dead_peer_within"
    return [
        _Wish(on, key, None if timers.idle is None else switch),
        _Wish(idle, key, _text(timers.idle)),
        _Wish(interval, key, _text(timers.interval)),
        _Wish(count, key, _text(timers.count)),
    ]


def _plan(layer: str, program: str, policy: Policy, version: Version, wishes: t.Iterable[_Wish]) -> HopPlan:
    plan = HopPlan()
    for name, key, value, since in wishes:
        if value is None:
            continue
        if version < since:
            reason = f"it came with {program} {_dotted(since)}, the host has {_dotted(version)}"
            plan.unsupported.append(Unsupported(layer, name, key, reason))
        else:
            plan.settings[name] = value
    timeout, grace = _shared_timers(policy).user_timeout, policy.slow_reader_grace
    if policy.slow_reader_roles and timeout and grace and timeout <= grace:
        roles = ", ".join(policy.slow_reader_roles)
        reason = f"{program} has one user timeout for all of its clients, roles that read slowly ({roles}) included"
        plan.unsupported.append(Unsupported(layer, "tcp_user_timeout of single roles", "slow_reader_grace", reason))
    return plan


def _shared_timers(policy: Policy) -> _timers.Timers:
    """Timers for sockets that any role's sessions may use: with the grace for all, where the policy has room for it."""
    try:
        return _timers.solve(dataclasses.replace(policy, slow_reader_roles=()))
    except Failure:
        return _timers.solve(policy)


def _pooled_idle(policy: Policy) -> int | None:
    """Milliseconds; before the server closes an idle session the pool has to, or it hands out a dead connection."""
    limits = [policy.close_pooled_connection_after, _half(policy.close_idle_session_after)]
    return min((limit for limit in limits if limit), default=policy.close_pooled_connection_after)


def _half(milliseconds: int | None) -> int | None:
    return milliseconds // 2 if milliseconds else None


def _whole_seconds(milliseconds: int | None, least: int = 1) -> int | None:
    """Rounded down; 0 stays 0, which is off."""
    return milliseconds and max(least, milliseconds // 1000)


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _milliseconds(value: int | None) -> str | None:
    return None if value is None else _duration.spell(value).replace("min", "m")


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
