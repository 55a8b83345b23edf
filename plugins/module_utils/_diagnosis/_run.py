# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run of a diagnosis: collects the evidence that there is, puts it together, and has it judged."""

from __future__ import annotations

import bisect
import time
import typing as t

from .. import _duration, _kernel, _login, _serverlog
from .._database import Database
from .._errors import Failure
from . import _flows, _judge, _live, _packets, _scan, _times
from ._clues import Surroundings
from ._facts import Loss
from ._legs import legs
from ._rules_of_flows import is_unanswered_login
from ._story import Stories

#: Losses within so many seconds of one another may have one cause.
_TOGETHER = 3.0

#: Before the name of a service, in the place of a file's name.
_JOURNAL = "journal:"
#: So much more of a journal is read, for who it was that was lost later.
_BEFORE_SECONDS = 86400.0

Row = t.Dict[str, t.Any]


def run(login: _login.Login, options: t.Mapping[str, t.Any]) -> Row:
    """What the module diagnosis_info returns; *options* are its own."""
    now = time.time()
    since, until = (_times.parse(key, options[key], now) for key in ("since", "until"))
    watch = _duration.parse("watch", options["watch"]) / 1000
    port = options["server_port"] or login.port
    files, prefix = list(options["log_files"]), options["log_prefix"]
    problems: list[str] = []
    rates = _given_rates(options["statistics"])
    live: Row = {"server": None, "suspects": [], "standbys": [], "look": None}
    wanted = options["live"]
    if wanted is None:
        wanted = bool(login.host or login.unix_socket) or not (
            files or options["captures"] or options["pooler_logs"] or rates
        )
    if wanted:
        database = _login.connect(login)
        try:
            live, found_prefix = _look_at(database, port, watch, problems, files, over_tcp=bool(login.host))
        finally:
            database.close()
        prefix = prefix or found_prefix
        found_rates = live.pop("rates")
        rates = rates or found_rates
    stories = Stories(since, until)
    # What was logged before *since* may say who it was that was lost later.
    for events, unread in _logs(files, prefix, since, until):
        for event in events:
            stories.event(event)
        problems += unread
    for capture in options["captures"]:
        path, side = capture["path"], capture["side"]
        for flow in _flows.flows(_packets.packets(path, problems), path, side, port):
            stories.flow(flow)
    events, unread = _scan.poolers(options["pooler_logs"])
    for event in events:
        stories.between(event)
    problems += unread
    sides = frozenset(capture["side"] for capture in options["captures"])
    sources = {"logs": [*files, *options["pooler_logs"]], "captures": options["captures"]}
    return {**_result(stories, live, rates, problems, sides), "sources": sources}


def _logs(
    names: list[str], prefix: str | None, since: float | None, until: float | None
) -> t.Iterator[tuple[_scan.Events, list[str]]]:
    yield _scan.scan([name for name in names if not name.startswith(_JOURNAL)], prefix, until=until)
    earlier = None if since is None else since - _BEFORE_SECONDS
    for name in names:
        if name.startswith(_JOURNAL):
            yield _scan.journal(name[len(_JOURNAL) :], earlier, until, prefix)


def _given_rates(samples: t.Sequence[Row]) -> Row | None:
    if not samples:
        return None
    try:
        before, after = ({"kernel": {}, **sample} for sample in samples)
        return _live.rates(before, after)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Failure(
            "bad_statistics",
            f"statistics: {len(samples)} samples",
            "a rate needs two samples, each with at, databases and kernel",
            "Give two looks as this module returns them in look.",
        ) from None


def _look_at(
    database: Database, port: int, watch: float, problems: list[str], files: list[str], over_tcp: bool
) -> tuple[Row, str | None]:
    """What the server shows, and its log_line_prefix; adds where it writes its log to *files*, if those are none."""
    snapshot = database.snapshot(["log_line_prefix"])
    before = _live.look(database, snapshot["version_num"])
    if not files:
        # Over TCP this very session is among the sockets of the server's host, if that is this one.
        place = _serverlog.place(database, not over_tcp or bool(_kernel.timers(port)))
        if place.path:
            files += place.rotated()
        elif place.unit:
            files.append(f"{_JOURNAL}{place.unit}")
        else:
            problems.append(f"the server's log: {place.reason}")
    time.sleep(watch)
    after = _live.look(database, snapshot["version_num"])
    live = {
        "server": {"version": snapshot["version"], "version_num": snapshot["version_num"]},
        "suspects": _live.suspects(database, port),
        "standbys": _live.standbys(database),
        "look": after,
        "rates": _live.rates(before, after),
    }
    return live, snapshot["settings"][0]["reset_val"]


def _result(stories: Stories, live: Row, rates: Row | None, problems: list[str], sides: frozenset[str]) -> Row:
    verdicts = judged(stories, sides)
    harmful = [verdict for verdict in verdicts if not _judge.CAUSES[verdict.cause].harmless]
    return {
        "changed": False,
        "causes": _judge.summary(verdicts),
        "losses": [verdict.as_dict() for verdict in verdicts],
        "healthy": not harmful and not live["suspects"],
        "connections": {
            "seen": stories.connections,
            "normal_closes": stories.normal_closes,
            "empty": stories.empty,
        },
        "statistics": rates,
        "host": _live.strain(),
        "problems": problems,
        **live,
    }


def judged(stories: Stories, sides: frozenset[str]) -> list[_judge.Verdict]:
    """The verdicts on all losses, each seen among the others."""
    losses = stories.losses()
    hung = [(flow.began, flow.ended) for loss in losses for flow in loss.flows if is_unanswered_login(flow)]
    surroundings = Surroundings(stories.world, sides, _company(losses), hung, legs(losses))
    return [verdict for loss in losses if (verdict := _judge.judge(loss, surroundings))]


def _company(losses: list[Loss]) -> t.Callable[[Loss], tuple[int, int]]:
    """Counts, for a loss, those within seconds of it: of the same client, and of others."""
    timed = sorted((loss.time, loss.address or "", index) for index, loss in enumerate(losses) if loss.time is not None)
    times = [row[0] for row in timed]

    def beside(loss: Loss) -> tuple[int, int]:
        if loss.time is None:
            return 0, 0
        first = bisect.bisect_left(times, loss.time - _TOGETHER)
        last = bisect.bisect_right(times, loss.time + _TOGETHER)
        near = [row[1] for row in timed[first:last]]
        same = near.count(loss.address or "") - 1
        return same, len(near) - 1 - same

    return beside
