# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connection, a pure room: the packets of one TCP connection, one after the other, become a `Flow`."""

from __future__ import annotations

import typing as t

from ._facts import Flow, Silence
from ._words import Words

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

#: A packet like the last one of its direction within this time is the same, seen on another interface of a router.
TWICE = 0.01
#: Data packets closer together than this belong together; a longer gap is a silence.
QUIET = 1.0
#: An RST that comes so soon after a packet from the other end answers it (a round trip, with slack).
ANSWER = 3.0
#: Sizes and ICMP messages kept of one flow.
MOST_KEPT = 32

_WRAP = 0xFFFFFFFF
_HALF_WAY = 0x80000000
_SIDES = ("client", "server")


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
        "probing",
        "repeats",
        "sizes",
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
        self.unanswered = 0  # probes in a row
        self.repeats = 0  # of data, since it made headway
        self.sizes: list[int] = []
        self.gap = 0.0  # between its last two attempts at the same
        self.zero_since: float | None = None
        self.zero_ended: tuple[float, float] | None = None  # the last time that its window was closed

    def quiet_for(self, time: float) -> float:
        return 0.0 if self.last is None else time - self.last

    def attempt(self, time: float) -> None:
        """It tries again what was not answered."""
        self.gap = self.quiet_for(time)

    def repeat(self, packet: Packet) -> None:
        self.attempt(packet.time)
        self.repeats += 1
        if packet.length and len(self.sizes) < MOST_KEPT:
            self.sizes.append(packet.length)

    def headway(self) -> None:
        self.repeats = 0
        self.sizes.clear()

    def in_vain(self) -> int:
        """How often it has repeated in vain; one repetition of what had arrived is none."""
        return self.repeats if self.undelivered() or self.repeats > 1 else 0

    def undelivered(self) -> bool:
        """Its last data was not acknowledged; False also where the other direction was not captured."""
        return self.acked is not None and _is_after(self.data_end, self.acked)


class Connection:
    """One connection in the making."""

    def __init__(self, began: float, client: tuple[str, int], server: tuple[str, int]) -> None:
        self.client, self.server = client, server
        self.began = self.last = began
        self.closed = False
        self._halves = (Half(), Half())
        self._last_way = self._last_data_way = 0
        self._last_kind = ""  # probe, data, syn, fin, ack
        self._isn: int | None = None
        self._syn_attempts = 0
        self._accepted = self._established = False
        self._icmp: list[str] = []
        self._closing: tuple[float, int, str] | None = None  # when, by whom, how
        self._rst: dict[str, t.Any] = {}
        self._words = Words()
        # Data came last at `_data`; that burst began at `_burst`, after a silence that began at `_quiet`.
        self._data = self._burst = self._quiet = began
        self._meanwhile = [0, 0, 0]  # since `_data`: probes by the client, by the server, answered
        self._in_quiet = [0, 0, 0]  # between `_quiet` and `_burst`

    def is_another(self, syn: Packet) -> bool:
        """That SYN opens another connection with the same ports."""
        return syn.seq != self._isn

    def icmp(self, packet: Packet) -> None:
        if packet.icmp not in self._icmp and len(self._icmp) < MOST_KEPT:
            self._icmp.append(t.cast(str, packet.icmp))

    def add(self, packet: Packet, way: int) -> None:
        time, flags, window, ttl = packet.time, packet.flags, packet.window, packet.ttl
        me = self._halves[way]
        identity = packet[5:10]
        again = identity == me.identity and me.quiet_for(time) < TWICE
        if ttl != me.ttl and not flags & RST:
            me.ttl = ttl
            me.ttls.add(ttl)
        if not again and not self._rst:
            if flags & RST:
                self._reset(packet, way)
            else:
                if flags & ACK:
                    self._acknowledge(1 - way, packet.ack)
                if window:
                    if me.zero_since is not None:
                        me.zero_ended, me.zero_since = (me.zero_since, time), None
                elif me.zero_since is None:
                    me.zero_since = time
                self._last_kind = self._segment(packet, way)
            self._last_way = way
        me.identity = identity
        me.last = self.last = time

    def _segment(self, packet: Packet, way: int) -> str:
        """Note what a segment carries, and say what it is: syn, probe, ack, data, fin."""
        me = self._halves[way]
        seq, flags, length = packet.seq, packet.flags, packet.length
        if flags & SYN:
            return self._syn(packet, way)
        self._established = True
        fin = flags & FIN
        # A byte that was acknowledged is sent again only as a probe.
        tiny = not length or (length == 1 and me.acked == me.next)
        if tiny and not fin and me.next is not None and seq == (me.next - 1) & _WRAP:
            me.attempt(packet.time)
            me.unanswered += 1
            me.probing = True
            self._meanwhile[way] += 1
            return "probe"
        if not length and not fin:
            self._empty(packet, way)
            return "ack"
        end = (seq + length + fin) & _WRAP  # a FIN has the value 1
        kind = "data" if length else "fin"
        if me.next is not None and not _is_after(end, me.next):
            if me.quiet_for(packet.time) >= TWICE:  # else it was only overtaken
                me.repeat(packet)
            return kind
        self._answered(1 - way)
        if me.lone_acks and seq == (t.cast(int, me.next) + 1) & _WRAP:
            self._were_probes(way)
        me.lone_acks = 0
        if length:
            self._data_segment(packet, way)
        me.next = end
        if me.repeats:
            me.headway()
        if fin and not me.fin:
            me.fin = True
            self._close(packet.time, way, "fin")
            self.closed = self._halves[1 - way].fin
        return kind

    def _syn(self, packet: Packet, way: int) -> str:
        me = self._halves[way]
        if packet.flags & ACK:
            self._accepted = True
        else:
            self._isn = packet.seq
            self._syn_attempts += 1
            me.attempt(packet.time)
        me.next = (packet.seq + 1) & _WRAP
        return "syn"

    def _empty(self, packet: Packet, way: int) -> None:
        me = self._halves[way]
        self._answered(1 - way)
        if me.next is None:
            me.next = packet.seq
            me.lone_acks = 1
        elif me.lone_acks and self._last_way == way and me.quiet_for(packet.time) >= QUIET / 2:
            me.attempt(packet.time)
            me.lone_acks += 1

    def _answered(self, way: int) -> None:
        half = self._halves[way]
        if half.probing:
            half.probing = False
            half.unanswered = 0
            self._meanwhile[2] += 1

    def _were_probes(self, way: int) -> None:
        """The empty segments that the capture began with were one below the next sequence number."""
        half = self._halves[way]
        half.next = (t.cast(int, half.next) + 1) & _WRAP
        half.unanswered = half.lone_acks
        half.probing = True
        self._meanwhile[way] += half.lone_acks

    def _acknowledge(self, way: int, ack: int) -> None:
        """What the end *way* has sent arrived, up to *ack*."""
        half = self._halves[way]
        if half.lone_acks:
            if ack == (t.cast(int, half.next) + 1) & _WRAP:
                self._were_probes(way)
            half.lone_acks = 0
        if half.acked == ack or (half.acked is not None and not _is_after(ack, half.acked)):
            return
        half.acked = ack
        if half.repeats:
            half.headway()
        if half.next is None or _is_after(ack, half.next):
            half.next = ack
        if ack == half.next:
            if half.largest > half.largest_acked:
                half.largest_acked = half.largest
            half.largest = 0

    def _data_segment(self, packet: Packet, way: int) -> None:
        me = self._halves[way]
        time, length, payload = packet.time, packet.length, packet.payload
        overlap = 0 if me.next is None else (me.next - packet.seq) & _WRAP
        if overlap < length:  # else there is a gap, or none
            length -= overlap
        me.bytes += length
        me.data_end = (packet.seq + packet.length) & _WRAP
        me.last_new = time
        if packet.length > me.largest:
            me.largest = packet.length
        if self._closing is None:
            if time - self._data >= QUIET:
                self._quiet, self._burst = self._data, time
                self._in_quiet, self._meanwhile = self._meanwhile, [0, 0, 0]
            self._data = time
            self._last_data_way = way
        if way:
            self._words.server(payload, length)
        else:
            self._words.client(time, payload, packet.length, self._isn is not None)

    def _reset(self, packet: Packet, way: int) -> None:
        me = self._halves[way]
        if me.lone_acks and packet.seq == (t.cast(int, me.next) + 1) & _WRAP:
            self._were_probes(way)
        after = self._answered_by_reset(packet, way)
        peer = self._halves[1 - way]
        if after == "probe":
            peer.probing = False
            peer.unanswered = 0
        self._close(packet.time, way, "rst")
        self._rst = {
            "rst_by": _SIDES[way],
            "rst_after": after,
            "rst_ttl": packet.ttl,
            "usual_ttl": me.ttl,
            "foreign_rst": bool(me.ttls) and packet.ttl not in me.ttls,
        }
        self.closed = True

    def _answered_by_reset(self, packet: Packet, way: int) -> str | None:
        me, peer = self._halves[way], self._halves[1 - way]
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
        if self._closing is None:
            self._closing = time, way, how
        self._words.end(time, self._closing[0])

    def flow(self, file: str, side: str, capture_ends: float | None) -> Flow:
        """What is known of it. *capture_ends* is the last time of the capture if that, not the flow, is over."""
        client, server = self._halves
        words = self._words
        ended = self._closing[0] if self._closing else self.last
        prober = max((server, client), key=lambda half: half.unanswered)
        repeater = max((server, client), key=Half.in_vain)
        fields: dict[str, t.Any] = dict(self._rst)
        if self._closing:
            fields.update(closed_at=ended, closed_by=_SIDES[self._closing[1]], closed_how=self._closing[2])
        if prober.unanswered:
            fields.update(unanswered_probes=prober.unanswered, unanswered_probes_by=self._name(prober))
        if repeater.in_vain():
            fields.update(
                retransmitting=self._name(repeater),
                retransmissions=repeater.repeats,
                retransmitted_sizes=tuple(repeater.sizes),
                largest_delivered=repeater.largest_acked,
            )
        for half in self._halves:
            closed = self._window_closed(half, ended)
            if closed:
                fields.update(zero_window_by=self._name(half), zero_window_seconds=closed)
        return Flow(
            file=file,
            side=side,
            client=self.client,
            server=self.server,
            began=self.began,
            ended=self.last,
            syn=self._isn is not None,
            established=self._established,
            syn_answer=self._syn_answer(),
            syn_attempts=self._syn_attempts,
            icmp=tuple(self._icmp),
            terminate=words.goodbye,
            terminate_certain=words.certain,
            tls=words.tls,
            data_client=client.bytes,
            data_server=server.bytes,
            silence=self._silence(ended),
            last_data_by=_SIDES[self._last_data_way] if client.bytes or server.bytes else None,
            last_from_client=client.last,
            last_from_server=server.last,
            server_message=words.verdict,
            first_client_bytes=None if self._isn is None or client.last is None else words.first(),
            truncated=self._is_truncated(capture_ends),
            **fields,
        )

    def _name(self, half: Half) -> str:
        return _SIDES[self._halves.index(half)]

    def _syn_answer(self) -> str | None:
        if self._isn is None:
            return None
        if self._accepted or self._established:
            return "accepted"
        if self._rst and self._rst["rst_by"] == "server":
            return "rst"
        return "icmp" if self._icmp else "none"

    def _window_closed(self, half: Half, ended: float) -> float:
        """For how many seconds the window of that end was closed when the flow came to its end."""
        if half.zero_since is not None:
            return max(0.0, ended - half.zero_since)
        other = self._halves[1 - self._halves.index(half)]
        # The other end had given up before the window was opened: it answers that with an RST.
        if half.zero_ended and self._rst.get("rst_by") == self._name(other) and half.zero_ended[1] >= other.last_new:
            return max(0.0, half.zero_ended[1] - half.zero_ended[0])
        return 0.0

    def _silence(self, ended: float) -> Silence:
        """The quiet time before the end; what is sent at the end, a query in vain or a verdict, does not break it."""
        after = ended - self._data
        undelivered = self._halves[self._last_data_way].undelivered()
        if self._data - self._burst < QUIET and (after < QUIET or undelivered):
            return Silence(max(0.0, self._burst - self._quiet), *self._in_quiet)
        return Silence(max(0.0, after), *self._meanwhile)

    def _is_truncated(self, capture_ends: float | None) -> bool:
        if capture_ends is None or self._closing:
            return False
        # Who tries in vain goes on, at gaps that at most double; who has stopped long since has given up.
        gaps = [half.gap for half in self._halves if half.in_vain() or half.unanswered]
        if not self._established:
            gaps.append(max(QUIET, self._halves[0].gap))
        return not gaps or capture_ends - self.last < 3 * max(gaps)


def _is_after(one: int, other: int) -> bool:
    """Sequence numbers wrap around."""
    return 0 < (one - other) & _WRAP < _HALF_WAY
