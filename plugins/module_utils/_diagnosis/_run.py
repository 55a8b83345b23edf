# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run of a diagnosis: collects the evidence that there is, puts it together, and has it judged."""

from __future__ import annotations

import bisect
import time
import typing as t

from .. import _duration, _kernel, _login, _poolerlog, _serverlog
from .._database import Database
from . import _captures, _flows, _judge, _live, _scan, _statistics, _strain, _times
from ._clues import Surroundings
from ._facts import LogEvent, Loss
from ._legs import legs
from ._rules import cannot_be_seen
from ._rules_of_flows import is_unanswered_login
from ._story import Stories

#: Losses within so many seconds of one another may have one cause.
_TOGETHER = 3.0

#: What an outage of the path leaves.
_SILENT = ("receive_timed_out", "send_timed_out", "receive_unreachable", "send_unreachable", "connection_lost")
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
    files, prefix, zone = list(options["log_files"]), options["log_prefix"], options["log_timezone"]
    problems: list[str] = []
    given = _statistics.samples(options["statistics"])
    rates = _live.rates(*given) if given else None
    looks = _strain.looks(options["client_hosts"])
    live: Row = {"server": None, "suspects": [], "standbys": [], "look": None}
    wanted = options["live"]
    if wanted is None:
        wanted = bool(login.host or login.unix_socket) or not (
            files or options["captures"] or options["pooler_logs"] or rates
        )
    poolers = list(options["pooler_logs"])
    by_default = options["live"] is None and not (login.host or login.unix_socket)
    if wanted and options["find_pooler_logs"] and not poolers:
        places = _poolerlog.logs()
        poolers = [*places.files, *(f"{_JOURNAL}{unit}" for unit in places.units)]
        problems += places.problems
    if wanted and by_default and not _live.has_server(login.port):
        before = _live.look(None)
        time.sleep(watch)
        live["look"] = _live.look(None)
        rates = rates or _live.rates(before, live["look"])
    elif wanted:
        database = _login.connect(login)
        try:
            live, settings = _look_at(database, port, watch, problems, files, over_tcp=bool(login.host))
        finally:
            database.close()
        prefix = prefix or settings["log_line_prefix"]
        if not zone and _scan.is_zone(settings["log_timezone"]):
            zone = settings["log_timezone"]
        found_rates = live.pop("rates")
        rates = rates or found_rates
    stories = Stories(since, until)
    # What was logged before *since* may say who it was that was lost later.
    for events, unread in _logs(files, prefix, zone, since, until):
        for event in events:
            stories.event(event)
        problems += unread
    for name, side, packets in _captures.streams(options["captures"], problems):
        for flow in _flows.flows(packets, name, side, port):
            stories.flow(flow)
    for events, unread in _logs_between(poolers, since, until):
        for event in events:
            stories.between(event)
        problems += unread
    sides = frozenset(capture["side"] for capture in options["captures"])
    sources = {"logs": [*files, *poolers], "captures": options["captures"]}
    losses = stories.losses()
    if given and rates and not sides:  # a capture has them all
        losses += _statistics.unexplained(rates, given[0]["at"], given[1]["at"], losses)
    verdicts = judged(losses, stories.world, sides, looks)
    unseen = cannot_be_seen(bool(files), bool(sides), bool(live["server"]), bool(poolers or stories.told_between))
    sockets = _live.sockets(port) if wanted else []
    found = _result(verdicts, stories, live, rates, problems)
    return {**found, "missing_evidence": unseen, "sources": sources, "sockets": sockets}


def _logs(
    names: list[str], prefix: str | None, zone: str | None, since: float | None, until: float | None
) -> t.Iterator[tuple[_scan.Events, list[str]]]:
    paths = [name for name in names if not name.startswith(_JOURNAL)]
    yield _scan.scan(paths, prefix, until=until, timezone=zone, matters_from=since)
    earlier = None if since is None else since - _BEFORE_SECONDS
    for name in names:
        if name.startswith(_JOURNAL):
            yield _scan.journal(name[len(_JOURNAL) :], earlier, until, prefix)


def _logs_between(
    names: list[str], since: float | None, until: float | None
) -> t.Iterator[tuple[_scan.Events, list[str]]]:
    yield _scan.poolers([name for name in names if not name.startswith(_JOURNAL)])
    earlier = None if since is None else since - _BEFORE_SECONDS
    for name in names:
        if name.startswith(_JOURNAL):
            yield _scan.journal_of_pooler(name[len(_JOURNAL) :], earlier, until)


def _look_at(
    database: Database, port: int, watch: float, problems: list[str], files: list[str], over_tcp: bool
) -> tuple[Row, dict[str, str]]:
    """What the server shows, and how it logs; adds where it writes its log to *files*, if those are none."""
    snapshot = database.snapshot(["log_line_prefix", "log_timezone"])
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
    return live, {row["name"]: row["reset_val"] for row in snapshot["settings"]}


def _result(verdicts: list[_judge.Verdict], stories: Stories, live: Row, rates: Row | None, problems: list[str]) -> Row:
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


def judged(
    losses: list[Loss], world: t.Sequence[LogEvent], sides: frozenset[str], looks: t.Sequence[_strain.Look] = ()
) -> list[_judge.Verdict]:
    """The verdicts on all losses, each seen among the others and the server's own events."""
    hung = [(flow.began, flow.ended) for loss in losses for flow in loss.flows if is_unanswered_login(flow)]

    def strain(loss: Loss) -> list[str] | None:
        addresses = {loss.address or "", *(flow.client[0] for flow in loss.flows)}
        return _strain.meanwhile(looks, addresses, loss.time)

    surroundings = Surroundings(world, sides, _company(losses), hung, legs(losses), strain, _heard(losses))
    return [verdict for loss in losses if (verdict := _judge.judge(loss, surroundings))]


def _heard(losses: list[Loss]) -> t.Callable[[str, str], float]:
    """The last time that a capture has a packet from an address."""
    last: dict[tuple[str, str], float] = {}
    for flow in (flow for loss in losses for flow in loss.flows):
        for address, moment in ((flow.client[0], flow.last_from_client), (flow.server[0], flow.last_from_server)):
            last[flow.file, address] = max(last.get((flow.file, address), 0.0), moment or 0.0)
    return lambda file, address: last.get((file, address), 0.0)


def _company(losses: list[Loss]) -> t.Callable[[Loss], tuple[int, int]]:
    """Counts, for a silent loss, those within seconds of it: of the same client, and of others.

    Only silence is company: a server's own limits, and checks of a load balancer, are at all times. Nor is it where
    nobody knows whose it was.
    """
    silent = [loss for loss in losses if any(event.kind in _SILENT for event in loss.events)]
    timed = sorted((loss.time, loss.address) for loss in silent if loss.time is not None and loss.address)
    times = [row[0] for row in timed]

    def beside(loss: Loss) -> tuple[int, int]:
        if loss.time is None or not loss.address:
            return 0, 0
        first = bisect.bisect_left(times, loss.time - _TOGETHER)
        last = bisect.bisect_right(times, loss.time + _TOGETHER)
        near = [row[1] for row in timed[first:last]]
        same = near.count(loss.address) - 1
        return same, len(near) - 1 - same

    return beside
