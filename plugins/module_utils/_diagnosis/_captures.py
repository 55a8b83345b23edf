# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures: files, directories and patterns to streams of packets; the files of one ring are one stream."""

from __future__ import annotations

import collections
import glob
import os
import re
import typing as t

from . import _packets
from ._packet import Packet

#: How those who capture name the files of a ring, up to the number or time that tells them apart, and behind it.
_RINGS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?P<begins>.*capture-\d{8}T\d{6}Z-\d+-)\d{5}(?P<ends>\.pcap(?:\.gz)?)",  # the module capture
        r"(?P<begins>.*)_\d{5}_\d{14}(?P<ends>\.pcap(?:ng)?(?:\.gz)?)",  # dumpcap -b
        r"(?P<begins>.*?)\d{4}[-_.]?\d\d[-_.]?\d\d(?:[-_.:T]?\d\d){0,3}(?P<ends>\D*)",  # tcpdump -G, with strftime
        r"(?P<begins>.*\.(?:pcap|cap|dump))\d{0,4}(?P<ends>(?:\.gz)?)",  # tcpdump -C and -W
    )
)
#: Packets of several interfaces may be so many seconds out of order.
_DISORDER = 1.0

Stream = t.Tuple[str, str, t.Iterator[Packet]]


def streams(captures: t.Iterable[t.Mapping[str, str]], problems: list[str]) -> t.Iterator[Stream]:
    """Name, side and packets of each stream, to be read in turn; *captures* have a ``path`` and a ``side``."""
    rings: dict[tuple[str, str], list[str]] = {}
    for capture in captures:
        for path in _expanded(capture["path"], problems):
            paths = rings.setdefault((_ring(path), capture["side"]), [])
            if path not in paths:
                paths.append(path)
    for (ring, side), paths in rings.items():
        waiting = collections.deque(sorted(paths, key=_first_time) if len(paths) > 1 else paths)
        while waiting:
            yield ring if len(paths) > 1 else paths[0], side, _following(waiting, problems)


def _expanded(path: str, problems: list[str]) -> list[str]:
    if os.path.isdir(path):
        pattern = os.path.join(glob.escape(path), "*")
    elif glob.has_magic(path) and not os.path.exists(path):
        pattern = path
    else:
        return [path]
    found = sorted(name for name in glob.glob(pattern) if not os.path.isdir(name))
    if not found:
        problems.append(f"{path}: no capture is there")
    return found


def _ring(path: str) -> str:
    """The name of the ring that a file belongs to, or its own."""
    directory, name = os.path.split(path)
    for pattern in _RINGS:
        found = pattern.fullmatch(name)
        if found:
            return os.path.join(directory, f"{found['begins']}*{found['ends']}")
    return path


def _first_time(path: str) -> float:
    return next((packet.time for packet in _packets.packets(path, [])), 0.0)


def _following(waiting: collections.deque[str], problems: list[str]) -> t.Iterator[Packet]:
    """The packets of the next files, as long as each begins where the one before has ended: those are of one ring."""
    last = 0.0
    while waiting:
        packets = _packets.packets(waiting[0], problems)
        first = next(packets, None)
        if first is not None and first.time < last - _DISORDER:
            return
        waiting.popleft()
        if first is None:
            continue
        yield first
        last = max(last, first.time)
        for packet in packets:
            yield packet
            last = packet.time
