# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drill table, on the controller: what a drill measured on the hosts of a play, in at most 100 columns."""

from __future__ import annotations

import typing as t

from ..module_utils._duration import human
from . import _drill_words as words
from ._drill_words import Cell, Result
from ._reports import printable, shortened, without_result, wrapped

_Row = tuple[str, ...]


def lines(results: t.Mapping[str, Result]) -> list[str]:
    """The table of module results by host, and how many promises were kept in all."""
    text = [line for host, result in results.items() for line in [*_of_host(host, result), ""]]
    if any(result.get("cells") for result in results.values()):
        text += wrapped(words.count(results.values()), "")
    return [printable(line).rstrip() for line in text]


def _of_host(host: str, result: Result) -> t.Iterator[str]:
    if not result.get("cells"):
        yield from wrapped(f"{host}: {without_result(result)}", "")
        return
    client = result["client"]["host"]
    yield from wrapped(f"{host}: {words.server(result)}, drilled from {client} ({result['method']})", "")
    yield from wrapped(f"in force: {words.settings(result)}")
    yield from _cells(result["cells"])
    if result["log"]["reason"]:
        yield from wrapped(f"no lines of the server's log: {result['log']['reason']}")
    yield from (line for note in result["notes"] for line in wrapped(note))


def _cells(cells: t.Sequence[Cell]) -> t.Iterator[str]:
    """Those that have to be noticed, then those that have to be survived: the columns mean something else there."""
    parts = [
        (("", "", "promised", "at worst", "measured", ""), [cell for cell in cells if not words.survival(cell)]),
        (("", "", "survives", "lasted", "outcome", ""), [cell for cell in cells if words.survival(cell)]),
    ]
    rows = [row for head, part in parts for row in [head, *map(_row, part)]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for head, part in parts:
        filled = [any(column) for column in zip(*map(_row, part), strict=True)]  # nothing is measured in check mode
        if part:
            yield _line([title if some else "" for title, some in zip(head, filled, strict=True)], widths)
        for cell in part:
            yield _line(_row(cell), widths)
            for line in (cell["log"] or "").splitlines():
                yield shortened(f"    {words.message(line)}")
            for reason in cell["reasons"]:
                yield from wrapped(f"possible cause: {reason}", "    ")


def _row(cell: Cell) -> _Row:
    limit = cell["lasted"] if words.survival(cell) else cell["bound"]
    return (
        words.name(cell["phase"]),
        words.name(cell["fault"]),
        words.promised(cell),
        human(limit) if limit else "",
        words.measured(cell),
        words.VERDICTS[cell["verdict"]],
    )


def _line(row: t.Sequence[str], widths: t.Sequence[int]) -> str:
    """Names and verdict to the left, times to the right."""
    phase, fault, *times, verdict = (
        text.rjust(width) if 2 <= column <= 4 else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    )
    return shortened(f"  {'  '.join([phase, fault, *times, verdict])}")
