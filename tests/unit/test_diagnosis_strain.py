# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a client's host says of a loss, and for which loss it counts."""

from __future__ import annotations

import typing as t

import pytest
from _losses import CLIENT, NOON, event, flow, loss

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _run, _strain
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._story import Stories
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

BUSY: dict[str, t.Any] = {"addresses": [CLIENT], "at": NOON, "pressure": {"cpu": 45.2, "io": 1.0}}


def test_what_makes_a_host_answer_late() -> None:
    assert _strain.reasons(BUSY) == ["processes waited for cpu 45 % of the last minute"]
    assert _strain.reasons({"run_queue": 2.5, "memory_available": 1.24}) == [
        "the run queue is 2.5 processes a processor long",
        "1.2 % of its memory are available",
    ]
    assert _strain.reasons({"pressure": {"cpu": 19.9}, "run_queue": 1.9, "memory_available": 5.0}) == []


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"at": NOON},
        {**BUSY, "at": "noon"},
        {**BUSY, "at": None},
        {**BUSY, "addresses": None},
        {**BUSY, "pressure": 5},
        {**BUSY, "pressure": {"cpu": "much"}},
        {**BUSY, "run_queue": None},
    ],
)
def test_what_is_no_look_is_refused(row: dict[str, t.Any]) -> None:
    with pytest.raises(Failure) as caught:
        _strain.looks([BUSY, row])
    assert caught.value.code == "bad_client_hosts"


def test_a_look_counts_for_that_host_and_those_minutes() -> None:
    looks = _strain.looks(
        [BUSY, {**BUSY, "at": NOON + 30, "pressure": {"io": 80}}, {**BUSY, "addresses": ["10.9.9.9"]}]
    )
    cpu, io = (f"processes waited for {name} % of the last minute" for name in ("cpu 45", "io 80"))
    assert _strain.meanwhile(looks, {CLIENT}, NOON + 20) == [cpu, io]
    assert _strain.meanwhile(looks, {CLIENT}, NOON - 40) == [cpu]
    assert _strain.meanwhile(looks, {CLIENT}, NOON + 3600) is None
    assert _strain.meanwhile(looks, {CLIENT}, None) is None
    assert _strain.meanwhile(looks, {"10.0.0.8"}, NOON) is None
    at_ease = _strain.looks([{**BUSY, "pressure": {}}])
    assert _strain.meanwhile(at_ease, {CLIENT}, NOON) == []


def test_a_run_finds_the_look_by_the_address_in_the_log_or_in_a_capture() -> None:
    looks = _strain.looks([BUSY])
    for evidence in (
        event("authentication_timeout", 10, address=CLIENT),
        flow(zero_window_by="client", zero_window_seconds=9.0),
    ):
        stories = Stories()
        for one in loss(evidence).events:
            stories.event(one)
        for another in loss(evidence).flows:
            stories.flow(another)
        assert [one.cause for one in _run.judged(stories.losses(), stories.world, frozenset(), looks)] == [
            "client_starved"
        ]
        assert [one.cause for one in _run.judged(stories.losses(), stories.world, frozenset())] != ["client_starved"]


def test_an_address_that_several_hosts_have_tells_neither() -> None:
    bridge = "172.17.0.1"
    one, other = ({**BUSY, "addresses": [address, bridge]} for address in (CLIENT, "10.0.0.8"))
    looks = _strain.looks([one, {**one, "at": NOON - 30}, other])
    assert _strain.meanwhile(looks, [bridge], NOON) is None
    assert _strain.meanwhile(looks, [CLIENT], NOON)
