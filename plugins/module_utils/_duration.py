# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations, a pure room: `350s`, `5min`, `1.5h`, `off` to milliseconds and back, in PostgreSQL's spelling."""

from __future__ import annotations

import re
import typing as t

from ._errors import Failure

#: PostgreSQL's time units, in milliseconds (src/backend/utils/misc/guc.c, time_unit_conversion_table).
UNITS = {"us": 0.001, "ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}

#: The largest value of a PostgreSQL timeout in milliseconds (a 32-bit integer): 24 days 20 hours.
LONGEST = 2_147_483_647

_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*")
_OFF = ("0", "off", "false", "no")


def parse(key: str, value: t.Any) -> int:
    """*value* in milliseconds; 0 is off.

    YAML reads a bare ``off`` as false, so false is off too. Raises Failure ``bad_duration`` for anything else that is
    no number with one of the units us, ms, s, min, h, d: a bare number would be seconds for one parameter of
    PostgreSQL and milliseconds for the next, so it is refused.
    """
    text = str(value).strip()
    if text.lower() in _OFF:
        return 0
    match = _DURATION.fullmatch(text)
    if match is None or match.group(2) not in UNITS:
        unit = " It has no unit." if re.fullmatch(r"[\d.]+", text) else ""
        raise Failure(
            "bad_duration",
            f"{key}: {value}",
            f"this is no duration.{unit}",
            f"Write a number with a unit out of {', '.join(UNITS)}, such as 350s, 5min or 1.5h, or off.",
            key=key,
        )
    exact = float(match.group(1)) * UNITS[match.group(2)]
    if 0 < exact <= 0.5:
        raise Failure(
            "bad_duration",
            f"{key}: {value}",
            "it is shorter than a millisecond, and would be rounded to 0, which is off",
            "Write 1ms or more, or off.",
            key=key,
        )
    if exact > LONGEST:
        raise Failure(
            "bad_duration",
            f"{key}: {value}",
            f"it is longer than a PostgreSQL timeout can be ({LONGEST} ms, 24.8 days)",
            "Write a shorter duration, or off.",
            key=key,
        )
    return round(exact)


def spell(milliseconds: int) -> str:
    """*milliseconds* as PostgreSQL and `parse` read it, in the largest exact unit: ``75s``, ``5min``, ``1500ms``."""
    for unit in ("d", "h", "min", "s"):
        if milliseconds and milliseconds % UNITS[unit] == 0:
            if unit == "min" and milliseconds < 300_000:
                continue  # 75s, 120s and 180s are compared with one another: keep them in one unit
            return f"{milliseconds // int(UNITS[unit])}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0"


def human(seconds: float | None) -> str:
    """Seconds for people: ``75 s``, ``15 min 25 s``, ``2 h 11 min``; None is ``never``."""
    if seconds is None:
        return "never"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 180:
        return f"{whole} s"
    rows = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
    size, unit, small_size, small_unit = next(row for row in rows if whole >= 2 * row[0])
    rest = whole % size // small_size
    return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
