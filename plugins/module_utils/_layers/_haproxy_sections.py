# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy sections room (pure): which sections carry PostgreSQL, and what they come to as a hop of the path."""

from __future__ import annotations

import re
import typing as t

from .._errors import Failure
from .._path._hops import Socket
from . import _haproxy_settings as _settings
from ._haproxycfg import PROXIES, Section

#: PostgreSQL, the next cluster of a host, PgBouncer.
PORTS = (5432, 5433, 6432)

_PORT = re.compile(r"\d+")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def mode(section: Section) -> str:
    """``tcp``, ``http`` or another; HAProxy's own default is tcp."""
    for one in section.lineage():
        said = [line.text(1) for line in one.lines if line.text(0) == "mode"]
        if said:
            return said[-1]
    return "tcp"


def bind_ports(section: Section) -> set[int]:
    """The TCP ports that *section* listens on, as far as the file itself says them."""
    found: set[int] = set()
    for line in _settings.tcp_lines(section, "bind"):
        for address in line.text(1).split(","):
            match = _RANGE.fullmatch(address.rpartition(":")[2])
            if match:
                found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def server_ports(section: Section) -> set[int]:
    """The ports of the servers that *section* connects to."""
    found = set()
    for line in _settings.tcp_lines(section, "server", "server-template"):
        port = line.text(2 if line.text(0) == "server" else 3).rpartition(":")[2]
        if _PORT.fullmatch(port):
            found.add(int(port))
    return found


def targets(config: t.Sequence[Section], section: Section) -> list[Section]:
    """Where connections that *section* has taken go to servers: itself, the backends that it names, or both."""
    found = [section] if _settings.has_servers(section) else []
    if section.kind == "backend":
        return found
    names = _backends(section)
    return found + [one for one in config if one.kind in ("backend", "listen") and one.name in names]


def carrying(config: t.Sequence[Section], names: t.Sequence[str], ports: t.Collection[int]) -> list[Section]:
    """The sections of *config* that carry PostgreSQL: those called *names* and their backends, or else those found.

    Found are sections in TCP mode that listen on one of *ports* or whose servers do, or that check their servers with
    ``option pgsql-check``; then the backends of such frontends, and the frontends of such backends. Raises Failure
    ``no_section``, ``ambiguous_section``, ``no_tcp_section`` or ``conditional_section``.
    """
    proxies = [one for one in config if one.kind in PROXIES]
    if names:
        chosen = [one for name in names for one in _named(proxies, name)]
        chosen += [one for section in list(chosen) for one in targets(proxies, section)]
    else:
        chosen = _found(proxies, ports)
    for section in chosen:
        _check(section)
    return [one for one in proxies if any(one is other for other in chosen)]


def _found(proxies: list[Section], ports: t.Collection[int]) -> list[Section]:
    proxies = [one for one in proxies if mode(one) == "tcp"]
    chosen = [one for one in proxies if _evident(one, ports)]
    if not chosen:
        raise Failure(
            "no_section",
            "finding the sections of HAProxy that carry PostgreSQL",
            f"none in TCP mode has a port of {', '.join(map(str, sorted(ports)))}; there are {_list(proxies)}",
            "Name them (sections), or give their ports (ports).",
        )
    size = 0
    while size < len(chosen):
        size = len(chosen)
        for section in list(chosen):
            _need_names(section, proxies)
            chosen += [one for one in targets(proxies, section) if one not in chosen and one in proxies]
        for section in proxies:
            leads = targets(proxies, section)
            if section in chosen or not any(one in chosen for one in leads):
                continue
            others = [one for one in leads if one not in chosen]
            if others:
                raise _ambiguous(section, f"{_list(leads)}, of which not all are known to carry PostgreSQL", proxies)
            chosen.append(section)
    return chosen


def _evident(section: Section, ports: t.Collection[int]) -> bool:
    lines = [line for one in section.lineage() for line in one.lines]
    checks = any((line.text(0), line.text(1)) == ("option", "pgsql-check") for line in lines)
    by_port = any(port in ports for port in bind_ports(section) | server_ports(section))
    return by_port or (checks and _settings.has_servers(section))


def _need_names(section: Section, proxies: list[Section]) -> None:
    unknown = [name for name in _backends(section) if "%[" in name or "$" in name]
    if unknown:
        raise _ambiguous(section, f"a backend that is known only at run time, {unknown[0]}", proxies)


def _ambiguous(section: Section, leads: str, proxies: list[Section]) -> Failure:
    return Failure(
        "ambiguous_section",
        "finding the sections of HAProxy that carry PostgreSQL",
        f"{section.label} leads to {leads}",
        f"Name those that carry PostgreSQL (sections); there are {_list(proxies)}.",
    )


def _named(proxies: list[Section], name: str) -> list[Section]:
    found = [one for one in proxies if name in (one.name, one.label)]
    if not found:
        raise Failure("no_section", f"the section {name} of HAProxy", "there is none", f"There are {_list(proxies)}.")
    return found


def _check(section: Section) -> None:
    asked = f"hardening the section {section.label} of HAProxy"
    if mode(section) != "tcp":
        found = f"it is in mode {mode(section)}, which PostgreSQL cannot speak"
        raise Failure("no_tcp_section", asked, found, "Name sections in TCP mode only.")
    if any(one.conditional for one in section.lineage()):
        found = "it, or a defaults section that it inherits from, depends on an .if"
        remedy = "Take the .if out of it, or edit that section by hand and name the others (sections)."
        raise Failure("conditional_section", asked, found, remedy)


def _backends(section: Section) -> list[str]:
    """The names of the backends that it hands connections on to; ``default_backend`` may be inherited."""
    found = [line.text(1) for line in section.lines if line.text(0) == "use_backend"]
    for one in section.lineage():
        default = [line.text(1) for line in one.lines if line.text(0) == "default_backend"]
        if default:
            return [*found, default[-1]]
    return found


def _list(sections: t.Iterable[Section]) -> str:
    return ", ".join(one.label for one in sections) or "none"


# ---- as a hop


def client_side(config: t.Sequence[Section], sections: t.Sequence[Section]) -> Socket | None:
    """What counts for clients of *sections*; where they differ, the weakest of each."""
    found = []
    for section in sections:
        if _settings.has_clients(section):
            for line in _settings.tcp_lines(section, "bind"):
                for target in targets(config, section) or [section]:
                    found.append(_socket(section, target, "client", line))
    return _weakest(found)


def server_side(sections: t.Sequence[Section]) -> Socket | None:
    """The same for servers."""
    found = []
    for section in sections:
        if _settings.has_servers(section):
            for line in _settings.tcp_lines(section, "server", "server-template"):
                found.append(_socket(section, section, "server", line))
    return _weakest(found)


def named_servers(sections: t.Iterable[Section]) -> list[str]:
    """The ``server`` lines of *sections* that have a name for their address, and so no user timeout."""
    return [
        f"{section.label}: {line.text(0)} {line.text(1)}"
        for section in sections
        for line in _settings.tcp_lines(section, "server", "server-template")
        if _settings.is_named(line)
    ]


def _socket(section: Section, target: Section, side: str, line: t.Any) -> Socket:
    """*target* is the section with the servers, whose ``timeout tunnel`` counts on both sides."""
    option = "clitcpka" if side == "client" else "srvtcpka"
    keepalive = _settings.effective(section, f"option {option}") == "on"

    def number(where: Section, name: str, divisor: int = 1) -> int:
        value = _settings.effective(where, name)
        return _settings.milliseconds(name, value) // divisor if value else 0

    user_timeout = _settings.user_timeout(section, line)
    return Socket(
        keepalive=keepalive,
        idle=number(section, f"{option}-idle", 1000) if keepalive else 0,
        interval=number(section, f"{option}-intvl", 1000) if keepalive else 0,
        count=int(_settings.effective(section, f"{option}-cnt") or 0) if keepalive else 0,
        user_timeout=_settings.milliseconds("tcp-ut", user_timeout) if user_timeout else 0,
        idle_timeout=number(target, "timeout tunnel") or number(section, f"timeout {side}"),
    )


def _weakest(sockets: list[Socket]) -> Socket | None:
    """Of several: the longest time to notice a loss (0 is the longest), and the shortest to close what idles."""
    if not sockets:
        return None

    def longest(name: str) -> int:
        values = [getattr(one, name) for one in sockets]
        return 0 if 0 in values else max(values)

    return Socket(
        keepalive=all(one.keepalive for one in sockets),
        idle=longest("idle"),
        interval=longest("interval"),
        count=longest("count"),
        user_timeout=longest("user_timeout"),
        idle_timeout=min((one.idle_timeout for one in sockets if one.idle_timeout), default=0),
    )
