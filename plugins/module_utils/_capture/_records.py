# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records: which packets of tcpdump's output are wanted, and how much of each is no payload."""

from __future__ import annotations

import ipaddress
import struct
import typing as t

from .._errors import Failure
from ._wish import Wish

#: What comes before the IP header: link type → bytes (https://www.tcpdump.org/linktypes.html).
_LINK_HEADERS = {1: 14, 101: 0, 113: 16, 228: 0, 229: 0, 276: 20}
_MAGIC = 0xA1B2C3D4
_FILE_HEADER, _RECORD = struct.Struct("=IHHiIII"), struct.Struct("=IIII")
_ICMP, _TCP, _ICMP6 = 1, 6, 58
#: The ICMP messages that quote the packet they are about: unreachable, too big, time exceeded, parameter problem.
_QUOTES = "icmp[0] == 3 or icmp[0] == 11 or icmp[0] == 12 or (icmp6 and ip6[40] >= 1 and ip6[40] <= 4)"


class Scope:
    """Which packets are wanted, and where their payload begins."""

    def __init__(self, wish: Wish) -> None:
        for port in wish.ports:
            if not 0 < port < 65536:
                raise Failure("bad_port", f"ports: {port}", "there is no such port", "Write 1 to 65535.")
        if not wish.ports:
            raise Failure("bad_port", "ports", "there is none", "Name the port of the server, 5432 as a rule.")
        self._ports = frozenset(struct.pack("!H", port) for port in wish.ports)
        self._networks = [_network(address) for address in wish.addresses]
        tcp = " or ".join(f"port {port}" for port in wish.ports)
        peers = " or ".join(f"net {network}" for network in self._networks)
        #: In tcpdump's language (pcap-filter); an ICMP message comes from a router, so whom it is about is seen later.
        self.expression = f"(tcp and ({tcp}){f' and ({peers})' if peers else ''}) or {_QUOTES}"

    def headers(self, packet: bytes, at: int) -> int | None:
        """How many bytes of *packet*, whose IP header begins at *at*, are no payload; None if it is not wanted."""
        try:
            protocol, inner, peers = _ip(packet, at)
            if protocol == _TCP:
                return _tcp_end(packet, inner)
            if protocol in (_ICMP, _ICMP6):
                protocol, inner, peers = _ip(packet, inner + 8)
                if protocol == _TCP and self._wants(packet[inner : inner + 4], peers):
                    return _tcp_end(packet, inner)
        except IndexError:  # shorter than it says
            pass
        return None

    def _wants(self, ports: bytes, peers: tuple[bytes, bytes]) -> bool:
        if ports[:2] not in self._ports and ports[2:] not in self._ports:
            return False
        return not self._networks or any(
            ipaddress.ip_address(peer) in network for peer in peers for network in self._networks
        )


def _network(address: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(address, strict=False)
    except ValueError:
        raise Failure(
            "bad_address",
            f"addresses: {address}",
            "this is neither an address nor a network",
            "Write such as 10.0.0.7, 10.0.0.0/24 or 2001:db8::7.",
        ) from None


def _ip(packet: bytes, at: int) -> tuple[int, int, tuple[bytes, bytes]]:
    """Protocol, where its header begins, and the addresses."""
    version = packet[at] >> 4
    if version == 4:
        return packet[at + 9], at + (packet[at] & 15) * 4, (packet[at + 12 : at + 16], packet[at + 16 : at + 20])
    if version == 6:
        return packet[at + 6], at + 40, (packet[at + 8 : at + 24], packet[at + 24 : at + 40])
    return 0, at, (b"", b"")


def _tcp_end(packet: bytes, at: int) -> int:
    """Where the TCP header at *at* ends; a router may quote no more than its beginning."""
    if len(packet) <= at + 12:
        return len(packet)
    return min(len(packet), at + (packet[at + 12] >> 4) * 4)


class Stream:
    """Turns what tcpdump writes into the records to keep."""

    def __init__(self, wish: Wish, scope: Scope) -> None:
        self._payload, self._scope = wish.payload, scope
        self._rest = b""
        self._link = 0
        self.header = b""

    def feed(self, chunk: bytes) -> t.Iterator[tuple[float, bytes]]:
        """Time and record of each packet that is complete by now."""
        data = self._rest + chunk
        at = 0
        if not self.header:
            if len(data) < _FILE_HEADER.size:
                self._rest = data
                return
            at = _FILE_HEADER.size
            self.header = data[:at]
            self._link = self._link_header()
        scope, payload, link = self._scope, self._payload, self._link
        end = len(data)
        while at + 16 <= end:
            seconds, micros, caught, length = _RECORD.unpack_from(data, at)
            if at + 16 + caught > end:
                break
            packet = data[at + 16 : at + 16 + caught]
            at += 16 + caught
            kept = scope.headers(packet, link)
            if kept is not None:
                if payload:
                    kept = caught
                yield seconds + micros / 1e6, _RECORD.pack(seconds, micros, kept, length) + packet[:kept]
        self._rest = data[at:]

    def _link_header(self) -> int:
        magic, *_others, link = _FILE_HEADER.unpack(self.header)
        if magic != _MAGIC or link not in _LINK_HEADERS:
            raise Failure(
                "link_not_known",
                "taking the payload off",
                f"packets of this interface have headers of a kind that is not known here ({magic:x}, {link})",
                "Capture on any.",
            )
        return _LINK_HEADERS[link]
