# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis page, on the controller: what a diagnosis of one host found, in Markdown."""

from __future__ import annotations

import re
import typing as t

from . import _diagnosis_words as words
from ._reports import Result, printable

#: Rows of the table of losses; the JSON file has them all.
MOST_LOSSES = 500
_COLUMNS = ("time (UTC)", "client", "process", "role", "database", "cause", "confidence", "may also be", "evidence")
_MOST_TEXTS = 5


def page(host: str, time: str, result: Result) -> str:
    """The page."""
    blocks = [f"# Lost connections of {escaped(host)}", escaped(f"{time}: {words.head(result)}")]
    verdict = words.verdict(result)
    if verdict:
        blocks.append(f"**{verdict.capitalize()}.**")
    for number, cause in enumerate(words.causes(result, _MOST_TEXTS), 1):
        blocks += [f"## {number}. {escaped(f'{cause.title} ({cause.id})')}", _listed(cause.facts)]
    remarks = words.remarks(result)
    if remarks:
        blocks += ["## What else was seen", _listed(remarks)]
    losses = [loss for loss in result["losses"] if not loss["harmless"]]
    if losses:
        blocks += ["## Losses", _table(losses[:MOST_LOSSES])]
    if len(losses) > MOST_LOSSES:
        blocks.append(f"{len(losses) - MOST_LOSSES} more are in the JSON file beside this one.")
    return "\n\n".join(blocks) + "\n"


def _listed(facts: t.Iterable[words.Fact]) -> str:
    return "\n".join(f"- **{label}**: {escaped(text)}" for label, text in facts)


def _table(losses: t.Sequence[words.Row]) -> str:
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(tuple(map(escaped, _row(loss))) for loss in losses)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(loss: words.Row) -> tuple[str, ...]:
    others = ", ".join(f"{one['cause']} ({one['confidence']:.2f})" for one in loss["alternatives"])
    return (
        words.moment(loss["time"]),
        words.endpoint(loss["address"], loss["port"]),
        str(loss["pid"] or ""),
        loss["user"] or "",
        loss["database"] or "",
        loss["cause"],
        f"{loss['confidence']:.2f}",
        others,
        "; ".join(loss["evidence_for"][:2]),
    )


def escaped(text: str) -> str:
    """*text* that means nothing to Markdown or HTML, nor becomes a link: a log holds what anybody has sent."""
    text = re.sub(r"([\\`*_\[\]<>&|~#!${}^=]|:(?=//))", r"\\\1", printable(text))
    return re.sub(r"(?i)(www)\.", r"\1\\.", text)
