# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arbitrary policies, and the settings that a plan means, for the tests of the pure rooms."""

from __future__ import annotations

import typing as t

from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import _duration, _policy, _settings

#: The shortest and the longest that each key takes, in milliseconds.
SHORTEST = {
    "path_idle_limit": 3000,
    "detect_dead_peer_within": 4500,
    "stop_orphaned_query_within": 4500,
    "connect_within": 2250,
    "detect_dead_standby_within": 2000,
}
LONGEST = {"tolerate_outage_of": 22 * 86_400_000, "slow_reader_grace": 22 * 86_400_000}
DEADLINES = ("path_idle_limit", "detect_dead_peer_within", "stop_orphaned_query_within")
_IN_SECONDS = ("tcp_keepalives_idle", "tcp_keepalives_interval", "authentication_timeout")
TOLERANCES = ("tolerate_outage_of", "slow_reader_grace", "survive_lost_probes")


def durations(key: str) -> st.SearchStrategy[int]:
    """Milliseconds that the policy takes for *key*: mostly those that people write, but also the extremes."""
    shortest, longest = SHORTEST.get(key, 1), LONGEST.get(key, _duration.LONGEST)
    usual = st.integers(1, 1200).map(lambda seconds: max(shortest, seconds * 1000))
    short = st.integers(shortest, 30_000)
    return st.one_of(usual, short, st.integers(shortest, longest), st.sampled_from([shortest, longest]))


def policies(keys: t.Iterable[str] = _policy.DURATIONS) -> st.SearchStrategy[_policy.Policy]:
    values: dict[str, st.SearchStrategy[t.Any]] = {
        key: st.one_of(st.none(), st.just(0), durations(key), durations(key), durations(key)) for key in keys
    }
    values["survive_lost_probes"] = st.one_of(st.just(1), st.integers(0, 20))
    values["slow_reader_roles"] = st.sampled_from([(), (), ("reporting",)])
    return st.builds(_policy.Policy, **values)


def value_of(name: str, text: str) -> int:
    """A planned text in PostgreSQL's base unit, read independently of the room that plans it."""
    units = {"": 1, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    value = int(digits) * units[text[len(digits) :]]
    return value // 1000 if name in _IN_SECONDS else value


def settings_of(server: t.Mapping[str, str]) -> _settings.Settings:
    return _settings.Settings.of({name: value_of(name, text) for name, text in server.items()})
