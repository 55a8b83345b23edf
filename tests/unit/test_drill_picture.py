# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The picture of a drill, read as the XML that it is: every time in its place, nothing over anything else."""

from __future__ import annotations

import datetime
import itertools
import math
import re
import typing as t
from xml.etree import ElementTree

import pytest
from _drills import DEFAULTS, HARDENED, Result, drilled, noticed, survived
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.plugin_utils import _drill_files, _drill_picture

NOW = datetime.datetime(2026, 11, 23, 1, 44, tzinfo=datetime.UTC)
SVG = "{http://www.w3.org/2000/svg}"
PIXELS = 0.3  # coordinates are rounded to tenths, those that the reader goes by as well


def report(after: Result, before: Result | None = None, host: str = "db1") -> Result:
    old = _drill_files.merged(None, host, before, NOW) if before else None
    return _drill_files.merged(old, host, after, NOW)


def parse(shown: Result) -> ElementTree.Element:
    return ElementTree.fromstring(_drill_picture.svg(shown))


def having(element: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    """The elements below that have all of these classes."""
    return [one for one in element.iter() if set(kind.split()) <= set(one.get("class", "").split())]


def only(element: ElementTree.Element, kind: str) -> ElementTree.Element:
    (one,) = having(element, kind)
    return one


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def texts(element: ElementTree.Element) -> list[str]:
    return [one.text or "" for one in element.iter(f"{SVG}text")]


def reader(root: ElementTree.Element) -> t.Callable[[float], float]:
    """Where a reader who has nothing but the labels of the axis looks for a time."""
    labels = {one.text: number(one, "x") for one in having(root, "middle")}
    start, minute = labels["≤ 0.1 s"], labels["1 min"]
    return lambda seconds: start + (minute - start) * math.log(max(seconds, 0.1) / 0.1) / math.log(60 / 0.1)


BEFORE, AFTER = drilled(DEFAULTS), drilled(HARDENED)


@pytest.mark.parametrize("before", [None, BEFORE])
def test_each_cell_has_its_bar_its_line_and_its_dot_where_the_seconds_are(before: Result | None) -> None:
    root = parse(report(AFTER, before))
    x, groups = reader(root), having(root, "cell")
    assert len(groups) == len(AFTER["cells"]) == 14
    assert bool(having(root, "before")) == bool(before)
    for kind, run in (("after", AFTER), ("before", before)) if before else (("after", AFTER),):
        for group, cell in zip(groups, run["cells"], strict=True):
            lane = only(group, kind)
            promised = having(lane, "bar")[0]
            assert number(promised, "x") == x(0)
            if cell["promised"] is None:
                assert number(promised, "x") + number(promised, "width") > x(120)  # with its arrow, to the end
                assert not having(lane, "promise")
            else:
                line, late = only(lane, "promise"), only(lane, "late")
                assert number(line, "x1") == number(line, "x2") == pytest.approx(x(cell["promised"]), abs=PIXELS)
                assert number(promised, "x") + number(promised, "width") == pytest.approx(
                    number(line, "x1"), abs=PIXELS
                )
                assert number(late, "x") + number(late, "width") == pytest.approx(x(cell["bound"]), abs=PIXELS)
            still = cell["outcome"] == "still_there"
            dot = only(lane, "open" if still else "dot")
            seconds = 120.0 if still else cell["measured"] if cell["outcome"] == "gone" else cell["lasted"]
            assert number(dot, "cx") == pytest.approx(x(seconds), abs=PIXELS)


@given(st.lists(st.floats(0.11, 5e6), min_size=2, max_size=6, unique=True))
def test_later_is_further_to_the_right(seconds: list[float]) -> None:
    some = [noticed("idle", "peer_vanished", HARDENED, promised=one, bound=one, measured=one) for one in seconds]
    scale = _drill_picture.scale(some, 120.0)
    places = [scale.x(one) for one in sorted(seconds)]
    assert places == sorted(places)
    assert places[0] >= _drill_picture.PLOT
    assert places[-1] < _drill_picture.PLOT_END
    # A logarithmic axis: ten times as long is the same distance everywhere.
    assert (
        scale.x(10) - scale.x(1) == pytest.approx(scale.x(1) - scale.x(0.1)) == pytest.approx(scale.x(60) - scale.x(6))
    )


def test_what_is_shorter_than_the_axis_is_at_its_beginning() -> None:
    scale = _drill_picture.scale([noticed("idle", "process_died", HARDENED)], 2.0)
    assert scale.x(0) == scale.x(0.03) == scale.x(0.1) == _drill_picture.PLOT


def lane(cell: Result) -> ElementTree.Element:
    """The part of a picture that shows one run of one cell."""
    return having(only(parse(report(drilled(some=[cell]))), "cell"), "after")[0]


def test_shapes_and_words_of_each_outcome() -> None:
    still = lane(noticed("idle", "peer_vanished", DEFAULTS))
    assert texts(still) == ["2 h 11 min", "still there", "beyond patience"]
    assert [having(still, kind) != [] for kind in ("open", "dot", "lost")] == [True, False, False]
    lost = lane(survived("idle", "short_outage", 25.0, 24.0, outcome="lost", measured=12.0, verdict="broken"))
    assert texts(lost) == ["25 s", "lost after 12 s", "BROKEN"]
    assert [having(lost, kind) != [] for kind in ("open", "dot", "lost")] == [False, False, True]
    assert lost.get("class") == "after broken"
    lived = lane(survived("idle", "short_outage", 25.0, 24.0))
    assert texts(lived) == ["25 s", "survived 24 s", "kept"]
    assert lived.get("class") == "after"
    unseen = lane(survived("sending", "slow_reader", None, 24.0, outcome="lost", verdict="broken"))
    assert texts(unseen) == ["any", "lost", "BROKEN"]


def test_a_cell_that_one_run_has_not() -> None:
    before = drilled(DEFAULTS, [noticed("executing", "peer_vanished", DEFAULTS)])
    after = drilled(some=[noticed(phase, "peer_vanished", HARDENED) for phase in ("idle", "executing")])
    idle, executing = having(parse(report(after, before)), "cell")
    assert [len(having(idle, "before")), len(having(idle, "after"))] == [0, 1]
    assert [len(having(executing, "before")), len(having(executing, "after"))] == [1, 1]


NASTY = "<script>alert('&amp;')</script> ]]> \"\x00\x1b[31m\ud800\ufffe"


def test_what_a_server_says_is_text() -> None:
    some = [noticed("idle", "peer_vanished", HARDENED, log=NASTY, reasons=[NASTY], text=NASTY, verdict="broken")]
    result = drilled(some=some, client={"host": NASTY}, method=NASTY)
    result["server"] = {**result["server"], "host": NASTY, "version": NASTY}
    source = _drill_picture.svg(report(result, host=NASTY))
    root = ElementTree.fromstring(source)  # well-formed, whatever was said
    assert source.encode("utf-8")
    assert not list(root.iter(f"{SVG}script"))
    shown = "<script>alert('&amp;')</script> ]]> \"  [31m"
    assert shown in (only(root, "title").text or "")
    assert (only(root, "cell")[0].text or "").count(shown) == 3


def test_it_needs_nothing_else_and_speaks() -> None:
    source = _drill_picture.svg(report(AFTER, BEFORE))
    root = ElementTree.fromstring(source)
    assert {one.tag.removeprefix(SVG) for one in root.iter()} == {
        "svg", "title", "desc", "style", "g", "rect", "line", "circle", "path", "text"
    }  # fmt: skip
    assert not re.search(r"url\(|@import|href|https?://(?!www\.w3\.org/2000/svg\")", source)
    assert (root[0].tag, root[0].text) == (f"{SVG}title", "How soon the server notices a lost client: db1")
    assert root[1].tag == f"{SVG}desc"
    assert "14 kept, 0 broken" in (root[1].text or "")
    assert "idle, peer vanished: of idle" in (root[1].text or "")
    assert "prefers-color-scheme: dark" in source
    client = parse(report(drilled(side="client", client={"host": "app1", "options": HARDENED})))
    assert client[0].text == "How soon the client notices a lost server: db1"


class Box(t.NamedTuple):
    left: float
    top: float
    right: float
    bottom: float
    text: str


def boxes(root: ElementTree.Element) -> t.Iterator[Box]:
    """What each text covers at most, with 0.6 em a character (0.66 of the bold title): more than DejaVu Sans takes."""
    for one in root.iter(f"{SVG}text"):
        kinds, text = one.get("class", "").split(), one.text or ""
        size = 18 if "title" in kinds else 12
        width = len(text) * size * (0.66 if "title" in kinds else 0.6)
        left = number(one, "x") - (width if "end" in kinds else width / 2 if "middle" in kinds else 0)
        y = number(one, "y")
        if text:
            yield Box(left, y - 0.8 * size, left + width, y + 0.25 * size, text)


LONG = {
    **HARDENED,
    "tcp_keepalives_idle": 925,
    "tcp_keepalives_interval": 925,
    "client_connection_check_interval": 925_000,
}
WORST = [
    noticed("idle_unacknowledged", "path_forgot_flow", HARDENED, promised=924.0, bound=2e6, measured=925.0),
    noticed("idle_in_transaction", "path_forgot_flow", DEFAULTS),
    survived(
        "idle_in_transaction", "short_outage", 925.0, 925.0, outcome="lost", measured=925.0, verdict="not_promised"
    ),
    survived("executing_cpu", "short_outage", 0.0, 0.0),
]


@pytest.mark.parametrize(
    "shown",
    [
        report(AFTER),
        report(AFTER, BEFORE),
        report(drilled(DEFAULTS)),
        report(drilled(LONG, WORST, client={"host": "long" * 99}), drilled(DEFAULTS, WORST), "long" * 99),
        report(drilled(some=WORST[:1])),
        report(drilled(some=WORST[3:])),
    ],
)
def test_no_text_is_cut_off_or_over_another(shown: Result) -> None:
    root = parse(shown)
    _left, _top, width, height = map(float, root.attrib["viewBox"].split())
    found = list(boxes(root))
    for box in found:
        assert 0 <= box.left < box.right <= width, box
        assert 0 <= box.top < box.bottom <= height, box
    for one, other in itertools.combinations(found, 2):
        apart = one.right <= other.left or other.right <= one.left or one.bottom <= other.top or other.bottom <= one.top
        assert apart, (one, other)
    for mark in [*having(root, "dot"), *having(root, "open")]:
        assert 0 < number(mark, "cx") < width
        assert 0 < number(mark, "cy") < height
