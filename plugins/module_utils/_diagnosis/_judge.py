# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge, a pure room: what is known of a loss to causes, ranked, each with what speaks for it and against it.

Every rule gives clues: a cause, a weight (how often such evidence means that cause, 0 to 1), and the evidence in words.
Weights of one cause add up as independent evidence does; between causes the odds decide. What nothing explains well
stays so: the odds of the unknown are always on the table.
"""

from __future__ import annotations

import typing as t

from ._causes import CAUSES, device
from ._clues import Clue, Surroundings
from ._facts import LogEvent, Loss
from ._rules import clues, missing

#: The odds that the cause is none of those that the evidence speaks for.
_UNKNOWN_ODDS = 0.3
#: Causes less likely than this beside the first are not worth a word.
_WORTH = 0.08
_MOST_SURE = 0.99


class Verdict(t.NamedTuple):
    """The likeliest *cause* of a loss. *alternatives* are (cause, confidence), likeliest first."""

    loss: Loss
    cause: str
    confidence: float
    alternatives: tuple[tuple[str, float], ...]
    evidence_for: tuple[str, ...]
    evidence_against: tuple[str, ...]
    missing_evidence: tuple[str, ...]

    def as_dict(self) -> dict[str, t.Any]:
        """One row of ``losses`` as module diagnosis_info returns it."""
        loss, cause = self.loss, CAUSES[self.cause]
        return {
            "time": loss.time,
            "address": loss.address,
            "port": loss.port,
            "pid": loss.pid,
            "user": _first(loss.events, "user"),
            "database": _first(loss.events, "database"),
            "cause": self.cause,
            "confidence": _rounded(self.confidence),
            "harmless": cause.harmless,
            "alternatives": [{"cause": name, "confidence": round(value, 2)} for name, value in self.alternatives],
            "evidence_for": list(self.evidence_for),
            "evidence_against": list(self.evidence_against),
            "missing_evidence": list(self.missing_evidence),
            "remedy": cause.remedy,
            "prevented_by": list(cause.prevented_by),
        }


def judge(loss: Loss, surroundings: Surroundings) -> Verdict | None:
    """The verdict on one loss; None where nothing speaks for any cause."""
    found = list(clues(loss, surroundings))
    ranked = _rank(found)
    if not ranked:
        return None
    first, confidence = ranked[0]
    others = [row for row in ranked[1:] if row[1] >= _WORTH or row[0] in CAUSES[first].behind]
    return Verdict(
        loss,
        first,
        confidence,
        tuple(others),
        _texts(found, first, for_it=True),
        _texts(found, first, for_it=False),
        missing(loss, [first, *(cause for cause, _value in others)], surroundings),
    )


def _rounded(confidence: float) -> float:
    """It is never 1."""
    return min(round(confidence, 2), _MOST_SURE)


def _rank(found: list[Clue]) -> list[tuple[str, float]]:
    doubt: dict[str, float] = {}
    for clue in found:
        doubt.setdefault(clue.cause, 1.0)
        if clue.weight > 0:
            doubt[clue.cause] *= 1.0 - min(clue.weight, _MOST_SURE)
    against = dict.fromkeys(doubt, 1.0)
    for clue in found:
        if clue.weight < 0:
            against[clue.cause] *= 1.0 + clue.weight
    odds = {}
    for cause, rest in doubt.items():
        support = min((1.0 - rest) * against[cause], _MOST_SURE)
        if support > 0:
            odds[cause] = support / (1.0 - support)
    total = sum(odds.values()) + _UNKNOWN_ODDS
    return sorted(((cause, value / total) for cause, value in odds.items()), key=lambda row: -row[1])


def _texts(found: list[Clue], cause: str, for_it: bool) -> tuple[str, ...]:
    texts = [clue.text for clue in found if clue.cause == cause and (clue.weight > 0) == for_it]
    return tuple(dict.fromkeys(texts))


def _first(events: t.Iterable[LogEvent], name: str) -> t.Any:
    return next((value for event in events if (value := getattr(event, name))), None)


def summary(verdicts: t.Sequence[Verdict]) -> list[dict[str, t.Any]]:
    """The causes of all losses: how many each has, when, which clients; harmful ones first, the most frequent first.

    A loss counts as much as its cause is sure. Of what is harmless an outage that was survived is the only event.
    """
    rows: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        rows.setdefault(verdict.cause, []).append(verdict)
    ranked = sorted(rows, key=lambda cause: (CAUSES[cause].harmless, cause != "survived_outage", -_weight(rows[cause])))
    return [_summed(cause, rows[cause]) for cause in ranked]


def _weight(verdicts: t.Sequence[Verdict]) -> float:
    return sum(verdict.confidence for verdict in verdicts)


def _summed(cause: str, verdicts: list[Verdict]) -> dict[str, t.Any]:
    known = CAUSES[cause]
    times = sorted(verdict.loss.time for verdict in verdicts if verdict.loss.time is not None)
    clients: dict[str, int] = {}
    for verdict in verdicts:
        if verdict.loss.address:
            clients[verdict.loss.address] = clients.get(verdict.loss.address, 0) + 1
    evidence: dict[str, int] = {}
    for verdict in verdicts:
        for text in verdict.evidence_for:
            evidence[text] = evidence.get(text, 0) + 1
    return {
        "cause": cause,
        "title": known.title,
        "count": len(verdicts),
        "confidence": _rounded(sum(verdict.confidence for verdict in verdicts) / len(verdicts)),
        "harmless": known.harmless,
        "first": times[0] if times else None,
        "last": times[-1] if times else None,
        "clients": [
            {"address": address, "count": count} for address, count in sorted(clients.items(), key=lambda row: -row[1])
        ],
        "evidence_for": sorted(evidence, key=lambda text: -evidence[text])[:5],
        "devices": [f"{name} ({limit} s)" for limit, name in sorted(_devices(verdicts))],
        "missing_evidence": list(dict.fromkeys(text for one in verdicts for text in one.missing_evidence)),
        "remedy": known.remedy,
        "prevented_by": list(known.prevented_by),
    }


def _devices(verdicts: list[Verdict]) -> set[tuple[int, str]]:
    """Who has such an idle limit, where a device is to blame; for each client the shortest that fits.

    What one connection of a client has not survived is no mystery for another that was idle for longer.
    """
    shortest: dict[str | None, tuple[int, str]] = {}
    for verdict in verdicts:
        if verdict.cause in ("middlebox_forgot_flow", "middlebox_reset", "proxy_idle_timeout"):
            client = verdict.loss.address
            found = [near for flow in verdict.loss.flows if (near := device(flow.silence.seconds))]
            for one in found:
                shortest[client] = min(one, shortest.get(client, one))
    return set(shortest.values())
