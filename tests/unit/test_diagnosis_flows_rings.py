# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection that spans several files of one ring is one flow; captures that only look like a ring stay apart."""

from __future__ import annotations

import gzip
import os
import socket
import struct
import typing as t
from pathlib import Path

import dpkt
import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _captures, _flows
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow

BEGIN = 1795401204.0
SYN, ACK, FIN = 2, 16, 1
#: Second, whether it is the server's, flags, payload.
SESSION = (
    (0.0, False, SYN, b""),
    (0.1, True, SYN | ACK, b""),
    (0.2, False, ACK, b""),
    (1.0, False, ACK, b"Q\0\0\0\x0dSELECT 1\0"),
    (2.0, True, ACK, b"Z\0\0\0\5I"),
    (3.0, False, ACK, b"Q\0\0\0\x0dSELECT 2\0"),
    (4.0, True, ACK, b"Z\0\0\0\5I"),
    (5.0, False, ACK, b"X\0\0\0\4"),
    (5.1, False, FIN | ACK, b""),
    (5.2, True, FIN | ACK, b""),
    (5.3, False, ACK, b""),
)


def packets(began: float = BEGIN, client: str = "10.0.0.7") -> list[tuple[float, bytes]]:
    """Times and frames of one session."""
    following, found = [1000, 5000], []
    for second, from_server, flags, payload in SESSION:
        ports = (5432, 40000) if from_server else (40000, 5432)
        sequence, acknowledged = following[from_server], following[not from_server] if flags & ACK else 0
        segment = struct.pack("!HHLLBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 500, 0, 0) + payload
        following[from_server] += len(payload) + bool(flags & (SYN | FIN))
        ends = ("10.0.0.1", client) if from_server else (client, "10.0.0.1")
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0)
        found.append((began + second, head + b"".join(map(socket.inet_aton, ends)) + segment))
    return found


def write(path: Path, frames: t.Iterable[tuple[float, bytes]]) -> None:
    out = (gzip.open if path.suffix == ".gz" else open)(path, "wb")
    writer = dpkt.pcap.Writer(out, linktype=101)
    for time, frame in frames:
        writer.writepkt(frame, time)
    out.close()


def read(*captures: tuple[Path | str, str]) -> tuple[list[Flow], list[str]]:
    problems: list[str] = []
    found: list[Flow] = []
    given = [{"path": str(path), "side": side} for path, side in captures]
    for name, side, stream in _captures.streams(given, problems):
        found += _flows.flows(stream, name, side)
    return found, problems


RINGS = {
    "capture-20261123T043324Z-77-*.pcap": [f"capture-20261123T043324Z-77-0000{n}.pcap" for n in (9, 1, 2)],
    "tcpdump.pcap*": ["tcpdump.pcap2", "tcpdump.pcap0", "tcpdump.pcap1"],
    "full.cap*": ["full.cap", "full.cap1", "full.cap2"],
    "server.pcap*.gz": ["server.pcap07.gz", "server.pcap08.gz", "server.pcap00.gz"],
    "db-*.pcap": [f"db-2026-11-23_0{hour}:00:00.pcap" for hour in range(3)],
    "*.pcap": [f"2026112304330{second}.pcap" for second in range(3)],
    "it_*.pcapng": [f"it_0000{number}_20261123043324.pcapng" for number in (3, 1, 2)],
}
RINGS["it*.pcapng"] = RINGS.pop("it_*.pcapng")


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("cuts", [(1, 4), (3, 8), (9, 10)])
def test_one_connection_in_three_files_is_one_flow(tmp_path: Path, ring: str, cuts: tuple[int, int]) -> None:
    whole = packets()
    write(tmp_path / "whole.cap", whole)
    (expected,), _problems = read((tmp_path / "whole.cap", "server"))
    assert (expected.terminate, expected.closed_by, expected.data_client) == (True, "client", 33)
    (tmp_path / "whole.cap").unlink()
    paths = [tmp_path / name for name in RINGS[ring]]
    for path, part in zip(paths, (whole[: cuts[0]], whole[cuts[0] : cuts[1]], whole[cuts[1] :]), strict=True):
        write(path, part)
    flow = expected._replace(file=str(tmp_path / ring))
    assert read(*[(path, "server") for path in reversed(paths)]) == ([flow], [])
    # ... as a directory, as a pattern, and with a file that is named twice
    assert read((tmp_path, "server")) == ([flow], [])
    assert read((tmp_path / "*", "server"), (paths[0], "server")) == ([flow], [])


def test_what_is_no_ring(tmp_path: Path) -> None:
    """Several hosts, several sides; and hosts whose captures are named like files of a ring, but of the same time."""
    write(tmp_path / "app1.pcap", packets()[:6])
    write(tmp_path / "app2.pcap", packets(BEGIN + 9, "10.0.0.8"))
    found, problems = read((tmp_path, "client"))
    assert [(Path(one.file).name, one.truncated) for one in found] == [("app1.pcap", True), ("app2.pcap", False)]
    assert not problems
    write(tmp_path / "x.pcap1", packets()[:6])
    write(tmp_path / "x.pcap2", packets()[6:])
    found, _problems = read((tmp_path / "x.pcap1", "client"), (tmp_path / "x.pcap2", "server"))
    assert [(one.side, Path(one.file).name) for one in found] == [("client", "x.pcap1"), ("server", "x.pcap2")]
    # As seen on two interfaces at the same time: read as one, all would be sent twice.
    write(tmp_path / "x.pcap2", packets(BEGIN + 0.01)[:6])
    found, _problems = read((tmp_path / "x.pcap*", "client"))
    assert [one.data_client for one in found] == [28, 28]
    write(tmp_path / "x.pcap2", packets(BEGIN + 3, "10.0.0.8"))
    found, _problems = read((tmp_path / "x.pcap*", "client"))
    assert [(one.client[0], one.truncated, one.ended) for one in found] == [
        ("10.0.0.7", True, BEGIN + 3.0),
        ("10.0.0.8", False, BEGIN + 8.3),
    ]


def test_what_cannot_be_read_is_a_line_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = packets()
    for number, part in enumerate((whole[:4], whole[4:7], whole[7:])):
        write(tmp_path / f"x.pcap{number}", part)
    (tmp_path / "x.pcap3").touch()
    (tmp_path / "x.pcap4").write_text("no capture")
    middle = tmp_path / "x.pcap1"
    os.truncate(middle, middle.stat().st_size - 1)
    (flow,), problems = read((tmp_path, "server"))
    assert (flow.syn, flow.terminate, flow.closed_by) == (True, True, "client")
    assert sorted(Path(problem.partition(": ")[0]).name for problem in problems) == ["x.pcap1", "x.pcap3", "x.pcap4"]
    (tmp_path / "empty").mkdir()
    found, problems = read(
        (tmp_path / "empty", "server"), (tmp_path / "*.none", "client"), (tmp_path / "none", "router")
    )
    assert not found
    assert [problem.partition(": ")[2] for problem in problems] == [
        "no capture is there",
        "no capture is there",
        "No such file or directory",
    ]
