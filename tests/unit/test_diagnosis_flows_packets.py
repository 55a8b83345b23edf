# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures of every link type and file format give the same packets; damaged ones give what is before the damage."""

from __future__ import annotations

import bz2
import gzip
import io
import ipaddress
import lzma
import shutil
import struct
import typing as t
from pathlib import Path

import dpkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _flows, _packets
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._packet import Packet
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

MIDDLE = "ends in the middle of a packet; all before that was used"
DAMAGED = "is damaged; all before that was used"
PAYLOAD = b"Q\0\0\0\x0dSELECT 1\0"
TIME = 1795401204.25
TICKS = 1795401204250000000  # the same in nanoseconds, which no float has
V4, V6 = ("192.0.2.7", "192.0.2.1"), ("2001:db8::7", "2001:db8::1")
ETHERNET = bytes(12) + b"\x08\0"
SLL2 = b"\x08\0" + bytes(18)


def tcp(payload: bytes = PAYLOAD, options: bytes = b"\1\1\1\0") -> bytes:
    size = (20 + len(options)) // 4
    return struct.pack("!HHLLBBHHH", 40000, 5432, 4_000_000_000, 77, size << 4, 0x18, 501, 0, 0) + options + payload


def ipv4(
    content: bytes, protocol: int = 6, fragment: int = 0, length: int | None = None, options: bytes = b""
) -> bytes:
    size = 20 + len(options)
    head = struct.pack(
        *("!BBHHHBBH", 0x40 + size // 4, 0, size + len(content) if length is None else length),
        *(1, fragment, 63, protocol, 0),
    )
    return head + b"".join(ipaddress.ip_address(one).packed for one in V4) + options + content


def ipv6(content: bytes, protocol: int = 6, length: int | None = None) -> bytes:
    head = struct.pack("!IHBB", 0x60000000, len(content) if length is None else length, protocol, 63)
    return head + b"".join(ipaddress.ip_address(one).packed for one in V6) + content


def expected(addresses: tuple[str, str] = V4, **other: t.Any) -> Packet:
    src, dst = addresses
    packet = Packet(TIME, src, 40000, dst, 5432, 4_000_000_000, 77, 0x18, 501, len(PAYLOAD), PAYLOAD, 63)
    return packet._replace(**other)


def pcap(*frames: bytes, link: int = 1, order: str = "<", nano: bool = False, cut: int = 0) -> bytes:
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    for frame in frames:
        fraction = 250_000_000 if nano else 250_000
        out += struct.pack(order + "IIII", int(TIME), fraction, len(frame), len(frame) + cut) + frame
    return out


def pcapng(*frames: bytes, links: tuple[int, ...] = (1,)) -> bytes:
    out = io.BytesIO()
    interfaces = [dpkt.pcapng.InterfaceDescriptionBlockLE(linktype=link) for link in links]
    writer = dpkt.pcapng.Writer(out, idb=interfaces)
    writer.writepkts((TIME, frame) for frame in frames)
    return out.getvalue()


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A block of pcapng."""
    body += bytes(-len(body) % 4)
    size = len(body) + 12
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, order: str = "<", resolution: int = 6, offset: int = 0) -> bytes:
    options = struct.pack(f"{order}HH4sHHBxxx", 2, 3, b"eth", 9, 1, resolution)
    options += struct.pack(f"{order}HHqHH", 14, 8, offset, 0, 0)
    return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)


def enhanced(number: int, ticks: float, frame: bytes, order: str = "<", obsolete: bool = False) -> bytes:
    time = round(ticks)
    size = (time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
    head = struct.pack(f"{order}HHIIII" if obsolete else f"{order}IIIII", number, *((0,) if obsolete else ()), *size)
    return block(2 if obsolete else 6, head + frame, order)


def read(path: Path, capture: bytes) -> tuple[list[Packet], list[str]]:
    """The packets, and the problems without the file's name."""
    path.write_bytes(capture)
    problems: list[str] = []
    found = list(_packets.packets(str(path), problems))
    assert all(problem.startswith(f"{path}: ") and "\n" not in problem for problem in problems)
    return found, [problem.partition(": ")[2] for problem in problems]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "it.pcap"


PLAIN = ETHERNET + ipv4(tcp())
SIX = bytes(12) + b"\x86\xdd"
EXTENSIONS = b"\x2b\0" + bytes(6) + b"\x2c\1" + bytes(14) + b"\x33\0" + bytes(6) + b"\6\1" + bytes(10)
LINKS = {
    "ethernet": (1, PLAIN, expected()),
    "VLAN": (1, bytes(12) + b"\x81\0\0\7\x08\0" + ipv4(tcp()), expected()),
    "VLAN in VLAN": (1, bytes(12) + b"\x88\xa8\0\7\x81\0\0\7\x86\xdd" + ipv6(tcp()), expected(V6)),
    "cooked": (113, bytes(14) + b"\x08\0" + ipv4(tcp()), expected()),
    "cooked v2": (276, SLL2 + ipv4(tcp()), expected()),
    "cooked v2, IPv6": (276, b"\x86\xdd" + bytes(18) + ipv6(tcp()), expected(V6)),
    "raw": (101, ipv4(tcp()), expected()),
    "raw IPv6": (229, ipv6(tcp()), expected(V6)),
    "null": (0, b"\2\0\0\0" + ipv4(tcp()), expected()),
    "loop": (108, b"\0\0\0\x18" + ipv6(tcp()), expected(V6)),
    "IPv6 extensions": (1, SIX + ipv6(EXTENSIONS + tcp(), 0), expected(V6)),
    "IPv4 options": (1, ETHERNET + ipv4(tcp(), options=b"\1\1\1\0"), expected()),
    "padding": (1, ETHERNET + ipv4(tcp(b"")) + bytes(6), expected(length=0, payload=b"")),
    "cut payload": (1, PLAIN[:-10], expected(payload=PAYLOAD[:-10])),
    "headers only": (1, PLAIN[: -len(PAYLOAD) - 4], expected(payload=b"")),
    "length left open": (1, ETHERNET + ipv4(tcp(), length=0), expected()),
    "length left open, IPv6": (1, SIX + ipv6(tcp(), length=0), expected(V6)),
}


@pytest.mark.parametrize("name", LINKS)
def test_links_and_headers(name: str, path: Path) -> None:
    link, frame, packet = LINKS[name]
    assert read(path, pcap(frame, link=link)) == ([packet], [])
    assert read(path, pcapng(frame, frame, links=(link,))) == ([packet, packet], [])


@pytest.mark.parametrize(
    "frame",
    [
        bytes(12) + b"\x08\6" + bytes(28),  # ARP
        ETHERNET + ipv4(bytes(8), 17),
        ETHERNET + ipv4(tcp(), fragment=5),  # not the first
        SIX + ipv6(b"\6\0\1\0" + bytes(4) + tcp(), 44),
        ETHERNET + b"\x50" + bytes(60),
        ETHERNET + ipv4(tcp()[:12] + b"\x10" + tcp()[13:]),  # a header shorter than any
        ETHERNET + ipv4(tcp(), length=30),
        ETHERNET + ipv4(b"\x08\0" + bytes(6), 1),  # ping
        ETHERNET + ipv4(b"\3\1" + bytes(6) + ipv4(bytes(8), 17), 1),  # of UDP
    ],
)
def test_what_is_no_tcp_segment_is_left_out(frame: bytes, path: Path) -> None:
    assert read(path, pcap(PLAIN, frame, PLAIN)) == ([expected(), expected()], [])


ICMP = {
    "unreachable": (ETHERNET + ipv4(b"\3\x0d" + bytes(6) + ipv4(tcp()[:8], length=60), 1), V4, "3/13 from 192.0.2.7"),
    "too big": (SIX + ipv6(b"\2\0" + bytes(6) + ipv6(tcp()[:20], length=60), 58), V6, "2/0 from 2001:db8::7"),
}


@pytest.mark.parametrize("name", ICMP)
def test_icmp_errors(name: str, path: Path) -> None:
    frame, addresses, message = ICMP[name]
    packet = expected(addresses, ack=0, flags=0, window=0, length=0, payload=b"", icmp=message)
    assert read(path, pcap(frame)) == ([packet], [])
    # a capture of 66 bytes has no more than the ports of what an ICMP error quotes
    ports = frame[: frame.rindex(tcp()[:4]) + 4]
    assert len(ports) == 66 or name == "too big"
    assert read(path, pcap(ports)) == ([packet._replace(seq=0)], [])


def test_tshark_reads_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("tshark"):
        pytest.skip("tshark is not installed")
    captures = [pcap(LINKS[name][1], link=LINKS[name][0]) for name in ("VLAN in VLAN", "cooked v2", "IPv6 extensions")]
    captures += [pcap(ICMP["unreachable"][0], ICMP["too big"][0], ETHERNET + ipv4(b"\x08\0" + bytes(6), 1), PLAIN)]
    captures += [pcapng(PLAIN), pcap(LINKS["cut payload"][1], cut=10)]
    by_dpkt = [read(path, capture) for capture in captures]
    monkeypatch.setattr(_packets, "dpkt", None)
    assert [read(path, capture) for capture in captures] == by_dpkt
    found, (problem,) = read(path, pcap(PLAIN, PLAIN)[:-5])
    assert found == [expected()]
    assert "middle of a packet" in problem


def test_rows_of_tshark_that_make_no_sense_are_left_out() -> None:
    row = [
        "1.5",
        "192.0.2.7",
        "192.0.2.1",
        "63",
        "",
        "",
        "",
        "40000",
        "5432",
        "1",
        "2",
        "0x0018",
        "3",
        "0",
        "",
        *[""] * 4,
    ]
    assert _packets._row(row) is not None
    assert _packets._row(row[:-1]) is None
    assert _packets._row([*row[:7], "", *row[8:]]) is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_file_formats(order: str, nano: bool, path: Path) -> None:
    assert read(path, pcap(PLAIN, order=order, nano=nano)) == ([expected()], [])


@pytest.mark.parametrize("order", ["<", ">"])
def test_interfaces_of_several_kinds(order: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As "tcpdump -i any" of newer systems, dumpcap and mergecap write them; each has its own clock, too."""
    raw = ipv4(tcp())
    capture = section(order) + interface(1, order) + interface(101, order, 9) + interface(276, order, 0x80 | 10, 1000)
    capture += enhanced(0, TIME * 1e6, PLAIN, order) + enhanced(1, TICKS, raw, order)
    capture += enhanced(2, (TIME - 1000) * 1024, SLL2 + raw, order) + enhanced(1, TICKS, raw, order, obsolete=True)
    capture += block(5, bytes(12), order) + section(order) + interface(101, order) + enhanced(0, TIME * 1e6, raw, order)
    assert read(path, capture) == ([expected()] * 5, [])
    if shutil.which("tshark"):
        monkeypatch.setattr(_packets, "dpkt", None)
        assert read(path, capture) == ([expected()] * 5, [])


NG = section() + interface(1)


@pytest.mark.parametrize(
    ("capture", "found"),
    [
        (NG + enhanced(1, 0, PLAIN), 0),  # there is no such interface
        (NG + enhanced(0, TIME * 1e6, PLAIN) + block(6, bytes(4)), 1),
        (NG + enhanced(0, TIME * 1e6, PLAIN) + struct.pack("<II", 6, 14), 1),
        (NG + enhanced(0, TIME * 1e6, PLAIN) + struct.pack("<II", 6, 1 << 30), 1),
        (NG + enhanced(0, TIME * 1e6, PLAIN) + b"\6\0", 1),
        (NG + block(1, b""), 0),
        (NG + block(1, bytes(8) + struct.pack("<HH", 14, 8)), 0),
        (section()[:8] + bytes(20), 0),
    ],
)
def test_a_damaged_pcapng(capture: bytes, found: int, path: Path) -> None:
    assert read(path, capture) == ([expected()] * found, [DAMAGED])


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_compressed_otherwise(pack: t.Callable[[bytes], bytes], path: Path) -> None:
    packed = pack(pcap(*[PLAIN] * 1000))
    assert read(path, packed) == ([expected()] * 1000, [])
    assert len(read(path, packed[: len(packed) // 2])[1]) == 1
    assert read(path, b"PK\x03\x04" + packed)[1] == ["is packed with zip, which is not read here; unpack it"]


def test_compressed(path: Path) -> None:
    packed = gzip.compress(pcap(*[PLAIN] * 1000), mtime=0)
    assert read(path, packed) == ([expected()] * 1000, [])
    found, problems = read(path, packed[: len(packed) // 2])
    assert 0 < len(found) < 1000
    assert problems == ["ends in the middle of its compressed data; all before that was used"]
    found, problems = read(path, packed[:60] + bytes(60) + packed[120:])
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("capture", "found", "problem"),
    [
        (b"", 0, "is empty"),
        (gzip.compress(b"", mtime=0), 0, "is empty"),
        (b"2026-11-23 02:12:34 UTC LOG:  database system is ready\n", 0, "is no packet capture (pcap or pcapng)"),
        (bytes(5000), 0, "is no packet capture (pcap or pcapng)"),
        (pcap()[:10], 0, MIDDLE),
        (pcap(PLAIN, PLAIN)[:-1], 1, MIDDLE),
        (pcap(PLAIN, PLAIN)[: -len(PLAIN)], 1, MIDDLE),
        (pcap(PLAIN, PLAIN)[: -len(PLAIN) - 3], 1, MIDDLE),
        (pcap(PLAIN) + b"\xff" * 100, 1, DAMAGED),
        (pcapng(PLAIN, PLAIN)[:-1], 1, MIDDLE),
        (pcapng(PLAIN) + b"\6\0\0\0\2\0\0\0" + bytes(100), 1, DAMAGED),
        (pcapng(PLAIN) + b"\6\0\0\0\x20\0\0\0" + b"\xff" * 24, 1, DAMAGED),
        (pcapng()[:-20], 0, None),  # no interface, no packet
        (pcap(PLAIN, PLAIN, link=195), 0, "2 packets are of a kind (link type 195) that is not read here"),
        (pcapng(PLAIN, links=(1, 1)), 1, None),
        (pcapng(PLAIN, links=(1, 195)), 1, None),
        (pcapng(PLAIN, links=(195, 1)), 0, "1 packets are of a kind (link type 195) that is not read here"),
        (
            pcap(PLAIN[:40], PLAIN, PLAIN[:20]),
            1,
            "2 packets are cut before the end of their headers and were left out",
        ),
    ],
)
def test_one_line_for_what_is_wrong(capture: bytes, found: int, problem: str | None, path: Path) -> None:
    assert read(path, capture) == ([expected()] * found, [problem] if problem else [])


def test_a_capture_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        problems: list[str] = []
        assert list(_packets.packets(str(path), problems)) == []
        assert len(problems) == 1


def test_nothing_that_reads_captures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_packets, "dpkt", None)
    monkeypatch.setenv("PATH", str(path.parent))
    with pytest.raises(Failure, match="python3-dpkt") as failure:
        read(path, pcap(PLAIN))
    assert failure.value.code == "no_capture_reader"


# ---- whatever comes

GOOD = [NG + interface(101) + enhanced(0, TIME * 1e6, PLAIN) + enhanced(1, TIME * 1e6, ipv4(tcp()))]
GOOD += [pcap(*(frame for link, frame, _packet in LINKS.values() if link == 1)), pcapng(PLAIN, PLAIN), pcap(PLAIN)]
GOOD += [pcap(*(frame for frame, _addresses, _message in ICMP.values())), pcap(SLL2 + ipv4(tcp()), link=276)]
MUTATIONS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=20)


def mutated(good: bytes, mutations: list[tuple[int, int]], end: int) -> bytes:
    changed = bytearray(good)
    for place, value in mutations:
        changed[place % len(changed)] = value
    return bytes(changed[:end])


@settings(max_examples=500)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(bytes.__add__, st.sampled_from([pcap(), pcapng(), pcap()[:4]]), st.binary(max_size=300)),
        st.builds(mutated, st.sampled_from(GOOD), MUTATIONS, st.integers(0, 3000)),
    )
)
def test_whatever_a_file_has_in_it(tmp_path_factory: pytest.TempPathFactory, capture: bytes) -> None:
    found, problems = read(tmp_path_factory.getbasetemp() / "any.pcap", capture)
    assert len(problems) <= 2
    list(_flows.flows(found, "it", "router"))
