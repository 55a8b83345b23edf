# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis table, on the controller: what a diagnosis of the hosts of a play found, in at most 100 columns."""

from __future__ import annotations

import typing as t

from . import _diagnosis_words as words
from ._reports import Result, printable, shortened, without_result, wrapped

#: Of a text that a log has a part in, so many characters, and so many lines of evidence.
_LONGEST = 300
_MOST_TEXTS = 2


def lines(results: t.Mapping[str, Result]) -> list[str]:
    """The causes that module results name, by host; hosts with the same share one paragraph."""
    paragraphs: dict[tuple[str, ...], list[str]] = {}
    for host, result in results.items():
        paragraphs.setdefault(tuple(_of_host(result)), []).append(host)
    text: list[str] = []
    for (head, *rest), hosts in paragraphs.items():
        text += [*([""] if text else []), *wrapped(f"{', '.join(hosts)}: {head}", ""), *rest]
    return [printable(line).rstrip() for line in text]


def _of_host(result: Result) -> t.Iterator[str]:
    if "causes" not in result:
        yield without_result(result)
        return
    yield words.head(result)
    verdict = words.verdict(result)
    if verdict:
        yield f"  {verdict}"
    for number, cause in enumerate(words.causes(result, _MOST_TEXTS), 1):
        yield from wrapped(f"{number}. {cause.title} ({cause.id})")
        yield from _facts(cause.facts, "     ")
    yield from _facts(words.remarks(result), "  ")


def _facts(facts: t.Iterable[words.Fact], indent: str) -> t.Iterator[str]:
    for label, text in facts:
        yield from wrapped(f"{label}: {shortened(text, _LONGEST)}", indent)
