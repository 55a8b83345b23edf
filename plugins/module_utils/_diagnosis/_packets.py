# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets: reads captures (pcap, pcapng, also compressed) with dpkt, or else with tshark, one packet at a time."""

from __future__ import annotations

import contextlib
import functools
import io
import lzma
import shutil
import socket
import struct
import subprocess
import tempfile
import typing as t
import zlib

from .._errors import Failure
from ._blocks import LONGEST, MAGIC, Damage, frames
from ._packed import Unreadable, opened
from ._packet import Packet

try:
    import dpkt
    import dpkt.pcap
except ImportError:
    dpkt = None

_PCAP = frozenset(
    magic
    for number in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
    for magic in (number.to_bytes(4, "big"), number.to_bytes(4, "little"))
)

# https://www.tcpdump.org/linktypes.html: where the protocol's number is, and where its packet begins.
_LINKS: dict[int, tuple[int | None, int]] = {
    **dict.fromkeys((0, 108), (None, 4)),  # loopback
    **dict.fromkeys((12, 14, 101, 228, 229), (None, 0)),  # IP as it is
    1: (12, 14),  # Ethernet
    113: (14, 16),  # Linux, tcpdump -i any
    276: (0, 20),  # the same, version 2
}
_VLAN = (0x8100, 0x88A8, 0x9100)
_IP = (0x0800, 0x86DD)
_ICMP, _TCP, _FRAGMENT, _AUTHENTICATION, _ICMP6 = 1, 6, 44, 51, 58
_EXTENSIONS = frozenset((0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140))
#: The messages that quote the packet which they are about.
_ICMP_ERRORS = {_ICMP: (3, 11, 12), _ICMP6: (1, 2, 3, 4)}

_short = struct.Struct("!H").unpack_from
_ipv4 = struct.Struct("!BxHxxHBBxx4s4s").unpack_from
_ipv6 = struct.Struct("!4xHBB16s16s").unpack_from
_tcp = struct.Struct("!HHLLBBH").unpack_from
_ports = struct.Struct("!HH").unpack_from
_number = struct.Struct("!L").unpack_from

_FIELDS = (
    *("frame.time_epoch", "ip.src", "ip.dst", "ip.ttl", "ipv6.src", "ipv6.dst", "ipv6.hlim"),
    *("tcp.srcport", "tcp.dstport", "tcp.seq", "tcp.ack", "tcp.flags", "tcp.window_size_value", "tcp.len"),
    *("tcp.payload", "icmp.type", "icmp.code", "icmpv6.type", "icmpv6.code"),
)
_PREFERENCES = (
    *("tcp.relative_sequence_numbers:FALSE", "tcp.analyze_sequence_numbers:FALSE"),
    *("tcp.desegment_tcp_streams:FALSE", "ip.defragment:FALSE", "ipv6.defragment:FALSE"),
)


def packets(path: str, problems: list[str]) -> t.Iterator[Packet]:
    """The TCP segments and ICMP errors of a capture. What is wrong with it becomes a line each in *problems*.

    Raises Failure ``no_capture_reader`` where there is nothing that reads captures.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(opened(path))
            capture = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)
            _check(capture)
            if dpkt is not None:
                yield from _by_dpkt(capture, path, problems)
            else:
                yield from _by_tshark(path)
    except (Damage, Unreadable) as damage:
        problems.append(f"{path}: {damage}")
    except EOFError:
        problems.append(f"{path}: ends in the middle of its compressed data; all before that was used")
    except (zlib.error, lzma.LZMAError):
        problems.append(f"{path}: its compressed data is damaged; all before that was used")
    except OSError as error:
        problems.append(f"{path}: {error.strerror or error}")


def _check(capture: io.BufferedReader) -> None:
    """Raises Damage for what is no capture."""
    magic = capture.peek(4)[:4]
    if not magic:
        raise Damage("is empty")
    if magic != MAGIC and magic not in _PCAP:
        raise Damage("is no packet capture (pcap or pcapng)")


# ---- by dpkt


class _Input:
    """The file for dpkt's readers, which take what they get: no length beyond reason, no end within a packet."""

    def __init__(self, file: t.BinaryIO) -> None:
        self._read = file.read
        #: The readers ask in turns for a header and for what belongs to it.
        self.within = False

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST:
            raise Damage("is damaged; all before that was used")
        data = self._read(size)
        if len(data) < size and (data or self.within):
            raise Damage("ends in the middle of a packet; all before that was used")
        self.within = not self.within
        return data


def _by_dpkt(file: io.BufferedReader, path: str, problems: list[str]) -> t.Iterator[Packet]:
    cut = 0
    unread: dict[int, int] = {}
    try:
        for time, link, frame in _frames(file):
            if link not in _LINKS:
                unread[link] = unread.get(link, 0) + 1
                continue
            try:
                packet = _packet(time, frame, *_LINKS[link])
            except (struct.error, IndexError):
                cut += 1
                continue
            if packet is not None:
                yield packet
    finally:
        for link, count in unread.items():
            problems.append(f"{path}: {count} packets are of a kind (link type {link}) that is not read here")
        if cut:
            problems.append(f"{path}: {cut} packets are cut before the end of their headers and were left out")


def _frames(file: io.BufferedReader) -> t.Iterator[tuple[float, int, bytes]]:
    """Time, link type and bytes of each packet; dpkt takes all packets of a pcapng for those of its first interface."""
    if file.peek(4)[:4] == MAGIC:
        yield from frames(file.read)
        return
    capture = _Input(file)
    try:
        reader = dpkt.pcap.Reader(capture)
        capture.within = False
        link = reader.datalink() & 0xFFFF
        for time, frame in reader:
            yield float(time), link, frame
    except (dpkt.Error, ValueError, struct.error, OverflowError) as error:
        raise Damage("is damaged; all before that was used") from error


def _packet(time: float, frame: bytes, protocol_at: int | None, at: int) -> Packet | None:
    if protocol_at is not None:
        (protocol,) = _short(frame, protocol_at)
        while protocol in _VLAN:
            (protocol,) = _short(frame, at + 2)
            at += 4
        if protocol not in _IP:
            return None
    found = _addresses(frame, at)
    if found is None:
        return None
    src, dst, ttl, protocol, at, end = found
    if protocol == _TCP:
        sport, dport, seq, ack, size, flags, window = _tcp(frame, at)
        data_at = at + (size >> 2 & ~3)
        if data_at < at + 20 or data_at > end:
            return None  # no TCP header is like that
        payload = frame[data_at:end]
        return Packet(time, src, sport, dst, dport, seq, ack, flags, window, end - data_at, payload, ttl)
    if protocol in _ICMP_ERRORS and frame[at] in _ICMP_ERRORS[protocol]:
        message = f"{frame[at]}/{frame[at + 1]} from {src}"
        quoted = _addresses(frame, at + 8)
        if quoted is not None and quoted[3] == _TCP:
            src, dst, ttl, protocol, at, end = quoted
            sport, dport = _ports(frame, at)
            (seq,) = _number(frame, at + 4) if len(frame) >= at + 8 else (0,)  # a capture of headers may lack it
            return Packet(time, src, sport, dst, dport, seq, 0, 0, 0, 0, b"", ttl, message)
    return None


def _addresses(frame: bytes, at: int) -> tuple[str, str, int, int, int, int] | None:
    """Of an IP packet: source, destination, TTL, protocol, where that begins, and where the packet ends."""
    version = frame[at] >> 4
    if version == 4:
        first, size, fragment, ttl, protocol, src, dst = _ipv4(frame, at)
        if fragment & 0x1FFF:
            return None  # only the first fragment has the TCP header
        # A network card's offload may leave the length open.
        return _text(src), _text(dst), ttl, protocol, at + (first & 15) * 4, at + (size or len(frame) - at)
    if version != 6:
        return None
    size, protocol, ttl, src, dst = _ipv6(frame, at)
    end = at + 40 + (size or len(frame) - at - 40)
    at += 40
    while protocol in _EXTENSIONS:
        if protocol == _FRAGMENT and _short(frame, at + 2)[0] & 0xFFF8:
            return None
        extent = 8 if protocol == _FRAGMENT else (frame[at + 1] + 1) * 8
        if protocol == _AUTHENTICATION:
            extent = (frame[at + 1] + 2) * 4
        protocol = frame[at]
        at += extent
    return _text(src), _text(dst), ttl, protocol, at, end


@functools.lru_cache(maxsize=65536)
def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


# ---- by tshark


def _by_tshark(path: str) -> t.Iterator[Packet]:
    program = shutil.which("tshark")
    if program is None:
        raise Failure(
            "no_capture_reader",
            f"capture {path}",
            "neither the Python library dpkt nor tshark is on this host",
            "Install one of them (Debian: python3-dpkt or tshark, Red Hat: python3-dpkt or wireshark-cli, "
            "SUSE: wireshark, Alpine: tshark, pip: dpkt).",
        )
    options = [word for one in _PREFERENCES for word in ("-o", one)]
    fields = [word for one in _FIELDS for word in ("-e", one)]
    command = [program, "-n", "-r", path, *options, "-Y", "tcp or icmp or icmpv6", "-T", "fields", *fields]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command waits for the end
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, encoding="ascii", errors="replace"
        )
        try:
            for line in t.cast(t.TextIO, process.stdout):
                packet = _row(line.rstrip("\n").split("\t"))
                if packet is not None:
                    yield packet
            failed = process.wait()
        finally:
            process.kill()
            process.communicate()
        errors.seek(0)
        told = [line.strip() for line in errors.read().decode("utf-8", "replace").splitlines() if "tshark:" in line]
    if failed or told:
        raise Damage(f"{told[-1] if told else 'tshark failed'}; all before that was used")


def _row(row: list[str]) -> Packet | None:
    """A line of tshark. A packet that another one quotes or carries comes after it, separated by a comma."""
    if len(row) != len(_FIELDS):
        return None
    outer = dict(zip(_FIELDS, (value.partition(",")[0] for value in row)))
    inner = dict(zip(_FIELDS, (value.rpartition(",")[2] for value in row)))
    family = "ip" if inner["ip.src"] else "ipv6"
    message = None
    for protocol, icmp, source in ((_ICMP, "icmp", "ip.src"), (_ICMP6, "icmpv6", "ipv6.src")):
        if outer[f"{icmp}.type"]:
            if int(outer[f"{icmp}.type"]) not in _ICMP_ERRORS[protocol]:
                return None
            message = f"{outer[f'{icmp}.type']}/{outer[f'{icmp}.code']} from {outer[source]}"
    try:
        return Packet(
            float(inner["frame.time_epoch"]),
            inner[f"{family}.src"],
            int(inner["tcp.srcport"]),
            inner[f"{family}.dst"],
            int(inner["tcp.dstport"]),
            int(inner["tcp.seq"]),
            0 if message else int(inner["tcp.ack"]),
            0 if message else int(inner["tcp.flags"], 16),
            0 if message else int(inner["tcp.window_size_value"]),
            0 if message else int(inner["tcp.len"]),
            b"" if message else bytes.fromhex(inner["tcp.payload"].replace(":", "")),
            int(inner["ip.ttl"] or inner["ipv6.hlim"]),
            message,
        )
    except ValueError:
        return None  # its headers are not all there
