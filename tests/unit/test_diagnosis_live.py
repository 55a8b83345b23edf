# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /proc says, and what two looks make of it; what a real server shows is in the integration tests."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _kernel
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _live

# Of a kernel 6.1, shortened
NETSTAT = """\
TcpExt: SyncookiesSent TCPTimeouts TCPAbortOnTimeout TCPKeepAlive ListenOverflows TCPZeroWindowDrop
TcpExt: 0 412 17 90210 3 0
IpExt: InNoRoutes InTruncatedPkts
IpExt: 0 0
"""
SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens AttemptFails EstabResets RetransSegs OutRsts
Tcp: 1 200 120000 -1 5012 11 22 4812 33
"""
KERNEL = {
    "TCPTimeouts": 412,
    "TCPAbortOnTimeout": 17,
    "TCPKeepAlive": 90210,
    "ListenOverflows": 3,
    "TCPZeroWindowDrop": 0,
    "AttemptFails": 11,
    "EstabResets": 22,
    "RetransSegs": 4812,
    "OutRsts": 33,
}
# Of a kernel 6.18, shortened: 10.0.0.0/24 and an address beside loopback; both tables say the same.
TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 4
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.7
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
     |-- 192.0.2.0
        /32 host LOCAL
        /24 link UNICAST
Local:
  |-- 10.0.0.7
     /32 host LOCAL
"""
INET6 = """\
fd610007000000000000000000000020 02 40 00 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
fe800000000000000000000000000020 02 40 20 80     eth0
"""
PRESSURE = "some avg10=1.00 avg60={share} avg300=0.10 total=123\nfull avg10=0.00 avg60=99.00 avg300=0.00 total=1\n"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    write(tmp_path, "net/netstat", NETSTAT)
    write(tmp_path, "net/snmp", SNMP)
    return tmp_path


def write(proc: Path, name: str, text: str) -> None:
    path = proc / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_counters_of_the_kernel(proc: Path) -> None:
    assert _live.counters(str(proc / "net")) == KERNEL
    (proc / "net" / "netstat").unlink()
    assert set(_live.counters(str(proc / "net"))) == {"AttemptFails", "EstabResets", "RetransSegs", "OutRsts"}
    assert _live.counters(str(proc / "nowhere")) == {}


def test_a_look_without_a_server_has_the_kernel_only(proc: Path) -> None:
    look = _live.look(None, proc=str(proc))
    assert (look["databases"], look["kernel"]) == ({}, KERNEL)


def sample(at: float, kernel: dict[str, int], **databases: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"at": at, "kernel": kernel, "databases": databases}


def test_rates_are_what_grew() -> None:
    before = sample(
        100.0, {"TCPTimeouts": 5, "OutRsts": 2}, shop={"sessions": 10, "sessions_abandoned": 1, "numbackends": 3}
    )
    after = sample(
        160.04, {"TCPTimeouts": 9, "OutRsts": 2}, shop={"sessions": 50, "sessions_abandoned": 4, "numbackends": 9}
    )
    assert _live.rates(before, after) == {
        "seconds": 60.0,
        "databases": {"shop": {"sessions": 40, "sessions_abandoned": 3}},
        "kernel": {"TCPTimeouts": 4},
    }


def test_counters_that_were_reset_or_are_new_say_nothing() -> None:
    before = sample(100.0, {"TCPTimeouts": 5}, shop={"sessions": 10, "sessions_fatal": 2})
    after = sample(
        110.0, {"TCPTimeouts": 1, "OutRsts": 7}, shop={"sessions": 3, "sessions_fatal": 2}, new={"sessions": 4}
    )
    assert _live.rates(before, after) == {
        "seconds": 10.0,
        "databases": {"shop": {"sessions_fatal": 0}, "new": {}},
        "kernel": {},
    }


def test_a_host_without_strain(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 9.0, 9.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for name in ("cpu", "io", "memory"):
        write(proc, f"pressure/{name}", PRESSURE.format(share="3.25"))
    write(proc, "sys/net/netfilter/nf_conntrack_count", "100\n")
    write(proc, "sys/net/netfilter/nf_conntrack_max", "262144\n")
    write(proc, "meminfo", "MemTotal:       16000 kB\nMemFree:         100 kB\nMemAvailable:    8000 kB\nHugepages\n")
    monkeypatch.setattr("time.time", lambda: 100.0)
    assert _live.strain(str(proc)) == {
        "at": 100.0,
        "addresses": [],
        "memory_available": 50.0,
        "pressure": {"cpu": 3.25, "io": 3.25, "memory": 3.25},
        "run_queue": 0.12,
        "conntrack": {"nf_conntrack_count": 100, "nf_conntrack_max": 262144},
        "reasons": [],
    }


def test_the_addresses_that_others_know_a_host_by(proc: Path) -> None:
    write(proc, "net/fib_trie", TRIE)
    write(proc, "net/if_inet6", INET6)
    assert _live.strain(str(proc))["addresses"] == ["10.0.0.7", "192.0.2.0", "fd61:7::20"]


def test_a_host_that_answers_late_says_why(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (40.0, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    write(proc, "pressure/memory", PRESSURE.format(share="41.70"))
    write(proc, "pressure/cpu", "")  # as kernels without PSI may have it
    write(proc, "meminfo", "MemTotal:       0 kB\nMemAvailable:    8000 kB\n")
    write(proc, "sys/net/netfilter/nf_conntrack_count", "65000\n")
    write(proc, "sys/net/netfilter/nf_conntrack_max", "65536\n")
    write(proc, "sys/net/netfilter/nf_conntrack_tcp_loose", "not a number\n")
    found = _live.strain(str(proc))
    assert found["reasons"] == [
        "processes waited for memory 42 % of the last minute",
        "the run queue is 10.0 processes a processor long",
        "the table of tracked connections is full to 99 %",
    ]
    assert (found["pressure"], found["run_queue"]) == ({"memory": 41.7}, 10.0)


def test_this_host_can_be_asked() -> None:
    found = _live.strain()
    assert set(found) == {"at", "addresses", "pressure", "run_queue", "memory_available", "conntrack", "reasons"}
    assert 0 < found["memory_available"] < 100
    assert "RetransSegs" in _live.counters()


@pytest.mark.parametrize(
    ("timer", "cause"),
    [
        (_kernel.Timer("retransmission", 3.0, unanswered=4, unsent=1000), "client_vanished"),
        (_kernel.Timer("retransmission", 0.2, unanswered=2, unsent=1000), None),  # a packet gets lost now and then
        (_kernel.Timer("zero_window_probe", 3.0, unanswered=4, unsent=1000), "slow_reader_cut"),
        (_kernel.Timer("keepalive", 3.0, unanswered=1), "client_vanished"),
        (_kernel.Timer("keepalive", 60.0), None),
        (_kernel.Timer("none", 0.0), None),
    ],
)
def test_what_a_timer_says_of_its_session(timer: _kernel.Timer, cause: str | None) -> None:
    found = _live.silence(timer)
    assert (found and found[0]) == cause


def test_what_a_clients_sockets_say(proc: Path) -> None:
    """Of /proc/net/tcp of real connections: open, connecting, closed by the server, and sent in vain."""
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    rows = [
        "0: 1407070A:9C40 1E093E0A:1538 01 00000000:00000000 00:00000000 00000000     0        0 1 1",
        "1: 1407070A:9C41 1E093E0A:1538 01 00000005:00000000 01:00000010 00000004     0        0 1 1",
        "2: 1407070A:9C42 1E093E0A:1538 01 00000000:00000000 02:00000010 00000000     0        2 1 1",
        "3: 1407070A:9C43 1E093E0A:1538 08 00000000:00000001 00:00000000 00000000     0        0 1 1",
        "4: 1407070A:9C44 63093E0A:1538 02 00000001:00000000 01:00000010 00000003     0        0 1 1",
        "5: 1407070A:9C45 1E093E0A:1538 06 00000000:00000000 03:00000207 00000000     0        0 1 1",
        "6: 1407070A:9C46 1E093E0A:0016 01 00000000:00000000 00:00000000 00000000     0        0 1 1",
    ]
    write(proc, "net/tcp", head + "".join(f"   {row}\n" for row in rows))
    assert _live.sockets(5432, str(proc)) == [
        {"address": "10.62.9.30", "port": 5432, "open": 3, "connecting": 0, "closed_by_server": 1, "unanswered": 2},
        {"address": "10.62.9.99", "port": 5432, "open": 0, "connecting": 1, "closed_by_server": 0, "unanswered": 0},
    ]
    assert _live.sockets(5433, str(proc)) == []
    assert not _live.has_server(65432, str(proc))
