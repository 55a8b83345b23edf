# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drill picture, on the controller: a report as one SVG, each phase and fault with its promise and what was measured.

Times lie on a logarithmic axis. Text has room for 0.6 em a character, which no common sans-serif font exceeds.
"""

from __future__ import annotations

import itertools
import math
import typing as t
from xml.etree import ElementTree

from ..module_utils._duration import human
from . import _drill_words as words
from ._drill_words import Cell, Result
from ._reports import printable

Run = t.Mapping[str, t.Any]

# Columns, from left to right; promised and measured end where their number says, the others begin there.
PHASE, FAULT, PLOT, PLOT_END, PROMISED, MEASURED, VERDICT, WIDTH = 24, 172, 304, 744, 840, 1012, 1024, 1156
LANE, GAP, DOT = 16, 10, 5

SHORTEST = 0.1
_TICKS = {
    SHORTEST: "≤ 0.1 s",
    1: "1 s",
    10: "10 s",
    60: "1 min",
    600: "10 min",
    3600: "1 h",
    36_000: "10 h",
    360_000: "100 h",
    3_600_000: "1000 h",
}

_STYLE = """
.drill { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.drill .ground { fill: #ffffff; }
.drill text { fill: #1f2328; }
.drill .title { font-size: 18px; font-weight: 600; }
.drill .head { font-weight: 600; }
.drill .muted { fill: #59636e; }
.drill .end { text-anchor: end; }
.drill .middle { text-anchor: middle; }
.drill .grid { stroke: #e4e8ec; }
.drill .rule { stroke: #c9d1d9; }
.drill .after .bar { fill: #a9cdfb; }
.drill .after .late { fill: #dbeafd; }
.drill .after .line { stroke: #0a58b5; fill: none; stroke-width: 2; }
.drill .after .dot { fill: #0a58b5; stroke: #ffffff; stroke-width: 1.5; }
.drill .before .bar { fill: #ccd2d9; }
.drill .before .late { fill: #e9ecef; }
.drill .before .line { stroke: #6e7781; fill: none; stroke-width: 2; }
.drill .before .dot { fill: #6e7781; stroke: #ffffff; stroke-width: 1.5; }
.drill .before text { fill: #59636e; }
.drill .broken .mark.line { stroke: #cf222e; }
.drill .broken .dot { fill: #cf222e; }
.drill .after.broken .verdict { fill: #cf222e; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  .drill .ground { fill: #0d1117; }
  .drill text { fill: #e6edf3; }
  .drill .muted, .drill .before text { fill: #9aa4ae; }
  .drill .grid { stroke: #21262d; }
  .drill .rule { stroke: #3d444d; }
  .drill .after .bar { fill: #1d4f8f; }
  .drill .after .late { fill: #14304f; }
  .drill .after .line { stroke: #79b8ff; }
  .drill .after .dot { fill: #79b8ff; stroke: #0d1117; }
  .drill .before .bar { fill: #3a424b; }
  .drill .before .late { fill: #22282f; }
  .drill .before .line { stroke: #8b949e; }
  .drill .before .dot { fill: #8b949e; stroke: #0d1117; }
  .drill .broken .mark.line { stroke: #ff7b72; }
  .drill .broken .dot, .drill .after.broken .verdict { fill: #ff7b72; }
}
"""


class Scale(t.NamedTuple):
    """The time axis from `SHORTEST` to *longest* seconds."""

    longest: float

    def x(self, seconds: float) -> float:
        """Where *seconds* lie; what is shorter than the axis begins lies at its beginning."""
        share = math.log(max(seconds, SHORTEST) / SHORTEST) / math.log(self.longest / SHORTEST)
        return PLOT + (PLOT_END - PLOT) * share

    def ticks(self) -> t.Iterator[tuple[float, str]]:
        """Seconds with their label; those between the labels have none."""
        for seconds, following in itertools.pairwise(_TICKS):
            between = [seconds * factor for factor in range(2, math.ceil(following / seconds))]
            for tick in (seconds, *between):
                if tick <= self.longest:
                    yield tick, _TICKS.get(tick, "")


def scale(cells: t.Sequence[Cell], patience: float) -> Scale:
    """An axis on which all that is finite in *cells* has its place, and an arrow behind it."""
    keys = ("promised", "bound", "lasted", "measured")
    return Scale(1.6 * max(patience, *(cell[key] or 0 for cell in cells for key in keys)))


def svg(report: Result) -> str:
    """The picture of a report as `_drill_files` writes it."""
    runs = [(kind, report[kind]) for kind in ("before", "after") if report[kind]]
    cells = [cell for _kind, run in runs for cell in run["cells"]]
    axis = scale(cells, max(run["patience"] for _kind, run in runs))
    root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "class": "drill", "role": "img"})
    _texts(root, report)
    ElementTree.SubElement(root, "style").text = _STYLE
    ground = _add(root, "rect", "ground", x=0, y=0, width=WIDTH, rx=6)
    top = _heading(root, report, runs)
    grid = _add(root, "g")
    bottom = _parts(root, runs, axis, top)
    _axis(grid, axis, top, bottom)
    height = _legend(root, bottom + 52)
    ground.set("height", str(height))
    root.attrib |= {"viewBox": f"0 0 {WIDTH} {height}", "width": str(WIDTH), "height": str(height)}
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: ElementTree.Element, tag: str, kind: str = "", text: str = "", **attributes: t.Any) -> t.Any:
    """A new element; numbers to a tenth of a pixel."""
    values = {"class": kind} if kind else {}
    values |= {key: f"{value:.1f}" if isinstance(value, float) else str(value) for key, value in attributes.items()}
    element = ElementTree.SubElement(parent, tag, values)
    element.text = printable(text) or None
    return element


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _title(report: Result) -> str:
    noticed = "server notices a lost client" if report["after"]["side"] == "server" else "client notices a lost server"
    return f"How soon the {noticed}"


def _texts(root: ElementTree.Element, report: Result) -> None:
    """What a screen reader says instead of the picture."""
    _add(root, "title", "", f"{_title(report)}: {report['host']}")
    cells = [_told(cell) for cell in report["after"]["cells"]]
    _add(root, "desc", "", f"{words.count([report['after']])}. {'; '.join(cells)}.")


def _told(cell: Cell) -> str:
    return f"{words.name(cell['phase'])}, {words.name(cell['fault'])}: {cell['text']}"


def _heading(root: ElementTree.Element, report: Result, runs: list[tuple[str, Run]]) -> int:
    """Title, server, and a line for each run; where the rest begins."""
    after = report["after"]
    _add(root, "text", "title", f"{_title(report)}: {_shortened(report['host'], 50)}", x=PHASE, y=36)
    client = f"drilled from {after['client']['host']} ({after['method']}); {words.count([after])}"
    _add(root, "text", "muted", _shortened(f"{words.server(after)}, {client}", 150), x=PHASE, y=58)
    y = 82
    for kind, run in runs:
        group = _add(root, "g", kind)
        _add(group, "rect", "bar", x=PHASE, y=y - 8, width=16, height=8)
        _add(group, "circle", "dot", cx=PHASE + 16, cy=y - 4, r=DOT)
        when = run["time"].replace("T", " ")[:16]
        label = f"{kind}, {when} UTC: " if len(runs) > 1 else f"{when} UTC: "
        _add(group, "text", "", _shortened(label + words.settings(run), 150), x=PHASE + 30, y=y)
        y += 20
    return y + 10


def _parts(root: ElementTree.Element, runs: list[tuple[str, Run]], axis: Scale, y: int) -> int:
    """The faults that are to be noticed, then those to be survived; where they end."""
    for heads, survival in (
        (("to be noticed", "promised", "measured"), False),
        (("to be survived", "survives", "outcome"), True),
    ):
        cells = [cell for cell in runs[-1][1]["cells"] if words.survival(cell) == survival]
        if not cells:
            continue
        y += 20
        for x, kind, text in zip((PHASE, PROMISED, MEASURED), ("head", "head end", "head end"), heads, strict=True):
            _add(root, "text", kind, text, x=x, y=y - 4)
        phase = None
        for cell in cells:
            if cell["phase"] != phase:
                _add(root, "line", "rule", x1=PHASE, x2=WIDTH - PHASE, y1=y + 0.5, y2=y + 0.5)
            y = _row(root, cell, runs, axis, y + GAP // 2, name=cell["phase"] != phase)
            phase = cell["phase"]
        y += GAP
    return y


def _row(root: ElementTree.Element, cell: Cell, runs: list[tuple[str, Run]], axis: Scale, y: int, *, name: bool) -> int:
    """One phase and fault, a lane for each run; where the next begins."""
    group = _add(root, "g", "cell")
    _add(group, "title", "", ". ".join(filter(None, [_told(cell), *cell["reasons"], cell["log"]])))
    middle = y + LANE * len(runs) // 2 + 4
    if name:
        _add(group, "text", "", words.name(cell["phase"]), x=PHASE, y=middle)
    _add(group, "text", "", words.name(cell["fault"]), x=FAULT, y=middle)
    key = (cell["phase"], cell["fault"])
    for kind, run in runs:
        for one in run["cells"]:
            if (one["phase"], one["fault"]) == key:
                broken = " broken" if one["verdict"] == "broken" else ""
                _lane(_add(group, "g", kind + broken), one, run["patience"], axis, y + LANE // 2)
        y += LANE
    return y + GAP // 2


def _lane(group: ElementTree.Element, cell: Cell, patience: float, axis: Scale, y: int) -> None:
    """Promise and measurement of one run, on the line *y*."""
    if cell["promised"] is None:
        _bar(group, "bar", PLOT, PLOT_END - 8, y)
        _add(group, "path", "bar", d=f"M {PLOT_END - 8} {y - 6} l 10 6 l -10 6 z")
    else:
        promised, bound = axis.x(cell["promised"]), axis.x(cell["bound"])
        _bar(group, "bar", PLOT, promised, y)
        _bar(group, "late", promised, bound, y)
        _add(group, "line", "line promise", x1=promised, x2=promised, y1=y - 8, y2=y + 8)
    _mark(group, cell, patience, axis, y)
    _add(group, "text", "end", words.promised(cell), x=PROMISED, y=y + 4)
    lasted = f" {human(cell['lasted'])}" if cell["outcome"] == "survived" else ""
    _add(group, "text", "end", words.measured(cell) + lasted, x=MEASURED, y=y + 4)
    _add(group, "text", "verdict", words.VERDICTS[cell["verdict"]], x=VERDICT, y=y + 4)


def _bar(group: ElementTree.Element, kind: str, begin: float, end: float, y: int) -> None:
    _add(group, "rect", kind, x=float(begin), y=y - 4, width=float(end - begin), height=8)


def _mark(group: ElementTree.Element, cell: Cell, patience: float, axis: Scale, y: int) -> None:
    """A dot for what came to an end or was survived, an arrow for what went on, a cross for what was lost."""
    if cell["outcome"] == "still_there":
        x = axis.x(patience)
        _add(group, "path", "mark line", d=_arrow(x, y))
        _add(group, "circle", "mark line open", cx=x, cy=y, r=DOT)
    elif cell["outcome"] == "lost":
        x = axis.x(cell["lasted"] if cell["measured"] is None else cell["measured"])
        _add(group, "path", "mark line lost", d=_cross(x, y))
    else:
        seconds = cell["measured"] if cell["outcome"] == "gone" else cell["lasted"]
        _add(group, "circle", "mark dot", cx=axis.x(seconds), cy=y, r=DOT)


def _arrow(x: float, y: int) -> str:
    """From the edge of a dot to the right."""
    return f"M {x + DOT:.1f} {y} h 11 m -4 -4 l 4 4 l -4 4"


def _cross(x: float, y: int) -> str:
    return f"M {x - 5:.1f} {y - 5} l 10 10 m 0 -10 l -10 10"


def _axis(grid: ElementTree.Element, axis: Scale, top: int, bottom: int) -> None:
    """Behind the bars, and labelled below them."""
    for seconds, label in axis.ticks():
        x = axis.x(seconds)
        if label:
            _add(grid, "line", "grid", x1=x, x2=x, y1=top + 6, y2=bottom)
            _add(grid, "text", "muted middle", label, x=x, y=bottom + 20)
        _add(grid, "line", "rule", x1=x, x2=x, y1=bottom, y2=bottom + (6 if label else 3))
    _add(grid, "line", "rule", x1=PLOT, x2=PLOT_END, y1=bottom, y2=bottom)


def _legend(root: ElementTree.Element, y: int) -> int:
    """What the shapes mean; the height of the picture."""
    group = _add(root, "g", "after")
    columns = (PHASE, 244, 520, 844)
    promise, dot, arrow, cross = columns
    _bar(group, "bar", promise, promise + 20, y - 4)
    _bar(group, "late", promise + 20, promise + 30, y - 4)
    _add(group, "line", "line", x1=promise + 20, x2=promise + 20, y1=y - 11, y2=y + 3)
    _add(group, "circle", "dot", cx=dot + 22, cy=y - 4, r=DOT)
    _add(group, "path", "line", d=_arrow(arrow + 10, y - 4))
    _add(group, "circle", "line open", cx=arrow + 10, cy=y - 4, r=DOT)
    _add(group, "path", "line", d=_cross(cross + 22, y - 4))
    texts = (
        "promised, and at worst",
        "measured, or survived",
        "still there when the patience ended",
        "connection lost",
    )
    for x, text in zip(columns, texts, strict=True):
        _add(root, "text", "muted", text, x=x + 38, y=y)
    return y + 20
