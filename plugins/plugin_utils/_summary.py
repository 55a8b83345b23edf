# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Summary, on the controller: what came of a play, for people, in at most 100 columns."""

from __future__ import annotations

import textwrap
import typing as t

WIDTH = 100

#: What of the promises is shown: label, phase, fault.
_LINES = (
    ("idle client vanished", "idle", "peer_vanished"),
    ("  its last reply still unacknowledged", "idle_unacknowledged", "peer_vanished"),
    ("  in a transaction", "idle_in_transaction", "peer_vanished"),
    ("  executing or waiting for a lock", "executing", "peer_vanished"),
    ("  being sent a result", "sending", "peer_vanished"),
    ("client killed while executing", "executing", "process_died"),
    ("client never finishes logging in", "authenticating", "peer_vanished"),
)


def lines(results: t.Mapping[str, t.Mapping[str, t.Any]], check_mode: bool = False) -> list[str]:
    """The summary of module results by host; hosts with the same result share one paragraph."""
    paragraphs: dict[tuple[str, ...], list[str]] = {}
    for host, result in results.items():
        paragraphs.setdefault(tuple(_of_host(result, check_mode)), []).append(host)
    text: list[str] = []
    for paragraph, hosts in paragraphs.items():
        head = f"{', '.join(hosts)}: {paragraph[0]}"
        text += [""] if text and len(paragraph) > 1 else []
        text += textwrap.wrap(head, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
        text += paragraph[1:]
        # Each host has others, so that they must not keep it from its group.
        stale = {host: len(_stale(results[host])) for host in hosts} if len(paragraph) > 1 else {}
        if any(stale.values()):
            counts = ", ".join(f"{count} on {host}" for host, count in stale.items() if count)
            end = "they end" if _covered(results[hosts[0]]) else "their client's next message"
            text += _wrapped(f"open sessions on the old socket options until {end}: {counts}")
    return text


def _covered(result: t.Mapping[str, t.Any]) -> str:
    """The databases and roles that were set; nothing where it is the whole server."""
    scope = result.get("scope", {})
    kinds = [(kind, ", ".join(scope[kind])) for kind in ("databases", "roles") if scope.get(kind)]
    return " and ".join(f"{kind} {names}" for kind, names in kinds)


def _stale(result: t.Mapping[str, t.Any]) -> list[t.Mapping[str, t.Any]]:
    """Sessions that still run on old socket options."""
    ended = set(result.get("terminated", []))
    return [one for one in result.get("stale_sessions", []) if one["pid"] not in ended]


def _of_host(result: t.Mapping[str, t.Any], check_mode: bool) -> list[str]:
    if result.get("failed") or result.get("skipped"):
        return ["failed, see above" if result.get("failed") else "skipped"]
    changed = sum(len(rows) for rows in result.get("changes", {}).values())
    after = _by_key(result, "after")
    if not changed:
        return [_unchanged(result, after)]
    text = [f"{changed} {'value' if changed == 1 else 'values'} {'would change' if check_mode else 'changed'}"]
    before = _by_key(result, "before")
    covered = _covered(result)
    if covered:
        text += _wrapped(f"for sessions of {covered} only:")
    for label, phase, fault in _LINES:
        if (phase, fault) in after:
            text.append(_promise(label, before[phase, fault], after[phase, fault]))
    for place, rows in result["changes"].items():
        values = ", ".join(f"{row['name']} = {_shown(row['after'])}" for row in rows)
        text += _wrapped(f"{place}: {values}")
    return [*text, *_remarks(result)]


def _unchanged(result: t.Mapping[str, t.Any], after: t.Mapping[tuple[str, str], t.Any]) -> str:
    """One line: the run that changed something has told the rest."""
    covered = _covered(result)
    parts = [f"nothing to change, for sessions of {covered} only" if covered else "nothing to change"]
    idle = after.get(("idle", "peer_vanished"))
    if idle:
        parts.append(f"an idle client that vanished is noticed after {idle['text']}")
    if result.get("server_down"):
        parts.append("the server is down")
    for title, names in (
        ("not possible here", [row["setting"] for row in result.get("unsupported", [])]),
        ("not kept", [row["key"] for row in result.get("not_kept", [])]),
        ("outranked", list(result.get("shadowed", {}))),
        ("to be restarted for", result.get("restart_required", [])),
    ):
        if names:
            parts.append(f"{title}: {', '.join(dict.fromkeys(names))}")
    return "; ".join(parts)


def _promise(label: str, before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> str:
    worst = "" if after["bound"] is None else f"  (at worst {_seconds(after['bound'])})"
    return f"  {label:<38} {before['text']:>12} → {after['text']}{worst}"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s"


def _shown(value: str | None) -> str:
    return "(not set)" if value is None else value


def _by_key(result: t.Mapping[str, t.Any], when: str) -> dict[tuple[str, str], t.Any]:
    return {(row["phase"], row["fault"]): row for row in result.get("promises", {}).get(when, [])}


def _remarks(result: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    """What a user has to know beyond the figures; nothing where all is well."""
    if result.get("server_down"):
        yield from _wrapped("the server is down: only its configuration file was changed, and nothing is proved")
    reasons: dict[str, list[str]] = {}
    for row in result.get("unsupported", []):
        reasons.setdefault(row["reason"], []).append(row["setting"])
    for reason, names in reasons.items():
        yield from _wrapped(f"not possible here: {', '.join(names)}: {reason}")
    kept: dict[str, t.Any] = {}
    for row in result.get("not_kept", []):
        kept.setdefault(row["key"], row)
    for key, row in kept.items():
        phase = f" ({row['phase'].replace('_', ' ')})" if row["phase"] else ""
        yield from _wrapped(f"not kept: {key} {row['wanted']}: {row['promised']}{phase}")
    for name, shadows in result.get("shadowed", {}).items():
        for one in shadows:
            where = one.get("role") or one.get("database") or one.get("sourcefile") or ""
            yield from _wrapped(f"outranked: {name} is {one['value']} by {one['kind']} {where}".rstrip())
    yield from (line for note in result.get("notes", []) for line in _wrapped(note))
    ended = len(result.get("terminated", []))
    if ended:
        yield from _wrapped(f"{ended} stale {'session was' if ended == 1 else 'sessions were'} ended")
    for name in result.get("restart_required", []):
        yield from _wrapped(f"takes effect after a restart of the server: {name}")
    for text in result.get("skipped_entries", []):
        yield from _wrapped(f"skipped: {text}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
