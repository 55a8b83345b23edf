# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forged packets of one connection, with the sequence numbers that two real ends would use."""

from __future__ import annotations

import struct
import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _flows
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._packet import ACK, FIN, RST, SYN, Packet

CLIENT, SERVER = ("192.0.2.7", 40000), ("192.0.2.1", 5432)
STARTUP = struct.pack("!II", 41, 3 << 16) + b"user\0u\0database\0d\0\0".ljust(33, b"\0")
TERMINATE = b"X\0\0\0\4"


def verdict(severity: str, code: str, kind: bytes = b"E", translated: str | None = None) -> bytes:
    """An ErrorResponse or NoticeResponse; *translated* as a server since 9.6 spells it, with V beside."""
    fields = f"S{translated}\0V{severity}\0" if translated else f"S{severity}\0"
    body = (fields + f"C{code}\0Mterminating connection of secret\0\0").encode()
    return kind + struct.pack("!I", len(body) + 4) + body


class Wire:
    """Each method appends one packet. A number as *data* is that many bytes that were not captured."""

    def __init__(
        self,
        client: tuple[str, int] = CLIENT,
        server: tuple[str, int] = SERVER,
        numbers: tuple[int, int] = (1000, 90000),
        ttl: tuple[int, int] = (63, 64),
    ) -> None:
        self.ends = (client, server)
        self.ttl = ttl
        self.next = list(numbers)
        self.packets: list[Packet] = []

    def _send(self, way: int, at: float, data: bytes | int, flags: int, **other: t.Any) -> Packet:
        length = data if isinstance(data, int) else len(data)
        seq = other.pop("seq", self.next[way])
        packet = Packet(
            at,
            *self.ends[way],
            *self.ends[1 - way],
            seq=seq % 2**32,
            ack=other.pop("ack", self.next[1 - way]) % 2**32,
            flags=flags,
            window=other.pop("window", 500),
            length=length,
            payload=b"" if isinstance(data, int) else data,
            ttl=other.pop("ttl", self.ttl[way]),
        )
        assert not other
        if not flags & RST:
            self.next[way] = max(self.next[way], seq + length + bool(flags & (SYN | FIN)))
        self.packets.append(packet)
        return packet

    def client(self, at: float, data: bytes | int = 0, flags: int = ACK, **other: t.Any) -> Packet:
        return self._send(0, at, data, flags, **other)

    def server(self, at: float, data: bytes | int = 0, flags: int = ACK, **other: t.Any) -> Packet:
        return self._send(1, at, data, flags, **other)

    def icmp(self, at: float, message: str, way: int) -> None:
        """A router's answer to a packet of the client (0) or the server (1)."""
        quoted = (*self.ends[way], *self.ends[1 - way])
        self.packets.append(Packet(at, *quoted, self.next[way], 0, 0, 0, 0, b"", 1, message))

    def open(self, at: float = 0.0) -> Wire:
        self.client(at, flags=SYN)
        self.server(at + 0.001, flags=SYN | ACK)
        self.client(at + 0.002)
        return self

    def talk(self, at: float = 0.0, query: bytes | int = STARTUP, answer: bytes | int = b"R\0\0\0\x08\0\0\0\0") -> Wire:
        """A query, an answer, all acknowledged."""
        self.client(at, query)
        self.server(at + 0.001, answer)
        self.client(at + 0.002)
        return self

    def session(self, at: float = 0.0) -> Wire:
        """Opened, and the greeting exchanged; the last data 0.011 s later."""
        return self.open(at).talk(at + 0.01)

    def probe(self, at: float, way: int, answered: bool = True) -> Wire:
        self._send(way, at, 0, ACK, seq=self.next[way] - 1)
        if answered:
            self._send(1 - way, at + 0.001, 0, ACK)
        return self

    def flows(self, side: str = "server", capture_ends: float | None = None) -> list[Flow]:
        """What becomes of them; *capture_ends* when something else is captured until then."""
        packets = list(self.packets)
        if capture_ends is not None:
            other = Wire(("192.0.2.99", 1), ("192.0.2.98", 5432))
            packets.append(other.client(capture_ends, flags=SYN))
        found = list(_flows.flows(packets, "it", side))
        return [flow for flow in found if flow.client[0] != "192.0.2.99"]

    def flow(self, side: str = "server", capture_ends: float | None = None) -> Flow:
        (flow,) = self.flows(side, capture_ends)
        return flow
