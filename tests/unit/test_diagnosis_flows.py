# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each way that a connection ends leaves its own traces in a capture. The traces were seen in real captures."""

from __future__ import annotations

import struct
import typing as t

import pytest
from _wire import CLIENT, SERVER, STARTUP, TERMINATE, Wire, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _flows, _half
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow, Outage, Silence
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._packet import ACK, FIN, RST, SYN, Packet

CLOSE_NOTIFY = b"\x15\3\3\0\x1a" + bytes(26)
SSL_REQUEST = struct.pack("!II", 8, 80877103)


def approximately(seconds: float) -> t.Any:
    return pytest.approx(seconds, abs=0.02)


def ends(flow: Flow) -> tuple[str | None, str, str | None, str | None]:
    """Who closed it and how, who sent an RST in answer to what."""
    return flow.closed_by, flow.closed_how, flow.rst_by, flow.rst_after


def close(wire: Wire, at: float) -> Wire:
    """FIN from the client, FIN from the server, and the last acknowledgement."""
    wire.client(at, flags=FIN | ACK)
    wire.server(at + 0.001, flags=FIN | ACK)
    wire.client(at + 0.002)
    return wire


# ---- the signatures


def test_a_normal_end() -> None:
    wire = Wire().session().talk(5, b"Q\0\0\0\x0dSELECT 1\0", bytes(60))
    wire.client(7, TERMINATE)
    flow = close(wire, 7.001).flow()
    assert flow == Flow(
        file="it",
        side="server",
        client=CLIENT,
        server=SERVER,
        began=0,
        ended=7.003,
        syn=True,
        established=True,
        syn_answer="accepted",
        syn_attempts=1,
        closed_by="client",
        closed_how="fin",
        closed_at=7.001,
        terminate=True,
        terminate_certain=True,
        data_client=41 + 14 + 5,
        data_server=9 + 60,
        silence=Silence(approximately(2)),
        last_data=7,
        last_from_client=7.003,
        last_from_server=approximately(7.002),
        last_data_by="client",
        first_client_bytes="postgresql",
    )


def test_vanished_while_idle() -> None:
    wire = Wire().session()
    for at in (60, 120, 130, 140):
        wire.probe(at, 1, answered=at == 60)
    wire.server(150, flags=RST | ACK)
    flow = wire.flow()
    assert ends(flow) == ("server", "rst", "server", "nothing")
    assert (flow.unanswered_probes_by, flow.unanswered_probes) == ("server", 3)
    assert flow.silence == Silence(approximately(150), probes_by_server=4, probes_answered=1)
    assert not flow.foreign_rst
    assert flow.closed_at == 150


def test_vanished_with_data_in_flight() -> None:
    wire = Wire().session()
    wire.client(10, b"Q\0\0\0\5\0")
    first = wire.server(10.1, bytes(1000))
    wire.server(10.1, bytes(400))
    for at in (10.3, 10.7, 11.5, 13.1, 16.3):
        wire.server(at, bytes(1000), seq=first.seq)
        wire.icmp(at + 0.01, "3/1 from 192.0.2.254", 1)
    flow = wire.flow(capture_ends=60)
    assert ends(flow) == (None, "none", None, None)
    assert (flow.retransmitting, flow.retransmissions) == ("server", 5)
    assert flow.retransmitted_sizes == (1000,) * 5
    assert flow.icmp == ("3/1 from 192.0.2.254",)
    assert flow.silence.seconds == approximately(10)  # before the query; what was in vain does not count
    assert not flow.truncated
    assert wire.flow(capture_ends=20).truncated


def test_a_long_stream_cut_off() -> None:
    wire = Wire().session()
    wire.client(1, 20)
    for turn in range(30):
        wire.server(1.1 + turn * 0.1, 1000)
        wire.client(1.11 + turn * 0.1)
    lost = wire.server(4.2, 1000)
    wire.server(6, 1000, seq=lost.seq)
    assert wire.flow().silence.seconds == approximately(6 - 4.2)


def test_a_slow_reader() -> None:
    wire = Wire().session()
    wire.server(1, 5000)
    wire.client(1.1, window=0)
    wire.probe(1.3, 1, answered=False)
    wire.client(1.31, window=0)
    flow = wire.flow()
    assert (flow.zero_window_by, flow.zero_window_seconds) == ("client", approximately(0.2))
    assert (flow.unanswered_probes_by, flow.silence.probes_answered) == (None, 1)
    wire.client(8)  # reads on when it is too late
    wire.server(8.001, flags=RST)
    flow = wire.flow()
    assert ends(flow) == ("server", "rst", "server", "ack")
    assert (flow.zero_window_by, flow.zero_window_seconds) == ("client", approximately(6.9))


def test_a_window_that_was_opened_in_time() -> None:
    wire = Wire().session()
    wire.server(1, 5000)
    wire.client(1.1, window=0)
    wire.client(3)
    wire.server(3.01, 5000)
    wire.server(4, flags=RST | ACK)
    assert wire.flow().zero_window_by is None


def test_killed_while_idle() -> None:
    flow = close(Wire().session(), 5).flow()
    assert ends(flow) == ("client", "fin", None, None)
    assert not flow.terminate


def test_killed_before_the_answer() -> None:
    wire = Wire().session()
    wire.client(5, b"Q\0\0\0\x08abc")
    wire.server(5.001)
    wire.client(5.5, flags=FIN | ACK)
    wire.server(7, 300)
    wire.client(7.001, flags=RST)
    flow = wire.flow()
    assert ends(flow) == ("client", "fin", "client", "data")
    assert not flow.terminate


def test_killed_with_unread_data() -> None:
    wire = Wire().session()
    wire.server(5, 3000)
    wire.client(5.001)
    wire.client(6, flags=RST | ACK)
    assert ends(wire.flow()) == ("client", "rst", "client", "nothing")
    wire.packets.pop()
    wire.server(5.9, 3000)
    wire.server(5.95)
    wire.client(6, flags=RST | ACK)
    assert ends(wire.flow()) == ("client", "rst", "client", "data")


def test_rebooted() -> None:
    wire = Wire().session().probe(60, 1, answered=False).probe(70, 1, answered=False)
    wire.client(70.001, flags=RST)
    flow = wire.flow()
    assert ends(flow) == ("client", "rst", "client", "probe")
    assert (flow.foreign_rst, flow.rst_ttl, flow.usual_ttl) == (False, 63, 63)
    assert flow.unanswered_probes_by is None  # it was answered, if not as hoped


def test_a_device_rejects_what_it_has_forgotten() -> None:
    wire = Wire().session().probe(400, 1, answered=False)
    wire.client(400.001, flags=RST, ttl=64)
    flow = wire.flow()
    assert ends(flow) == ("client", "rst", "client", "probe")
    assert (flow.foreign_rst, flow.rst_ttl, flow.usual_ttl) == (True, 64, 63)
    # The mirror image, on the client's side.
    wire = Wire(ttl=(64, 63)).session()
    wire.client(400, 30)
    wire.server(400.001, flags=RST, ttl=64)
    flow = wire.flow("client")
    assert ends(flow) == ("server", "rst", "server", "data")
    assert (flow.foreign_rst, flow.silence.seconds) == (True, approximately(400))


def test_a_device_drops_what_it_has_forgotten() -> None:
    wire = Wire().session()
    query = wire.client(350, 30)
    for at in (350.2, 350.6, 351.4, 353, 356.2):
        wire.client(at, 30, seq=query.seq)
    flow = wire.flow("client", capture_ends=1000)
    assert (flow.retransmitting, flow.retransmissions) == ("client", 5)
    assert flow.silence.seconds == approximately(350)
    assert flow.closed_how == "none"


def test_a_device_resets_both_ends() -> None:
    wire = Wire().session().probe(60, 1)
    wire.client(240, flags=RST | ACK, ttl=120)
    flow = wire.flow()
    assert ends(flow) == ("client", "rst", "client", "nothing")
    assert flow.foreign_rst
    assert flow.silence.seconds == approximately(240)
    wire.server(240.0001, flags=RST | ACK, ttl=120)
    assert ends(wire.flow()) == ends(flow)  # the first counts


def test_an_rst_long_after_the_last_packet_answers_nothing() -> None:
    wire = Wire().session().probe(60, 1, answered=False)
    wire.client(90, flags=RST | ACK)
    assert wire.flow().rst_after == "nothing"


def test_probes_filtered_as_the_client_sees_it() -> None:
    wire = Wire().session()
    wire.server(90, flags=RST | ACK)
    flow = wire.flow("client")
    assert ends(flow) == ("server", "rst", "server", "nothing")
    assert flow.silence == Silence(approximately(90))


def test_one_way_loss_as_the_client_sees_it() -> None:
    wire = Wire().session().probe(60, 1).probe(70, 1).probe(80, 1)
    wire.server(90, flags=RST | ACK)
    assert wire.flow("client").silence == Silence(approximately(90), probes_by_server=3, probes_answered=3)
    # With data: the server repeats what the client acknowledges each time.
    wire = Wire().session()
    answer = wire.server(5, 800)
    wire.client(5.001)
    for at in (5.2, 5.6, 6.4):
        wire.server(at, 800, seq=answer.seq)
        wire.client(at + 0.001)
    flow = wire.flow("client")
    assert (flow.retransmitting, flow.retransmissions) == ("server", 3)


def test_a_black_hole_swallows_large_segments_only() -> None:
    wire = Wire().session().talk(1, 30, 400)
    wire.client(2, 30)
    large = wire.server(2.01, 1448)
    wire.server(2.01, 200)
    wire.client(2.02, ack=large.seq)  # the small one got through
    for at in (2.3, 2.7, 3.5):
        wire.server(at, 1448, seq=large.seq)
    flow = wire.flow()
    assert (flow.retransmitting, flow.retransmitted_sizes, flow.largest_delivered) == ("server", (1448,) * 3, 400)
    # Only what is acknowledged to the end counts as delivered: which of several arrived is not to be seen.
    wire.client(3.6, ack=large.seq + 1448)
    wire.server(3.8, 200, seq=large.seq + 1448)
    flow = wire.flow()
    assert (flow.retransmitted_sizes, flow.largest_delivered) == ((200,), 400)


def test_a_proxy_that_loses_patience() -> None:
    wire = Wire().session().probe(60, 1)
    wire.client(100, flags=FIN | ACK)
    wire.server(100.001)
    wire.client(100.002, flags=RST | ACK)
    assert ends(wire.flow()) == ("client", "fin", "client", "fin")
    del wire.packets[-2]
    assert ends(wire.flow()) == ("client", "fin", "client", "fin")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (verdict("FATAL", "57P01"), "FATAL 57P01"),
        (verdict("FATAL", "57P05", translated="FATAL"), "FATAL 57P05"),
        (verdict("WARNING", "57P02", b"N", translated="WARNUNG"), "WARNING 57P02"),
        (bytes(50) + verdict("ERROR", "22012", translated="ОШИБКА") + verdict("FATAL", "57P01"), "FATAL 57P01"),
        (b"D" + bytes(40) + b"\0Cabc", None),
        (verdict("FATAL", "57P01") + verdict("NOTICE", "00000", b"N"), "FATAL 57P01"),
        (verdict("SECRET", "57P01"), None),
        (100, None),
    ],
)
def test_the_server_says_why(message: bytes | int, expected: str | None) -> None:
    wire = Wire().session()
    wire.server(600, message)
    wire.server(600.001, flags=FIN | ACK)
    wire.client(600.01)
    wire.client(800, b"Q\0\0\0\5\0")
    wire.server(800.001, flags=RST)
    flow = wire.flow()
    assert ends(flow) == ("server", "fin", "server", "data")
    assert (flow.server_message, flow.silence.seconds) == (expected, approximately(600))
    assert "secret" not in str(flow)


def test_a_goodbye_after_the_server_closed_is_none() -> None:
    wire = Wire().session()
    wire.server(2, verdict("FATAL", "57P05"), FIN | ACK)
    wire.client(9, TERMINATE, FIN | ACK)
    assert not wire.flow().terminate


def test_a_server_that_closes_first_after_a_goodbye() -> None:
    wire = Wire().session()
    wire.client(2, TERMINATE)
    wire.server(2.001, flags=FIN | ACK)
    wire.client(2.002, flags=FIN | ACK)
    flow = wire.flow()
    assert (flow.closed_by, flow.terminate) == ("server", True)


# ---- goodbyes that cannot be read


def tls_session() -> Wire:
    wire = Wire().open().talk(0.01, SSL_REQUEST, b"S")
    wire.talk(0.02, b"\x16\3\1\2\0" + bytes(500), b"\x16\3\3" + bytes(800))
    return wire.talk(0.03, b"\x17\3\3\0\x50" + bytes(80), 300)


@pytest.mark.parametrize(
    ("last", "terminate"),
    [
        ([CLOSE_NOTIFY], True),  # TLS 1.2: the record says that it is an alert
        ([b"\x15\3\3" + bytes(90)], True),
        ([27, 24], True),  # TLS 1.3
        ([51], True),  # both in one segment
        ([27], True),  # the message X alone
        ([80], False),  # a query
        ([5], False),
        ([], False),
    ],
)
def test_a_goodbye_under_tls(last: list[bytes | int], terminate: bool) -> None:
    wire = tls_session()
    for number, data in enumerate(last):
        wire.client(9 + number / 100, data)
    flow = close(wire, 9.1).flow()
    assert (flow.terminate, flow.terminate_certain, flow.tls) == (terminate, False, True)
    assert flow.first_client_bytes == "tls_request"


def test_what_looks_like_a_goodbye_but_was_answered_or_long_ago_is_none() -> None:
    wire = tls_session()
    wire.client(9, 27)
    wire.server(9.001, 150)
    assert not close(wire, 9.1).flow().terminate
    wire = tls_session()
    wire.client(9, 27)
    wire.server(9.001, 24)  # the server's own close_notify
    assert close(wire, 9.1).flow().terminate
    wire = tls_session()
    wire.client(9, 27)
    assert not close(wire, 13).flow().terminate


@pytest.mark.parametrize(
    ("last", "terminate", "certain"),
    [
        (TERMINATE, True, True),
        (b"Q\0\0\0\5\0" + TERMINATE, True, True),
        (b"H\0\0\0\4", False, False),
        (b"X\0\0\0\5\0", False, False),
        (5, True, False),
        (6, False, False),
        (27, True, False),  # perhaps under TLS
    ],
)
def test_a_goodbye_in_the_open(last: bytes | int, terminate: bool, certain: bool) -> None:
    wire = Wire().open().talk(0.01, 41, 300)
    wire.client(9, last)
    flow = close(wire, 9.01).flow()
    assert (flow.terminate, flow.terminate_certain) == (terminate, certain)


def test_a_goodbye_of_which_one_byte_was_captured() -> None:
    for captured, terminate in ((b"X", True), (b"S", False)):
        wire = Wire().session()
        wire.packets.append(wire.client(9, 5)._replace(payload=captured))
        del wire.packets[-2]
        flow = close(wire, 9.01).flow()
        assert (flow.terminate, flow.terminate_certain) == (terminate, False)


def test_tls_seen_from_the_middle() -> None:
    wire = Wire()
    wire.client(0, b"\x17\3\3\0\x50" + bytes(80))
    flow = wire.flow()
    assert (flow.tls, flow.syn, flow.established, flow.first_client_bytes) == (True, False, True, None)


# ---- the first words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (STARTUP, "postgresql"),
        (struct.pack("!IHH", 50, 3, 2), "postgresql"),
        (SSL_REQUEST, "tls_request"),
        (b"\x16\3\1\2\0" + bytes(100), "tls_request"),
        (struct.pack("!II", 8, 80877104), "gss_request"),
        (struct.pack("!IIII", 16, 80877102, 1, 2), "cancel_request"),
        (b"GET / HTTP/1.1\r\n\r\n", "http"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "other"),
        (b"\n", "other"),
        (100, None),
    ],
)
def test_first_words(said: bytes | int, expected: str | None) -> None:
    assert Wire().open().talk(1, said).flow().first_client_bytes == expected


def test_nothing_said() -> None:
    flow = close(Wire().open(), 0.01).flow()
    assert (flow.first_client_bytes, flow.data_client, flow.closed_by) == ("none", 0, "client")


# ---- connection attempts


def attempt(*times: float) -> Wire:
    wire = Wire()
    for at in times:
        wire.client(at, flags=SYN, seq=1000)
    return wire


def test_no_answer() -> None:
    wire = attempt(0, 1, 3, 7)
    flow = wire.flow("client", capture_ends=60)
    assert (flow.syn, flow.established, flow.syn_answer, flow.syn_attempts) == (True, False, "none", 4)
    assert not flow.truncated
    assert flow.retransmitting is None
    assert wire.flow("client", capture_ends=12).truncated


def test_refused() -> None:
    wire = attempt(0)
    wire.server(0.001, flags=RST | ACK)
    flow = wire.flow("client")
    assert (flow.syn_answer, *ends(flow)) == ("rst", "server", "rst", "server", "syn")
    assert not flow.foreign_rst


def test_rejected_by_a_firewall() -> None:
    wire = attempt(0)
    wire.icmp(0.001, "3/13 from 192.0.2.254", 0)
    flow = wire.flow("client")
    assert (flow.syn_answer, flow.icmp) == ("icmp", ("3/13 from 192.0.2.254",))


def test_given_up_by_the_client() -> None:
    wire = attempt(0)
    wire.client(3, flags=RST)
    assert (wire.flow().syn_answer, wire.flow().closed_by) == ("none", "client")


def test_the_same_ports_again() -> None:
    wire = attempt(0)
    wire.server(0.001, flags=RST | ACK)
    wire.next = [500_000, 700_000]
    wire.session(1).client(2, TERMINATE)
    close(wire, 2.01)
    wire.next = [9_000_000, 8_000_000]
    wire.session(3)
    first, second, third = wire.flows(capture_ends=100)
    assert [flow.syn_answer for flow in (first, second, third)] == ["rst", "accepted", "accepted"]
    assert [flow.began for flow in (first, second, third)] == [0, 1, 3]
    assert [flow.terminate for flow in (first, second, third)] == [False, True, False]
    assert [flow.truncated for flow in (first, second, third)] == [False, False, True]


# ---- captures that are not as one would like them


def twice(packets: list[Packet], later: float, hops: int) -> list[Packet]:
    """As a router sees them, that is also after it has passed them on."""
    return sorted(
        (
            one
            for packet in packets
            for one in (packet, packet._replace(time=packet.time + later, ttl=packet.ttl - hops))
        ),
        key=lambda packet: packet.time,
    )


def test_a_capture_that_began_in_the_middle_was_silent_since_then() -> None:
    wire = Wire()
    wire.server(400, flags=ACK)
    wire.client(400.001, flags=FIN | ACK)
    other = Wire(("192.0.2.50", 1))
    other.open(0)
    (flow,) = [one for one in _flows.flows([*other.packets, *wire.packets], "it", "server") if one.client == CLIENT]
    assert flow.silence.seconds == approximately(400)
    assert wire.flow().silence.seconds == approximately(0)  # the capture has nothing before


def test_since_when_something_is_sent_in_vain() -> None:
    wire = Wire().session()
    for at in (60, 70, 80):
        wire.probe(at, 1, answered=at == 60)
    assert (wire.flow(capture_ends=500).in_vain_since, wire.flow(capture_ends=500).seen_until) == (70, 500)
    lost = wire.client(90, 100)
    for at in (90.2, 90.6):
        wire.client(at, 100, seq=lost.seq)
    assert wire.flow("client").in_vain_since == 90
    assert Wire().session().flow().in_vain_since is None


def test_a_router_sees_everything_twice() -> None:
    wire = Wire(ttl=(64, 64)).session()
    for at in (60, 120, 130, 140):
        wire.probe(at, 1, answered=at == 60)
    lost = wire.server(145, 1000)
    wire.server(146, 1000, seq=lost.seq)
    wire.server(150, flags=RST | ACK)
    once = wire.flow("router")
    wire.packets = twice(wire.packets, 0.0001, 1)
    doubled = wire.flow("router")
    slack = {"ended": 0, "last_from_client": 0, "last_from_server": 0, "usual_ttl": 0, "in_vain_since": 0}
    assert doubled._replace(**slack) == once._replace(**slack)


def test_a_router_with_nat_sees_two_connections() -> None:
    inside, outside = Wire(client=("10.0.0.7", 50000)), Wire(client=("198.51.100.1", 61000))
    for wire in (inside, outside):
        close(wire.session(), 5)
    inside.packets = sorted(inside.packets + outside.packets, key=lambda packet: packet.time)
    assert {flow.client for flow in inside.flows("router")} == {("10.0.0.7", 50000), ("198.51.100.1", 61000)}


def test_one_direction_only() -> None:
    wire = Wire().session().probe(60, 1)
    wire.client(99, TERMINATE)
    close(wire, 99.001)
    whole = list(wire.packets)
    wire.packets = [packet for packet in whole if packet.src == CLIENT[0]]
    flow = wire.flow()
    assert (flow.syn_answer, flow.established, flow.terminate, flow.data_server) == ("accepted", True, True, 0)
    assert (flow.retransmitting, flow.unanswered_probes_by, flow.last_from_server) == (None, None, None)
    wire.packets = [packet for packet in whole if packet.src == SERVER[0]]
    flow = wire.flow()
    assert (flow.syn, flow.syn_answer, flow.established, flow.first_client_bytes) == (False, None, True, None)
    assert flow.closed_by == "server"
    wire.server(100, flags=RST)
    wire.packets = wire.packets[-1:]
    assert (wire.flow().established, wire.flow().rst_after) == (False, None)


def test_the_server_only_accepts() -> None:
    wire = Wire()
    wire.server(0, flags=SYN | ACK)
    assert (wire.flow().syn, wire.flow().client) == (False, CLIENT)


def test_overtaken_and_lost_packets() -> None:
    wire = Wire().session()
    first, second = wire.server(1, 100), wire.server(1.0001, 100)
    wire.packets[-2:] = [second, first._replace(time=1.0002)]
    flow = wire.flow()
    assert (flow.retransmitting, flow.retransmissions) == (None, 0)
    assert flow.data_server == 9 + 100  # the one that came late is not counted, rather than twice
    # A part of what is sent is new.
    wire.server(1.5, 150, seq=second.seq + 50)
    assert wire.flow().data_server == 9 + 200
    # What was lost and repeated with success is no failure.
    lost = wire.server(2, 100)
    wire.server(2.3, 100, seq=lost.seq)
    wire.client(2.31)
    assert wire.flow().retransmitting is None
    # Nor is what was repeated before more was sent, even if no acknowledgement was captured.
    lost = wire.server(3, 100)
    wire.server(3.3, 100, seq=lost.seq)
    wire.server(3.4, 100)
    assert wire.flow().retransmissions == 0


def test_a_repeated_fin_has_no_size() -> None:
    wire = Wire().session()
    fin = wire.server(5, flags=FIN | ACK)
    wire.server(5.5, flags=FIN | ACK, seq=fin.seq)
    wire.server(6.5, flags=FIN | ACK, seq=fin.seq)
    flow = wire.flow()
    assert (flow.retransmitting, flow.retransmissions, flow.retransmitted_sizes) == ("server", 2, ())


def test_sequence_numbers_wrap_around() -> None:
    high = Wire(numbers=(2**32 - 30, 2**32 - 5)).session()
    low = Wire().session()
    for wire in (high, low):
        wire.talk(5, 3000, 4000)
        wire.probe(70, 1).probe(140, 1, answered=False)
        wire.server(150, flags=RST | ACK)
    assert high.flow() == low.flow()
    assert high.flow().data_server == 9 + 4000


def test_probes_with_a_byte() -> None:
    wire = Wire().session()
    wire.server(60, 1, seq=wire.next[1] - 1)
    assert wire.flow().unanswered_probes == 1
    # One byte that was not acknowledged is data that is sent again.
    wire = Wire().open().talk(0.01, SSL_REQUEST, b"")
    answer = wire.server(0.02, b"N")
    wire.server(0.3, b"N", seq=answer.seq)
    flow = wire.flow()
    assert (flow.unanswered_probes, flow.retransmitting, flow.retransmitted_sizes) == (0, "server", (1,))


def test_probes_of_both() -> None:
    wire = Wire().session()
    wire.probe(60, 1, answered=False).probe(61, 0, answered=False).probe(70, 1, answered=False)
    flow = wire.flow("router")
    assert flow.silence[1:] == (1, 2, 0)  # a probe is no answer to a probe
    assert (flow.unanswered_probes_by, flow.unanswered_probes) == ("server", 2)


def test_an_idle_flow_from_the_middle() -> None:
    # The first probe that is captured cannot be known as one until it is answered.
    wire = Wire().probe(60, 1).probe(120, 1)
    flow = wire.flow()
    assert flow.silence == Silence(approximately(60), probes_by_server=2, probes_answered=2)
    # Vanished before the capture began: the RST's number tells what the empty segments were.
    wire = Wire()
    for at in (60, 70, 80):
        wire.probe(at, 1, answered=False)
    assert wire.flow().unanswered_probes == 0
    wire.server(90, flags=RST | ACK)
    flow = wire.flow()
    assert (flow.unanswered_probes_by, flow.unanswered_probes) == ("server", 3)
    assert (flow.rst_after, flow.silence) == (None, Silence(30, probes_by_server=3))
    # The server had something to send after all.
    wire.packets.pop()
    wire.server(90, 300)
    assert wire.flow().silence.seconds == 30
    assert wire.flow().unanswered_probes == 3
    # They were none: the client says so.
    wire = Wire()
    wire.server(1)
    wire.server(1.01, window=600)
    wire.client(2)
    wire.server(3, 10)
    assert wire.flow().silence[1:] == (0, 0, 0)


def test_the_ports_tell_who_is_the_server() -> None:
    def server(*ports: int, flags: int = ACK) -> int:
        packet = Wire(("192.0.2.7", ports[0]), ("192.0.2.1", ports[1])).client(0, 10, flags)
        (flow,) = _flows.flows([packet], "it", "client", server_port=6432)
        return flow.server[1]

    assert server(40000, 6432) == 6432
    assert server(6432, 40000) == 6432
    assert server(40000, 22, flags=SYN) == 22
    assert server(40000, 22, flags=SYN | ACK) == 40000
    assert server(6432, 6432, flags=SYN) == 6432
    assert server(40000, 50000) == 40000


def test_other_icmp_and_packets_that_no_one_sends() -> None:
    wire = Wire()
    wire.icmp(0, "3/1 from 192.0.2.254", 0)
    wire.client(1, flags=SYN | RST)
    assert wire.flows() == []


def test_flows_are_given_out_as_soon_as_they_are_over() -> None:
    def packets() -> t.Iterator[Packet]:
        for number in range(100):
            wire = close(Wire(("192.0.2.7", 1000 + number)).session(number * 10), number * 10 + 0.1)
            read.append(number)
            yield from wire.packets

    read: list[int] = []
    for count, flow in enumerate(_flows.flows(packets(), "it", "server")):
        assert flow.client[1] == 1000 + count
        if count < 93:
            assert read[-1] - count == 6  # a minute later


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flows, "MOST_OPEN", 20)
    packets = [Wire(("192.0.2.7", 1000 + number)).client(number, flags=SYN) for number in range(100)]
    found = list(_flows.flows(iter(packets), "it", "server"))
    assert sorted(flow.client[1] for flow in found) == [1000 + number for number in range(100)]
    assert [flow.client[1] for flow in found[:2]] == [1000, 1001]
    wire = Wire().session()
    for number in range(100):
        wire.icmp(number, f"3/1 from 192.0.2.{number}", 1)
        wire.server(number, bytes(10), seq=90001)
    assert len(wire.flow().icmp) == len(wire.flow().retransmitted_sizes) == _half.MOST_KEPT


def test_many_closed_at_once_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_flows, "MOST_OPEN", 5)
    packets = [
        packet for number in range(50) for packet in close(Wire(("192.0.2.7", 1000 + number)).open(), 0.01).packets
    ]
    assert len(list(_flows.flows(iter(packets), "it", "server"))) == 50


# ---- whatever comes

NUMBERS = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 999, 1000, 1001, 2**31, 2**32 - 1]))
PACKETS = st.builds(
    Packet,
    time=st.one_of(st.floats(0, 200), st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e12)),
    src=st.sampled_from(["a", "b"]),
    sport=st.sampled_from([5432, 40000]),
    dst=st.sampled_from(["a", "b"]),
    dport=st.sampled_from([5432, 40000]),
    seq=NUMBERS,
    ack=NUMBERS,
    flags=st.integers(0, 255),
    window=st.sampled_from([0, 500]),
    length=st.sampled_from([0, 1, 5, 24, 27, 1448, 65000]),
    payload=st.one_of(st.binary(max_size=40), st.sampled_from([TERMINATE, STARTUP, verdict("FATAL", "57P01")])),
    ttl=st.sampled_from([0, 63, 64]),
    icmp=st.one_of(st.none(), st.none(), st.just("3/1 from c")),
)


@settings(max_examples=300)
@given(st.lists(PACKETS, max_size=12))
def test_whatever_comes_it_becomes_flows(packets: list[Packet]) -> None:
    for flow in _flows.flows(packets, "it", "router"):
        assert flow.data_client + flow.data_server <= sum(packet.length for packet in packets)
        assert flow.silence.seconds >= 0
        assert flow.zero_window_seconds >= 0
        assert (flow.closed_by is None) == (flow.closed_how == "none") == (flow.closed_at is None)
        assert (flow.rst_by is None) == (flow.rst_ttl is None)
        assert flow.terminate or not flow.terminate_certain
        assert {flow.client, flow.server} <= {(address, port) for address in "ab" for port in (5432, 40000)}


# ---- what a flow outlives, and whether it works to the end


def test_an_outage_that_data_outlived() -> None:
    wire = Wire().session()
    lost = wire.server(10, 1000)
    wire.server(10.05, 1000)
    for at in (10.25, 10.65, 11.45):
        wire.server(at, 1000, seq=lost.seq)
    wire.client(11.5)
    found = wire.flow().outlived
    assert (found.lost, found.by, found.probes, found.seconds) == (3, "server", False, approximately(1.45))
    # a shorter one later is not the longest
    wire.server(20, 1000)
    again = wire.server(20.2, 1000)
    wire.server(20.5, 1000, seq=again.seq - 1000)
    wire.client(20.6)
    assert wire.flow().outlived == found


def test_what_is_still_not_answered_is_not_outlived() -> None:
    wire = Wire().session()
    lost = wire.server(10, 1000)
    for at in (10.2, 10.6, 11.4):
        wire.server(at, 1000, seq=lost.seq)
    assert wire.flow().outlived == Outage()
    wire.client(11.5, flags=RST, ack=0)
    assert wire.flow().outlived == Outage()


def test_repetitions_of_later_data_are_no_attempts_at_the_oldest() -> None:
    wire = Wire().session()
    wire.server(10, 1000)
    later = wire.server(10.01, 1000)
    for at in (10.5, 11.5, 12.5):
        wire.server(at, 1000, seq=later.seq)
    wire.client(13)
    assert wire.flow().outlived == Outage()


def test_answers_that_were_lost_and_came_at_last() -> None:
    wire = Wire().session()
    sent = wire.client(10, 40)
    wire.server(10.001)  # does not get there
    for at in (10.2, 10.6, 11.4):
        wire.client(at, 40, seq=sent.seq)
        wire.server(at + 0.001)
    wire.client(60, 40)
    found = wire.flow("server").outlived
    assert (found.lost, found.by, found.seconds) == (3, "client", approximately(1.4))  # not until it spoke again


def test_an_outage_that_probes_outlived() -> None:
    wire = Wire().session()
    for at in (60, 61, 62, 63):
        wire.probe(at, 1, answered=at == 63)
    assert wire.flow().outlived == Outage(approximately(3), 3, "server", probes=True)
    assert Wire().session().probe(60, 1).flow().outlived == Outage()


def test_a_closed_window_is_no_outage() -> None:
    wire = Wire().session()
    wire.server(1, 5000)
    wire.client(1.1, window=0)
    for at in (1.3, 1.7, 2.5):
        wire.probe(at, 1, answered=False)
    wire.client(4)
    assert wire.flow().outlived == Outage()
    # a kernel that tries with a byte of new data
    wire = Wire().session()
    wire.client(1.1, window=0)
    first = wire.server(1.3, 1)
    for at in (1.7, 2.5, 4.1):
        wire.server(at, 1, seq=first.seq)
    wire.client(5)
    assert wire.flow().outlived == Outage()


def test_how_long_it_was_in_use_and_who_was_not_heard_at_the_end() -> None:
    wire = Wire().session()
    for turn in range(10):
        wire.talk(5 + turn / 2, 20, 50)
    flow = wire.flow(capture_ends=11.5)
    assert (flow.in_use, flow.unheard) == (approximately(4.5), approximately(2))
    assert close(wire, 10).flow(capture_ends=11.5).unheard is None
    assert Wire().session().flow(capture_ends=None).unheard == approximately(0.001)
    one_way = Wire()
    one_way.client(0, 20)
    assert one_way.flow(capture_ends=5).unheard is None


# ---- what was not captured, and what was asked last


def test_how_much_is_kept_of_packets_that_were_cut() -> None:
    assert Wire().session().flow().kept is None
    wire = Wire().session()
    packet = wire.client(5, bytes(200))
    wire.packets[-1] = packet._replace(payload=bytes(30))
    assert wire.flow().kept == 30
    wire.server(6, 500)
    assert wire.flow().kept == 30
    assert Wire().open().talk(1, 41, 9).flow().kept == 0


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        (b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0", True),
        (b"R\0\0\0\x08\0\0\0\3", True),
        (b"R\0\0\0\x36\0\0\0\x0c" + bytes(46) + b"R\0\0\0\x08\0\0\0\0", False),  # SASL is done
        (b"R\0\0\0\x08\0\0\0\0", False),
        (verdict("FATAL", "28P01"), False),
        (24, False),
    ],
)
def test_whether_the_server_asked_last(said: bytes | int, asked: bool) -> None:
    wire = Wire().open().talk(0.01, STARTUP, said)
    wire.server(60, flags=FIN | ACK)
    assert wire.flow().asked is asked


def test_under_tls_nobody_knows_what_was_asked() -> None:
    wire = Wire().open().talk(0.01, SSL_REQUEST, b"S").talk(0.02, b"\x16\3\1" + bytes(200), b"R\0\0\0\x08\0\0\0\3")
    assert not wire.flow().asked


@pytest.mark.parametrize(("flags", "known"), [(RST | ACK, True), (RST, False)])
def test_whether_who_reset_knew_the_connection(flags: int, known: bool) -> None:
    wire = Wire().session()
    wire.client(5, 27)
    wire.server(5.001, flags=flags)
    assert wire.flow().rst_known is known
