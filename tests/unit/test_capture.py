# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a packet is kept: all of its headers, none of its payload, whatever it looks like."""

from __future__ import annotations

import ipaddress
import struct
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._capture import _records, _wish
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

SECRET = b"hunter2-in-a-statement"


def wish(**changes: t.Any) -> _wish.Wish:
    usual = _wish.Wish(10.0, [5432], [], "any", None, 1 << 20, 2, 0.0, False, None, 0, None)
    return usual._replace(**changes)


def tcp(*, ports: tuple[int, int] = (40000, 5432), options: bytes = b"", payload: bytes = b"") -> tuple[bytes, bytes]:
    """A TCP header, and its payload."""
    assert len(options) % 4 == 0
    return struct.pack("!HHIIBBHHH", *ports, 1, 2, (5 + len(options) // 4) << 4, 0x18, 64, 0, 0) + options, payload


def ip(protocol: int, peers: tuple[str, str], inner: bytes, options: bytes = b"") -> bytes:
    """A packet of the version that the addresses are of."""
    source, target = (ipaddress.ip_address(peer).packed for peer in peers)
    if len(source) == 16:
        return struct.pack("!IHBB", 6 << 28, len(inner), protocol, 64) + source + target + inner
    first = 0x40 + 5 + len(options) // 4
    length = 20 + len(options) + len(inner)
    return struct.pack("!BBHHHBBH", first, 0, length, 0, 0, 64, protocol, 0) + source + target + options + inner


V4, V6 = ("10.0.0.7", "10.0.0.1"), ("2001:db8::7", "2001:db8::1")
ICMP = {V4: 1, V6: 58}


@pytest.mark.parametrize("peers", [V4, V6])
@pytest.mark.parametrize("link", [0, 14, 16, 20])
@pytest.mark.parametrize("options", [b"", bytes(12), bytes(40)])
def test_a_packet_is_kept_up_to_the_end_of_its_tcp_header(peers: tuple[str, str], link: int, options: bytes) -> None:
    header, payload = tcp(options=options, payload=SECRET)
    packet = bytes(link) + ip(6, peers, header + payload)
    assert packet[: _records.Scope(wish()).headers(packet, link)] == packet[: -len(SECRET)]


def test_options_of_the_ip_header_are_part_of_it() -> None:
    header, payload = tcp(payload=SECRET)
    packet = ip(6, V4, header + payload, options=bytes(40))
    assert packet[: _records.Scope(wish()).headers(packet, 0)] == packet[: -len(SECRET)]


def test_the_longest_headers_are_passed_on_by_tcpdump() -> None:
    header, _payload = tcp(options=bytes(40))
    quoted = ip(6, V4, header, options=bytes(40))
    assert len(bytes(20) + ip(1, V4, bytes(8) + quoted, options=bytes(40))) <= _wish.HEADERS


@pytest.mark.parametrize("peers", [V4, V6])
def test_what_an_icmp_message_quotes_is_cut_as_well(peers: tuple[str, str]) -> None:
    header, payload = tcp(payload=SECRET)
    scope = _records.Scope(wish())
    message = ip(ICMP[peers], peers, bytes(8) + ip(6, peers, header + payload))
    assert message[: scope.headers(message, 0)] == message[: -len(SECRET)]
    shortest = ip(ICMP[peers], peers, bytes(8) + ip(6, peers, header[:8]))  # RFC 792 has no more
    assert scope.headers(shortest, 0) == len(shortest)


@pytest.mark.parametrize("peers", [V4, V6])
def test_an_icmp_message_about_something_else_is_not_kept(peers: tuple[str, str]) -> None:
    router = {V4: "10.9.9.9", V6: "2001:db8:9::9"}[peers]

    def kept(quoted: bytes, **changes: t.Any) -> bool:
        message = ip(ICMP[peers], (router, peers[0]), bytes(8) + quoted)
        return _records.Scope(wish(**changes)).headers(message, 0) is not None

    ours, other = (ip(6, peers, tcp(ports=(40000, port))[0]) for port in (5432, 443))
    assert kept(ours)
    assert kept(ip(6, peers, tcp(ports=(5432, 40000))[0]))
    assert not kept(other)
    assert not kept(ip(17, peers, tcp()[0]))
    assert kept(other, ports=[5432, 443])
    assert kept(ours, addresses=[peers[1]])
    assert not kept(ours, addresses=["10.0.0.2", "2001:db8::2"])
    assert not kept(ours, addresses=[router])


@given(st.binary(max_size=300), st.sampled_from([0, 14, 16, 20]))
def test_any_bytes_are_taken(packet: bytes, link: int) -> None:
    kept = _records.Scope(wish(addresses=["10.0.0.0/8"])).headers(packet, link)
    assert kept is None or 0 <= kept <= len(packet)


@given(st.lists(st.binary(max_size=60), max_size=8), st.lists(st.integers(1, 40), max_size=30))
def test_however_the_bytes_come_in_the_records_are_the_same(payloads: list[bytes], pieces: list[int]) -> None:
    link = 276
    data = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 256, link)
    expected = []
    for second, payload in enumerate(payloads):
        header, _payload = tcp()
        packet = bytes(20) + ip(6, V4, header + payload)
        data += struct.pack("=IIII", second, 500_000, len(packet), len(packet) + 7) + packet
        kept = packet[: len(packet) - len(payload)]
        record = struct.pack("=IIII", second, 500_000, len(kept), len(packet) + 7) + kept
        expected.append((second + 0.5, record))
    stream = _records.Stream(wish(), _records.Scope(wish()))
    found = []
    for piece in pieces:
        found += stream.feed(data[:piece])
        data = data[piece:]
    found += stream.feed(data)
    assert found == expected


def test_a_link_that_is_not_known_is_not_guessed_at() -> None:
    stream = _records.Stream(wish(), _records.Scope(wish()))
    with pytest.raises(Failure, match="Capture on any"):
        list(stream.feed(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 256, 105)))


@pytest.mark.parametrize(
    ("text", "bytes_"), [("512kB", 524288), (" 20 MB", 20 << 20), ("1.5GB", 3 << 29), ("0MB", 0), ("1TB", 1 << 40)]
)
def test_sizes(text: str, bytes_: int) -> None:
    assert _wish.size("file_size", text) == bytes_


@pytest.mark.parametrize("text", ["", "20", "20 parsecs", "-1MB", "20Mb", "1e3MB", "MB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(Failure, match="Write a number with a unit"):
        _wish.size("file_size", text)
