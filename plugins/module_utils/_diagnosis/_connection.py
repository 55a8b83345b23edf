# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection, a pure room: takes the packets of one TCP connection, one by one; `_outcome` says what became of it."""

from __future__ import annotations

import typing as t

from ._half import MOST_KEPT, Half
from ._packet import ACK, FIN, RST, SYN, WRAP, Packet, is_after
from ._pauses import QUIET, Pauses
from ._words import Words

#: A packet like the last one of its direction within this time is the same, seen on another interface of a router.
TWICE = 0.01
#: An RST that comes so soon after a packet from the other end answers it (a round trip, with slack).
ANSWER = 3.0


class Close(t.NamedTuple):
    """The first FIN or RST: when, from which end, which of the two."""

    time: float
    way: int
    how: str


class Reset(t.NamedTuple):
    """The first RST. *after* is what it answered, see `Flow`."""

    way: int
    after: str | None
    known: bool
    ttl: int
    usual_ttl: int | None
    foreign: bool


class Connection:
    """One connection in the making. Of its *halves* 0 is the client's, 1 the server's; so is a *way*.

    *silent_since* is when its capture began, which may have been in the middle of it.
    """

    def __init__(
        self, began: float, client: tuple[str, int], server: tuple[str, int], silent_since: float | None = None
    ) -> None:
        self.client, self.server = client, server
        self.began = self.last = began
        self.closed = False
        self.halves = (Half(), Half())
        self.isn: int | None = None
        self.syn_attempts = 0
        self.accepted = self.established = False
        self.icmps: list[str] = []
        self.close: Close | None = None
        self.rst: Reset | None = None
        self.words = Words()
        self.kept: int | None = None  # of segments that were not captured whole, the most bytes
        self.pauses = Pauses(began if silent_since is None else silent_since)
        self._last_way = 0
        self._last_kind = ""  # probe, data, syn, fin, ack

    def is_another(self, syn: Packet) -> bool:
        """That SYN opens another connection with the same ports."""
        return syn.seq != self.isn

    def icmp(self, packet: Packet) -> None:
        if packet.icmp not in self.icmps and len(self.icmps) < MOST_KEPT:
            self.icmps.append(t.cast(str, packet.icmp))

    def add(self, packet: Packet, way: int) -> None:
        time, flags, ttl = packet.time, packet.flags, packet.ttl
        me = self.halves[way]
        identity = packet[5:10]
        again = identity == me.identity and me.quiet_for(time) < TWICE
        if ttl != me.ttl and not flags & RST:
            me.ttl = ttl
            me.ttls.add(ttl)
        if not again and self.rst is None:
            if flags & RST:
                self._reset(packet, way)
            else:
                if flags & ACK:
                    self._acknowledge(1 - way, packet)
                me.window(packet.window, time)
                self._last_kind = self._segment(packet, way)
            self._last_way = way
        me.identity = identity
        me.last = self.last = time

    # ---- segments

    def _segment(self, packet: Packet, way: int) -> str:
        """Note what a segment carries, and say what it is: syn, probe, ack, data, fin."""
        me, peer = self.halves[way], self.halves[1 - way]
        seq, flags, length = packet.seq, packet.flags, packet.length
        if flags & SYN:
            return self._syn(packet, way)
        self.established = True
        fin = flags & FIN
        # A byte that was acknowledged is sent again only as a probe.
        tiny = not length or (length == 1 and me.acked == me.next)
        if tiny and not fin and me.next is not None and seq == (me.next - 1) & WRAP:
            me.probe(packet.time, window_closed=peer.zero_since is not None)
            self.pauses.probes(way)
            return "probe"
        if not length and not fin:
            self._heard(1 - way, packet.time)
            me.lone_ack(packet, in_a_row=self._last_way == way and me.quiet_for(packet.time) >= QUIET / 2)
            return "ack"
        end = (seq + length + fin) & WRAP  # a FIN has the value 1
        kind = "data" if length else "fin"
        if me.next is not None and not is_after(end, me.next):
            if me.quiet_for(packet.time) >= TWICE:  # else it was only overtaken
                me.repeat(packet, window_closed=peer.zero_since is not None)
            return kind
        self._heard(1 - way, packet.time)
        if not me.undelivered():  # and yet it was repeated: the answer was lost, and came at last
            me.arrived(me.tried_at)
        self._lone_acks(way, seq)
        me.lone_acks = 0
        if length:
            self._data(packet, way)
        me.next = end
        if me.repeats:
            me.headway()
        if fin and not me.fin:
            me.fin = True
            self._close(packet.time, way, "fin")
            self.closed = peer.fin
        return kind

    def _syn(self, packet: Packet, way: int) -> str:
        me = self.halves[way]
        if packet.flags & ACK:
            self.accepted = True
        else:
            self.isn = packet.seq
            self.syn_attempts += 1
            me.attempt(packet.time)
        me.next = (packet.seq + 1) & WRAP
        return "syn"

    def _heard(self, way: int, time: float) -> None:
        """What the end *way* may have probed for."""
        if self.halves[way].answered(time):
            self.pauses.answer()

    def _lone_acks(self, way: int, seq: int) -> None:
        """Were the empty segments of the end *way* probes, as that number says, which comes next from it?"""
        if self.halves[way].is_one_below(seq):
            self.pauses.probes(way, self.halves[way].were_probes())

    def _acknowledge(self, way: int, packet: Packet) -> None:
        self._lone_acks(way, packet.ack)
        self.halves[way].lone_acks = 0
        self.halves[way].acknowledge(packet.ack, packet.time)

    def _data(self, packet: Packet, way: int) -> None:
        me = self.halves[way]
        time, length, payload = packet.time, packet.length, packet.payload
        overlap = 0 if me.next is None else (me.next - packet.seq) & WRAP
        if overlap < length:  # else there is a gap, or none
            length -= overlap
        if len(payload) < packet.length:
            self.kept = max(self.kept or 0, len(payload))
        me.carry(packet, length)
        if self.close is None:
            self.pauses.data(time, way)
        if way:
            self.words.server(payload, length)
        else:
            self.words.client(time, payload, packet.length, self.isn is not None)

    # ---- the end

    def _reset(self, packet: Packet, way: int) -> None:
        me = self.halves[way]
        self._lone_acks(way, packet.seq)
        after = self._answered_by_reset(packet, way)
        if after == "probe":
            self.halves[1 - way].refused()
        self._close(packet.time, way, "rst")
        foreign = bool(me.ttls) and packet.ttl not in me.ttls
        self.rst = Reset(way, after, bool(packet.flags & ACK), packet.ttl, me.ttl, foreign)
        self.closed = True

    def _answered_by_reset(self, packet: Packet, way: int) -> str | None:
        me, peer = self.halves[way], self.halves[1 - way]
        if peer.last is None:
            return None  # that direction was not captured
        if self._last_way != way and packet.time - self.last <= ANSWER:
            if self._last_kind != "ack":
                return self._last_kind
            if not packet.flags & ACK and not me.fin:
                return "ack"  # only an RST that answers has no ACK
        if me.fin:
            return "fin"
        if peer.undelivered() and packet.time - peer.last_new <= ANSWER:
            return "data"
        return "nothing"

    def _close(self, time: float, way: int, how: str) -> None:
        if self.close is None:
            self.close = Close(time, way, how)
        self.words.end(time, self.close.time)
