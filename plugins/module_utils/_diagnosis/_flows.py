# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows, a pure room: the packets of a capture become one `Flow` for each TCP connection; payload goes no further."""

from __future__ import annotations

import collections
import struct
import typing as t

from ._facts import Flow, Silence

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

#: A packet like the last one of its direction within this time is the same, seen on another interface of a router.
TWICE = 0.01
#: Data packets closer together than this belong together; a longer gap is a silence.
QUIET = 1.0
#: An RST that comes so soon after a packet from the other end answers it (a round trip, with slack).
ANSWER = 3.0
#: How long a closed flow is kept, for the RST or retransmission that may still follow.
LINGER = 60.0
#: Open flows in memory; of more, those quiet for longest are given out as truncated.
MOST_OPEN = 50_000
#: Sizes and ICMP messages kept of one flow.
MOST_KEPT = 32

_WRAP = 0xFFFFFFFF
_HALF = 0x80000000
_SIDES = ("client", "server")
_FIRST_WORDS = {
    0x00030000: "postgresql",
    0x00030002: "postgresql",
    80877102: "cancel_request",
    80877103: "tls_request",
    80877104: "gss_request",
}
_HTTP = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PRI * HTTP")
_TERMINATE = b"X\0\0\0\4"
# What a goodbye under TLS measures (TLS 1.3, 1.2 with GCM, 1.2 with ChaCha20): the message X, close_notify, or both.
_TLS_ALERT = frozenset((24, 31, 23))
_TLS_GOODBYE = frozenset((27, 34, 26, 24, 31, 23, 51, 65, 49))


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


def flows(packets: t.Iterable[Packet], file: str, side: str, server_port: int = 5432) -> t.Iterator[Flow]:
    """The connections in *packets*, each as soon as it is over, those still open at the end.

    The end with *server_port* is the server; where neither has it or both have, it is the one that the SYN went to.
    """
    table = _Table(file, side, server_port)
    for packet in packets:
        table.add(packet)
        if table.done:
            yield from table.done
            table.done.clear()
    yield from table.rest()


class _Table:
    """The flows that are not yet given out."""

    def __init__(self, file: str, side: str, server_port: int) -> None:
        self.done: list[Flow] = []
        self._file = file
        self._side = side
        self._server_port = server_port
        # Under both directions, so that one look-up says which flow and which direction.
        self._open: dict[tuple[str, int, str, int], tuple[_Connection, int]] = {}
        self._closed: collections.deque[_Connection] = collections.deque()
        self._now = 0.0

    def add(self, packet: Packet) -> None:
        self._now = now = packet.time
        while self._closed and not 0 <= now - self._closed[0].last < LINGER:
            self._give(self._closed.popleft())
        key = packet[1:5]
        found = self._open.get(key)
        if packet.icmp is not None:
            if found:
                found[0].icmp(packet)
            return
        if found and packet.flags & (SYN | ACK) == SYN and found[0].is_another(packet, found[1]):
            self._give(found[0])
            found = None
        if found is None:
            if packet.flags & RST and packet.flags & SYN:
                return  # no such packet is sent by a sane host
            found = self._begin(packet)
        connection, way = found
        was_closed = connection.closed
        connection.add(packet, way)
        if connection.closed and not was_closed:
            self._closed.append(connection)

    def rest(self) -> t.Iterator[Flow]:
        for connection, way in list(self._open.values()):
            if way == 0:
                yield connection.flow(self._file, self._side, capture_ends=self._now)

    def _begin(self, packet: Packet) -> tuple[_Connection, int]:
        if len(self._open) >= 2 * MOST_OPEN:
            connections = sorted((one for one, way in self._open.values() if way == 0), key=lambda one: one.last)
            for quiet in connections[: MOST_OPEN // 10]:
                self._give(quiet)
        way = self._way(packet)
        there, back = packet[1:5], (packet.dst, packet.dport, packet.src, packet.sport)
        client_key, server_key = (back, there) if way else (there, back)
        connection = _Connection(packet.time, client_key[:2], client_key[2:])
        self._open[server_key] = connection, 1
        self._open[client_key] = connection, 0
        return connection, way

    def _way(self, packet: Packet) -> int:
        """0 when it comes from the client, 1 when from the server."""
        if (packet.sport == self._server_port) != (packet.dport == self._server_port):
            return int(packet.sport == self._server_port)
        if packet.flags & SYN:
            return int(bool(packet.flags & ACK))
        return int(packet.sport < packet.dport)

    def _give(self, connection: _Connection) -> None:
        key = (*connection.client, *connection.server)
        found = self._open.get(key)
        if found and found[0] is connection:
            del self._open[key]
            self._open.pop((*connection.server, *connection.client), None)
            self.done.append(connection.flow(self._file, self._side, capture_ends=None))


class _Half:
    """What one end of a connection has sent."""

    __slots__ = (
        "acked",
        "bytes",
        "fin",
        "first",
        "flags",
        "gap",
        "largest",
        "largest_acked",
        "last",
        "last_ack",
        "last_new",
        "last_probe",
        "next",
        "probing",
        "repeats",
        "seq",
        "since_goodbye",
        "size",
        "sizes",
        "tail",
        "ttl",
        "ttls",
        "unanswered",
        "window",
        "zero_ended",
        "zero_since",
    )

    def __init__(self) -> None:
        self.next: int | None = None  # the sequence number after all that it sent
        self.acked: int | None = None  # up to where the other end has acknowledged that
        self.seq = self.last_ack = self.flags = self.size = self.window = -1  # of its last packet
        self.last: float | None = None
        self.ttl: int | None = None
        self.ttls: set[int] = set()
        self.bytes = 0
        self.first: bytes | None = None  # what it sent first, as far as it was captured
        self.tail = b""  # of its last data segment
        self.last_new = 0.0
        self.largest = 0  # size of the segments not yet acknowledged
        self.largest_acked = 0
        self.fin = False
        self.unanswered = 0  # probes in a row
        self.probing = False  # the last one is not answered yet
        self.repeats = 0  # of data, since it made headway
        self.sizes: list[int] = []
        self.gap = 0.0  # between its last two attempts at the same
        self.zero_since: float | None = None
        self.zero_ended: tuple[float, float] | None = None  # the last time that its window was closed


class _Connection:
    """One connection in the making."""

    def __init__(self, began: float, client: tuple[str, int], server: tuple[str, int]) -> None:
        self.client, self.server = client, server
        self.began = self.last = began
        self.halves = (_Half(), _Half())
        self.closed = False
        self._isn: int | None = None
        self._syn_attempts = 0
        self._accepted = False
        self._established = False
        self._icmp: list[str] = []
        self._closing: tuple[float, int, str] | None = None  # when, by whom, how
        self._rst: tuple[int, str | None, int, int | None] | None = None  # by, after, TTL, usual TTL
        self._foreign = False
        self._tls = False
        self._terminate = self._terminate_seen = False
        self._message: str | None = None
        self._client_segments = 0
        self._last_way = -1
        # Silences: data came last at `_data`, that burst began at `_burst`, after a quiet time since `_quiet`.
        self._data = self._burst = self._quiet = began
        self._data_way = -1
        self._meanwhile = [0, 0, 0]  # probes by client, by server, answers
        self._before = [0, 0, 0]  # the same in the quiet time before the burst
