# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Half, a pure room: what one end of a connection has sent, what of it arrived, and what was tried in vain."""

from __future__ import annotations

import typing as t

from ._facts import Outage
from ._packet import WRAP, Packet, is_after

#: Sizes kept of what was repeated.
MOST_KEPT = 32


class Half:
    """What one end of a connection has sent."""

    __slots__ = (
        "acked",
        "bytes",
        "data_end",
        "fin",
        "gap",
        "identity",
        "largest",
        "largest_acked",
        "last",
        "last_new",
        "lone_acks",
        "next",
        "outlived",
        "probing",
        "probing_since",
        "repeats",
        "sizes",
        "tried_at",
        "tried_since",
        "tries",
        "ttl",
        "ttls",
        "unanswered",
        "zero_ended",
        "zero_since",
    )

    def __init__(self) -> None:
        self.last: float | None = None
        self.identity: tuple[int, ...] = ()  # of its last packet
        self.ttl: int | None = None
        self.ttls: set[int] = set()  # of all but RST
        self.next: int | None = None  # the sequence number after all that it sent
        self.acked: int | None = None  # up to where the other end has acknowledged that
        self.data_end = 0  # the sequence number after its last data
        self.last_new = 0.0  # when that was sent first
        self.bytes = 0
        self.largest = 0  # size of those not yet acknowledged
        self.largest_acked = 0
        self.fin = False
        # In a capture that begins in the middle: empty segments, which turn out to be probes or not.
        self.lone_acks = 0
        self.probing = False  # its last probe is not answered yet
        self.probing_since: float | None = None  # when the first of them was sent; None for probes of a closed window
        self.unanswered = 0  # probes in a row
        self.repeats = 0  # of data, since it made headway
        self.sizes: list[int] = []
        self.gap = 0.0  # between its last two attempts at the same
        # Repetitions of the oldest of its data that it does not know to have arrived, the first attempt before them,
        # and the last of them.
        self.tries = 0
        self.tried_since = self.tried_at = 0.0
        self.outlived = Outage()
        self.zero_since: float | None = None
        self.zero_ended: tuple[float, float] | None = None  # the last time that its window was closed

    def quiet_for(self, time: float) -> float:
        return 0.0 if self.last is None else time - self.last

    def attempt(self, time: float) -> None:
        """It tries again what was not answered."""
        self.gap = self.quiet_for(time)

    def repeat(self, packet: Packet, window_closed: bool) -> None:
        if not (window_closed or self.acked is None or is_after(packet.seq, self.acked)):
            if not self.tries:
                self.tried_since = t.cast(float, self.last)
            self.tries += 1
            self.tried_at = packet.time
        self.attempt(packet.time)
        self.repeats += 1
        if packet.length and len(self.sizes) < MOST_KEPT:
            self.sizes.append(packet.length)

    def arrived(self, time: float) -> None:
        """What it had tried again has arrived by then, at the latest."""
        if self.tries:
            self.outlived = max(self.outlived, Outage(time - self.tried_since, self.tries))
            self.tries = 0

    def headway(self) -> None:
        self.repeats = 0
        self.sizes.clear()

    def in_vain(self) -> int:
        """How often it has repeated in vain; one repetition of what had arrived is none."""
        return self.repeats if self.undelivered() or self.repeats > 1 else 0

    def undelivered(self) -> bool:
        """Its last data was not acknowledged; False also where the other direction was not captured."""
        return self.acked is not None and is_after(self.data_end, self.acked)

    # ---- probes

    def probe(self, time: float, window_closed: bool) -> None:
        self.attempt(time)
        if not self.probing:
            self.probing_since = None if window_closed else time
        self.unanswered += 1
        self.probing = True

    def lone_ack(self, packet: Packet, in_a_row: bool) -> None:
        """An empty segment; where the capture begins with such, what comes later tells whether they were probes."""
        if self.next is None:
            self.next = packet.seq
            self.lone_acks = 1
        elif self.lone_acks and in_a_row:
            self.attempt(packet.time)
            self.lone_acks += 1

    def is_one_below(self, seq: int) -> bool:
        """Whether the empty segments that the capture began with were one below the next sequence number."""
        return bool(self.lone_acks) and seq == (t.cast(int, self.next) + 1) & WRAP

    def were_probes(self) -> int:
        """So they were probes; how many."""
        self.next = (t.cast(int, self.next) + 1) & WRAP
        self.unanswered = self.lone_acks
        self.probing = True
        return self.lone_acks

    def answered(self, time: float) -> bool:
        """The other end is heard; whether that answers a probe."""
        if not self.probing:
            return False
        if self.probing_since is not None and self.unanswered > 1:
            outage = Outage(time - self.probing_since, self.unanswered - 1, probes=True)
            self.outlived = max(self.outlived, outage)
        self.refused()
        return True

    def refused(self) -> None:
        """Its probes wait for nothing any more."""
        self.probing = False
        self.unanswered = 0

    # ---- data

    def carry(self, packet: Packet, length: int) -> None:
        """It sends data, *length* bytes of it for the first time."""
        self.bytes += length
        self.data_end = (packet.seq + packet.length) & WRAP
        self.last_new = packet.time
        if packet.length > self.largest:
            self.largest = packet.length

    def acknowledge(self, ack: int, time: float) -> None:
        """What it has sent arrived, as a packet of the other end says."""
        if self.acked == ack or (self.acked is not None and not is_after(ack, self.acked)):
            return
        self.acked = ack
        self.arrived(time)
        if self.repeats:
            self.headway()
        if self.next is None or is_after(ack, self.next):
            self.next = ack
        if ack == self.next:
            if self.largest > self.largest_acked:
                self.largest_acked = self.largest
            self.largest = 0

    # ---- its window

    def window(self, size: int, time: float) -> None:
        if size:
            if self.zero_since is not None:
                self.zero_ended, self.zero_since = (self.zero_since, time), None
        elif self.zero_since is None:
            self.zero_since = time
