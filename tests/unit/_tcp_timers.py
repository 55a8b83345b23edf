# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux's TCP timers as a tiny simulation, written from net/ipv4/tcp_timer.c and not from the formulas under test.

Times are exact fractions of a second. *late* gives the part of its length by which each timer fires late, 0 to 1/8.
"""

from __future__ import annotations

import typing as t
from fractions import Fraction

Late = t.Callable[[], Fraction]
FOREVER = Fraction(10**12)


class Series(t.NamedTuple):
    """The keepalive options of a socket: seconds, seconds, number, and tcp_user_timeout in milliseconds."""

    idle: int
    interval: int
    count: int
    user_timeout: int = 0


def keepalive(
    series: Series, late: Late, heard: t.Sequence[Fraction], begin: Fraction, end: Fraction = FOREVER
) -> Fraction | None:
    """When an idle socket is given up whose peer cannot be reached from *begin* to *end*; None if it lives on.

    The timer is armed at 0. *heard* are the moments, in order and before *begin*, at which the peer sent something.
    """
    timeout = Fraction(series.user_timeout, 1000)
    last, unanswered, now = Fraction(0), 0, series.idle * (1 + late())
    while True:
        for moment in heard:
            if last < moment <= now:
                last, unanswered = moment, 0
        elapsed = now - last
        if elapsed < series.idle:
            now += (series.idle - elapsed) * (1 + late())
            continue
        if (elapsed >= timeout and unanswered > 0) if timeout else unanswered >= series.count:
            return now
        if begin <= now < end:
            unanswered += 1
        elif now >= end:
            return None
        else:
            last, unanswered = now, 0
        now += series.interval * (1 + late())


def in_flight(user_timeout: int, retries2: int, late: Late, rto: Fraction, end: Fraction = FOREVER) -> Fraction | None:
    """When a socket is given up whose data, sent at 0, cannot reach the peer until *end*; None if it lives on."""
    boundary = min(retries2, 9)
    limit = Fraction(1, 5) * (2 ** (boundary + 1) - 1) + 120 * (retries2 - boundary)
    if user_timeout:
        limit = Fraction(user_timeout, 1000)
    now = first = rto * (1 + late())
    while now - first < limit:
        if now >= end:
            return None
        rto = min(2 * rto, Fraction(120))
        wait = min(rto, limit - (now - first)) if user_timeout else rto
        now += wait * (1 + late())
    return now
