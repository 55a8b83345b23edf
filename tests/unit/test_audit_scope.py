# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what an audit says of a host whose databases or roles were hardened, and not the whole server."""

from __future__ import annotations

import copy
import typing as t

from _hosts import Facts, hardened, profile, setting

from ansible_collections.pgharden.connection.plugins.module_utils._audit import _rules, _scope
from ansible_collections.pgharden.connection.plugins.plugin_utils import _audit_data

WEB = profile("web")
#: What no database can have.
LEFT = ("authentication_timeout", "wal_sender_timeout", "wal_receiver_timeout")


def only(databases: t.Sequence[str] = (), roles: t.Sequence[str] = (), major: int = 17) -> Facts:
    """A server as it is after initdb, and the plan of profile web in these databases and roles."""
    facts = hardened(major=major)
    names = [name for name, row in facts["settings"].items() if row["source"] == "configuration file"]
    wanted = {name: facts["settings"][name]["value"] for name in names if name not in LEFT}
    for name in names:
        default = {"authentication_timeout": "60", "wal_sender_timeout": "60000", "wal_receiver_timeout": "60000"}
        unit = facts["settings"][name]["unit"]
        facts["settings"][name] = {**setting(name, default.get(name, "0"), "default"), "unit": unit}
    for name, value in wanted.items():
        layers = facts["settings"][name]["layers"]
        layers["database"] += [{"database": one, "value": value} for one in databases]
        layers["role"] += [{"role": one, "value": value} for one in roles]
    for name, row in facts["settings"].items():
        facts["effective"]["settings"].update({name: row["value"]} if name in facts["effective"]["settings"] else {})
    missing = {"layer": "server", "setting": LEFT[0], "key": "connect_within", "reason": "it is the server's"}
    facts["hardened"] = {
        "time": "2026-11-23T06:00:00Z",
        "profile": "web",
        "settings": {"server": wanted, "os": {}},
        "scope": {"databases": list(databases), "roles": list(roles), "unsupported": [missing]},
    }
    names = ["postgres", *databases]
    row = facts["sessions"]["databases"][0]
    facts["sessions"]["databases"] = [{**row, "datname": name} for name in names]
    return facts


def found(facts: Facts) -> list[tuple[str, str]]:
    return [(one.id, one.where) for one in _rules.findings(facts, WEB)]


def drift(facts: Facts) -> list[dict[str, t.Any]]:
    report = _audit_data.of_host(facts, _audit_data.Asked(WEB, []))
    return t.cast("list[dict[str, t.Any]]", report["drift"]["settings"])


def test_a_host_that_is_hardened_as_a_whole_is_seen_as_it_is() -> None:
    facts = hardened()
    assert _scope.views(facts) == [facts]
    noted = {**facts, "hardened": {"time": "", "profile": "web", "settings": {"server": {}, "os": {}}, "scope": None}}
    assert _scope.views(noted) == [noted]
    down = {"server": None, "settings": {}, "hardened": only(["shop"])["hardened"]}
    assert _scope.views(down) == [down]


def test_databases_that_were_hardened_are_judged_by_what_they_have() -> None:
    for facts in (only(["shop"]), only(["shop", "reports"]), only(roles=["app"]), only(["shop"], ["app"])):
        assert len(_scope.views(facts)) == 1
        assert found(facts) == [("PGC141", "connect_within")]
        assert drift(facts) == []
    untold = copy.deepcopy(only(["shop"]))
    untold["hardened"] = None
    assert {"PGC124", "PGC140", "PGC102"} <= {id for id, _where in found(untold)}


def test_what_one_of_them_lost_is_told_with_its_place() -> None:
    facts = only(["shop", "reports"])
    layers = facts["settings"]["tcp_user_timeout"]["layers"]
    layers["database"] = [one for one in layers["database"] if one["database"] != "shop"]
    assert len(_scope.views(facts)) == 2
    assert drift(facts) == [{"name": "tcp_user_timeout", "wanted": "71s", "found": "0", "where": "database shop"}]
    assert ("PGC124", "tcp_user_timeout") in found(facts)
    # Another value there is one of its own again.
    layers["database"].append({"database": "shop", "value": "1min"})
    assert [row["found"] for row in drift(facts)] == ["60s"]
    assert ("PGC102", "tcp_user_timeout") in found(facts)
    # Of what this login cannot see nothing is said.
    layers["database"] = []
    facts["settings"]["tcp_user_timeout"]["value"] = None
    assert drift(facts) == []


def test_overrides_of_others_stay_and_dropped_databases_are_forgotten() -> None:
    facts = only(["shop", "gone"])
    facts["settings"]["tcp_user_timeout"]["layers"]["role"].append({"role": "backup", "value": "10min"})
    for row in facts["settings"].values():
        row["layers"]["database"] = [one for one in row["layers"]["database"] if one["database"] != "gone"]
    facts["sessions"]["databases"] = [one for one in facts["sessions"]["databases"] if one["datname"] != "gone"]
    assert drift(facts) == []
    assert ("PGC102", "tcp_user_timeout") in found(facts)
    # Where statistics may not be seen nobody knows which databases there are.
    facts["sessions"]["databases"] = []
    assert {row["where"] for row in drift(facts)} == {"database gone"}


def test_a_databases_value_outranks_the_command_line_and_needs_no_loading() -> None:
    facts = only(["shop"])
    row = facts["settings"]["tcp_user_timeout"]
    row["shadowed_by"] = [{"kind": "command line", "value": "5"}]
    row["source"], row["layers"]["file"] = "configuration file", [{"value": "0", "sourcefile": "/c", "sourceline": 1}]
    row["layers"]["session"] = {"value": "0", "source": "configuration file"}
    assert found(facts) == [("PGC141", "connect_within")]
    (view,) = _scope.views(facts)
    row["shadowed_by"].append({"kind": "override", "value": "7"})
    (view,) = _scope.views(facts)
    assert [one["kind"] for one in view["settings"]["tcp_user_timeout"]["shadowed_by"]] == ["override"]
    # What is no number is seen as it is.
    row["layers"]["database"][0]["value"] = "soon"
    (view,) = _scope.views(facts)
    assert view["settings"]["tcp_user_timeout"]["value"] == "soon"
