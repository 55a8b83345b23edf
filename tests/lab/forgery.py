# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets in somebody else's name, as a load balancer sends them that ends an idle flow."""

from __future__ import annotations

import functools
import re
import socket
import struct
from pathlib import Path

from .capture import matching
from .hosts import Host, LabError

End = tuple[str, int]


def reset_both(router: Host, capture: Path, client: End, server: End, ttl: int) -> None:
    """Send each end a RST (IPv4) that seems to come from the other; *capture* has the flow so far."""
    for receiver, pretended in ((client, server), (server, client)):
        packet = _reset(pretended, receiver, _expected(capture, receiver[1], pretended[1]), ttl)
        router.inside(functools.partial(_send, packet, receiver[0]))


def _expected(capture: Path, receiver: int, pretended: int) -> int:
    """The sequence number that the receiver waits for: what it has acknowledged last."""
    lines = matching(capture, f"tcp src port {receiver} and dst port {pretended}")
    numbers = re.findall(r" ack (\d+),", "\n".join(lines))
    if not numbers:
        raise LabError(f"{capture} has no packet from port {receiver}")
    return int(numbers[-1])


def _reset(source: End, target: End, sequence: int, ttl: int) -> bytes:
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    header = struct.pack("!HHIIBBHHH", source[1], target[1], sequence, 0, 5 << 4, 4, 0, 0, 0)
    checksum = _checksum(addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(header)) + header)
    header = header[:16] + struct.pack("!H", checksum) + header[18:]
    # The kernel fills in the length, the identification and the checksum of the IP header.
    return struct.pack("!BBHHHBBH", 4 << 4 | 5, 0, 0, 0, 0, ttl, socket.IPPROTO_TCP, 0) + addresses + header


def _checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _send(packet: bytes, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(packet, (address, 0))
