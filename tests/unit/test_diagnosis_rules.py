# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each line of a log and each signature of a capture leads to its cause, with the alternatives that look the same."""

from __future__ import annotations

import typing as t

import pytest
from _losses import CLIENT, NOON, ROUTER, event, flow, loss, received, session

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import (
    _causes,
    _rules,
    _rules_of_flows,
    _rules_of_lines,
)
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clues import Surroundings
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import (
    Flow,
    LogEvent,
    Outage,
    Silence,
)
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._judge import Verdict, judge
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._legs import legs

ALONE = Surroundings()


def verdict(*evidence: LogEvent | Flow, world: Surroundings = ALONE) -> Verdict:
    found = judge(loss(*evidence), world)
    assert found is not None
    return found


def named(*evidence: LogEvent | Flow, world: Surroundings = ALONE) -> tuple[str, set[str]]:
    """The first cause, and the others worth a word."""
    found = verdict(*evidence, world=world)
    return found.cause, {cause for cause, _confidence in found.alternatives}


SILENT = {"middlebox_forgot_flow", "keepalive_probes_filtered", "one_way_loss", "outage_outlasted_timers"}
PROVEN: set[str] = set()


@pytest.mark.parametrize(
    ("kind", "cause", "others"),
    [
        ("receive_timed_out", "client_vanished", SILENT),
        ("send_timed_out", "client_vanished", {"slow_reader_cut", "middlebox_forgot_flow"}),
        ("receive_reset", "client_exited", {"middlebox_reset", "client_rebooted"}),
        ("connection_lost", "client_exited", {"client_vanished"}),
        ("send_reset", "client_exited", PROVEN),
        ("send_broken_pipe", "client_exited", PROVEN),
        ("receive_unreachable", "client_unreachable", PROVEN),
        ("send_unreachable", "client_unreachable", PROVEN),
        ("receive_aborted", "socket_destroyed", PROVEN),
        ("send_aborted", "socket_destroyed", PROVEN),
        ("eof_in_transaction", "client_exited", PROVEN),
        ("eof", "client_exited", PROVEN),
        ("standby_eof", "client_exited", PROVEN),
        ("idle_session_timeout", "idle_session_timeout", PROVEN),
        ("idle_in_transaction_timeout", "idle_in_transaction_timeout", PROVEN),
        ("transaction_timeout", "transaction_timeout", PROVEN),
        ("statement_timeout", "statement_timeout", PROVEN),
        ("admin_command", "backend_terminated", PROVEN),
        ("crash_of_another", "server_crash", PROVEN),
        ("server_process_died", "server_crash", PROVEN),
        ("recovered", "server_crash", PROVEN),
        ("shutdown_request", "server_shutdown", PROVEN),
        ("authentication_timeout", "authentication_timeout", {"client_starved"}),
        ("too_many_clients", "too_many_clients", PROVEN),
        ("not_postgresql", "not_postgresql", PROVEN),
        ("incomplete_startup", "health_check", {"not_postgresql"}),
        ("walsender_timeout", "walsender_timeout", PROVEN),
        ("walreceiver_timeout", "server_vanished", PROVEN),
        ("starting_up", "server_shutdown", {"server_crash"}),
        ("postmaster_gone", "server_crash", PROVEN),
        ("ended_by_recovery", "backend_terminated", PROVEN),
        ("fork_failed", "too_many_clients", {"server_hung"}),
        ("receive_failed", "client_exited", {"client_vanished"}),
        ("send_failed", "client_exited", {"client_vanished"}),
    ],
)
def test_a_line_of_the_log(kind: str, cause: str, others: set[str]) -> None:
    first, alternatives = named(event(kind))
    assert first == cause
    assert alternatives >= others
    assert others or not alternatives


@pytest.mark.parametrize("kind", ["disconnected", "authenticated", "option_refused", "configuration_reloaded"])
def test_lines_that_say_nothing_of_a_loss(kind: str) -> None:
    assert judge(loss(event(kind)), ALONE) is None


def test_a_line_that_follows_from_another_counts_once() -> None:
    sending = verdict(event("send_broken_pipe"), event("connection_lost"))
    assert sending.confidence == verdict(event("send_broken_pipe")).confidence
    # a dead peer in a transaction is no client that closed
    first, _others = named(event("receive_timed_out"), event("eof_in_transaction"))
    assert first == "client_vanished"
    # nor does it say more that there was a COPY
    alone = verdict(event("receive_timed_out"))
    copying = verdict(event("receive_timed_out"), event("eof_in_transaction"), event("protocol_lost"))
    assert (copying.cause, copying.confidence) == (alone.cause, alone.confidence)
    unread = verdict(event("receive_reset"), event("protocol_lost"))
    assert unread.confidence == verdict(event("receive_reset")).confidence


def test_a_statement_that_timed_out_before_its_session_was_lost_is_not_the_cause() -> None:
    found = verdict(event("statement_timeout"), event("receive_timed_out", 500))
    assert found.cause == "client_vanished"
    assert found.confidence == verdict(event("receive_timed_out", 500)).confidence
    assert named(event("statement_timeout"), event("admin_command")) == ("backend_terminated", set())
    assert named(event("statement_timeout"), event("statement_timeout", 5))[0] == "statement_timeout"


def test_over_tls_a_reset_may_have_been_a_mere_fin() -> None:
    reset = event("receive_reset", 100)
    login = event("authenticated", detail="tls")
    assert verdict(login, reset).confidence > 2 * verdict(event("authenticated"), reset).confidence - 0.2
    assert named(login, reset) == ("client_exited", set())
    assert named(event("authenticated"), reset)[1] == {"middlebox_reset", "client_rebooted"}


def test_a_reset_before_or_right_after_the_login_is_a_look() -> None:
    assert named(received(), event("receive_reset", 0.1))[0] == "health_check"
    short = event("disconnected", 0.2, number=0.2)
    first, others = named(*session(), event("receive_reset", 0.2), short)
    assert (first, "client_exited" in others) == ("health_check", True)
    long = event("disconnected", 90, number=90.0)
    assert named(*session(), event("receive_reset", 90), long)[0] == "client_exited"


def test_nothing_came_of_a_connection() -> None:
    assert named(received()) == ("health_check", {"authentication_timeout"})


def test_what_ended_before_a_shutdown_or_after_the_next_start_was_not_ended_by_it() -> None:
    told = event("admin_command", 20)
    stopped, started = event("shutdown_request", 10, detail="fast"), event("started", 15)
    assert named(told, world=Surroundings([stopped]))[0] == "server_shutdown"
    assert named(told, world=Surroundings([stopped, started]))[0] == "backend_terminated"
    assert named(told, world=Surroundings([event("shutdown_request", 30, detail="fast")]))[0] == "backend_terminated"


def test_before_version_14_an_immediate_shutdown_tells_sessions_of_a_crash() -> None:
    told = event("crash_of_another", 5)
    request, died = event("shutdown_request", 4, detail="immediate"), event("server_process_died", 4)
    assert named(told, world=Surroundings([request])) == ("server_shutdown", PROVEN)
    assert named(told, world=Surroundings([died])) == ("server_crash", PROVEN)
    assert named(told, world=Surroundings([died, request])) == ("server_crash", PROVEN)  # stopped when it was down


def test_a_shutdown_and_a_crash_are_told_by_the_servers_own_lines() -> None:
    told = event("admin_command", 5)
    stopped = Surroundings([event("shutdown_request", 4, detail="fast")])
    assert named(told, world=stopped) == ("server_shutdown", set())
    # of another day
    assert named(told, world=Surroundings([event("shutdown_request", 86400)]))[0] == "backend_terminated"
    # a log without times
    assert named(event("admin_command", None), world=stopped)[0] == "server_shutdown"
    refused = event("starting_up", 5)
    assert named(refused, world=Surroundings([event("server_process_died", 4)])) == ("server_crash", set())
    assert named(refused, world=stopped) == ("server_shutdown", set())


@pytest.mark.parametrize(
    ("told", "cause", "others"),
    [
        (
            {"closed_by": "client", "closed_how": "fin", "terminate": True, "terminate_certain": True},
            "normal_close",
            PROVEN,
        ),
        ({"closed_by": "client", "closed_how": "fin", "terminate": True, "tls": True}, "normal_close", PROVEN),
        ({"closed_by": "client", "closed_how": "rst", "terminate": True}, "normal_close", PROVEN),
        ({"closed_by": "client", "closed_how": "fin"}, "client_exited", PROVEN),
        (
            {"closed_by": "client", "closed_how": "fin", "rst_by": "client", "rst_after": "fin"},
            "proxy_idle_timeout",
            {"client_exited"},
        ),
        ({"closed_by": "client", "closed_how": "rst", "rst_after": "data"}, "client_exited", PROVEN),
        ({"closed_by": "client", "closed_how": "rst", "rst_after": "nothing"}, "client_exited", PROVEN),
        (
            {"closed_by": "client", "closed_how": "rst", "rst_after": "probe", "silence": Silence(40.0)},
            "client_rebooted",
            {"middlebox_reset"},
        ),
        (
            {"closed_by": "client", "closed_how": "rst", "rst_after": "data", "silence": Silence(40.0)},
            "client_rebooted",
            {"middlebox_reset", "client_exited"},
        ),
        (
            {"closed_by": "client", "closed_how": "rst", "rst_after": "nothing", "silence": Silence(40.0)},
            "client_exited",
            {"middlebox_reset"},
        ),
        (
            {"closed_by": "client", "closed_how": "rst", "foreign_rst": True, "rst_ttl": 64, "usual_ttl": 63},
            "middlebox_reset",
            PROVEN,
        ),
        (
            {"closed_by": "server", "closed_how": "rst", "rst_by": "server", "unanswered_probes_by": "server"},
            "client_vanished",
            SILENT,
        ),
        ({"retransmitting": "server", "retransmissions": 7}, "client_vanished", {"outage_outlasted_timers"}),
        (
            {"retransmitting": "server", "retransmissions": 7, "silence": Silence(120.0)},
            "middlebox_forgot_flow",
            {"client_vanished"},
        ),
        (
            {"retransmitting": "server", "retransmissions": 7, "retransmitted_sizes": (1448, 1448)},
            "path_mtu_blackhole",
            {"client_vanished"},
        ),
        (
            {"zero_window_by": "client", "zero_window_seconds": 9.0, "silence": Silence(9.0, probes_answered=3)},
            "slow_reader_cut",
            PROVEN,
        ),
        ({"zero_window_by": "client", "unanswered_probes": 5}, "client_vanished", {"slow_reader_cut"}),
        (
            {"closed_by": "server", "closed_how": "rst", "zero_window_by": "client", "rst_by": "server"},
            "slow_reader_cut",
            PROVEN,
        ),
        ({"closed_by": "server", "closed_how": "rst", "rst_after": "nothing"}, "socket_destroyed", PROVEN),
        ({"closed_by": "server", "closed_how": "rst", "rst_after": "data"}, "server_reset", PROVEN),
        (
            {"side": "client", "closed_by": "server", "closed_how": "rst", "rst_after": "data"},
            "server_reset",
            {"middlebox_reset"},
        ),
        ({"retransmitting": "client", "retransmissions": 7}, "server_vanished", PROVEN),
        (
            {"side": "client", "unanswered_probes_by": "client", "unanswered_probes": 3},
            "server_vanished",
            {"middlebox_forgot_flow"},
        ),
        ({"closed_how": "rst", "closed_by": "client", "retransmitting": "client"}, "server_vanished", PROVEN),
        ({"icmp": ("3/1 from 10.0.0.1",)}, "client_unreachable", PROVEN),
        ({"side": "client", "icmp": ("3/1 from 10.0.0.1",)}, "server_vanished", PROVEN),
        ({"first_client_bytes": "http", "closed_by": "server", "closed_how": "fin"}, "not_postgresql", PROVEN),
        ({"data_client": 0, "closed_by": "client", "closed_how": "fin", "data_server": 0}, "health_check", PROVEN),
        ({"data_client": 0, "closed_by": "client", "closed_how": "rst", "rst_after": "syn"}, "health_check", PROVEN),
        (
            {"data_client": 0, "data_server": 0, "closed_by": "server", "closed_how": "fin"},
            "authentication_timeout",
            PROVEN,
        ),
        (
            {"data_server": 0, "closed_by": "client", "closed_how": "fin", "last_data_by": "client"},
            "server_hung",
            PROVEN,
        ),
    ],
)
def test_a_signature_of_a_capture(told: dict[str, t.Any], cause: str, others: set[str]) -> None:
    first, alternatives = named(flow(**told))
    assert first == cause
    assert alternatives >= others


def test_a_server_that_closed_under_tls_leaves_it_open_why() -> None:
    found = verdict(flow(closed_by="server", closed_how="fin", tls=True))
    assert found.confidence < 0.3
    assert {"idle_session_timeout", "backend_terminated", "server_shutdown"} <= {
        found.cause,
        *(cause for cause, _confidence in found.alternatives),
    }
    assert found.missing_evidence == ("the server's log of the same minutes",)


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("FATAL 57P05", "idle_session_timeout"),
        ("FATAL 25P03", "idle_in_transaction_timeout"),
        ("FATAL 25P04", "transaction_timeout"),
        ("WARNING 57P02", "server_crash"),
        ("WARNING 57P01", "server_shutdown"),
        ("FATAL 57P01", "backend_terminated"),
        ("FATAL 57P03", "server_shutdown"),
        ("FATAL 53300", "too_many_clients"),
        ("FATAL 57014", "authentication_timeout"),
        ("FATAL 08P01", "pooler_closed"),
    ],
)
def test_the_servers_last_word(message: str, cause: str) -> None:
    assert named(flow(closed_by="server", closed_how="fin", server_message=message))[0] == cause


def test_a_last_word_that_explains_nothing() -> None:
    for message in ("ERROR 42601", "FATAL 28P01"):
        assert judge(loss(flow(closed_by="server", closed_how="fin", server_message=message)), ALONE) is None


def test_a_fin_after_a_long_silence_may_be_a_proxys() -> None:
    quiet = flow(closed_by="client", closed_how="fin", silence=Silence(60.0))
    assert named(quiet) == ("client_exited", {"proxy_idle_timeout", "pooler_closed"})


def test_a_server_whose_probes_were_in_vain_ends_for_its_client_without_a_reason() -> None:
    ended = flow(side="client", closed_by="server", closed_how="rst", rst_after="nothing", silence=Silence(60.0))
    assert {"keepalive_probes_filtered", "one_way_loss"} <= named(ended)[1]


def test_the_last_word_and_the_servers_lines() -> None:
    terminated = flow(5, closed_by="server", closed_how="fin", server_message="FATAL 57P01")
    assert named(terminated, world=Surroundings([event("shutdown_request", 4)]))[0] == "server_shutdown"
    assert named(terminated, world=Surroundings([event("shutdown_request", 86400)]))[0] == "backend_terminated"
    refused = flow(5, closed_by="server", closed_how="fin", server_message="FATAL 57P03")
    assert named(refused, world=Surroundings([event("server_process_died", 4)]))[0] == "server_crash"
    expired = flow(closed_by="server", closed_how="fin", server_message="FATAL 08P01", silence=Silence(2.0))
    assert verdict(expired).confidence > verdict(expired._replace(silence=Silence(0.0))).confidence


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ({"syn_answer": "none", "syn_attempts": 4}, "connect_no_answer"),
        ({"syn_answer": "accepted"}, "connect_no_answer"),
        ({"syn_answer": "rst", "side": "server"}, "connect_refused"),
        ({"syn_answer": "icmp", "icmp": ("3/1 from 10.0.0.1",)}, "connect_unreachable"),
        ({"syn_answer": "icmp", "icmp": ("1/0 from fd00::1",)}, "connect_unreachable"),
        ({"syn_answer": "icmp", "icmp": ("3/13 from 10.0.0.1",)}, "connect_rejected_by_firewall"),
        ({"syn_answer": "icmp", "icmp": ("3/3 from 10.0.0.1",)}, "connect_rejected_by_firewall"),
        ({"syn_answer": "icmp", "icmp": ("1/4 from fd00::1",)}, "connect_rejected_by_firewall"),
    ],
)
def test_an_attempt_to_connect(told: dict[str, t.Any], cause: str) -> None:
    assert named(flow(**{"side": "client", "established": False, **told})) == (cause, set())


def test_a_refusal_that_the_server_never_saw_is_a_firewalls() -> None:
    refused = flow(side="client", established=False, syn_answer="rst")
    both = Surroundings(sides=frozenset({"client", "server"}))
    assert named(refused, world=both) == ("connect_rejected_by_firewall", set())
    alone = verdict(refused, world=Surroundings(sides=frozenset({"client"})))
    assert alone.cause == "connect_refused"
    assert [cause for cause, _confidence in alone.alternatives] == ["connect_rejected_by_firewall"]
    assert any("server's host" in text for text in alone.missing_evidence)


def test_no_news_is_no_cause() -> None:
    assert judge(loss(flow()), ALONE) is None
    assert judge(loss(flow(closed_how="rst")), ALONE) is None  # nobody knows whose
    assert judge(loss(flow(icmp=("3/4 from 10.0.0.1",))), ALONE) is None  # path MTU discovery at work
    unreachable = {"icmp": ("3/1 from 10.0.0.1",), "closed_how": "fin"}
    assert named(flow(closed_by="client", terminate=True, **unreachable))[0] == "normal_close"
    stray = {"syn": False, "data_client": 0, "data_server": 0, "began": NOON + 10, "rst_after": "ack"}
    assert judge(loss(flow(closed_by="server", closed_how="rst", **stray)), ALONE) is None


def test_hello_and_away() -> None:
    hello = {"began": NOON + 9.8, "closed_by": "client", "data_client": 41}
    for how in ("fin", "rst"):
        assert named(flow(closed_how=how, **hello))[0] == "health_check"
    # a server that is slow to answer
    assert named(flow(closed_how="fin", **{**hello, "began": NOON + 7, "last_data": NOON + 9.8}))[0] == "health_check"
    # longer, or with more to say
    assert named(flow(closed_how="fin", **{**hello, "began": NOON}))[0] == "client_exited"
    assert named(flow(closed_how="fin", **{**hello, "data_client": 400}))[0] == "client_exited"
    tls = {**hello, "tls": True, "data_client": 700, "first_client_bytes": "tls_request"}
    assert named(flow(closed_how="fin", **tls))[0] == "health_check"
    # the log has seen it at work
    in_transaction = [event("receive_reset"), event("eof_in_transaction"), event("disconnected", number=0.2)]
    login = event("authenticated", detail="tls")
    assert named(flow(closed_how="fin", **tls), login, *in_transaction)[0] == "client_exited"
    assert named(flow(closed_how="fin", **tls), login, in_transaction[0], in_transaction[2])[0] == "health_check"
    # a load balancer's SYN, and RST as soon as there is an answer
    syn = {"established": False, "data_client": 0, "data_server": 0, "rst_after": "syn"}
    assert named(flow(closed_by="client", closed_how="rst", **syn)) == ("health_check", set())
    # the server has sent it away
    assert named(flow(closed_how="fin", **tls), event("too_many_clients", 9.9)) == ("too_many_clients", set())


def test_a_server_that_is_gone_before_the_goodbye_is_read_to_its_end() -> None:
    gone = flow(closed_by="server", closed_how="rst", rst_after="nothing", terminate=True, tls=True)
    assert named(gone) == ("normal_close", set())
    assert named(gone._replace(silence=Silence(60.0)))[0] == "socket_destroyed"


def test_a_goodbye_that_came_too_late() -> None:
    goodbye = flow(closed_by="client", closed_how="fin", terminate=True)
    assert named(goodbye, event("idle_session_timeout", 9)) == ("idle_session_timeout", set())


def test_nobody_answered_others_either() -> None:
    waited = flow(closed_by="client", closed_how="fin", last_data_by="client", silence=Silence(5.0))
    assert named(waited) == ("client_exited", set())
    assert "server_hung" in named(waited._replace(silence=Silence(2.0)), world=Surroundings(hung=[(NOON, NOON + 9)]))[0]
    assert named(waited, world=Surroundings(hung=[(NOON + 11, NOON + 19)]))[0] == "client_exited"


@pytest.mark.parametrize(("limit", "name"), _causes.IDLE_LIMITS)
@pytest.mark.parametrize("how", ["reset", "dropped"])
def test_the_length_of_the_silence_names_the_device(limit: int, name: str, how: str) -> None:
    """What comes after the limit, up to a probe's slack later, meets an RST or nothing."""
    for silence in (limit, limit * 1.05):
        quiet: dict[str, t.Any] = {"silence": Silence(float(silence))}
        if how == "reset":
            quiet |= {"closed_by": "client", "closed_how": "rst", "rst_after": "nothing", "rst_by": "client"}
        else:
            quiet |= {"retransmitting": "client", "retransmissions": 7, "side": "client"}
        found = verdict(flow(**quiet))
        everything = {found.cause, *(cause for cause, _confidence in found.alternatives)}
        assert {"middlebox_reset", "middlebox_forgot_flow"} & everything
        assert found.cause != "middlebox_forgot_flow" or any(name in text for text in found.evidence_for)
        assert _causes.device(silence) == (limit, name)


def test_silences_that_no_device_has() -> None:
    assert [_causes.device(seconds) for seconds in (0.0, 100.0, 234.0, 430.0, 5000.0)] == [None] * 5


# ---- several captures


NEAR: dict[str, t.Any] = {"closed_by": "server", "closed_how": "rst", "rst_by": "server"}
PROBED: dict[str, t.Any] = {"unanswered_probes_by": "server", "unanswered_probes": 3, "silence": Silence(8.0, 0, 3, 0)}


def test_the_clients_capture_tells_what_the_servers_cannot() -> None:
    near = flow(**NEAR, **PROBED)
    assert named(near)[0] == "client_vanished"
    # nothing arrived, and nobody said so
    forgot = flow(11, "client", silence=Silence(8.0))
    assert named(near, forgot)[0] == "middlebox_forgot_flow"
    # probes arrived and were answered
    answered = flow(11, "client", silence=Silence(8.0, 0, 3, 3))
    assert named(near, answered)[0] == "one_way_loss"
    # only the RST at the end arrived, in the same moment
    filtered = flow(10, "client", **NEAR, rst_after="nothing", silence=Silence(8.0))
    assert named(near, filtered)[0] == "keepalive_probes_filtered"
    # the client was reset when it spoke again, after the path had come back
    late = flow(60, "client", **NEAR, rst_after="data", silence=Silence(50.0))
    assert named(near, late)[0] == "outage_outlasted_timers"
    # a server's capture further on in its host
    assert "client_vanished" in named(near, flow(11, "router", silence=Silence(8.0)))[1]
    # for a short silence only so much can be said
    short = flow(**NEAR, **{**PROBED, "silence": Silence(1.0)})
    assert {"outage_outlasted_timers", "middlebox_forgot_flow"} <= named(short, forgot)[1] | {named(short, forgot)[0]}
    assert verdict(near, forgot).missing_evidence == ()


def test_a_capture_that_has_nothing_of_that_time_shows_nobody_alive() -> None:
    lost: dict[str, t.Any] = {"silence": Silence(90.0, 0, 3, 0), "in_vain_since": NOON + 60}
    near = flow(unanswered_probes_by="server", unanswered_probes=3, **lost)
    far = flow(side="client", file="app.pcap", after=2.0, truncated=True)
    silent = verdict(near, far._replace(seen_until=NOON + 2))
    going_on = verdict(near, far._replace(seen_until=NOON + 90))
    assert "client_vanished" in {cause for cause, _confidence in silent.alternatives}
    assert "client_vanished" not in {cause for cause, _confidence in going_on.alternatives}
    assert going_on.cause == "middlebox_forgot_flow"
    assert going_on.confidence > silent.confidence
    # The same for the server
    query = flow(
        side="client", retransmitting="client", retransmissions=7, silence=Silence(90.0), in_vain_since=NOON + 60
    )
    there = flow(file="db.pcap", after=2.0, truncated=True)
    silent = verdict(query, there._replace(seen_until=NOON + 2))
    going_on = verdict(query, there._replace(seen_until=NOON + 90))
    assert "server_vanished" in {cause for cause, _confidence in silent.alternatives}
    assert (going_on.cause, going_on.alternatives) == ("middlebox_forgot_flow", ())


@pytest.mark.parametrize(
    ("told", "gone"),
    [
        ({"unanswered_probes_by": "server", "unanswered_probes": 3}, "client_vanished"),
        ({"side": "client", "retransmitting": "client", "retransmissions": 7}, "server_vanished"),
    ],
)
def test_a_host_that_is_heard_on_other_connections_is_not_gone(told: dict[str, t.Any], gone: str) -> None:
    alone = flow(silence=Silence(90.0), in_vain_since=NOON + 60, **told)
    address = {"client_vanished": alone.client[0], "server_vanished": alone.server[0]}[gone]

    def named_when(time: float, one: Flow = alone) -> tuple[str, float]:
        heard = {(one.file, address): time}
        world = Surroundings(heard=lambda file, other: heard.get((file, other), 0.0))
        found = verdict(one, world=world)
        return found.cause, dict([(found.cause, found.confidence), *found.alternatives]).get(gone, 0.0)

    before, after = named_when(NOON + 50), named_when(NOON + 70)
    assert after[0] == "middlebox_forgot_flow"
    assert after[1] < before[1] / 2
    # Nobody forgets within a second
    soon = alone._replace(silence=Silence(0.5))
    assert named_when(NOON + 50, soon) == named_when(NOON + 70, soon)


def test_an_idle_connection_of_which_a_capture_has_the_end_alone() -> None:
    end: dict[str, t.Any] = {"data_client": 0, "data_server": 0, "began": NOON + 10, "syn": False}
    idle, rest = Silence(400.0), Silence(0.0)
    closed = flow(**end, closed_how="fin", closed_by="client", silence=idle)
    assert named(closed)[0] == "client_exited"
    assert judge(loss(closed._replace(silence=rest)), ALONE) is None
    asked = flow(**end, closed_how="rst", closed_by="server", rst_by="server", rst_after="ack", silence=idle)
    assert named(asked)[0] == "server_reset"
    assert judge(loss(asked._replace(rst_after="nothing")), ALONE) is None
    asked = flow(**end, closed_how="rst", closed_by="client", rst_by="client", rst_after="ack", silence=idle)
    assert named(asked)[0] == "client_rebooted"
    assert "client_rebooted" not in {named(asked._replace(rst_known=True))[0]}


def test_large_segments_that_never_arrived() -> None:
    large = {"retransmitting": "server", "retransmissions": 5, "retransmitted_sizes": (1448,), "largest_delivered": 400}
    assert named(flow(**large), flow(11, "client"))[0] == "path_mtu_blackhole"
    passed = {**large, "largest_delivered": 1448}
    assert named(flow(**passed), flow(11, "client"))[0] != "path_mtu_blackhole"


def test_a_capture_further_on_where_it_was_sent_again_too() -> None:
    near, router = flow(**NEAR, **PROBED), flow(10, "router", **NEAR, **PROBED)
    assert named(near, router) == named(near)
    assert verdict(near, router).confidence == verdict(near).confidence


def test_a_query_that_did_not_arrive() -> None:
    asked = flow(side="client", retransmitting="client", retransmissions=6, silence=Silence(60.0))
    assert named(asked)[0] in ("middlebox_forgot_flow", "server_vanished")
    alive = flow(side="server", silence=Silence(60.0, 0, 2, 2))
    found = verdict(asked, alive)
    assert (found.cause, found.alternatives) == ("middlebox_forgot_flow", ())
    vanished = verdict(event("receive_timed_out"), asked, alive)
    assert "client_vanished" not in [cause for cause, _confidence in vanished.alternatives]


def test_an_rst_that_nobody_sent() -> None:
    to_client = flow(side="client", closed_by="server", closed_how="rst", rst_by="server", rst_after="data")
    assert named(to_client, flow(side="server"))[0] == "middlebox_reset"
    to_server = flow(side="server", closed_by="client", closed_how="rst", rst_by="client", rst_after="probe")
    assert named(to_server, flow(side="client"))[0] == "middlebox_reset"
    also = flow(side="router", closed_by="server", closed_how="rst", rst_by="server", rst_after="data")
    assert named(to_client, also)[0] == "server_reset"
    both = flow(side="client", closed_by="client", closed_how="rst", rst_by="client", rst_after="probe")
    assert named(to_server, both)[0] == "client_rebooted"


def test_the_order_of_captures_does_not_matter() -> None:
    near, far = flow(**NEAR, **PROBED), flow(10, "client", **NEAR, rst_after="nothing", silence=Silence(8.0))
    assert verdict(near, far)[1:4] == verdict(far, near)[1:4]


# ---- a proxy in between


def through_proxy(front: dict[str, t.Any], back: dict[str, t.Any]) -> tuple[str, str]:
    """The causes of both connections of a session."""
    sides = [
        flow(side="client", server=(ROUTER, 6432), **front),
        flow(client=(ROUTER, 41000), **{"began": NOON + 0.05, **back}),
    ]
    losses = [loss(one) for one in sides]
    world = Surroundings(legs=legs(losses))
    first, second = (judge(one, world) for one in losses)
    assert first and second
    return first.cause, second.cause


CLOSED_IN_BETWEEN = ({"closed_by": "server", "closed_how": "fin"}, {"closed_by": "client", "closed_how": "fin"})


def test_what_is_between_closed_both_sides() -> None:
    front, back = CLOSED_IN_BETWEEN
    quiet = {"silence": Silence(60.0)}
    assert through_proxy({**front, **quiet}, {**back, **quiet}) == ("proxy_idle_timeout", "proxy_idle_timeout")
    assert through_proxy(front, back) == ("pooler_closed", "pooler_closed")
    said = {**front, "server_message": "FATAL 08P01"}
    assert through_proxy(said, back) == ("pooler_closed", "pooler_closed")


def test_what_is_between_had_lost_its_client() -> None:
    back = {"closed_by": "client", "closed_how": "rst", "rst_after": "nothing"}
    for front in ({"unanswered_probes_by": "server", "closed_how": "rst", "closed_by": "server"}, {}):
        assert through_proxy(front or {"retransmitting": "server"}, back)[1] == "proxy_lost_client"


def test_it_was_the_client_that_closed_the_first() -> None:
    close = {"closed_by": "client", "closed_how": "fin"}
    assert through_proxy(close, close) == ("client_exited", "client_exited")
    assert through_proxy({**close, "terminate": True}, close) == ("normal_close", "normal_close")
    assert through_proxy({**close, "terminate": True}, {**close, "terminate": True}) == ("normal_close", "normal_close")


def test_two_connections_that_only_look_like_legs() -> None:
    front, back = CLOSED_IN_BETWEEN
    one = loss(flow(side="client", server=(ROUTER, 6432), **front))
    for other in (
        loss(flow(client=(ROUTER, 41000), **{**back, "began": NOON + 3})),  # later
        loss(flow(4, client=(ROUTER, 41000), **{**back, "began": NOON})),  # it ended earlier
        loss(flow(client=(CLIENT, 41000), **back)),  # of the same client
        loss(event("receive_timed_out")),
    ):
        find = legs([one, other])
        assert (find(one), find(other)) == (None, None)


# ---- company, and what would tell


def test_others_that_were_lost_in_the_same_seconds() -> None:
    timed_out = event("receive_timed_out")
    alone = verdict(timed_out)
    crowd = verdict(timed_out, world=Surroundings(beside=lambda one: (0, 9)))
    family = verdict(timed_out, world=Surroundings(beside=lambda one: (9, 0)))
    assert dict(crowd.alternatives)["outage_outlasted_timers"] > dict(alone.alternatives)["outage_outlasted_timers"]
    assert (family.cause, family.confidence > alone.confidence) == ("client_vanished", True)


@pytest.mark.parametrize(
    ("evidence", "word"),
    [
        (event("receive_timed_out"), "client's host"),
        (event("receive_reset"), "TTL"),
        (event("send_timed_out"), "closed window"),
        (flow(side="client", retransmitting="client", retransmissions=4), "server's host"),
    ],
)
def test_it_says_which_evidence_would_tell(evidence: LogEvent | Flow, word: str) -> None:
    found = verdict(evidence)
    assert found.alternatives
    assert any(word in text for text in found.missing_evidence)


def test_with_proof_nothing_is_missing() -> None:
    assert verdict(event("idle_session_timeout")).missing_evidence == ()


def test_every_cause_of_the_rules_is_in_the_catalogue() -> None:
    of_lines = {row[0] for rows in _rules_of_lines.LINES.values() for row in rows}
    of_messages = set(_rules_of_flows.MESSAGES.values())
    telling = {cause for group, _side, _text in _rules._TELLING for cause in group}
    assert of_lines | of_messages | telling <= set(_causes.CAUSES)


# ---- harmless


OUTLIVED = {"outlived": Outage(1.4, 3, "server")}
GOODBYE: dict[str, t.Any] = {"closed_by": "client", "closed_how": "fin", "terminate": True, "terminate_certain": True}
OPEN: dict[str, t.Any] = {"unheard": 0.1, "in_use": 5.0, "truncated": True}


def test_an_outage_that_was_survived_says_how_long_and_whose_packets() -> None:
    found = verdict(flow(**GOODBYE, **OUTLIVED))
    assert (found.cause, found.alternatives) == ("survived_outage", ())
    assert "3 packets of the server in a row were not answered for 1.4 s" in found.evidence_for[0]
    probes = verdict(flow(**GOODBYE, outlived=Outage(9.0, 2, "client", probes=True)))
    assert "2 keepalive probes of the client" in probes.evidence_for[0]
    assert verdict(flow(**OPEN, **OUTLIVED)).cause == "survived_outage"


@pytest.mark.parametrize("outlived", [Outage(0.9, 5, "server"), Outage(30.0, 1, "server")])
def test_a_lost_packet_is_no_outage(outlived: Outage) -> None:
    assert verdict(flow(**GOODBYE, outlived=outlived)).cause == "normal_close"


def test_an_outage_that_was_survived_before_the_end_is_not_its_cause() -> None:
    assert named(flow(closed_by="client", closed_how="fin", **OUTLIVED)) == ("client_exited", set())
    assert "survived_outage" not in {
        verdict(flow(retransmitting="server", retransmissions=7, **OUTLIVED)).cause,
        *named(flow(retransmitting="server", retransmissions=7, **OUTLIVED))[1],
    }
    assert named(flow(**GOODBYE, **OUTLIVED), event("idle_session_timeout")) == ("idle_session_timeout", set())


def test_what_one_capture_has_not_seen_another_has() -> None:
    goodbye, outlived = flow(side="client", **GOODBYE), flow(**GOODBYE, **OUTLIVED)
    assert named(goodbye, outlived) == ("survived_outage", set())
    assert named(goodbye, flow(**OPEN)) == ("normal_close", set())
    reset = flow(side="client", closed_by="server", closed_how="rst", foreign_rst=True, rst_ttl=64, usual_ttl=63)
    assert named(reset, flow(**OPEN)) == ("middlebox_reset", set())


@pytest.mark.parametrize(
    ("told", "works"),
    [
        (OPEN, True),
        ({**OPEN, "in_use": 0.5}, False),  # nobody has used it since
        ({**OPEN, "unheard": 30.0}, False),
        ({**OPEN, "retransmitting": "server", "retransmissions": 1}, False),
        ({"unheard": 50.0, "truncated": True, "silence": Silence(180.0, 0, 3, 3)}, True),
        ({"unheard": 90.0, "truncated": True, "silence": Silence(180.0, 0, 3, 3)}, False),
        ({"unheard": 1.0, "truncated": True, "silence": Silence(180.0, 0, 3, 2)}, False),
        ({"truncated": True}, False),
    ],
)
def test_a_connection_that_works_when_the_capture_ends(told: dict[str, t.Any], works: bool) -> None:
    found = judge(loss(flow(**told)), ALONE)
    assert (found.cause if found else None) == ("healthy" if works else None)


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        ({"retransmitting": "server", "retransmissions": 1}, None),
        ({"retransmitting": "server", "retransmissions": 2}, "client_vanished"),
        ({"unanswered_probes_by": "server", "unanswered_probes": 1}, None),
        ({"unanswered_probes_by": "server", "unanswered_probes": 2}, "client_vanished"),
        ({"zero_window_by": "client", "zero_window_seconds": 0.2}, None),
        ({"zero_window_by": "client", "zero_window_seconds": 8.0}, "slow_reader_cut"),
    ],
)
def test_what_every_busy_connection_has_when_a_capture_ends(told: dict[str, t.Any], cause: str | None) -> None:
    found = judge(loss(flow(truncated=True, **told)), ALONE)
    assert (found.cause if found else None) == cause


def test_a_session_through_a_proxy_that_goes_on_was_not_lost() -> None:
    front = flow(10, side="router", server=(ROUTER, 5432), **OPEN)
    back = flow(10, side="router", client=(ROUTER, 40000), **OPEN)
    losses = [loss(front), loss(back)]
    world = Surroundings(legs=legs(losses))
    assert world.legs(losses[0])
    assert [judge(one, world).cause for one in losses] == ["healthy", "healthy"]  # type: ignore[union-attr]


# ---- a client that was late


def looked_at(*short: str) -> Surroundings:
    return Surroundings(strain=lambda _loss: list(short))


PRESSURE = "the client's host in those minutes"
LATE_LOGIN = event("authentication_timeout", 10)
CLOSED_WINDOW = flow(zero_window_by="client", zero_window_seconds=9.0, silence=Silence(9.0, probes_answered=3))


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        ([LATE_LOGIN], "authentication_timeout"),
        ([CLOSED_WINDOW], "slow_reader_cut"),
        ([event("send_timed_out"), CLOSED_WINDOW], "slow_reader_cut"),
    ],
)
def test_why_a_client_was_late_is_told_by_its_host(evidence: list[LogEvent | Flow], cause: str) -> None:
    alone = verdict(*evidence)
    assert alone.cause == cause
    assert "client_starved" in dict(alone.alternatives)
    assert any(PRESSURE in text for text in alone.missing_evidence)
    short = verdict(*evidence, world=looked_at("processes waited for cpu 45 % of the last minute"))
    assert (short.cause, short.confidence > 0.85) == ("client_starved", True)
    assert "processes waited for cpu 45 %" in " ".join(short.evidence_for)
    at_ease = verdict(*evidence, world=looked_at())
    assert (at_ease.cause, "client_starved" in dict(at_ease.alternatives)) == (cause, False)
    assert not any(PRESSURE in text for text in [*short.missing_evidence, *at_ease.missing_evidence])


def test_that_its_kernel_answered_is_evidence() -> None:
    asked = flow(closed_by="server", closed_how="fin", server_message="FATAL 57014", silence=Silence(60.0))
    found = verdict(asked, world=looked_at("the run queue is 9.0 processes a processor long"))
    assert found.cause == "client_starved"
    assert any("its program gave no answer for 60.0 s" in text for text in found.evidence_for)
    assert len(verdict(LATE_LOGIN, world=looked_at("x")).evidence_for) == 1


def test_a_client_whose_kernel_did_not_answer_was_not_kept_by_its_host() -> None:
    for told in ({"retransmitting": "server"}, {"unanswered_probes_by": "server"}):
        silent = flow(retransmissions=7, unanswered_probes=3, **told)
        found = named(LATE_LOGIN, silent, world=looked_at("x"))
        assert "client_starved" not in {found[0], *found[1]}


def test_a_client_that_was_not_late_has_no_such_cause() -> None:
    assert named(event("eof"), world=looked_at("x")) == ("client_exited", set())


# ---- a server that was killed


DIED = event("server_process_died", 10, number=4711.0, detail="signal 9")
KERNEL = "the kernel's log of the server's host"


def killed(number: float = 4711.0, detail: str = "postgres", after: float | None = 9.5) -> Surroundings:
    return Surroundings([DIED, event("killed_for_memory", after, number=number, detail=detail, text="Killed")])


def test_a_process_that_the_kernel_killed_for_want_of_memory() -> None:
    found = verdict(DIED, world=killed())
    assert found.cause == "server_crash"
    assert any("the kernel killed it for want of memory" in text for text in found.evidence_for)
    assert found.missing_evidence == ()
    # the lines of the others' sessions, and a kernel whose lines have no time
    told = event("crash_of_another", 12)
    assert any("killed it" in text for text in verdict(told, world=killed(after=None)).evidence_for)


def test_in_a_container_the_process_has_another_number() -> None:
    def memory(world: Surroundings) -> list[str]:
        return [text for text in verdict(DIED, world=world).evidence_for if "memory" in text]

    assert "killed such a process" in memory(killed(99.0))[0]
    assert memory(killed(99.0, "java")) == []
    assert memory(killed(99.0, after=None)) == []  # of whatever day
    assert memory(killed(after=900)) == []  # the number was used again


def test_without_the_kernels_log_a_signal_9_may_have_been_that() -> None:
    assert any(KERNEL in text for text in verdict(DIED).missing_evidence)
    assert any(
        KERNEL in text for text in verdict(event("crash_of_another", 12), world=Surroundings([DIED])).missing_evidence
    )
    assert verdict(event("server_process_died", 10, number=4711.0, detail="signal 11")).missing_evidence == ()
    assert verdict(event("idle_session_timeout"), world=killed()).missing_evidence == ()


# ---- what a capture of headers does not have


CUT: dict[str, t.Any] = {"kept": 12, "first_client_bytes": None}
LAST_WORD, FIRST_WORD = "it would have the server's last word", "it would have the client's first word"


def test_a_capture_that_was_cut_says_what_it_lacks() -> None:
    closed = flow(closed_by="server", closed_how="fin", **CUT)
    found = verdict(closed)
    assert found.confidence < 0.3
    assert any("was cut to 12 bytes" in text and LAST_WORD in text for text in found.missing_evidence)
    whole = verdict(flow(closed_by="server", closed_how="fin"))
    tls = verdict(flow(closed_by="server", closed_how="fin", tls=True, **CUT))
    for other in (whole, tls):
        assert not any("was cut" in text for text in other.missing_evidence)
    known = verdict(closed, event("idle_session_timeout"))
    assert (known.cause, known.missing_evidence) == ("idle_session_timeout", ())
    middle = verdict(flow(syn=False, retransmitting="server", retransmissions=7, **CUT))
    assert not any("was cut" in text for text in middle.missing_evidence)


def test_a_hello_that_was_not_captured_may_have_been_a_look() -> None:
    short: dict[str, t.Any] = {"data_client": 41, "closed_how": "fin", "began": NOON + 9.9, **CUT}
    looked = verdict(flow(closed_by="client", **short))
    assert looked.cause == "health_check"
    assert {"client_exited", "too_many_clients"} <= set(dict(looked.alternatives))
    assert any(FIRST_WORD in text for text in looked.missing_evidence)
    refused = verdict(flow(closed_by="server", **short))
    assert (refused.cause, refused.confidence < 0.5) == ("too_many_clients", True)
    assert {"health_check", "server_shutdown", "server_crash"} == set(dict(refused.alternatives))
    assert any(LAST_WORD in text for text in refused.missing_evidence)


def test_a_login_that_nobody_answered_is_told_by_its_size_alone() -> None:
    waited: dict[str, t.Any] = {"data_server": 0, "closed_by": "client", "closed_how": "fin", **CUT}
    assert named(flow(data_client=41, **waited))[0] == "server_hung"
    assert named(flow(data_client=41, syn=False, **waited))[0] == "client_exited"


def test_a_server_that_asked_who_the_client_is_and_closed() -> None:
    asked = flow(closed_by="server", closed_how="fin", asked=True, silence=Silence(60.0))
    assert named(asked) == ("authentication_timeout", {"client_starved"})
    late = asked._replace(rst_by="server", rst_after="data")
    found = verdict(late, world=looked_at("processes waited for cpu 45 % of the last minute"))
    assert found.cause == "client_starved"
    assert any("no answer for 60.0 s, and one when it was too late" in text for text in found.evidence_for)


# ---- what no log has


def test_a_log_alone_says_what_it_cannot_show() -> None:
    texts = _rules.cannot_be_seen(logs=True, captures=False, looked=False)
    between = _rules.cannot_be_seen(logs=True, captures=False, looked=False, between=True)
    assert [text.partition(":")[0] for text in set(texts) - set(between)] == [
        "pooler_closed, proxy_idle_timeout, proxy_lost_client"
    ]
    said = " ".join(texts)
    for cause in ("connect_no_answer", "server_vanished", "client_exited", "client_starved", "middlebox_forgot_flow"):
        assert cause in said
    assert all(text.endswith(" would") for text in texts)
    assert all(name in _causes.CAUSES for text in texts for name in text.partition(":")[0].split(", "))
    looked = _rules.cannot_be_seen(logs=True, captures=False, looked=True)
    assert set(texts) - set(looked) == {texts[-1]}
    assert _rules.cannot_be_seen(logs=True, captures=True, looked=False) == []
    assert _rules.cannot_be_seen(logs=False, captures=False, looked=True) == []


def test_a_goodbye_after_a_pause_that_was_not_read_to_its_end() -> None:
    told: dict[str, t.Any] = {"closed_by": "server", "closed_how": "rst", "rst_after": "data", "tls": True}
    goodbye = flow(terminate=True, rst_by="server", rst_known=True, silence=Silence(7.4), **told)
    assert named(goodbye) == ("normal_close", set())
    assert named(goodbye._replace(rst_known=False))[0] == "server_reset"  # by a host that did not know it
