# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A case whose idle time was longer: the same packets and lines, with their times moved apart.

A device forgets in the lab after 3 s, so that nobody has to wait; in the world after 240 s and more.
"""

from __future__ import annotations

import datetime
import itertools
import re
import struct
import typing as t
from pathlib import Path

from .capture import matching

Moved = t.Callable[[float], float]

_STAMP = re.compile(r"(?P<stamp>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?P<parts>\.\d{3})?) UTC|^(?P<epoch>\d{10}\.\d{3})", re.M)
_HEADER, _RECORD = 24, struct.Struct("<IIII")


def stretch(source: Path, label: dict[str, t.Any], target: Path, seconds: float) -> None:
    """Write the files of the case *label* below *target*, where the lost connection's longest pause is *seconds*."""
    (lost,) = label["losses"]
    client = next(capture for capture in label["captures"] if capture["side"] == "client")
    moved = _moved(source / client["path"], lost["client"][1], seconds)
    (target / label["case"]).mkdir(parents=True)
    for name in label["log_files"]:
        (target / name).write_text(_log((source / name).read_text(), moved))
    for capture in label["captures"]:
        (target / capture["path"]).write_bytes(_capture((source / capture["path"]).read_bytes(), moved))


def _moved(capture: Path, port: int, seconds: float) -> Moved:
    """Times before the pause stay, those after it come as much later as it is longer, those within are spread."""
    times = [float(line.split()[0]) for line in matching(capture, f"tcp port {port}")]
    pause, began = max((after - before, before) for before, after in itertools.pairwise(times))

    def moved(time: float) -> float:
        return time + (seconds - pause) * min(1.0, max(0.0, (time - began) / pause))

    return moved


def _log(text: str, moved: Moved) -> str:
    def later(found: re.Match[str]) -> str:
        if found["epoch"]:
            return f"{moved(float(found['epoch'])):.3f}"
        when = datetime.datetime.fromisoformat(found["stamp"]).replace(tzinfo=datetime.UTC)
        new = datetime.datetime.fromtimestamp(moved(when.timestamp()), datetime.UTC)
        return f"{new.replace(tzinfo=None).isoformat(' ', 'milliseconds' if found['parts'] else 'seconds')} UTC"

    return _STAMP.sub(later, text)


def _capture(data: bytes, moved: Moved) -> bytes:
    """As tcpdump writes it here: little-endian, with microseconds."""
    out, at = [data[:_HEADER]], _HEADER
    while at < len(data):
        second, microsecond, size, length = _RECORD.unpack_from(data, at)
        new = moved(second + microsecond / 1e6)
        packet = data[at + _RECORD.size : at + _RECORD.size + size]
        out += [_RECORD.pack(int(new), int(new % 1 * 1e6), size, length), packet]
        at += _RECORD.size + size
    return b"".join(out)
