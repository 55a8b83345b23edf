# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is as it should be on a member of a Patroni cluster, and would be wrong on any other server."""

from __future__ import annotations

import typing as t

import pytest
from _hosts import CONF, hardened

from ansible_collections.pgharden.connection.plugins.module_utils._audit import _rules

BASE = "/var/lib/postgresql/17/demo/postgresql.base.conf"
MEMBERS = [{"name": name, "own": name == "node-1"} for name in ("node-1", "Node.2", "na\u00efve")]


def line(value: str, file: str = CONF, number: int = 7) -> dict[str, t.Any]:
    return {"value": value, "sourcefile": file, "sourceline": number, "applied": False}


def findings(lines: list[dict[str, t.Any]], passed: str | None = None) -> list[str]:
    host = hardened()
    row = host["settings"]["max_connections"]
    row["layers"]["file"] = lines
    row["shadowed_by"] = [] if passed is None else [{"kind": "command line", "value": passed}]
    return [one.evidence for one in _rules.findings(host, None) if one.id == "PGC101"]


def test_initdbs_own_file_loses_on_purpose() -> None:
    assert findings([line("100", BASE), line("60")]) == []
    assert findings([line("100", BASE), line("60"), line("80")]) == [
        f"{CONF}:7 (60): loses to {CONF}:7 (80), which is read later"
    ]


def test_command_line_that_says_what_the_file_says_hides_nothing() -> None:
    assert findings([line("60")], "60") == []
    assert len(findings([line("60")], "61")) == 1
    assert len(findings([], "60")) == 1


def slots(slot: dict[str, t.Any], in_recovery: bool = True, cluster: t.Any = None) -> list[str]:
    host = hardened()
    host["server"]["in_recovery"] = in_recovery
    host["replication"]["slots"] = [{"slot_type": "physical", "active": False, "retained_bytes": 0, **slot}]
    host["patroni"] = {"cluster": cluster if cluster is not None else {"members": MEMBERS}}
    return [one.where for one in _rules.findings(host, None) if one.id == "PGC506"]


@pytest.mark.parametrize("name", ["node_1", "node_2", "nau0239ve"])
def test_standby_keeps_slots_for_the_other_members(name: str) -> None:
    assert slots({"slot_name": name}) == []
    assert slots({"slot_name": name}, in_recovery=False) == [f"slot {name}"]
    assert slots({"slot_name": name, "slot_type": "logical"}) == [f"slot {name}"]
    assert slots({"slot_name": name}, cluster={}) == [f"slot {name}"]


def test_any_other_slot_is_one_that_nobody_reads() -> None:
    assert slots({"slot_name": "backup"}) == ["slot backup"]
