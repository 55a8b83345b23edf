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
    assert _live.strain(str(proc)) == {
        "pressure": {"cpu": 3.25, "io": 3.25, "memory": 3.25},
        "run_queue": 0.12,
        "conntrack": {"nf_conntrack_count": 100, "nf_conntrack_max": 262144},
        "reasons": [],
    }


def test_a_host_that_answers_late_says_why(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (40.0, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    write(proc, "pressure/memory", PRESSURE.format(share="41.70"))
    write(proc, "pressure/cpu", "")  # as kernels without PSI may have it
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
    assert set(found) == {"pressure", "run_queue", "conntrack", "reasons"}
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
    found = _live._evidence(timer)
    assert (found and found[0]) == cause
