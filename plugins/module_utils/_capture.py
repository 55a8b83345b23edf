# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Capture: tcpdump catches packets, this room takes their payload off and keeps the newest of them in a ring of files.

tcpdump writes to a pipe, never to a file. Hence no payload is ever on a disk (a snap length alone cannot cut where each
TCP header ends), tcpdump needs no right to any directory, and a ring by size and by time is one ring.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import ipaddress
import os
import pwd
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import typing as t

from . import _signals
from ._errors import Failure

#: Bytes that tcpdump passes on: the longest link header (20), IPv4 header (60), ICMP header (8) and, quoted by it, IPv4
#: and TCP header (120). What of it is payload is taken off here.
HEADERS = 256
#: Bytes of a packet with its payload; more than the longest that a network card's offload makes of several.
WHOLE = 262144
#: A file holds the longest packet at least.
SMALLEST_FILE = 2 * WHOLE
#: File systems run out of names as well as of bytes.
LEAST_INODES = 100

#: What comes before the IP header: link type → bytes (https://www.tcpdump.org/linktypes.html).
_LINK_HEADERS = {1: 14, 101: 0, 113: 16, 228: 0, 229: 0, 276: 20}
_MAGIC = 0xA1B2C3D4
_FILE_HEADER, _RECORD = struct.Struct("=IHHiIII"), struct.Struct("=IIII")
_ICMP, _TCP, _ICMP6 = 1, 6, 58
#: The ICMP messages that quote the packet they are about: unreachable, too big, time exceeded, parameter problem.
_QUOTES = "icmp[0] == 3 or icmp[0] == 11 or icmp[0] == 12 or (icmp6 and ip6[40] >= 1 and ip6[40] <= 4)"

_PARENT = "/var/tmp"
_CAP_NET_RAW = 13
_UNITS = {"kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_READ_AT_ONCE = 1 << 20
_KERNEL_BUFFER_KB = 16384
_TURN_SECONDS = 0.25
_START_SECONDS = 30.0
#: The kernel hands packets on in blocks, and keeps one that is not full for a second; the rest is for a busy host.
_LINGER_SECONDS = 2.0
_END_SECONDS = 10.0

#: Ends tcpdump when its standard input ends, that is at the latest when the module has died of whatever. A signal on
#: the parent's death (PR_SET_PDEATHSIG) would not do: it is forgotten when tcpdump changes its user.
_GUARD = """
"$@" </dev/null &
trap '' HUP INT TERM
exec >/dev/null 2>&1
read -r end
kill 0
sleep 5
kill -KILL 0
"""


class Wish(t.NamedTuple):
    """What to capture, for how long, and how much of it to keep; sizes in bytes, durations in seconds."""

    seconds: float
    ports: list[int]
    addresses: list[str]
    interface: str
    directory: str | None
    file_size: int
    files: int
    rotate_every: float
    payload: bool
    snap_length: int | None
    least_free: int
    user: str | None


def size(key: str, value: str) -> int:
    """*value* in bytes. Raises Failure ``bad_size`` for what is no number with a unit."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value)
    if match is None or match[2] not in _UNITS:
        raise Failure(
            "bad_size",
            f"{key}: {value}",
            "this is no size",
            f"Write a number with a unit out of {', '.join(_UNITS)}, such as 20MB.",
        )
    return round(float(match[1]) * _UNITS[match[2]])


def run(wish: Wish, check_mode: bool) -> dict[str, t.Any]:
    """Capture; what a user is told of it. In check mode, find out whether it would be possible."""
    _check(wish)
    scope = Scope(wish)
    asked = f"capture on {wish.interface}"
    command = _command(asked, wish, scope)
    plan = {
        "changed": True,
        "filter": scope.expression,
        "interface": wish.interface,
        "payload": wish.payload,
        "room": wish.file_size * wish.files,
    }
    try:
        if check_mode:
            directory = os.path.abspath(wish.directory or _PARENT)
            _need_room_to_begin(asked, directory if os.path.isdir(directory) else os.path.dirname(directory), wish)
            _try(asked, [*command, "-d", scope.expression])
            return plan
        with _signals.noted() as signals, _directory(asked, wish) as directory:
            return {**plan, "directory": directory, **_capture(asked, command, wish, scope, directory, signals)}
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        raise Failure(
            "capture_failed", asked, f"{os.strerror(error.errno or 0)}{place}", "Look at the directory and its disk."
        ) from error


def _check(wish: Wish) -> None:
    """Raises Failure ``bad_value`` for what makes no sense."""
    for wrong, asked, found, remedy in (
        (not wish.seconds, "for", "it would capture nothing", "Write a duration, such as 10min."),
        (wish.files < 2, f"files: {wish.files}", "all would be gone whenever it is full", "Write 2 or more."),
        (
            wish.file_size < SMALLEST_FILE,
            f"file_size: {wish.file_size} bytes",
            "the longest packet might not fit",
            f"Write {SMALLEST_FILE // 1024}kB or more.",
        ),
        (
            wish.snap_length is not None and not (wish.payload and HEADERS <= wish.snap_length <= WHOLE),
            f"snap_length: {wish.snap_length}",
            "it is for captures with payload, whose packets are kept up to there",
            f"Write {HEADERS} to {WHOLE} and payload: true, or leave it out.",
        ),
    ):
        if wrong:
            raise Failure("bad_value", asked, found, remedy)


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


class _Stream:
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


class _Full(Exception):
    """There is no more room; says of what."""


def _need_room(directory: str, least_free: int, coming: int = 0) -> None:
    """Raises _Full when *coming* more bytes would leave too little of the file system."""
    status = os.statvfs(directory)
    if status.f_bavail * status.f_frsize - coming < least_free:
        raise _Full("bytes")
    if status.f_files and status.f_favail < LEAST_INODES:  # some file systems do not count them
        raise _Full("inodes")


class _File:
    """One file of the ring."""

    def __init__(self, path: str, header: bytes) -> None:
        self.path = path
        self.size = self.packets = 0
        self.first = self.last = 0.0
        # Only ever a new one: nobody else's file, nor what a link points to, is written to.
        self._fd: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            self._write(header)
        except OSError:
            self.close()
            raise

    def add(self, packets: list[tuple[float, bytes]]) -> None:
        """Times and records of packets; all of them or, the file system being full, none."""
        self._write(b"".join(record for _when, record in packets))
        self.packets += len(packets)
        self.first = self.first or packets[0][0]
        self.last = packets[-1][0]

    def _write(self, data: bytes) -> None:
        handle = t.cast(int, self._fd)
        written = 0
        try:
            while written < len(data):
                written += os.write(handle, data[written:])
        except OSError:
            os.ftruncate(handle, self.size)
            raise
        self.size += written

    def close(self) -> None:
        """No more of it; one without a packet is of no use."""
        if self._fd is None:
            return
        os.close(self._fd)
        self._fd = None
        if not self.packets:
            os.unlink(self.path)

    def told(self) -> dict[str, t.Any]:
        """What a user is told of it."""
        return {
            "path": self.path,
            "size": self.size,
            "packets": self.packets,
            "first": _iso(self.first),
            "last": _iso(self.last),
        }


class _Ring:
    """The newest packets, in at most as many files of at most such a size as wished for."""

    def __init__(self, wish: Wish, directory: str, stream: _Stream) -> None:
        self._wish, self._directory, self._stream = wish, directory, stream
        self._prefix = f"capture-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
        self._number = 0
        self._files: list[_File] = []
        self._pending: list[tuple[float, bytes]] = []
        self._size = 0  # of the newest file with what is pending
        self.overwritten = 0

    def add(self, chunk: bytes) -> None:
        """Keep what of *chunk* is wanted. Raises _Full when there is no room for it."""
        _need_room(self._directory, self._wish.least_free)
        for when, record in self._stream.feed(chunk):
            if not self._fits(when, record):
                self._flush()
                self._rotate()
            self._size += len(record)
            self._pending.append((when, record))
        self._flush()

    def told(self) -> list[dict[str, t.Any]]:
        """What a user is told of each file."""
        return [file.told() for file in self._files if file.packets]

    def close(self) -> None:
        """No more packets for the newest file."""
        for file in self._files[-1:]:
            file.close()

    def _fits(self, when: float, record: bytes) -> bool:
        if not self._files or self._size + len(record) > self._wish.file_size:
            return False
        began = self._files[-1].first or (self._pending[0][0] if self._pending else when)
        return not self._wish.rotate_every or when - began < self._wish.rotate_every

    def _rotate(self) -> None:
        self.close()
        while len(self._files) >= self._wish.files:
            oldest = self._files.pop(0)
            self.overwritten += oldest.packets
            with contextlib.suppress(FileNotFoundError):
                os.unlink(oldest.path)
        self._number += 1
        path = os.path.join(self._directory, f"{self._prefix}-{self._number:05}.pcap")
        with _enough():
            self._files.append(_File(path, self._stream.header))
        self._size = self._files[-1].size

    def _flush(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            _need_room(self._directory, self._wish.least_free, sum(len(record) for _when, record in pending))
            with _enough():
                self._files[-1].add(pending)


@contextlib.contextmanager
def _enough() -> t.Iterator[None]:
    """A file system or a quota that is full is no error, but a reason to stop."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _Full("bytes") from None
        raise


class _Tcpdump:
    """tcpdump in a process that ends with this one."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # run_command waits for the end
            ["/bin/sh", "-c", _GUARD, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # a signal to the group of this process is for this process alone
        )
        self.said = b""
        self._ending: float | None = None

    @property
    def listening(self) -> bool:
        return b"listening on" in self.said

    def chunks(self) -> t.Iterator[bytes]:
        """What it writes, until it ends; nothing for a while is an empty chunk."""
        stdout, stderr = (t.cast(t.IO[bytes], pipe).fileno() for pipe in (self._process.stdout, self._process.stderr))
        pipes = [stdout, stderr]
        while pipes:
            ready = select.select(pipes, [], [], _TURN_SECONDS)[0]
            chunk = b""
            for pipe in ready:
                data = os.read(pipe, _READ_AT_ONCE)
                if not data:
                    pipes.remove(pipe)
                elif pipe == stderr:
                    self.said += data
                else:
                    chunk = data
            if pipes:
                yield chunk
            if self._process.poll() is not None or (self._ending and time.monotonic() > self._ending + _END_SECONDS):
                self.kill()

    def end(self) -> None:
        """Ask it to; what it has caught by now still comes."""
        if self._ending is None:
            self._ending = time.monotonic()
            t.cast(t.IO[bytes], self._process.stdin).close()

    def kill(self) -> None:
        """Nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            t.cast(t.IO[bytes], pipe).close()

    def counted(self, what: str) -> int | None:
        """One of its own counters."""
        match = re.search(rf"^(\d+) packets? {what}", self.said.decode(errors="replace"), re.MULTILINE)
        return int(match[1]) if match else None


def _capture(
    asked: str, command: list[str], wish: Wish, scope: Scope, directory: str, signals: list[signal.Signals]
) -> dict[str, t.Any]:
    with contextlib.closing(_Ring(wish, directory, _Stream(wish, scope))) as ring, contextlib.closing(
        _Tcpdump([*command, "-U", "-w", "-", scope.expression])
    ) as tcpdump:
        started = time.monotonic()
        listening: float | None = None  # since when
        last: float | None = None  # when it is to be asked to end
        reason = ""
        full = False
        for chunk in tcpdump.chunks():
            now = time.monotonic()
            try:
                if not full:
                    ring.add(chunk)
            except _Full as no_more:
                full, reason, last = True, f"free_{no_more}", now
            if tcpdump.listening and listening is None:
                listening = now
            if listening is None and now - started > _START_SECONDS:
                break
            if not reason and signals:
                reason, last = "signal", now + _LINGER_SECONDS
            elif not reason and listening is not None and now - listening >= wish.seconds:
                reason, last = "time", now + _LINGER_SECONDS
            if last is not None and now >= last:
                tcpdump.end()
    if not reason:
        raise _explained(asked, tcpdump.said, files=ring.told())
    return {
        "files": ring.told(),
        "stopped_because": reason,
        "seconds": round(time.monotonic() - (listening or started), 1),
        "packets_captured": tcpdump.counted("captured"),
        "packets_dropped": tcpdump.counted("dropped by kernel"),
        "packets_overwritten": ring.overwritten,
    }


def _command(asked: str, wish: Wish, scope: Scope) -> list[str]:
    """tcpdump with all that does not depend on what is done with its output."""
    tcpdump = shutil.which("tcpdump", path=_environment()["PATH"])
    if not tcpdump:
        raise Failure(
            "no_tcpdump",
            asked,
            "there is no tcpdump on this host",
            "Install the package tcpdump (apt-get install tcpdump, dnf install tcpdump, zypper install tcpdump).",
        )
    if wish.interface != "any" and wish.interface not in [name for _number, name in socket.if_nameindex()]:
        known = ", ".join(name for _number, name in socket.if_nameindex())
        raise Failure("no_interface", asked, "there is no such interface", f"Write any, or one of {known}.")
    snap_length = (wish.snap_length or WHOLE) if wish.payload else HEADERS
    command = [tcpdump, "-n", "-i", wish.interface, "-s", str(snap_length), "-B", str(_KERNEL_BUFFER_KB)]
    user = _user(asked, wish.user)
    return [*command, "-Z", user] if user else command


def _user(asked: str, wanted: str | None) -> str | None:
    """Whom tcpdump is to become, if it can."""
    known = []
    for name in [wanted] if wanted else ["tcpdump", "nobody"]:
        with contextlib.suppress(KeyError):
            known.append(pwd.getpwnam(name).pw_name)
    if wanted and not known:
        raise Failure("no_user", asked, f"there is no OS user {wanted}", "Name another, or none for the default.")
    if os.geteuid() == 0:
        return known[0] if known else None
    if wanted and wanted != pwd.getpwuid(os.geteuid()).pw_name:
        raise Failure("no_user", asked, f"only root can have tcpdump run as {wanted}", "Become root, or name no user.")
    return None


def _try(asked: str, command: list[str]) -> None:
    """Have tcpdump open the interface, compile its filter and show that, and catch nothing."""
    with contextlib.closing(_Tcpdump(command)) as tcpdump:
        shown = any(list(tcpdump.chunks()))
    if not shown:
        raise _explained(asked, tcpdump.said)


def _explained(asked: str, said: bytes, **details: t.Any) -> Failure:
    """Why tcpdump ended before it should."""
    text = " ".join(said.decode(errors="replace").split())
    if "permission" in text or "not permitted" in text:
        return Failure("no_capture_right", asked, _lacking(), _RIGHT_REMEDY, **details)
    remedy = "Look at the interface, and whether somebody has ended tcpdump."
    return Failure("tcpdump_ended", asked, f"tcpdump ended: {text}", remedy, **details)


_RIGHT_REMEDY = (
    "Become root (become: true); or let others than root capture: setcap cap_net_raw+ep on the file tcpdump; in a "
    "container or a unit of systemd, add the capability NET_RAW."
)


def _lacking() -> str:
    """Which right is missing."""
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:
        effective = int(t.cast("re.Match[str]", re.search(r"^CapEff:\s*(\w+)", status.read(), re.MULTILINE))[1], 16)
    if effective >> _CAP_NET_RAW & 1:
        return "the kernel does not permit it, although the capability CAP_NET_RAW is there"
    if os.geteuid() == 0:
        return "this is root, but without the capability CAP_NET_RAW"
    return f"this is uid {os.geteuid()}, neither root nor with the capability CAP_NET_RAW"


def _environment() -> dict[str, str]:
    """With the places where administrators' programs are, which the PATH of a plain user may lack."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin", "LC_ALL": "C"}


@contextlib.contextmanager
def _directory(asked: str, wish: Wish) -> t.Iterator[str]:
    """The directory to capture to; one that was made for it goes again if it is empty in the end."""
    made = True
    if wish.directory is None:
        directory = tempfile.mkdtemp(prefix="pgharden-capture-", dir=_PARENT)
    else:
        directory = os.path.abspath(wish.directory)
        try:
            os.mkdir(directory, 0o700)
        except FileExistsError:
            made = False
            if not os.path.isdir(directory):
                raise NotADirectoryError(errno.ENOTDIR, "", directory) from None
    try:
        _need_room_to_begin(asked, directory, wish)
        yield directory
    finally:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def _need_room_to_begin(asked: str, directory: str, wish: Wish) -> None:
    try:
        _need_room(directory, wish.least_free)
    except _Full as full:
        raise Failure(
            "disk_full",
            f"{asked} to {directory}",
            f"its file system has too few {full} left (least_free is {wish.least_free >> 20} MB)",
            "Free some, name another directory, or lower least_free.",
        ) from None


def _iso(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
