# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis, logs of poolers and proxies: whose doing an end was, and which connection it was."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _between, _judge
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clues import Surroundings
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow, LogEvent, Loss
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._story import Stories

#: PgBouncer 1.18 and HAProxy 2.6, as they wrote it.
_C, _S = "LOG C-0x560908f263a0: postgres/bob@10.61.7.20:53280", "LOG S-0x560908f2da80: postgres/bob@10.62.9.30:5432"
BOUNCER = f"""\
2026-11-23 03:08:14.479 UTC [326517] {_C} login attempt: db=postgres user=bob tls=no
2026-11-23 03:08:14.485 UTC [326517] {_S} new connection to server (from 10.62.9.1:52476)
2026-11-23 03:08:17.741 UTC [326517] {_S} closing because: {{server}} (age=3s)
2026-11-23 03:08:17.783 UTC [326517] {_C} closing because: {{client}} (age=3s)
"""
PROXY = "10.61.7.20:38196 [23/Nov/2026:03:08:09.252] postgresql postgresql/one 1/0/5051 637 {state} 1/1/0/0/0 0/0"
CLOSED_AT = datetime.datetime(2026, 11, 23, 3, 8, 17, 741000, tzinfo=datetime.UTC).timestamp()
ENDED_FOR_CLIENT = ["pooler_ended_for_client", "pooler_lost_client"]
PROXY_AT = datetime.datetime(2026, 11, 23, 3, 8, 14, 303000, tzinfo=datetime.UTC).timestamp()


def read(text: str) -> list[LogEvent]:
    return list(_between.events(text.splitlines(), "a.log"))


def test_a_server_connection_goes_by_the_port_that_the_pooler_came_from() -> None:
    (event,) = read(BOUNCER.format(server="server idle timeout", client="client close request"))
    assert (event.kind, event.address, event.port, event.time) == ("pooler_closed", "10.62.9.1", 52476, CLOSED_AT)
    assert (event.user, event.database, event.line) == ("bob", "postgres", 3)


@pytest.mark.parametrize(
    ("server", "client", "kinds"),
    [
        ("server lifetime over", "client_idle_timeout", ["pooler_closed", "pooler_closed"]),
        ("server conn crashed?", "client unexpected eof", ["pooler_lost_server", "pooler_lost_client"]),
        ("unexpected eof", "server conn crashed?", ["pooler_lost_server", "pooler_lost_server"]),
        ("client close request", "query_wait_timeout", ["pooler_closed"]),
        ("client disconnect while server was not ready", "client close request", ["pooler_ended_for_client"]),
        ("client disconnected with query in progress", "client unexpected eof", [*ENDED_FOR_CLIENT]),
        ("client close request", "client_login_timeout", ["pooler_login_timeout"]),
        ("client close request", "client_login_timeout (server down)", ["pooler_without_server"]),
        ("client close request", "server login has been failing, try again later", ["pooler_without_server"]),
        ("client close request", "client sent partial pkt in startup phase", ["pooler_not_postgresql"]),
        # of requests to cancel, and of logins that were refused
        ("successfully sent cancel request", "successful cancel request", []),
        ("client gave up on cancel request, so we also give up forwarding to server", "cancel_wait_timeout", []),
        ("client close request", '"trust" authentication failed', []),
        ("client close request", "no such database: nope", []),
    ],
)
def test_who_ended_it_at_a_pooler(server: str, client: str, kinds: list[str]) -> None:
    assert [event.kind for event in read(BOUNCER.format(server=server, client=client))] == kinds


def test_a_server_connection_whose_beginning_is_not_in_the_log_is_nobodys() -> None:
    lines = BOUNCER.format(server="server idle timeout", client="client close request").splitlines()
    assert list(_between.events(lines[2:], "a.log")) == []


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("cD", "proxy_timeout"),
        ("sD", "proxy_timeout"),
        ("CD", "proxy_client_lost"),
        ("CC", "proxy_client_lost"),
        ("SD", "proxy_server_lost"),
        ("DD", "proxy_server_lost"),
        ("sC", "proxy_unanswered"),
        ("SC", "proxy_refused"),
        ("sQ", "proxy_full"),
        ("KD", "proxy_told_to"),
    ],
)
def test_who_ended_it_at_a_proxy(state: str, kind: str) -> None:
    (event,) = read(PROXY.format(state=state))
    assert (event.kind, event.address, event.port) == (kind, "10.61.7.20", 38196)
    assert event.time == pytest.approx(PROXY_AT)


def test_what_a_client_said_before_its_login_is_not_repeated_and_may_have_been_a_look() -> None:
    nobody = BOUNCER.replace("postgres/bob@10.61.7.20", "(nodb)/(nouser)@10.61.7.20")
    (event,) = read(nobody.format(server="client close request", client="client unexpected eof"))
    assert (event.kind, event.user, event.database) == ("pooler_looked", None, None)
    (event,) = read(nobody.format(server="client close request", client="bad packet header: '68756e746572'"))
    assert (event.kind, event.text) == ("pooler_not_postgresql", "PgBouncer: closing because: bad packet header")
    (event,) = read(BOUNCER.format(server="client close request", client="evicted: hunter2"))
    assert (event.kind, event.text) == ("pooler_closed", "PgBouncer: closing because: evicted")


def test_addresses_are_as_a_capture_has_them() -> None:
    text = BOUNCER.format(server="server idle timeout", client="client_idle_timeout")
    text = text.replace("10.61.7.20:", "[fd00::7]:").replace("10.62.9.1:", "[fd00::1]:")
    assert [(event.address, event.port) for event in read(text)] == [("fd00::1", 52476), ("fd00::7", 53280)]
    (event,) = read(
        BOUNCER.replace("10.61.7.20:53280", "unix(77):6432").format(server="x cancel", client="query_timeout")
    )
    assert (event.address, event.port) == ("[local]", None)
    assert len(_losses_with(event, event)) == 2  # nobody knows whether it is the same session


def _losses_with(*events: LogEvent) -> list[Loss]:
    stories = Stories()
    for one in events:
        stories.event(one)
    return stories.losses()


def test_lines_behind_a_prefix() -> None:
    text = BOUNCER.format(server="x cancel", client="query_timeout")
    assert len(read("".join(f"pooler-1  | {line}\n" for line in text.splitlines()))) == 1
    assert _between.are_of_such(text.splitlines())
    assert _between.are_of_such([PROXY.format(state="--")])
    assert not _between.are_of_such(["2026-11-23 03:08:14.479 UTC [326517] LOG:  started"])


@pytest.mark.parametrize("leg", [("server conn crashed?", "x cancel"), ("x cancel", "server conn crashed?")])
def test_a_servers_connection_that_crashed_had_one_of_many_ends_and_its_log_tells(
    leg: tuple[str, str],
) -> None:
    (crashed,) = read(BOUNCER.format(server=leg[0], client=leg[1]))
    alone = _judge.judge(Loss(crashed.time, crashed.address, crashed.port, None, (crashed,)), Surroundings())
    assert alone is not None
    assert alone.confidence < 0.4
    assert {cause for cause, _value in alone.alternatives} > {"server_crash", "server_shutdown", "idle_session_timeout"}
    assert any("server's log" in text for text in alone.missing_evidence)
    for kind, cause in (("shutdown_request", "server_shutdown"), ("server_process_died", "server_crash")):
        world = [LogEvent(kind, CLOSED_AT - 1, 1, kind, "postgresql.log", 1)]
        found = _judge.judge(Loss(crashed.time, crashed.address, crashed.port, None, (crashed,)), Surroundings(world))
        assert found is not None
        assert (found.cause, found.confidence > 0.8) == (cause, True)


@pytest.mark.parametrize("state", ["--", "C-"])
def test_a_session_of_a_proxy_that_ended_well_is_none(state: str) -> None:
    assert read(PROXY.format(state=state)) == []


def test_times_that_are_none_and_zones_that_are_this_hosts() -> None:
    assert read(PROXY.format(state="cD").replace("Nov", "Foo"))[0].time is None
    text = BOUNCER.format(server="server idle timeout", client="client close request")
    assert read(text.replace("2026-11-23", "2026-99-99"))[0].time is None
    local = datetime.datetime(2026, 11, 23, 3, 8, 17, 741000).timestamp()
    assert read(text.replace(" UTC ", " CET "))[0].time == local


def test_it_is_told_of_the_connection_that_a_capture_shows_to_be_closed_well() -> None:
    stories = Stories()
    ends = ("10.62.9.1", 52476), ("10.62.9.30", 5432)
    flow = {"syn": True, "established": True, "closed_by": "client", "closed_how": "fin", "closed_at": CLOSED_AT}
    goodbye = {"terminate": True, "terminate_certain": True, "data_client": 100, "data_server": 100}
    stories.flow(Flow("s.pcap", "server", *ends, CLOSED_AT - 3, CLOSED_AT + 0.1, **flow, **goodbye))
    for event in read(BOUNCER.format(server="server idle timeout", client="client close request")):
        stories.between(event)
    (loss,) = stories.losses()
    verdict = _judge.judge(loss, Surroundings())
    assert verdict
    assert (verdict.cause, loss.port, len(loss.flows)) == ("pooler_closed", 52476, 1)


def test_it_is_a_loss_of_its_own_where_nothing_else_tells_of_it() -> None:
    stories = Stories()
    for event in read(PROXY.format(state="cD")):
        stories.between(event)
    (loss,) = stories.losses()
    verdict = _judge.judge(loss, Surroundings())
    assert verdict
    assert (verdict.cause, loss.address, loss.port) == ("proxy_idle_timeout", "10.61.7.20", 38196)


@given(st.lists(st.text(max_size=200) | st.sampled_from([*BOUNCER.splitlines(), PROXY])))
def test_whatever_the_lines_are(lines: list[str]) -> None:
    for event in _between.events(lines, "a.log"):
        assert event.port
