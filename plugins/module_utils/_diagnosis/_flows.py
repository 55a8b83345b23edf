# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows, a pure room: the packets of a capture become one `Flow` for each TCP connection; payload goes no further."""

from __future__ import annotations

import collections
import typing as t

from ._connection import Connection
from ._facts import Flow
from ._outcome import flow
from ._packet import ACK, RST, SYN, Packet

#: How long a closed flow is kept, for the RST or retransmission that may still follow.
LINGER = 60.0
#: Open flows in memory; of more, those quiet for longest are given out as truncated.
MOST_OPEN = 20_000


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
        self._open: dict[tuple[str, int, str, int], tuple[Connection, int]] = {}
        self._closed: collections.deque[tuple[float, Connection]] = collections.deque()
        self._now = 0.0
        self._first: float | None = None

    def add(self, packet: Packet) -> None:
        self._now = now = packet.time
        if self._first is None:
            self._first = now
        while self._closed and (now - self._closed[0][0] >= LINGER or len(self._closed) > MOST_OPEN):
            self._give(self._closed.popleft()[1])
        key = packet[1:5]
        found = self._open.get(key)
        if packet.icmp is not None:
            if found:
                found[0].icmp(packet)
            return
        if found and packet.flags & (SYN | ACK) == SYN and found[0].is_another(packet):
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
            self._closed.append((now, connection))

    def rest(self) -> t.Iterator[Flow]:
        for connection, way in list(self._open.values()):
            if way == 0:
                yield flow(connection, self._file, self._side, self._now)

    def _begin(self, packet: Packet) -> tuple[Connection, int]:
        if len(self._open) >= 2 * MOST_OPEN:
            connections = sorted((one for one, way in self._open.values() if way == 0), key=lambda one: one.last)
            for quiet in connections[: MOST_OPEN // 10]:
                self._give(quiet, capture_ends=self._now)
        way = self._way(packet)
        there, back = packet[1:5], (packet.dst, packet.dport, packet.src, packet.sport)
        client_key, server_key = (back, there) if way else (there, back)
        silent_since = None if packet.flags & SYN else self._first
        connection = Connection(packet.time, client_key[:2], client_key[2:], silent_since)
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

    def _give(self, connection: Connection, capture_ends: float | None = None) -> None:
        key = (*connection.client, *connection.server)
        found = self._open.get(key)
        if found and found[0] is connection:
            del self._open[key]
            self._open.pop((*connection.server, *connection.client), None)
            self.done.append(flow(connection, self._file, self._side, capture_ends))
