# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures of real connections, each ended in another way, become the flows that they were."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from conftest import start
from support.sources import available_majors

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _captures, _flows, _packets
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow

CLIENTS = Path(__file__).with_name("_capture_clients.py")
#: What a loaded machine may add to a time.
SLACK = 4.0
#: Each packet once and whole, with other things in between; or only IPv4, as far as the headers reach.
CAPTURES = {"whole": ("any", 0, "tcp"), "headers": ("lo", 66, "ip and tcp")}


class Captured(t.NamedTuple):
    files: dict[str, Path]
    ports: dict[str, int]


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Captured]:
    """Captures of all of these connections, made on the server's host, and the client's port of each."""
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is not installed")
    major = max(available_majors({"tls"}))
    directory = tmp_path_factory.mktemp("captures")
    trusted = [f"host all all {address} trust" for address in ("127.0.0.1/32", "::1/128")]
    cluster = start(major, tls=True, hba=["local all all trust", *trusted])
    try:
        cluster.set_sysctl("net.ipv6.conf.lo.disable_ipv6", 0)  # containers have none
        dumps = [
            subprocess.Popen(
                cluster.argv(
                    [
                        *("tcpdump", "-i", interface, "-s", str(length), "-B", "16384", "-U", "-Z", "root"),
                        *("-w", directory / f"{name}.pcap", words),
                    ]
                ),
                stderr=subprocess.PIPE,
                text=True,
            )
            for name, (interface, length, words) in CAPTURES.items()
        ]
        for dump in dumps:
            assert dump.stderr
            assert any("listening on" in line for line in iter(dump.stderr.readline, ""))
        ports = _connections(cluster)
        time.sleep(1.5)  # the kernel hands the last packets on within a second
        for dump in dumps:
            dump.terminate()
            dump.communicate(timeout=60)
    finally:
        cluster.close()
    yield Captured({name: directory / f"{name}.pcap" for name in CAPTURES}, ports)


def _connections(cluster: t.Any) -> dict[str, int]:
    conninfo = "host=127.0.0.1 user=postgres dbname=postgres sslmode=disable"
    clients = subprocess.Popen(cluster.argv([sys.executable, CLIENTS, conninfo]), stdout=subprocess.PIPE, text=True)
    ports = {}
    for name, options in {
        "normal": {"sslmode": "disable"},
        "normal_tls": {},
        "normal_ipv6": {"sslmode": "disable", "host": "::1"},
        "killed": {"sslmode": "disable"},
        "killed_tls": {},
    }.items():
        session = cluster.session(**options)
        ports[name] = session.local_port
        session.execute("SELECT 1")
        if name.startswith("killed"):
            session.process.kill()  # at once, without the goodbye of an orderly end
            session.process.wait()
        session.close()
    output, _errors = clients.communicate(timeout=60)
    assert clients.returncode == 0
    return ports | json.loads(output)


class Reading(t.NamedTuple):
    """The flows of a capture by the names of the connections, and whether it has payload."""

    flows: dict[str, Flow]
    whole: bool

    def ends(self, name: str) -> tuple[str | None, str, bool, str | None, str | None]:
        """Who closed it and how, whether the client had said goodbye, who sent an RST in answer to what."""
        flow = self.flows[name]
        return flow.closed_by, flow.closed_how, flow.terminate, flow.rst_by, flow.rst_after


@pytest.fixture(scope="module", params=["dpkt", "tshark"])
def reader(request: pytest.FixtureRequest) -> t.Iterator[str]:
    """Both readers, one after the other."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if request.param == "tshark":
            if not shutil.which("tshark"):
                pytest.skip("tshark is not installed")
            monkeypatch.setattr(_packets, "dpkt", None)
        yield str(request.param)


@pytest.fixture(scope="module", params=CAPTURES)
def reading(request: pytest.FixtureRequest, captured: Captured, reader: str) -> Reading:
    problems: list[str] = []
    found = list(_flows.flows(_packets.packets(str(captured.files[request.param]), problems), "it", "server"))
    by_port = {flow.client[1]: flow for flow in found}
    assert len(by_port) == len(found)  # nothing was taken for several
    assert problems == []
    whole = request.param == "whole"
    ports = {name: port for name, port in captured.ports.items() if whole or name != "normal_ipv6"}
    assert set(by_port) == set(ports.values())
    return Reading({name: by_port[port] for name, port in ports.items()}, whole)


def test_every_connection_is_there_from_its_beginning(reading: Reading) -> None:
    for name, flow in reading.flows.items():
        assert flow.client[0] == flow.server[0] == ("::1" if name == "normal_ipv6" else "127.0.0.1")
        assert flow.server[1] == (5433 if name == "refused" else 5432)
        assert (flow.file, flow.side) == ("it", "server")
        assert (flow.syn, flow.syn_attempts, flow.truncated, flow.icmp) == (True, 1, False, ())
        assert flow.established == (name != "refused")
        assert flow.syn_answer == ("rst" if name == "refused" else "accepted")
        assert flow.began <= (flow.closed_at or 0) <= flow.ended
        assert flow.retransmitting is None
        assert not flow.foreign_rst
        assert (flow.rst_ttl is None) == (flow.rst_by is None)
        assert flow.tls == (reading.whole and name.endswith("_tls"))


def test_what_the_client_says_first(reading: Reading) -> None:
    for name, flow in reading.flows.items():
        expected = {"http": "http", "refused": "none", "health_check": "none"}.get(name, "postgresql")
        if name.endswith("_tls"):
            expected = "tls_request"
        assert flow.first_client_bytes == (expected if reading.whole or expected == "none" else None)
        assert bool(flow.data_client) == (expected != "none")
    assert reading.flows["http"].data_client == len("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


def test_goodbyes(reading: Reading) -> None:
    for name in [name for name in reading.flows if name.startswith("normal") or name in ("alive", "administrator")]:
        flow = reading.flows[name]
        assert flow.terminate, name
        assert flow.terminate_certain == (reading.whole and not name.endswith("_tls"))
        # Over TLS the server may be gone before it has read all of the goodbye, and then answers with RST.
        assert flow.closed_how == "fin" or name == "normal_tls", name
        assert flow.silence.seconds < SLACK or name == "alive"
    others = {name for name, flow in reading.flows.items() if flow.terminate}
    assert others <= {"normal", "normal_tls", "normal_ipv6", "alive", "administrator"}


def test_a_killed_client_ends_without_goodbye(reading: Reading) -> None:
    assert reading.ends("killed") == ("client", "fin", False, None, None)
    # Over TLS the server still says goodbye itself, which nobody is there to read.
    assert reading.ends("killed_tls") == ("client", "fin", False, "client", "data")


def test_a_vanished_client(reading: Reading) -> None:
    flow = reading.flows["vanished"]
    assert reading.ends("vanished") == ("server", "rst", False, "server", "nothing")
    assert (flow.unanswered_probes_by, flow.unanswered_probes) == ("server", 2)
    assert 3.9 <= flow.silence.seconds <= 4.5 + SLACK
    assert flow.silence[1:] == (0, 2, 0)


def test_a_client_that_answers(reading: Reading) -> None:
    flow = reading.flows["alive"]
    assert (flow.unanswered_probes_by, flow.unanswered_probes) == (None, 0)
    assert flow.silence.seconds >= 4.5
    assert flow.silence.probes_by_client == 0
    assert 3 <= flow.silence.probes_by_server == flow.silence.probes_answered


def test_a_client_that_aborts(reading: Reading) -> None:
    assert reading.ends("aborted") == ("client", "rst", False, "client", "nothing")
    flow = reading.flows["aborted"]
    assert (flow.rst_ttl, flow.usual_ttl) == (64, 64)


def test_the_server_says_why_it_ends(reading: Reading) -> None:
    for name, verdict in {"terminated": "FATAL 57P01", "idle": "FATAL 57P05"}.items():
        flow = reading.flows[name]
        assert reading.ends(name) == ("server", "fin", False, "server", "data")
        assert flow.server_message == (verdict if reading.whole else None)
    assert reading.flows["terminated"].silence.seconds < SLACK
    assert 1.9 <= reading.flows["idle"].silence.seconds < 2 + SLACK


def test_a_slow_reader(reading: Reading) -> None:
    flow = reading.flows["slow"]
    assert flow.zero_window_by == "client"
    assert flow.zero_window_seconds >= 2
    assert flow.data_server > 10_000
    assert flow.closed_by == "server"
    assert reading.ends("slow")[1:] == ("rst", False, "server", "ack")


def test_connections_without_a_session(reading: Reading) -> None:
    assert reading.ends("refused") == ("server", "rst", False, "server", "syn")
    assert reading.ends("health_check") == ("client", "fin", False, None, None)
    assert reading.ends("http")[:3] == ("server", "fin", False)
    assert (reading.flows["health_check"].data_server, reading.flows["refused"].data_server) == (0, 0)


def test_a_capture_cut_in_the_middle(captured: Captured, reader: str, tmp_path: Path) -> None:
    whole = captured.files["whole"].read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole[: len(whole) // 2])
    problems: list[str] = []
    read = list(_packets.packets(str(cut), problems))
    assert read == list(_packets.packets(str(captured.files["whole"]), []))[: len(read)]
    assert len(read) > 20
    (problem,) = problems
    assert problem.startswith(f"{cut}: ")
    assert "in the middle of a packet" in problem


def test_a_compressed_capture(captured: Captured, reader: str, tmp_path: Path) -> None:
    packed = tmp_path / "packed.pcap.gz"
    packed.write_bytes(gzip.compress(captured.files["whole"].read_bytes()))
    problems: list[str] = []
    read = list(_packets.packets(str(packed), problems))
    assert read == list(_packets.packets(str(captured.files["whole"]), problems))
    assert problems == []


def test_a_ring_of_files(reader: str, tmp_path: Path) -> None:
    """tcpdump itself begins a new file each second; a session that spans them is one, with its beginning and end."""
    cluster = start(max(available_majors(set())), hba=["local all all trust", "host all all 127.0.0.1/32 trust"])
    try:
        dump = subprocess.Popen(
            cluster.argv(
                [
                    *("tcpdump", "-i", "lo", "--immediate-mode", "-U", "-Z", "root", "-G", "1"),
                    *("-w", tmp_path / "ring-%Y%m%d%H%M%S.pcap", "tcp"),
                ]
            ),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert dump.stderr
        assert any("listening on" in line for line in iter(dump.stderr.readline, ""))
        with cluster.session(sslmode="disable") as session:
            for _turn in range(10):
                session.execute("SELECT 1")
                time.sleep(0.7)
        time.sleep(1.5)  # as above
        dump.terminate()
        dump.communicate(timeout=60)
    finally:
        cluster.close()
    files = sorted(path for path in tmp_path.iterdir() if path.stat().st_size > 24)
    assert len(files) >= 4
    problems: list[str] = []
    found = [
        flow
        for name, side, packets in _captures.streams([{"path": str(tmp_path), "side": "server"}], problems)
        for flow in _flows.flows(packets, name, side)
    ]
    assert problems == []
    (flow,) = [one for one in found if one.client[1] == session.local_port]
    assert (flow.syn, flow.established, flow.terminate, flow.truncated) == (True, True, True, False)
    # A server that has read the client's goodbye may be quicker to end than the client that sent it.
    assert flow.closed_by in ("client", "server")
    assert flow.ended - flow.began > 4
    assert flow.file == str(tmp_path / "ring-*.pcap")
