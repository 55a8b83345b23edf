# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policy, a pure room: what the operator wants of a connection, in durations, without a single parameter name."""

from __future__ import annotations

import dataclasses
import typing as t

from . import _duration
from ._errors import Failure


@dataclasses.dataclass(frozen=True)
class Policy:
    """Durations in milliseconds. None: nothing was said about it. 0: ``off``.

    For the *within* and *survive* keys ``off`` means that nothing is asked. For the ``close_`` keys it means that such
    a session is never closed, which is a setting too (0).
    """

    path_idle_limit: int | None = None
    detect_dead_peer_within: int | None = None
    stop_orphaned_query_within: int | None = None
    tolerate_outage_of: int | None = None
    slow_reader_grace: int | None = None
    connect_within: int | None = None
    close_idle_in_transaction_after: int | None = None
    close_idle_session_after: int | None = None
    close_transaction_after: int | None = None
    detect_dead_standby_within: int | None = None
    #: a pooled connection that nobody uses is closed after this
    close_pooled_connection_after: int | None = None
    #: a pooled connection is closed at this age, used or not, and another takes its place
    replace_pooled_connection_after: int | None = None
    #: so many unused connections a pool keeps open all the same
    spare_pooled_connections: int | None = None
    #: so many keepalive probes in a row may get lost without the path or the session being given up
    survive_lost_probes: int = 1
    #: roles whose sessions alone get `slow_reader_grace`; empty: every session gets it
    slow_reader_roles: tuple[str, ...] = ()

    @property
    def orphan_limit(self) -> int:
        """Milliseconds within which a statement or lock wait of a vanished client must end; 0 for no limit.

        `stop_orphaned_query_within` where it is given, else a dead peer must be noticed in these phases too.
        """
        if self.stop_orphaned_query_within is None:
            return self.detect_dead_peer_within or 0
        return self.stop_orphaned_query_within

    @property
    def orphan_key(self) -> str:
        """The key that `orphan_limit` comes from."""
        return (
            "stop_orphaned_query_within" if self.stop_orphaned_query_within is not None else "detect_dead_peer_within"
        )

    @property
    def grace_for_all(self) -> int:
        """Milliseconds that every healthy client may stop reading for; 0 where only named roles need it."""
        return 0 if self.slow_reader_roles else self.slow_reader_grace or 0

    def as_dict(self) -> dict[str, t.Any]:
        """The policy as an operator writes it; keys that nothing was said about are left out."""
        rows: dict[str, t.Any] = {}
        for key in DURATIONS:
            value = getattr(self, key)
            if value is not None:
                rows[key] = _duration.spell(value) if value else "off"
        if self.spare_pooled_connections is not None:
            rows["spare_pooled_connections"] = self.spare_pooled_connections
        rows["survive_lost_probes"] = self.survive_lost_probes
        rows["slow_reader_roles"] = list(self.slow_reader_roles)
        return rows


KEYS = tuple(field.name for field in dataclasses.fields(Policy))
#: Keys that are whole numbers, with the largest that makes sense and what they say.
_NUMBERS = {
    "survive_lost_probes": (20, "how many probes in a row may get lost"),
    "spare_pooled_connections": (1000, "how many unused connections a pool keeps"),
}
DURATIONS = tuple(key for key in KEYS if key not in _NUMBERS and key != "slow_reader_roles")

#: Below these (milliseconds) no setting of PostgreSQL or Linux can keep the wish, whatever the rest of the policy says:
#: their grain is one second, a series has two probes at least, authentication_timeout counts up to twice, all 1/8 late.
_SMALLEST = {
    "path_idle_limit": 3000,
    "detect_dead_peer_within": 4500,
    "stop_orphaned_query_within": 4500,
    "connect_within": 2250,
    "detect_dead_standby_within": 2000,
}
#: Above this no user timeout that these need, and no deadline that leaves room for one, could be set.
_LARGEST = dict.fromkeys(("tolerate_outage_of", "slow_reader_grace"), 22 * 86_400_000)


def parse(given: t.Mapping[str, t.Any], profile: t.Mapping[str, t.Any] | None = None) -> Policy:
    """The policy of *profile* with every key that *given* has taken from *given*; null takes a key of the profile away.

    Raises Failure ``unknown_policy_key``, ``bad_duration`` or ``bad_policy_value``. Whether the durations can hold
    together is found by the plan.
    """
    values: dict[str, t.Any] = {}
    for key, value in {**(profile or {}), **given}.items():
        if key not in KEYS:
            raise Failure(
                "unknown_policy_key",
                f"policy key {key}",
                f"there is no such key{_similar(str(key))}",
                f"The keys are {', '.join(KEYS)}.",
                key=key,
            )
        if value is not None:
            values[key] = _read(key, value)
    return Policy(**values)


def _read(key: str, value: t.Any) -> t.Any:
    if key == "slow_reader_roles":
        if not isinstance(value, (list, tuple)) or not all(isinstance(role, str) and role for role in value):
            raise _bad(key, value, "it is no list of role names", "Write a list such as [reporting, backup].")
        return tuple(dict.fromkeys(value))
    if key in _NUMBERS:
        largest, meaning = _NUMBERS[key]
        text = str(value).strip()
        if isinstance(value, bool) or not text.isdecimal() or int(text) > largest:
            raise _bad(key, value, f"it is no whole number from 0 to {largest}", f"Write {meaning}.")
        return int(text)
    milliseconds = _duration.parse(key, value)
    if 0 < milliseconds < _SMALLEST.get(key, 1):
        shortest = _duration.spell(_SMALLEST[key])
        raise _bad(key, value, f"the shortest that can be kept is {shortest}", f"Write {shortest} or more, or off.")
    if milliseconds > _LARGEST.get(key, milliseconds):
        longest = _duration.spell(_LARGEST[key])
        raise _bad(key, value, f"the longest that can be kept is {longest}", f"Write {longest} or less, or off.")
    return milliseconds


def _bad(key: str, value: t.Any, found: str, remedy: str) -> Failure:
    return Failure("bad_policy_value", f"{key}: {value}", found, remedy, key=key)


def _similar(key: str) -> str:
    import difflib  # only an error needs it

    close = difflib.get_close_matches(key, KEYS, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
