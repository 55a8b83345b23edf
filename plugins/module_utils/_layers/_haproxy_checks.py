# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy checks room (pure): how the sections that carry PostgreSQL find out which of their servers they may use."""

from __future__ import annotations

import typing as t

from .._path._hops import Checks
from . import _haproxy_settings as _settings
from ._haproxycfg import Line, Section, known

#: HAProxy's own inter, fall and rise.
_INTER, _FALL, _RISE = "2s", 3, 2
_KINDS = {"pgsql-check": "pgsql", "tcp-check": "tcp", "external-check": "other"}
#: Arguments of a server that have a value, and those that have none.
_VALUES = ("inter", "fall", "rise", "port", "on-marked-down", "track")
_FLAGS = {"check": "yes", "no-check": "no", "agent-check": "agent"}


def checks(sections: t.Iterable[Section]) -> tuple[Checks, ...]:
    """Of each section that has servers. Raises Failure ``unknown_variable``."""
    return tuple(_of_section(one) for one in sections if _settings.has_servers(one))


def _of_section(section: Section) -> Checks:
    lines = _settings.tcp_lines(section, "server", "server-template")
    defaults: dict[str, str] = {}
    for one in reversed(list(section.lineage())):
        for line in one.lines:
            if line.text(0) == "default-server":
                defaults.update(_arguments(line, 1, section))
    servers = [{**defaults, **_arguments(line, 3 + (line.text(0) != "server"), section)} for line in lines]
    kind, uri, port = _asked(section)
    if any("track" in one or "agent-check" in one for one in servers):
        kind = "other"
    elif not all(one.get("check") == "yes" for one in servers):
        kind = "none"
    interval = max((_settings.milliseconds("inter", one.get("inter", _INTER)) for one in servers), default=0)
    return Checks(
        section=section.label,
        servers=sum(map(_count, lines)),
        kind=kind,
        uri=uri,
        ports=tuple(sorted({port or _number(one.get("port"), _own_port(line)) for one, line in zip(servers, lines)})),
        interval=interval,
        fall=max((_number(one.get("fall"), _FALL) for one in servers), default=_FALL),
        rise=max((_number(one.get("rise"), _RISE) for one in servers), default=_RISE),
        patience=_patience(section, interval),
        ends_sessions=all(one.get("on-marked-down") == "shutdown-sessions" for one in servers),
    )


def _arguments(line: Line, first: int, section: Section) -> dict[str, str]:
    """What *line* says of checks, from its word *first* on."""
    found: dict[str, str] = {}
    for index in range(first, len(line.words)):
        name = line.text(index)
        if name in _FLAGS:
            found["agent-check" if name == "agent-check" else "check"] = _FLAGS[name]
        elif line.text(index - 1) in _VALUES:
            found[line.text(index - 1)] = known(line.words[index], f"{section.label}: {line.text(index - 1)}")
    return found


def _number(value: str | None, default: int) -> int:
    return int(value) if value and value.isdigit() else default


def _count(line: Line) -> int:
    """How many servers it stands for: ``server-template name 3 host``, or ``1-3``."""
    if line.text(0) == "server":
        return 1
    first, _dash, last = line.text(2).rpartition("-")
    return max(1, _number(last, 1) - _number(first, 1) + 1)


def _own_port(line: Line) -> int:
    return _number(line.text(2 if line.text(0) == "server" else 3).rpartition(":")[2], 0)


def _asked(section: Section) -> tuple[str, str, int]:
    """The kind of the check, the URI and the port that its rules name; the nearest ``option`` counts."""
    kind, uri, port, scripted = "tcp", "", 0, False
    for line in (line for one in reversed(list(section.lineage())) for line in one.lines):
        words = [word.text for word in line.words]
        if words[0] == "option" and words[1:2]:
            if words[1] == "httpchk":
                # [method] URI [version]
                kind, uri = "http", words[2] if len(words) == 3 else (words[3:] or ["/"])[0]
            elif words[1] in _KINDS:
                kind = _KINDS[words[1]]
        elif words[0] in ("http-check", "tcp-check"):
            scripted = scripted or words[:2] == ["tcp-check", "expect"]
            named = dict(zip(words[2:], words[3:]))
            uri = named.get("uri", uri)
            port = _number(named.get("port"), port)
    return ("other" if scripted and kind == "tcp" else kind), uri, port


def _patience(section: Section, interval: int) -> int:
    """For how long HAProxy waits for a server that does not even accept: inter, or ``timeout connect`` if shorter.

    The latter only where there is a ``timeout check``, which is for the answer then.
    """
    connect = _settings.effective(section, "timeout connect")
    has_own = any(
        (line.text(0), line.text(1)) == ("timeout", "check") for one in section.lineage() for line in one.lines
    )
    return min(_settings.milliseconds("timeout connect", connect), interval) if connect and has_own else interval
