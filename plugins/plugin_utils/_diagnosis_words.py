# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Diagnosis words, on the controller: what the terminal and the Markdown page of a diagnosis say alike."""

from __future__ import annotations

import collections
import datetime
import re
import typing as t

from ..module_utils._duration import human
from ..module_utils._policy import KEYS
from ._reports import Result

#: A label and what belongs under it.
Fact = tuple[str, str]
Row = t.Mapping[str, t.Any]

#: Of a list, so many are named.
MOST = 5
#: A standby replies every 10 s (wal_receiver_status_interval); seconds after which its silence is worth a word.
_SILENT_STANDBY = 30
#: Alternatives that are less likely on average are not worth a word.
_WORTH = 0.05
_CONFIDENCE = ((0.9, "almost certain"), (0.7, "likely"), (0.5, "more likely than not"))
#: What was counted between two looks, if it has to do with lost connections.
_SESSIONS = {
    "sessions_abandoned": "abandoned by the client",
    "sessions_fatal": "ended by an error",
    "sessions_killed": "ended by somebody",
}
_KERNEL = {
    "TCPAbortOnTimeout": ("connection", "given up because nobody answered"),
    "TCPTimeouts": ("packet", "sent again for want of an answer"),
    "ListenOverflows": ("connection attempt", "dropped because the queue of the listener was full"),
}


class Cause(t.NamedTuple):
    """One of the causes, and the facts under it."""

    id: str
    title: str
    facts: list[Fact]


def head(result: Result) -> str:
    """What was looked at."""
    sources = result.get("sources", {})
    server, seen = result["server"], result["connections"]
    parts = [f"PostgreSQL {server['version'].split()[0]}"] if server else []
    if result["look"] and not server:
        parts.append("no PostgreSQL server here")
    if sources.get("logs"):
        parts.append(_counted(len(sources["logs"]), "log file"))
    if sources.get("captures"):
        sides = ", ".join(dict.fromkeys(one["side"] for one in sources["captures"]))
        parts.append(f"{_counted(len(sources['captures']), 'capture')} ({sides})")
    if sources.get("logs") or seen["seen"]:
        kinds = (("normal_closes", "closed normally"), ("empty", "without a login"))
        some = "".join(f", {seen[key]} {how}" for key, how in kinds if seen[key])
        parts.append(f"{_counted(seen['seen'], 'connection')} logged{some}")
    return "; ".join(parts) or "counters alone"


def verdict(result: Result) -> str | None:
    """That nothing is wrong, as far as that can be said; None if something is."""
    if not result["healthy"]:
        return None
    return "nothing wrong in what could be read" if result["problems"] else "nothing wrong"


def causes(result: Result, most_texts: int) -> list[Cause]:
    """The harmful ones, ranked, with *most_texts* lines of evidence."""
    losses: dict[str, list[Row]] = {}
    for loss in result["losses"]:
        losses.setdefault(loss["cause"], []).append(loss)
    return [
        Cause(row["cause"], row["title"], list(_facts(row, losses.get(row["cause"], []), most_texts)))
        for row in result["causes"]
        if not row["harmless"]
    ]


def _facts(row: Row, losses: list[Row], most_texts: int) -> t.Iterator[Fact]:
    when = span(row["first"], row["last"])
    yield "seen", f"{_counted(row['count'], 'connection')}, {when}" if when else _counted(row["count"], "connection")
    yield "confidence", f"{confidence(row['confidence'])} ({row['confidence']:.2f})"
    if row["clients"]:
        yield "clients", _listed([f"{one['address']} ({one['count']})" for one in row["clients"]])
    against = collections.Counter(text for loss in losses for text in loss["evidence_against"])
    for label, texts in (("for", row["evidence_for"]), ("against", [text for text, _count in against.most_common()])):
        yield from ((label, text) for text in _different(texts)[:most_texts])
    others = _alternatives(losses)
    if others:
        yield "may also be", ", ".join(f"{cause} ({value:.2f})" for cause, value in others)
    if row["devices"]:
        yield "such an idle limit", "; ".join(row["devices"])
    yield from (("would tell", text) for text in row["missing_evidence"][:most_texts])
    yield "remedy", row["remedy"]
    keys = [name for name in row["prevented_by"] if name in KEYS]
    settings = [name for name in row["prevented_by"] if name not in KEYS]
    if keys:
        yield "prevented by", f"{', '.join(keys)} of harden_policy"
    if settings:
        yield "prevented by", f"{', '.join(settings)} of the client"


def _different(texts: list[str]) -> list[str]:
    """Those that differ in more than their numbers, such as the line of the log."""
    kinds: dict[str, str] = {}
    for text in texts:
        kinds.setdefault(re.sub(r"\d+", "", text), text)
    return list(kinds.values())


def _alternatives(losses: list[Row]) -> list[tuple[str, float]]:
    """The causes that the losses may have instead, with their confidence on average."""
    sums: dict[str, float] = {}
    for loss in losses:
        for one in loss["alternatives"]:
            sums[one["cause"]] = sums.get(one["cause"], 0.0) + one["confidence"] / len(losses)
    ranked = sorted(sums.items(), key=lambda row: -row[1])[:MOST]
    return [(cause, value) for cause, value in ranked if value >= _WORTH]


def remarks(result: Result) -> list[Fact]:
    """What else was seen: open sessions, counters, standbys, this host; what could not be read; what is harmless."""
    suspects = [("open session", _suspect(one)) for one in result["suspects"]]
    more = [("open sessions", f"{len(suspects) - MOST} more like these")] if len(suspects) > MOST else []
    facts = [*suspects[:MOST], *more, *_rates(result["statistics"] or {})]
    for one in result["standbys"]:
        if (one["silent"] or 0) >= _SILENT_STANDBY:
            who = f"{one['application_name']} ({one['address'] or 'Unix socket'})"
            facts.append(("standby", f"{who} has not replied for {human(one['silent'])}"))
    facts += [("as a client", text) for row in result.get("sockets", []) for text in _socket(row)]
    if result["look"]:  # else the host only read what others had sent
        facts += [("this host may answer late", reason) for reason in result["host"]["reasons"]]
    facts += [("problem", text) for text in result["problems"]]
    facts += [("not in a log", text) for text in result.get("missing_evidence", [])]
    noise = ", ".join(_counted(row["count"], _noise(row["cause"])) for row in result["causes"] if row["harmless"])
    return [*facts, ("harmless", noise)] if noise else facts


def _socket(row: Row) -> t.Iterator[str]:
    """What is worth a word of the connections to a server."""
    server = f"to {endpoint(row['address'], row['port'])}"
    if row["closed_by_server"]:
        yield f"{_counted(row['closed_by_server'], 'connection')} {server} that it has closed, and the program here not"
    if row["connecting"]:
        yield f"{_counted(row['connecting'], 'connection attempt')} {server} without an answer yet"
    if row["unanswered"]:
        yield f"{_counted(row['unanswered'], 'connection')} {server} on which nobody answers"


def _suspect(one: Row) -> str:
    tls = " with TLS" if one["tls"] else ""
    who = f"process {one['pid']}, {one['role']}@{one['database']} from {endpoint(one['address'], one['port'])}{tls}"
    state = f", {one['state']} for {human(one['seconds'])}" if one["state"] else ""
    return f"{who}{state}: {one['evidence']} ({one['cause']})"


def _rates(statistics: Row) -> t.Iterator[Fact]:
    databases = statistics.get("databases", {})
    counted = [
        f"{_counted(row[key], 'session')} of {name} {words}"
        for name, row in databases.items()
        for key, words in _SESSIONS.items()
        if row.get(key)
    ]
    kernel = statistics.get("kernel", {})
    counted += [f"{_counted(kernel[key], noun)} {words}" for key, (noun, words) in _KERNEL.items() if kernel.get(key)]
    if counted:
        yield f"in {human(statistics['seconds'])}", "; ".join(counted)


def _noise(cause: str) -> str:
    return "healthy connection" if cause == "healthy" else cause.replace("_", " ")


def confidence(value: float) -> str:
    """How sure that is, in words."""
    return next((words for least, words in _CONFIDENCE if value >= least), "uncertain")


def endpoint(address: str | None, port: int | None) -> str:
    """The client's end."""
    if not address:
        return "an unknown client" if port is None else f"port {port}"
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}" if port is not None else address


def span(first: float | None, last: float | None) -> str:
    """From when to when; the day is not said twice."""
    start, end = moment(first), moment(last)
    if not (start and end) or start == end:
        return f"{start} UTC" if start else ""
    return f"{start} to {end[11:] if end[:10] == start[:10] else end} UTC"


def moment(seconds: float | None) -> str:
    """Seconds since the epoch in UTC; nothing for a time that a broken capture made up."""
    try:
        when = datetime.datetime.fromtimestamp(seconds or 0, datetime.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return ""
    return when.strftime("%Y-%m-%d %H:%M:%S") if seconds is not None else ""


def _listed(texts: list[str]) -> str:
    more = len(texts) - MOST
    return ", ".join(texts[:MOST]) + (f" and {more} more" if more > 0 else "")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
