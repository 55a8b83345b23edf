# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken promises, a pure room: which keys of a policy the settings in force do not keep."""

from __future__ import annotations

import typing as t

from . import _duration
from ._detection import idle_outage_survived, in_flight_outage_survived, path_open_seconds
from ._policy import Policy
from ._promises import PHASES, in_words, promise
from ._settings import CLOSING, LINUX, OsValues, Settings, user_timeout


class Broken(t.NamedTuple):
    """A key of the policy that settings do not keep: *wanted* and *promised* in words, *phase* where it shows."""

    key: str
    wanted: str
    promised: str
    phase: str = ""


def broken(policy: Policy, settings: Settings, os: OsValues = LINUX) -> list[Broken]:
    """What of *policy* the settings in force do not keep; an empty list means that all of it is promised."""
    return [*_late(policy, settings, os), *_fragile(policy, settings, os), *_not_closed(policy, settings)]


def _late(policy: Policy, settings: Settings, os: OsValues) -> t.Iterator[Broken]:
    """A loss that is noticed too late."""
    limits = dict.fromkeys(PHASES[:6], ("detect_dead_peer_within", policy.detect_dead_peer_within))
    limits["executing"] = limits["lock_wait"] = (policy.orphan_key, policy.orphan_limit)
    limits["authenticating"] = ("connect_within", policy.connect_within)
    limits["replicating"] = ("detect_dead_standby_within", policy.detect_dead_standby_within)
    for phase, (key, limit) in limits.items():
        for fault in ("process_died", "peer_vanished"):
            worst = promise(phase, fault, settings, os)
            if limit and (worst.bound is None or round(worst.bound * 1000) > limit):
                yield Broken(key, _duration.spell(limit), in_words(worst.bound, worst.formula), phase)
                break


def _fragile(policy: Policy, settings: Settings, os: OsValues) -> t.Iterator[Broken]:
    """A healthy session that is lost."""
    if policy.path_idle_limit:
        silence = path_open_seconds(settings, os, policy.survive_lost_probes)
        if silence * 1000 >= policy.path_idle_limit:
            yield Broken("path_idle_limit", _duration.spell(policy.path_idle_limit), _duration.human(silence), "idle")
    if policy.tolerate_outage_of:
        for phase, survived in (
            ("idle", idle_outage_survived(settings, os)),
            ("sending", in_flight_outage_survived(settings, os)),
        ):
            if survived * 1000 < policy.tolerate_outage_of:
                wanted = _duration.spell(policy.tolerate_outage_of)
                yield Broken("tolerate_outage_of", wanted, _duration.human(survived), phase)
    if 0 < user_timeout(settings, os) <= policy.grace_for_all:
        promised = _duration.human(settings.tcp_user_timeout / 1000)
        yield Broken("slow_reader_grace", _duration.spell(policy.grace_for_all), promised, "sending")


def _not_closed(policy: Policy, settings: Settings) -> t.Iterator[Broken]:
    """A session that is not closed although the policy says so."""
    for key, name in CLOSING.items():
        wanted, value = getattr(policy, key), getattr(settings, name)
        if wanted and not 0 < value <= wanted:
            yield Broken(key, _duration.spell(wanted), _duration.human(value / 1000 if value else None))
