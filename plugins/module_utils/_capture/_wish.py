# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wish: what is to be captured and kept, and whether that makes sense."""

from __future__ import annotations

import re
import typing as t

from .._errors import Failure

#: Bytes that tcpdump passes on: the longest link header (20), IPv4 header (60), ICMP header (8) and, quoted by it, IPv4
#: and TCP header (120). What of it is payload is taken off here.
HEADERS = 256
#: Bytes of a packet with its payload; more than the longest that a network card's offload makes of several.
WHOLE = 262144
#: A file holds the longest packet at least.
SMALLEST_FILE = 2 * WHOLE
_UNITS = {"kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}


class Wish(t.NamedTuple):
    """What to capture, for how long, and how much of it to keep; sizes in bytes, durations in seconds."""

    seconds: float
    ports: list[int]
    addresses: list[str]
    interface: str
    directory: str | None
    file_size: int
    files: int
    rotate_every: float
    payload: bool
    snap_length: int | None
    least_free: int
    user: str | None


def size(key: str, value: str) -> int:
    """*value* in bytes. Raises Failure ``bad_size`` for what is no number with a unit."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value)
    if match is None or match[2] not in _UNITS:
        raise Failure(
            "bad_size",
            f"{key}: {value}",
            "this is no size",
            f"Write a number with a unit out of {', '.join(_UNITS)}, such as 20MB.",
        )
    return round(float(match[1]) * _UNITS[match[2]])


def check(wish: Wish) -> None:
    """Raises Failure ``bad_value`` for what makes no sense."""
    for wrong, asked, found, remedy in (
        (not wish.seconds, "for", "it would capture nothing", "Write a duration, such as 10min."),
        (wish.files < 2, f"files: {wish.files}", "all would be gone whenever it is full", "Write 2 or more."),
        (
            wish.file_size < SMALLEST_FILE,
            f"file_size: {wish.file_size} bytes",
            "the longest packet might not fit",
            f"Write {SMALLEST_FILE // 1024}kB or more.",
        ),
        (
            wish.snap_length is not None and not (wish.payload and HEADERS <= wish.snap_length <= WHOLE),
            f"snap_length: {wish.snap_length}",
            "it is for captures with payload, whose packets are kept up to there",
            f"Write {HEADERS} to {WHOLE} and payload: true, or leave it out.",
        ),
    ):
        if wrong:
            raise Failure("bad_value", asked, found, remedy)
