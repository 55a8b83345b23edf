# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut: ways to keep a connection's packets from its own end, by options of its own socket.

IP_MINTTL = 255 makes the kernel discard every packet that comes with a lower TTL, without a word to anybody; senders
start with 64 or 128. It takes no privilege, concerns this socket alone, and ends with it. (Linux: net/ipv4/tcp_ipv4.c,
tcp_v4_rcv; net/ipv6/tcp_ipv6.c.)
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

_IP_MINTTL = 21
_IPV6_MINHOPCOUNT = 73
_SO_ATTACH_FILTER = 26
_TCP_REPAIR = 19
_HIGHEST = 255
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
CAPABILITIES = {"CAP_NET_ADMIN": _CAP_NET_ADMIN, "CAP_SYS_ADMIN": _CAP_SYS_ADMIN}

#: Classic BPF, from the TCP header on: drop what is as long as its header (no data), unless it is SYN, FIN or RST.
_NO_BARE_ACKS = (
    (0x30, 0, 0, 12),  # A = byte 12
    (0x54, 0, 0, 0xF0),
    (0x74, 0, 0, 2),  # A = length of the header
    (0x07, 0, 0, 0),  # X = A
    (0x80, 0, 0, 0),  # A = length of the packet
    (0x1C, 0, 0, 0),  # A -= X
    (0x15, 0, 2, 0),  # no data? else go to accept
    (0x30, 0, 0, 13),  # A = flags
    (0x45, 0, 1, 0x07),  # FIN, SYN or RST: accept, else drop
    (0x06, 0, 0, 0xFFFFFFFF),  # accept
    (0x06, 0, 0, 0),  # drop
)


def available() -> bool:
    """Whether this system has IP_MINTTL as Linux has it."""
    return sys.platform.startswith("linux")


def missing_capabilities(names: list[str]) -> list[str]:
    """Those of *names* that this process does not have in effect."""
    with open("/proc/self/status", encoding="utf-8") as lines:
        effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    return [name for name in names if not effective >> CAPABILITIES[name] & 1]


def deafen(connection: socket.socket) -> None:
    """From now on nothing that the peer sends arrives."""
    _set_lowest_ttl(connection, _HIGHEST)


def heal(connection: socket.socket) -> None:
    """Undo `deafen`."""
    _set_lowest_ttl(connection, 0)


def _set_lowest_ttl(connection: socket.socket, value: int) -> None:
    if connection.family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, _IPV6_MINHOPCOUNT, value)
    else:
        connection.setsockopt(socket.IPPROTO_IP, _IP_MINTTL, value)


def forget(connection: socket.socket) -> None:
    """Have this end closed without a word, so that the next packet of the peer is answered with RST.

    That is what a host does that was restarted, and a device that has forgotten the flow and rejects it.
    """
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)


def drop_bare_acks(connection: socket.socket) -> None:
    """From now on packets without data do not arrive, keepalive probes among them."""
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _NO_BARE_ACKS)
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(_NO_BARE_ACKS), ctypes.addressof(buffer))
    connection.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, header)
