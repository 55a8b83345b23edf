# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packet, a pure room: what of a captured TCP segment, or of an ICMP error about one, counts."""

from __future__ import annotations

import typing as t

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

#: Sequence numbers have 32 bits, and wrap around.
WRAP = 0xFFFFFFFF
_HALF_WAY = 0x80000000


class Packet(t.NamedTuple):
    """A TCP segment, or an ICMP error: *icmp* is then its kind and sender, the addresses are those it quotes.

    *length* is what the segment carried, *payload* as much of that as was captured.
    """

    time: float
    src: str
    sport: int
    dst: str
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    length: int
    payload: bytes
    ttl: int
    icmp: str | None = None


def is_after(one: int, other: int) -> bool:
    """Of two sequence numbers."""
    return 0 < (one - other) & WRAP < _HALF_WAY
