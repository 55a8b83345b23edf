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
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow, LogEvent
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
        ("client close request", "query_wait_timeout", ["pooler_closed"]),
    ],
)
def test_who_ended_it_at_a_pooler(server: str, client: str, kinds: list[str]) -> None:
    assert [event.kind for event in read(BOUNCER.format(server=server, client=client))] == kinds


def test_a_server_connection_whose_beginning_is_not_in_the_log_is_nobodys() -> None:
    lines = BOUNCER.format(server="server idle timeout", client="client close request").splitlines()
    assert list(_between.events(lines[2:], "a.log")) == []


@pytest.mark.parametrize(
    ("state", "kind"),
    [("cD", "proxy_timeout"), ("sD", "proxy_timeout"), ("CD", "proxy_client_lost"), ("SD", "proxy_server_lost")],
)
def test_who_ended_it_at_a_proxy(state: str, kind: str) -> None:
    (event,) = read(PROXY.format(state=state))
    assert (event.kind, event.address, event.port) == (kind, "10.61.7.20", 38196)
    assert event.time == pytest.approx(PROXY_AT)


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
