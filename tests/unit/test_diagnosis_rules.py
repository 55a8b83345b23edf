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
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow, LogEvent, Silence
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
        ("authentication_timeout", "authentication_timeout", PROVEN),
        ("too_many_clients", "too_many_clients", PROVEN),
        ("not_postgresql", "not_postgresql", PROVEN),
        ("incomplete_startup", "health_check", {"not_postgresql"}),
        ("walsender_timeout", "walsender_timeout", PROVEN),
        ("walreceiver_timeout", "server_vanished", PROVEN),
        ("starting_up", "server_shutdown", {"server_crash"}),
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
