# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines and flows become one loss for each connection: none is invented, none counted twice, whatever the order."""

from __future__ import annotations

import tracemalloc

import pytest
from _losses import CLIENT, EVENTS, FLOWS, NOON, PORT, event, flow, received, session
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import Flow, LogEvent, Loss
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._story import Stories

LOST = "receive_timed_out"


def told(*evidence: LogEvent | Flow, since: float | None = None, until: float | None = None) -> Stories:
    stories = Stories(since, until)
    for one in evidence:
        if isinstance(one, LogEvent):
            stories.event(one)
        else:
            stories.flow(one)
    return stories


def losses(*evidence: LogEvent | Flow) -> list[Loss]:
    return told(*evidence).losses()


def kinds(loss: Loss) -> list[str]:
    return [event.kind for event in loss.events]


def closed(after: float, pid: int = 4711) -> LogEvent:
    return event("disconnected", after, pid)


# ---- logs


def test_a_session_from_login_to_loss_is_one() -> None:
    (loss,) = losses(*session(), event(LOST, 90), event("eof_in_transaction", 90), closed(90))
    assert (loss.time, loss.address, loss.port, loss.pid) == (NOON + 90, CLIENT, PORT, 4711)
    assert kinds(loss)[2:] == [LOST, "eof_in_transaction", "disconnected"]


def test_sessions_that_ended_well_are_only_counted() -> None:
    stories = told(*session(), closed(1), *session(2), event("cancelled", 3), closed(4))
    assert (stories.losses(), stories.connections, stories.normal_closes) == ([], 2, 2)


@pytest.mark.parametrize("kind", ["idle_session_timeout", "admin_command", "statement_timeout", "too_many_clients"])
def test_a_session_that_the_server_ended_counts_once(kind: str) -> None:
    assert len(losses(*session(), event(kind, 5), closed(5))) == 1
    assert len(losses(event(kind, 5), event(kind, 5.1))) == 1
    assert told(*session(), event(kind, 5), closed(5)).normal_closes == 0


def test_a_loss_has_the_time_of_what_ended_the_session() -> None:
    (loss,) = losses(*session(), event("statement_timeout", 5), event("statement_timeout", 50), event(LOST, 900))
    assert loss.time == NOON + 900


def test_of_many_lines_the_first_and_the_last_are_kept() -> None:
    (loss,) = losses(*session(), *(event("statement_timeout", 5 + turn) for turn in range(500)), event(LOST, 900))
    assert (len(loss.events) < 30, kinds(loss)[0], kinds(loss)[-1]) == (True, "connection_received", LOST)


def test_a_log_that_ends_while_sessions_are_open_invents_no_loss() -> None:
    assert losses(*session(), *session(9, 4712), event("option_refused", 10)) == []


def test_connections_of_which_nothing_came() -> None:
    stories = told(*session(0, 1), received(1, 2), *session(60, 3), received(60, 4))
    (loss,) = stories.losses()
    assert (loss.pid, kinds(loss), stories.empty) == (2, ["connection_received"], 1)  # the last may be logging in
    assert losses(received(1, 2), received(90, 3)) == []  # log_connections = receipt says nothing of logins


def test_a_poolers_line_among_the_servers_belongs_to_the_connection_that_it_names() -> None:
    mine = received(9.0, None, port=PORT)._replace(kind="pooler_closed")
    (lost,) = losses(*session(), mine, event("idle_session_timeout", 9.0))
    assert (told(mine).told_between, told(*session()).told_between) == (True, False)
    assert kinds(lost) == ["connection_received", "authenticated", "idle_session_timeout", "pooler_closed"]


def test_a_process_number_that_comes_again() -> None:
    with_ports = losses(event(LOST, 1, port=50001), event(LOST, 2, port=50002))
    assert [loss.port for loss in with_ports] == [50001, 50002]
    assert len(losses(event(LOST, 1), event(LOST, 4000))) == 2
    assert len(losses(event(LOST, 1), event("eof_in_transaction", 1.1), event("connection_lost", 1.2))) == 1
    assert len(losses(*session(), event(LOST, 5), *session(6), event(LOST, 9))) == 2
    by_session = [event(LOST, 1, session=name) for name in ("a.1", "b.1")]
    assert len(losses(*by_session)) == 2


def test_lines_that_do_not_say_whose_they_are() -> None:
    assert len(losses(event(LOST, 1, None), event("disconnected", 1, None), event(LOST, 2, None))) == 2
    (loss,) = losses(*(event(kind, 1, None, address=CLIENT, port=PORT) for kind in ("send_reset", "connection_lost")))
    assert (loss.address, loss.port) == (CLIENT, PORT)


def test_what_a_session_says_at_once_is_one_loss_also_if_nobody_knows_whose_it_is() -> None:
    def both(after: float, pid: int | None) -> int:
        return len(losses(event("receive_timed_out", 1, None), event("eof_in_transaction", after, pid)))

    assert both(1.01, None) == 1
    assert both(2, None) == both(1.01, 4711) == 2
    assert len(losses(event("idle_session_timeout", 1, None), event("connection_lost", 1, None))) == 2
    said = event("send_timed_out", None, None, line=7)
    assert len(losses(said, event("connection_lost", None, None, line=9))) == 1  # with the statement between them
    assert len(losses(said, event("connection_lost", None, None, line=900))) == 2


def test_sessions_over_a_unix_socket() -> None:
    opened = event("connection_received", 0, address="[local]")
    (loss,) = losses(opened, event("authenticated", 0), event("admin_command", 5), flow(5, closed_how="fin"))[:1]
    assert (loss.address, loss.port, loss.flows) == ("[local]", None, ())


def test_only_what_happened_in_that_time() -> None:
    lines = [*session(0, 1), *session(1, 2), closed(2, 2), event(LOST, 100, 1), *session(101, 3), closed(102, 3)]
    stories = told(*lines, flow(40, client=(CLIENT, 1)), since=NOON + 50)
    (loss,) = stories.losses()
    assert (loss.port, loss.time) == (PORT, NOON + 100)  # although its login was before
    assert (stories.connections, stories.normal_closes) == (1, 1)
    assert told(*lines, flow(400), until=NOON + 50).losses() == []


# ---- the server as a whole


CRASH = event("server_process_died", 10, 1, number=4711.0, detail="signal 9")


def test_a_crash_ends_exactly_the_sessions_that_were_open() -> None:
    begun = [*session(0, 4711), *session(1, 4712), *session(2, 4713), closed(3, 4713), received(9.9, 4714)]
    found = losses(*begun, CRASH, event("recovered", 11, 1), event("started", 12, 1))
    assert sorted(loss.pid or 0 for loss in found) == [4711, 4712]  # the last was logging in
    assert {kinds(loss)[-1] for loss in found} == {"server_process_died"}
    assert {loss.time for loss in found} == {NOON + 10}


def test_before_version_14_sessions_say_it_themselves() -> None:
    said = [event("crash_of_another", 10.1, pid) for pid in (4712, 4713)]
    known = [*session(0, 4712), *session(1, 4713), *session(2, 4714), closed(3, 4714)]
    assert sorted(loss.pid or 0 for loss in losses(*known, CRASH, *said, event("started", 12, 1))) == [4712, 4713]
    unknown = losses(CRASH, *said, event("started", 12, 1))
    assert sorted(loss.pid or 0 for loss in unknown) == [4711, 4712, 4713]


def test_a_crash_is_told_without_log_connections() -> None:
    (loss,) = losses(CRASH, event("recovered", 11, 1, text="database system was interrupted"), event("started", 12, 1))
    assert (loss.pid, loss.address, kinds(loss)) == (4711, None, ["server_process_died"])
    (loss,) = losses(event("recovered", 11, 1, text="database system was not properly shut down"))
    assert (loss.pid, kinds(loss)) == (None, ["recovered"])
    assert losses(event("recovered", 11, 1, text="database system was interrupted")) == []  # a restored backup
    assert len(losses(CRASH, event("started", 12, 1), CRASH._replace(time=NOON + 90))) == 2


def test_a_server_that_went_down_without_a_word_says_so_when_it_starts() -> None:
    interrupted = event("recovered", 11, 1, text="database system was interrupted")
    (loss,) = losses(interrupted, event("recovered", 11.1, 1, text="database system was not properly shut down"))
    assert kinds(loss) == ["recovered"]
    immediate = event("shutdown_request", 10, 9, detail="immediate")
    again = event("recovered", 12, 1, text="database system was not properly shut down")
    (loss,) = losses(immediate, event("shut_down", 11, 9), interrupted, again, event("started", 13, 1))
    assert kinds(loss) == ["shutdown_request"]
    # That log_disconnections is on does not say who was there: log_connections does.
    assert len(losses(closed(1, 1), immediate)) == 1


def test_without_log_disconnections_few_sessions_are_taken_for_open() -> None:
    many = [line for pid in range(100) for line in session(0, pid + 1)]
    assert len(losses(*many, CRASH)) == 1
    assert len(losses(*many[:10], CRASH)) == 5
    assert losses(*many[:10], event("started", 12, 1)) == []  # a restart that asked everybody to go


def test_an_immediate_shutdown_ends_sessions_and_a_fast_one_says_so_to_each() -> None:
    known = [*session(0, 1), closed(1, 1), *session(2, 2)]
    immediate = event("shutdown_request", 10, 9, detail="immediate")
    (loss,) = losses(*known, immediate)
    assert (loss.pid, kinds(loss)[-1]) == (2, "shutdown_request")
    assert len(losses(immediate)) == 1
    assert losses(*known[:3], immediate) == []  # nobody was there
    fast = event("shutdown_request", 10, 9, detail="fast")
    (loss,) = losses(*known, fast, event("admin_command", 10, 2), closed(10, 2), event("shut_down", 11, 9))
    assert kinds(loss)[2:] == ["admin_command", "disconnected"]
    assert losses(*known[:3], fast, event("started", 12, 9)) == []


def test_what_concerns_the_server_is_kept() -> None:
    stories = told(CRASH, event("configuration_reloaded", 11, 1))
    assert [event.kind for event in stories.world] == ["server_process_died", "configuration_reloaded"]


# ---- captures


def test_a_session_and_its_flows_are_one_although_clocks_differ() -> None:
    lines = [*session(0), event(LOST, 10)]
    for apart in (-4.0, 0.0, 4.0):
        (loss,) = losses(*lines, flow(10), flow(10 + apart, "client"))
        assert {one.side for one in loss.flows} == {"server", "client"}
        assert (loss.time, loss.port) == (NOON + 10, PORT)


def test_a_port_that_is_used_again() -> None:
    lines = [*session(0), event(LOST, 10), *session(13), event(LOST, 23)]
    first, second = losses(*lines, flow(23), flow(10))
    assert [first.flows, second.flows] == [(flow(10),), (flow(23),)]
    both = [flow(10, file="a"), flow(23, file="a"), flow(11, "client", file="b"), flow(24, "client", file="b")]
    assert [len(loss.flows) for loss in losses(*both)] == [2, 2]


def test_a_port_that_two_clients_use() -> None:
    other = ("10.0.0.8", PORT)
    found = losses(flow(), flow(10.1, client=other), flow(10.2, "client", file="b"))
    assert sorted(len(loss.flows) for loss in found) == [1, 2]
    (loss,) = [loss for loss in found if len(loss.flows) == 2]
    assert {one.client for one in loss.flows} == {(CLIENT, PORT)}
    # the session is that of the right client
    by_address = losses(
        *session(0), event(LOST, 10), flow(10, client=other), flow(10, "client", client=other, file="c")
    )
    assert by_address[0].flows == () or by_address[0].flows[0].side == "client"


def test_behind_nat_the_port_tells() -> None:
    behind = flow(10, "client", client=("192.168.1.9", PORT))
    (loss,) = losses(flow(), behind)
    assert {one.client[0] for one in loss.flows} == {CLIENT, "192.168.1.9"}
    (loss,) = losses(*session(0), event(LOST, 10), behind)
    assert (loss.address, len(loss.flows)) == (CLIENT, 1)


def test_several_captures_of_one_side() -> None:
    (loss,) = losses(flow(file="a"), flow(file="b"), flow(10, "router", file="c"))
    assert len(loss.flows) == 3


def test_a_log_without_ports_is_joined_where_only_one_can_be_meant() -> None:
    line = event(LOST, 10)
    lost = {"closed_by": "server", "closed_how": "rst"}
    (loss,) = losses(line, flow(11, **lost))
    assert (loss.pid, loss.address, loss.port) == (4711, CLIENT, PORT)
    assert len(losses(line, flow(11, **lost), flow(12, **{**lost, "client": (CLIENT, 50002)}))) == 3
    assert len(losses(line, event(LOST, 10, 4712), flow(11, **lost))) == 3
    assert len(losses(line, flow(11, terminate=True), flow(60, **lost, client=(CLIENT, 50002)))) == 3
    assert len(losses(event(LOST, 10, address="10.0.0.8"), flow(11, **lost))) == 2
    assert len(losses(event(LOST, None), flow(11, **lost))) == 2


def test_a_line_with_a_port_and_no_time_is_not_joined() -> None:
    assert len(losses(event(LOST, None, port=PORT, address=CLIENT), flow())) == 2


# ---- however much, and whatever


def test_normal_sessions_take_no_memory() -> None:
    stories = Stories()
    tracemalloc.start()
    for turn in range(3000):
        for one in [*session(turn / 100, turn), closed(turn / 100, turn)]:
            stories.event(one._replace(session=f"{turn:x}.1"))
        if turn == 500:
            at_first = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - at_first
    tracemalloc.stop()
    assert (stories.connections, stories.normal_closes, stories.losses()) == (3000, 3000, [])
    assert grown < 200_000  # one event of each would be more than twice that


def test_open_sessions_and_empty_connections_are_bounded() -> None:
    stories = Stories()
    for turn in range(21_000):
        stories.event(event("authenticated", turn / 100, turn))
    for turn in range(21_000, 43_000):
        stories.event(received(turn / 100, turn))
    found = stories.losses()
    assert (len(stories._open) <= 20_000, len(found), stories.empty > 10_000) == (True, 1000, True)


@given(EVENTS, FLOWS, st.randoms(use_true_random=False))
def test_whatever_comes_becomes_losses_in_any_order_of_captures(events: list, flows: list, chance: object) -> None:
    found = losses(*events, *flows)
    assert sum(len(loss.flows) for loss in found) == len(flows)
    assert [loss.time or 0 for loss in found] == sorted(loss.time or 0 for loss in found)
    shuffled = list(flows)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert losses(*events, *shuffled) == found
