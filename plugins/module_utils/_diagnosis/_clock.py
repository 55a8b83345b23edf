# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clock, a pure room: the time that a log line states, as seconds since the epoch."""

from __future__ import annotations

import calendar
import functools
import re
import time
import typing as t

#: Says how far local time is ahead of UTC, in seconds: of year, month, day, hour, minute and the zone's abbreviation.
Zone = t.Callable[[t.Tuple[int, int, int, int, int], str], t.Optional[float]]

#: A time as PostgreSQL writes it (%t, %m, csvlog, jsonlog): with a zone's abbreviation, or its distance from UTC.
_MINUTE, _SECOND = r"\d{4}-\d\d-\d\d \d\d:\d\d", r"\d\d(?:\.\d+)?"
_ZONE = r"(?:[A-Za-z][\w/+-]{1,30}|[+-]\d\d(?::?\d\d){0,2})"
TIME = f"{_MINUTE}:{_SECOND} {_ZONE}"
#: The same in the parts that `Clock.at` takes.
IN_PARTS = f"(?P<minute>{_MINUTE}):(?P<second>{_SECOND}) (?P<zone>{_ZONE})"

_PARTS = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d(?:\.\d+)?) ?(\S*)", re.ASCII)
#: As syslog writes it, in the old format.
BARE = r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"
_DAY = 86400.0
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d\d):?(\d\d)?:?(\d\d)?", re.ASCII)

#: Hours ahead of UTC, where only one place with many servers means it. CST, IST, BST ... need the server's time zone.
_HOURS = {
    zone: float(hours)
    for hours, zones in (
        (0, "UTC GMT UCT Z WET Etc/UTC Universal Zulu"),
        (1, "CET WEST"),
        (2, "CEST EET SAST"),
        (3, "EEST MSK"),
        (8, "HKT AWST"),
        (9, "JST KST"),
        (9.5, "ACST"),
        (10, "AEST"),
        (10.5, "ACDT"),
        (11, "AEDT"),
        (12, "NZST"),
        (13, "NZDT"),
        (-4, "EDT"),
        (-5, "EST CDT"),
        (-6, "MDT"),
        (-7, "MST PDT"),
        (-8, "PST AKDT"),
        (-9, "AKST"),
        (-10, "HST"),
    )
    for zone in zones.split()
}


class Clock:
    """Reads times. What abbreviations mean is asked of *zone* first, if there is one: it knows the server's own.

    *now* is for times that have no year.
    """

    def __init__(self, zone: Zone | None = None, now: float | None = None) -> None:
        self._zone = zone
        self._now = now
        self.bare = functools.lru_cache(maxsize=1024)(self._bare)
        # Lines come in order: thousands of them share a minute.
        self._minute = functools.lru_cache(maxsize=1024)(self._of_minute)
        self._begins = functools.lru_cache(maxsize=1024)(self._begin)

    def read(self, text: str) -> float | None:
        """Seconds since the epoch; None if it is no time, or of an unknown zone."""
        found = _PARTS.match(text)
        if not found:
            return None
        minute = self._minute(*found.group(1, 2, 3, 4, 5, 7))
        return None if minute is None else minute + float(found[6])

    def at(self, minute: bytes, second: bytes, zone: bytes) -> float | None:
        """The same of the parts of a time as a log has them, without looking at each again."""
        begins = self._begins(minute, zone)
        return None if begins is None else begins + float(second)

    def _bare(self, text: str) -> float | None:
        """Of a time as `BARE`: the last such moment, by the clock and the zone of this host; it has neither."""
        if self._now is None:
            return None
        latest = time.localtime(self._now + _DAY).tm_year
        for year in (latest, latest - 1, latest - 2):
            try:
                moment = time.mktime(time.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S"))
            except (ValueError, OverflowError):
                continue  # the 29th of February
            if moment <= self._now + _DAY:
                return moment
        return None

    def _begin(self, minute: bytes, zone: bytes) -> float | None:
        return self.read(f"{minute.decode()}:00 {zone.decode()}")

    def _of_minute(self, year: str, month: str, day: str, hour: str, minute: str, zone: str) -> float | None:
        local = (int(year), int(month), int(day), int(hour), int(minute))
        offset = self._offset(local, zone)
        if offset is None or not (local[0] >= 1 and 1 <= local[1] <= 12 and 1 <= local[2] <= 31):
            return None
        return calendar.timegm((*local, 0)) - offset

    def _offset(self, local: tuple[int, int, int, int, int], zone: str) -> float | None:
        number = _OFFSET.fullmatch(zone)
        if number:
            sign, hours, minutes, seconds = number.groups("0")
            return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * (-1 if sign == "-" else 1)
        offset = self._zone(local, zone) if self._zone else None
        if offset is None and zone in _HOURS:
            return _HOURS[zone] * 3600
        return offset
