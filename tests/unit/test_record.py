# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of records, as far as several of one host meet; what is put back is tested with revert."""

from __future__ import annotations

import copy
import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils import _record

TIME, COUNT = "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_probes"


def of_kernel(when: float | None, content: str | None, hashes: list[str], **live: str) -> dict[str, t.Any]:
    names = {"time": TIME, "count": COUNT}
    entry: dict[str, t.Any] = {
        "layer": "os",
        "sysctl_file": "/etc/sysctl.d/90-pgharden-connection.conf",
        "content": content,
        "mode": None,
        "directory": True,
        "live": {names[key]: {"value": value} for key, value in live.items()},
        "sha256": hashes,
    }
    return entry if when is None else {**entry, "time": when}


PROGRAM = {"layer": "client", "files": {}, "options": {}}


def test_the_kernel_goes_back_to_what_the_first_of_several_programs_found() -> None:
    harden = of_kernel(1.0, None, ["none", "first"], time="7200")
    client = of_kernel(2.0, "Zmlyc3Q=", ["first", "second"], time="60", count="9")
    for records in ([[harden], [PROGRAM, client]], [[PROGRAM, client], None, [harden]]):
        program, together = sorted(_record.together(copy.deepcopy(records)), key=lambda entry: entry["layer"])
        assert program == PROGRAM
        assert together["live"] == {TIME: {"value": "7200"}, COUNT: {"value": "9"}}
        assert (together["content"], together["sha256"]) == (None, ["first", "second"])


def test_an_entry_of_before_entries_had_a_time_is_the_oldest() -> None:
    older, newer = of_kernel(None, None, ["a", "b"], time="7200"), of_kernel(5.0, None, ["x", "c"], time="60")
    (together,) = _record.together([[newer], [older]])
    assert together["live"] == {TIME: {"value": "7200"}}
    # Somebody else wrote the file between the two: it is not put back whole.
    assert together["sha256"] == []
