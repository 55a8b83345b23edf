# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks, a pure room: a capture in the format pcapng, whose interfaces may be of several kinds, to its frames.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcapng-03.html
"""

from __future__ import annotations

import struct
import typing as t

#: No block is longer; a length beyond that is damage.
LONGEST = 1 << 20

MAGIC = b"\n\r\r\n"
_SECTION, _INTERFACE, _PACKET, _ENHANCED = 0x0A0D0D0A, 1, 2, 6
_BYTE_ORDER = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_RESOLUTION, _OFFSET = 9, 14


class Damage(Exception):
    """The rest of the capture cannot be read; the message says why."""


class _Interface(t.NamedTuple):
    link: int
    ticks: int  # a second
    offset: int  # seconds


def frames(read: t.Callable[[int], bytes]) -> t.Iterator[tuple[float, int, bytes]]:
    """Time, link type and bytes of each packet of a file with that method.

    Raises Damage; packets without a time (of Simple Packet Blocks) are left out, as is whatever else blocks can be.
    """
    order = ""
    interfaces: list[_Interface] = []
    while True:
        head = read(8)
        if not head:
            return
        if head[:4] == MAGIC:
            order = _BYTE_ORDER.get(magic := _all(read, 4), "")
            if not order:
                raise Damage("is damaged; all before that was used")
            interfaces = []
            rest = magic
        else:
            rest = b""
        kind, length = _unpacked(f"{order}II", head, 0)
        if length < 12 + len(rest) or length % 4 or length > LONGEST:
            raise Damage("is damaged; all before that was used")
        body = _all(read, length - 8 - len(rest))[:-4]
        if kind == _INTERFACE:
            interfaces.append(_interface(body, order))
        elif kind in (_ENHANCED, _PACKET):
            number, high, low, size = _unpacked(f"{order}IIII" if kind == _ENHANCED else f"{order}HxxIII", body, 0)
            if number >= len(interfaces) or size > len(body) - 20:
                raise Damage("is damaged; all before that was used")
            interface = interfaces[number]
            yield interface.offset + (high << 32 | low) / interface.ticks, interface.link, body[20 : 20 + size]


def _all(read: t.Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) < size:
        raise Damage("ends in the middle of a packet; all before that was used")
    return data


def _unpacked(form: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        raise Damage("is damaged; all before that was used") from None


def _interface(body: bytes, order: str) -> _Interface:
    (link,) = _unpacked(f"{order}H", body, 0)
    ticks, offset, at = 10**6, 0, 8
    while at + 4 <= len(body):
        code, length = _unpacked(f"{order}HH", body, at)
        if code == _RESOLUTION:
            (power,) = _unpacked("B", body, at + 4)
            ticks = 2 ** (power & 127) if power & 128 else 10**power
        elif code == _OFFSET:
            (offset,) = _unpacked(f"{order}q", body, at + 4)
        at += 4 + (length + 3 & ~3)
    return _Interface(link, ticks, offset)
