# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clues become a verdict: confidences are honest, doubt stays doubt, and the summary adds up."""

from __future__ import annotations

import typing as t

import pytest
from _losses import CLIENT, EVENTS, FLOWS, NOON, event, flow, loss, session
from hypothesis import given

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _causes, _judge, _run
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clues import Clue, Surroundings
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import (
    Flow,
    LogEvent,
    Loss,
    Outage,
    Silence,
)
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._judge import Verdict, judge, summary
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._story import Stories


def verdict(*evidence: LogEvent | Flow) -> Verdict:
    found = judge(loss(*evidence), Surroundings())
    assert found is not None
    return found


def confidences(found: Verdict) -> list[float]:
    return [found.confidence, *(confidence for _cause, confidence in found.alternatives)]


def rank(*clues: tuple[str, float]) -> list[tuple[str, float]]:
    return _judge._rank([Clue(cause, weight, "") for cause, weight in clues])


def test_proof_is_nearly_certain_and_never_quite() -> None:
    assert 0.95 < verdict(event("idle_session_timeout")).confidence < 1
    crowd = rank(*[("a", 1.0)] * 50)
    many = verdict(event("idle_session_timeout"), event("idle_session_timeout"))
    assert (many.as_dict()["confidence"], summary([many])[0]["confidence"]) == (0.99, 0.99)
    assert 0.99 < crowd[0][1] < 1


def test_weak_evidence_never_makes_sure() -> None:
    assert rank(("a", 0.2))[0][1] < 0.5
    assert rank(("a", 0.5), ("b", 0.5))[0][1] < 0.5
    assert verdict(event("receive_reset")).confidence < 0.5
    assert verdict(flow(closed_by="server", closed_how="fin", tls=True)).confidence < 0.3


def test_independent_evidence_adds_up_and_contradiction_takes_away() -> None:
    assert rank(("a", 0.5), ("a", 0.5))[0][1] > rank(("a", 0.5))[0][1]
    ((_cause, weakened),) = rank(("a", 0.9), ("a", -0.8))
    assert weakened < rank(("a", 0.9))[0][1] / 1.5
    assert rank(("a", 0.9), ("a", -1.0)) == []
    assert rank(("a", -0.5)) == []
    assert judge(loss(event("disconnected")), Surroundings()) is None


def test_from_the_servers_side_alone_it_stays_open_who_went_silent() -> None:
    for evidence in (
        [event("receive_timed_out")],
        [flow(closed_by="server", closed_how="rst", unanswered_probes_by="server", silence=Silence(8.0, 0, 3))],
    ):
        found = verdict(*evidence)
        assert found.confidence < 0.6
        assert dict(found.alternatives)["middlebox_forgot_flow"] > 0.15
        assert any("capture on the client's host" in text for text in found.missing_evidence)
    both = verdict(event("receive_timed_out"), evidence[0])
    assert both.confidence < 0.7


def test_what_speaks_against_is_kept_apart() -> None:
    found = [Clue("a", 0.9, "seen"), Clue("a", -0.2, "but"), Clue("b", -0.5, "no"), Clue("a", 0.9, "seen")]
    assert _judge._texts(found, "a", for_it=True) == ("seen",)
    assert _judge._texts(found, "a", for_it=False) == ("but",)


def test_a_row_of_the_result() -> None:
    found = verdict(*session(), event("receive_timed_out", 90)).as_dict()
    assert (found["user"], found["database"], found["address"], found["pid"]) == ("app", "shop", CLIENT, 4711)
    assert (found["cause"], found["harmless"]) == ("client_vanished", False)
    assert found["prevented_by"] == ["detect_dead_peer_within", "stop_orphaned_query_within"]
    assert found["confidence"] == round(found["confidence"], 2)
    assert all(set(one) == {"cause", "confidence"} for one in found["alternatives"])
    assert found["evidence_for"][0].startswith("postgresql.log:1: ")
    assert verdict(event("eof")).as_dict()["user"] is None


def test_the_same_words_are_said_once() -> None:
    assert len(verdict(event("idle_session_timeout"), event("idle_session_timeout")).evidence_for) == 1


def test_the_summary_counts_ranks_and_adds_up() -> None:
    forgot: dict[str, t.Any] = {"retransmitting": "server", "retransmissions": 7, "silence": Silence(352.0)}
    verdicts = [
        verdict(event("incomplete_startup")),
        verdict(event("incomplete_startup")),
        verdict(event("incomplete_startup")),
        verdict(event("idle_session_timeout")),
        *[judge(loss(flow(**forgot))._replace(time=NOON + turn, port=turn + 1), Surroundings()) for turn in range(2)],
        judge(loss(event("receive_unreachable"))._replace(time=None, address=None), Surroundings()),
    ]
    rows = summary([one for one in verdicts if one])
    assert [(row["cause"], row["count"], row["harmless"]) for row in rows] == [
        ("middlebox_forgot_flow", 2, False),
        ("idle_session_timeout", 1, False),
        ("client_unreachable", 1, False),
        ("health_check", 3, True),
    ]
    row = rows[0]
    assert (row["first"], row["last"], row["clients"]) == (NOON, NOON + 1, [{"address": CLIENT, "count": 2}])
    assert row["devices"] == ["AWS NLB, NAT gateway, Network Firewall or security group tracking (350 s)"]
    assert (row["remedy"], row["prevented_by"]) == (_causes.CAUSES[row["cause"]].remedy, ["path_idle_limit"])
    assert row["missing_evidence"]
    assert (rows[2]["first"], rows[2]["clients"], rows[1]["devices"]) == (None, [], [])
    silent = verdict(flow(retransmitting="server", retransmissions=7, silence=Silence(100.0)))
    assert summary([silent])[0]["devices"] == []
    assert summary([]) == []


def test_the_summary_ranks_by_how_sure_losses_are_and_names_an_event_before_what_is_daily() -> None:
    unsure, sure = event("receive_reset"), event("idle_session_timeout")
    rows = summary([verdict(unsure), verdict(unsure), verdict(sure)])
    assert [(row["cause"], row["count"]) for row in rows] == [("idle_session_timeout", 1), ("client_exited", 2)]
    survived = flow(terminate=True, closed_how="fin", outlived=Outage(4.0, 3, "server"))
    closed = flow(terminate=True, terminate_certain=True, closed_how="fin", closed_by="client")
    rows = summary([verdict(closed), verdict(closed), verdict(survived)])
    assert [row["cause"] for row in rows] == ["survived_outage", "normal_close"]


def test_the_shortest_idle_time_of_a_client_names_the_device() -> None:
    def forgot(seconds: float, client: str) -> Verdict:
        lost = loss(flow(retransmitting="client", retransmissions=7, silence=Silence(seconds), side="client"))
        found = judge(lost._replace(address=client), Surroundings())
        assert found
        return found

    devices = summary([forgot(610.0, CLIENT), forgot(352.0, CLIENT), forgot(1850.0, CLIENT), forgot(99.0, CLIENT)])
    assert devices[0]["devices"] == ["AWS NLB, NAT gateway, Network Firewall or security group tracking (350 s)"]
    (row,) = summary([forgot(610.0, CLIENT), forgot(241.0, "10.0.0.8")])
    assert row["devices"] == ["Azure Load Balancer, NAT Gateway or Firewall (240 s)", "Google Cloud VPC (600 s)"]


@pytest.mark.parametrize(
    ("addresses", "others", "family"),
    [(("10.0.0.7", "10.0.0.7"), False, True), (("10.0.0.7", "10.0.0.8"), True, False), ((None, None), False, False)],
)
def test_whose_the_losses_of_the_same_seconds_are(
    addresses: tuple[str | None, str | None], others: bool, family: bool
) -> None:
    """A log whose prefix has no address does not say that they are one client's, nor that they are not."""
    timed_out = [event("receive_timed_out", 0.0, pid, address=one) for pid, one in enumerate(addresses, 4711)]
    losses = [Loss(NOON, one.address, None, one.pid, (one,)) for one in timed_out]
    first, _second = _run.judged(losses, [], frozenset())
    alone = dict(verdict(timed_out[0]).alternatives)["outage_outlasted_timers"]
    assert (dict(first.alternatives).get("outage_outlasted_timers", 0.0) > alone) == others
    assert any("losses of this client" in text for text in first.evidence_for) == family


@pytest.mark.parametrize("kind", ["connection_received", "idle_session_timeout", "receive_reset"])
def test_what_ended_in_the_same_seconds_without_a_silence_is_no_company(kind: str) -> None:
    """A load balancer's checks, say: they come every second."""
    silent = event("receive_timed_out", 0.0, address=CLIENT)
    others = [event(kind, 0.0, pid, address="10.0.0.8") for pid in range(9)]
    losses = [Loss(NOON, one.address, None, one.pid, (one,)) for one in (silent, *others)]
    assert _run.judged(losses, [], frozenset())[0].confidence == verdict(silent).confidence


@pytest.mark.parametrize("cause", _causes.CAUSES.values(), ids=_causes.CAUSES)
def test_the_catalogue_has_something_to_say(cause: _causes.Cause) -> None:
    assert cause.title[0].islower() or cause.title.startswith("TCP")
    assert cause.remedy.endswith(".")


@given(EVENTS, FLOWS)
def test_whatever_comes_is_judged_and_confidences_add_up(events: list[LogEvent], flows: list[Flow]) -> None:
    def verdicts(captures: list[Flow]) -> list[Verdict]:
        stories = Stories()
        for one in events:
            stories.event(one)
        for another in captures:
            stories.flow(another)
        return _run.judged(stories.losses(), stories.world, frozenset(one.side for one in flows))

    found = verdicts(flows)
    for one in found:
        everything = confidences(one)
        assert all(0 < confidence < 1 for confidence in everything)
        assert sum(everything) <= 1
        assert everything == sorted(everything, reverse=True)
        assert one.cause in _causes.CAUSES
        assert one.evidence_for
    assert sum(row["count"] for row in summary(found)) == len(found)
    assert verdicts(flows[::-1]) == found
