# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of durations."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import _duration
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("350s", 350_000),
        ("5min", 300_000),
        ("1.5h", 5_400_000),
        (" 1.5 min ", 90_000),
        (".5s", 500),
        ("2.s", 2000),
        ("1500us", 2),
        ("24d", 2_073_600_000),
        ("2147483647ms", 2_147_483_647),
        ("off", 0),
        ("Off", 0),
        ("0", 0),
        ("0s", 0),
        ("no", 0),
        (0, 0),
        (False, 0),  # what YAML makes of a bare off
    ],
)
def test_durations(text: t.Any, milliseconds: int) -> None:
    assert _duration.parse("connect_within", text) == milliseconds


@pytest.mark.parametrize(
    ("text", "found", "remedy"),
    [
        (60, "It has no unit", "350s, 5min or 1.5h, or off"),
        ("60", "It has no unit", "350s"),
        ("1.5", "It has no unit", "350s"),
        ("60 sec", "no duration", "us, ms, s, min, h, d"),
        ("5m", "no duration", "min"),
        ("5MIN", "no duration", "min"),  # PostgreSQL's units are case-sensitive
        ("-5s", "no duration", "350s"),
        ("1h 30min", "no duration", "1.5h"),
        ("1e3s", "no duration", "350s"),
        ("", "no duration", "350s"),
        ("never", "no duration", "off"),
        (True, "no duration", "350s"),
        (["60s"], "no duration", "350s"),
        ("25d", "24.8 days", "shorter"),
        ("1" * 400 + "d", "24.8 days", "shorter"),
        ("400us", "rounded to 0", "1ms or more"),
    ],
)
def test_what_is_no_duration_is_refused_with_key_and_remedy(text: t.Any, found: str, remedy: str) -> None:
    with pytest.raises(Failure) as caught:
        _duration.parse("connect_within", text)
    failure = caught.value
    assert failure.code == "bad_duration"
    assert failure.details == {"key": "connect_within"}
    assert failure.asked == f"connect_within: {text}"
    assert found in failure.found
    assert remedy in failure.remedy


@given(st.integers(0, _duration.LONGEST))
def test_what_is_spelled_is_read_back(milliseconds: int) -> None:
    assert _duration.parse("key", _duration.spell(milliseconds)) == milliseconds


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0"),
        (1, "1ms"),
        (1500, "1500ms"),
        (75_000, "75s"),
        (60_000, "60s"),
        (240_000, "240s"),
        (300_000, "5min"),
        (301_000, "301s"),
        (7_200_000, "2h"),
        (86_400_000, "1d"),
    ],
)
def test_spelling_is_the_one_that_people_compare(milliseconds: int, text: str) -> None:
    assert _duration.spell(milliseconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (0, "0 s"),
        (0.25, "0.2 s"),
        (3.0, "3 s"),
        (75.0, "75 s"),
        (76.6, "77 s"),
        (179.4, "179 s"),
        (179.6, "3 min"),
        (924.6, "15 min 25 s"),
        (3600, "60 min"),
        (7199.6, "2 h"),
        (7875, "2 h 11 min"),
        (172_799, "47 h 59 min"),
        (172_800, "2 d"),
        (180_000, "2 d 2 h"),
    ],
)
def test_seconds_for_people(seconds: float | None, text: str) -> None:
    assert _duration.human(seconds) == text
