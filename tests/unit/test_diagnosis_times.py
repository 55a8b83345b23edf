# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user writes as since and until."""

from __future__ import annotations

import datetime

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _times
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

NOW = 1795435200.0  # 2026-11-23 12:00:00 UTC


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", NOW - 7200),
        (" 30min ", NOW - 1800),
        ("1.5h", NOW - 5400),
        ("2026-11-23 04:00:00+00:00", NOW - 8 * 3600),
        ("2026-11-23 04:00:00+00", NOW - 8 * 3600),
        ("2026-11-23T04:00:00Z", NOW - 8 * 3600),
        ("2026-11-23 04:00:00.25-01", NOW - 7 * 3600 + 0.25),
    ],
)
def test_a_duration_before_now_or_a_time(text: str, seconds: float) -> None:
    assert _times.parse("since", text, NOW) == pytest.approx(seconds)


def test_a_time_without_zone_is_of_this_host() -> None:
    assert _times.parse("until", "2026-11-23 04:00", NOW) == datetime.datetime(2026, 11, 23, 4).timestamp()
    assert _times.parse("until", "2026-11-23", NOW) == datetime.datetime(2026, 11, 23).timestamp()


@pytest.mark.parametrize("nothing", [None, ""])
def test_nothing_stays_nothing(nothing: str | None) -> None:
    assert _times.parse("since", nothing, NOW) is None


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01 00:00:00", "04:00", "Z", "9999-99-99-99", "2h ago"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(Failure) as failure:
        _times.parse("since", text, NOW)
    assert (failure.value.code, f"since: {text}" in str(failure.value)) == ("bad_time", True)
