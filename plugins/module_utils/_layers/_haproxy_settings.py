# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy settings room (pure): the managed settings of one section, as it has them, as they count, and their edits.

A setting is called as in HAProxy's manual (``timeout client``); the argument ``tcp-ut`` of a line also after that line
(``bind :5432 tcp-ut``, ``server one tcp-ut``). An ``option`` is ``on`` or ``off``.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from .._errors import Failure
from . import _haproxycfg
from ._haproxycfg import Edit, Line, Section

_SIDES = {"client": "clitcpka", "server": "srvtcpka"}
CLIENT = ("option clitcpka", "clitcpka-idle", "clitcpka-intvl", "clitcpka-cnt", "timeout client", "timeout client-fin")
SERVER = (
    *("option srvtcpka", "srvtcpka-idle", "srvtcpka-intvl", "srvtcpka-cnt"),
    *("timeout connect", "timeout server", "timeout server-fin", "timeout tunnel"),
)
#: Every name that a plan or an operator may give a value.
NAMES = (*CLIENT, *SERVER, "tcp-ut")

#: What Linux takes on a socket (include/net/tcp.h: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT).
_MOST_SECONDS, _MOST_PROBES = 32767, 127

_UNITS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIME = re.compile(r"(\d+)(us|ms|s|m|h|d)?")
_NO_TCP = re.compile(r"/|(?:unix|abnsz?|fd|sockpair|udp[46]?|quic[46]|rev)@")
#: The word with the address, by the first word of the line.
_ADDRESS = {"bind": 1, "server": 2, "server-template": 3}

#: Values of one section: None is not set there.
Values = t.Dict[str, t.Optional[str]]


def milliseconds(name: str, value: str) -> int:
    """A time as HAProxy reads it: without a unit seconds for keepalive and milliseconds elsewhere."""
    match = _TIME.fullmatch(value)
    if not match:
        raise Failure(
            "bad_time",
            f"{name} {value}",
            "this is no time of HAProxy",
            "Write a whole number and us, ms, s, m, h or d.",
        )
    return round(int(match[1]) * _UNITS[match[2] or ("s" if "tcpka-" in name else "ms")])


def normal(settings: t.Mapping[str, str]) -> dict[str, str]:
    """The settings of a plan or an operator, checked: options become ``on`` or ``off``."""
    found = {}
    for name, value in settings.items():
        if name not in NAMES:
            remedy = f"There are {', '.join(NAMES)}."
            raise Failure("bad_setting", f"set {name}", "this is no setting of HAProxy that is managed", remedy)
        if name.startswith("option "):
            found[name] = "off" if value.lower() in ("off", "no", "false", "0") else "on"
        else:
            _check_number(name, value)
            found[name] = value
    return found


def _check_number(name: str, value: str) -> None:
    """HAProxy does not look whether the kernel takes the values of keepalive; one that it refuses stays as it was."""
    if name.endswith("-cnt"):
        number, most = (int(value) if value.isdigit() else 0), _MOST_PROBES
    else:
        number, most = milliseconds(name, value), _MOST_SECONDS * 1000
    if "tcpka-" in name and not 0 < number <= most:
        remedy = f"Linux takes 1 to {_MOST_SECONDS} s and 1 to {_MOST_PROBES} probes."
        raise Failure("bad_setting", f"{name} {value}", "the kernel would refuse this number", remedy)


def same(name: str, one: str | None, other: str | None) -> bool:
    """Whether HAProxy would not know the difference between two values."""
    if one is None or other is None or name.startswith("option ") or name.endswith("-cnt"):
        return one == other
    return milliseconds(name, one) == milliseconds(name, other)


def has_clients(section: Section) -> bool:
    """Whether clients connect to it."""
    return section.kind in ("frontend", "listen")


def has_servers(section: Section) -> bool:
    """Whether it connects to servers; a ``listen`` may only hand on to backends."""
    if section.kind == "listen":
        return any(line.text(0) in ("server", "server-template") for line in section.lines)
    return section.kind == "backend"


def tcp_lines(section: Section, *words: str) -> list[Line]:
    """The lines of *section* with one of these first *words* that are about TCP, not about Unix sockets."""
    found = []
    for line in section.lines:
        if line.text(0) in words:
            addresses = line.text(_ADDRESS[line.text(0)]).split(",")
            if not all(_NO_TCP.match(address) for address in addresses):
                found.append(line)
    return found


def own(section: Section, names: t.Container[str]) -> dict[str, str]:
    """What *section* itself sets of *names*, by the last of its lines; without what it inherits."""
    found = {}
    for line in section.lines:
        for name, value in _said(line).items():
            if name in names:
                found[name] = value(section)
        word = _argument(line, "tcp-ut")
        if word is not None and "tcp-ut" in names:
            name = _called(line)
            found[name] = _haproxycfg.known(line.words[word], f"{section.label}: {name}")
    return found


def effective(section: Section, name: str) -> str | None:
    """The value that counts in *section*: its own, or the one it inherits. Not for ``tcp-ut``."""
    for one in section.lineage():
        values = own(one, (name,))
        if name in values:
            return values[name]
    return None


def user_timeout(section: Section, line: Line) -> str | None:
    """The ``tcp-ut`` that counts for a ``bind`` or ``server`` *line* of *section*.

    Where a server has no address yet when HAProxy reads the argument, it is accepted but never reaches the socket: in
    ``default-server``, and where the address is a name (`srv_parse_tcp_ut`; measured with 2.4 to 3.2).
    """
    word = None if is_named(line) else _argument(line, "tcp-ut")
    return None if word is None else _haproxycfg.known(line.words[word], f"{section.label}: {_called(line)}")


def is_named(line: Line) -> bool:
    """Whether a ``server`` line has a name for its address, which HAProxy looks up after it has read the line."""
    word = _ADDRESS[line.text(0)]
    if line.text(0) == "bind" or len(line.words) <= word or line.words[word].variable:
        return False
    address = line.text(word).rpartition("@")[2]
    return not any(map(_is_number, (address, address.rpartition(":")[0]))) and address[:1] not in (":", "*")


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def edits_needed(section: Section, settings: t.Mapping[str, str]) -> Values:
    """The values of its own that *section* needs for *settings* (`normal`) to count in it."""
    names = [*(CLIENT if has_clients(section) else ()), *(SERVER if has_servers(section) else ())]
    found: Values = {}
    for name in names:
        now = effective(section, name) if name in settings else None
        if name == "timeout tunnel" and now is None:
            continue  # there client and server timeout count
        if name in settings and not same(name, now, settings[name]) and not (now is None and settings[name] == "off"):
            found[name] = settings[name]
    wanted = settings.get("tcp-ut")
    for line in tcp_lines(section, "bind", "server", "server-template") if wanted else ():
        if not is_named(line) and not same("tcp-ut", user_timeout(section, line), wanted):
            found[_called(line)] = wanted
    return found


def edits(section: Section, data: bytes, values: Values) -> list[Edit]:
    """What to edit in *data*, the file of *section*, for it to have *values* of its own, or with None not to."""
    found: list[Edit] = []
    place, before, after = _haproxycfg.end_of_settings(section, data)
    # Arguments first: a last line that has no end is also where new lines begin.
    for name, value in sorted(values.items(), key=lambda row: not row[0].endswith(" tcp-ut")):
        if name.endswith(" tcp-ut"):
            found += _edits_of_argument(section, name, value)
            continue
        lines = [line for line in section.lines if name in _said(line)]
        if value is None:
            # ``option tcpka`` is more than this one option, and none of ours
            found += [Edit(line.start, line.end, "") for line in lines if line.text(1) != "tcpka"]
        elif not lines or (name.startswith("option ") and lines[-1].text(1) == "tcpka"):
            if not lines or value == "off":
                found.append(Edit(place, place, f"{before}{_spelled(name, value)}{after}"))
                before = before.lstrip("\r\n")
        elif name.startswith("option "):
            first, second = lines[-1].words[0], lines[-1].words[1]
            if (first.text == "option") != (value == "on"):
                found.append(
                    Edit(first.start, second.start if value == "on" else first.start, "" if value == "on" else "no ")
                )
        else:
            word = lines[-1].words[len(name.split())]
            if not same(name, _haproxycfg.known(word, f"{section.label}: {name}"), value):
                found.append(Edit(word.start, word.end, value))
    return found


def _said(line: Line) -> dict[str, t.Callable[[Section], str]]:
    """The managed settings that *line* is about; a value is read only where it is wanted."""
    off = line.text(0) in ("no", "default")
    texts = [line.text(index) for index in range(3)]
    first, second = texts[off : off + 2]
    if first == "option":
        value = "off" if off else "on"
        sides = [side for side in _SIDES.values() if second in (side, "tcpka")]
        return {f"option {side}": (lambda section: value) for side in sides}
    name = f"{first} {second}" if first == "timeout" else first
    word = len(name.split())
    if name in NAMES and not off and len(line.words) > word:
        return {name: lambda section: _haproxycfg.known(line.words[word], f"{section.label}: {name}")}
    return {}


def _argument(line: Line, keyword: str) -> int | None:
    """Which word of a ``bind`` or ``server`` line is the value of its argument *keyword*: the last one counts."""
    first = _ADDRESS.get(line.text(0))
    if first is None:
        return None
    at = [index for index, word in enumerate(line.words[:-1]) if index > first and word.text == keyword]
    return at[-1] + 1 if at else None


def arguments(section: Section) -> set[str]:
    """The names that the argument tcp-ut has, or would have, in the lines of *section*."""
    return {_called(line) for line in section.lines if line.text(0) in _ADDRESS}


def _called(line: Line) -> str:
    """The name of the argument tcp-ut of *line*."""
    return f"{line.text(0)} {line.text(1)} tcp-ut"


def _edits_of_argument(section: Section, name: str, value: str | None) -> list[Edit]:
    found = []
    for line in section.lines:
        if line.text(0) not in _ADDRESS or _called(line) != name:
            continue
        at = _argument(line, "tcp-ut")
        if at is None:
            end = line.words[-1].end
            found += [] if value is None else [Edit(end, end, f" tcp-ut {value}")]
        elif value is None:
            found.append(Edit(line.words[at - 2].end, line.words[at].end, ""))
        elif not same("tcp-ut", _haproxycfg.known(line.words[at], f"{section.label}: {name}"), value):
            found.append(Edit(line.words[at].start, line.words[at].end, value))
    return found


def _spelled(name: str, value: str) -> str:
    if name.startswith("option "):
        return name if value == "on" else f"no {name}"
    return f"{name} {value}"
