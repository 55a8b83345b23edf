# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the path's report and table, and of the filter hop_policy."""

from __future__ import annotations

import copy
import typing as t

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.pgharden.connection.plugins.filter.hop_policy import FilterModule
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.plugin_utils import _path_report, _path_table

HOPS: list[dict[str, t.Any]] = [
    {"kind": "client", "group": "applications", "driver": "psycopg2", "path_idle_limit": "240s"},
    {"kind": "haproxy", "group": "proxies", "age_limit": "1d"},
    {"kind": "pgbouncer", "group": "poolers", "unix_socket": True},
    {"kind": "server", "group": "databases"},
]
SOCKET = {"idle": 45, "interval": 9, "count": 4, "user_timeout": 81_000}
BOTH = {"client_side": SOCKET, "server_side": SOCKET}
SERVER = {"tcp_keepalives_idle": 45, "tcp_keepalives_interval": 9, "tcp_keepalives_count": 4}
RESULTS: list[dict[str, dict[str, t.Any]]] = [
    {"app1": {"hop": {"kind": "client", "server_side": SOCKET}}},
    {"lb1": {"hop": {"kind": "haproxy", **BOTH}}, "lb2": {"hop": {"kind": "haproxy", **BOTH}}},
    {"pool1": {"hop": {"kind": "pgbouncer", **BOTH, "max_age": 3_600_000}}},
    {"db1": {"hop": {"kind": "server", "settings": {**SERVER, "client_connection_check_interval": 8000}}}},
]


def seconds(report: dict[str, t.Any], lost: str, end: str, phase: str) -> float | None:
    (row,) = (row for row in report["promises"] if (row["lost"], row["end"], row["phase"]) == (lost, end, phase))
    return t.cast("float | None", row["seconds"])


def test_a_path_of_equal_hosts() -> None:
    report = _path_report.report(HOPS, RESULTS)
    assert seconds(report, "client applications", "backend", "idle") == 81
    assert seconds(report, "client applications", "backend", "executing") == 89
    assert [finding["id"] for finding in report["findings"]] == ["PGC406"]
    assert report["hops"][1]["hosts"] == [{"host": "lb1", "in_force": True}, {"host": "lb2", "in_force": True}]


def test_of_hosts_that_differ_the_worst_counts_and_is_named_in_findings() -> None:
    results = copy.deepcopy(RESULTS)
    results[1]["lb2"]["hop"]["client_side"] = {**SOCKET, "keepalive": False}
    report = _path_report.report(HOPS, results)
    assert seconds(report, "client applications", "backend", "idle") is None
    assert seconds(report, "pgbouncer poolers", "client", "idle") == 81
    finding = report["findings"][0]
    assert (finding["id"], finding["where"]) == ("PGC407", "haproxy lb2, client side")


def test_a_host_without_a_result_does_not_hide_the_others() -> None:
    results = copy.deepcopy(RESULTS)
    results[1]["lb2"] = {"failed": True}
    text = "\n".join(_path_table.lines(_path_report.report(HOPS, results)))
    assert "without a result, and so not in these figures: lb2" in text


def test_a_hop_without_a_result_leaves_what_the_others_promise() -> None:
    results = [*RESULTS[:1], {"lb1": {}}, *RESULTS[2:]]
    report = _path_report.report(HOPS, results)
    assert seconds(report, "haproxy proxies", "backend", "idle") == 81
    assert seconds(report, "haproxy proxies", "client", "idle") == 81
    assert seconds(report, "client applications", "backend", "idle") is None
    assert seconds(report, "pgbouncer poolers", "client", "idle") is None
    assert [finding["id"] for finding in report["findings"]] == ["PGC406"]
    lines = _path_table.lines(report)
    assert "without a result, and so not in these figures: lb1" in lines
    (row,) = (line for line in lines if line.strip().startswith("client applications vanished"))
    assert row.split()[3:7] == ["?"] * 4


@pytest.mark.parametrize(
    ("proxies", "others", "named"), [({}, RESULTS, "haproxy proxies"), ({"lb1": {}}, [{"any": {}}] * 4, "no_result")]
)
def test_a_group_without_hosts_or_a_path_without_results_is_an_error(
    proxies: dict[str, t.Any], others: list[dict[str, t.Any]], named: str
) -> None:
    with pytest.raises(Failure) as caught:
        _path_report.report(HOPS, [others[0], proxies, *others[2:]])
    assert named in f"{caught.value} {caught.value.code}"
    assert caught.value.code == "no_result"


def test_hosts_that_all_differ_are_too_many_paths() -> None:
    results = copy.deepcopy(RESULTS)
    for index in (0, 2):
        hop = next(iter(results[index].values()))["hop"]
        results[index] = {
            f"host{number}": {"hop": {**hop, "server_side": {**SOCKET, "idle": 45 + number}}} for number in range(17)
        }
    with pytest.raises(Failure) as caught:
        _path_report.report(HOPS, results)
    assert caught.value.code == "too_many_paths"
    assert "289" in str(caught.value)


def test_the_longest_statement_is_a_duration() -> None:
    results = copy.deepcopy(RESULTS)
    results[1]["lb1"]["hop"]["client_side"] = {**SOCKET, "idle_timeout": 86_400_000}
    assert "PGC405" in [row["id"] for row in _path_report.report(HOPS, results, "1d")["findings"]]
    assert "PGC405" not in [row["id"] for row in _path_report.report(HOPS, results, "23h")["findings"]]
    with pytest.raises(Failure):
        _path_report.report(HOPS, results, "100")


def test_the_table_fits_and_says_it_all() -> None:
    lines = _path_table.lines(_path_report.report(HOPS, RESULTS))
    assert max(map(len, lines)) <= 100
    assert lines[0] == "path: client applications -(idle 240s)-> haproxy proxies -(age 1d)-> pgbouncer poolers -(Unix"
    (row,) = (line for line in lines if line.strip().startswith("client applications vanished"))
    assert row.split()[3:7] == ["81", "(91", "s)", "89"]
    assert any(line.startswith("PGC406 info: pgbouncer poolers -> server databases") for line in lines)


def test_the_table_shows_what_is_never_noticed_and_what_is_not_known() -> None:
    results = copy.deepcopy(RESULTS)
    results[1] = {"lb1": {"hop": {"kind": "haproxy", "client_side": {"keepalive": False}, "server_side": SOCKET}}}
    results[2]["pool1"]["hop"]["pool_mode"] = "transaction"
    lines = _path_table.lines(_path_report.report(HOPS, results))
    (row,) = (line for line in lines if line.strip().startswith("client applications vanished"))
    assert row.split()[3:5] == ["-", "never"]
    results[3]["db1"]["hop"] = {"kind": "server"}
    lines = _path_table.lines(_path_report.report([*HOPS[:2], HOPS[3]], [*results[:2], results[3]]))
    assert "?" in next(line for line in lines if line.strip().startswith("client applications vanished"))
    assert lines[-1] != "no findings"
    quiet = _path_report.report([HOPS[0], HOPS[3]], [RESULTS[0], RESULTS[3]])
    assert _path_table.lines(quiet)[-1] == "no findings"


hop_policy = FilterModule().filters()["hop_policy"]


def test_a_hop_gets_the_shortest_limit_beside_it() -> None:
    policy = {"connect_within": "10s"}
    assert hop_policy(policy, HOPS, "haproxy") == {**policy, "path_idle_limit": "240s"}  # web has 350s
    assert hop_policy(policy, HOPS, "pgbouncer") == policy
    assert hop_policy(policy, HOPS, "haproxy", "pooled") == {**policy, "path_idle_limit": "240s"}
    assert hop_policy({"path_idle_limit": "60s"}, HOPS, "haproxy") == {"path_idle_limit": "60s"}
    assert hop_policy(policy, HOPS, ["server", "haproxy"]) == {**policy, "path_idle_limit": "240s"}
    assert hop_policy(policy, HOPS, []) == policy
    assert hop_policy({"path_idle_limit": None}, HOPS, "client") == {"path_idle_limit": "240s"}
    assert hop_policy({"path_idle_limit": "off"}, HOPS, "client") == {"path_idle_limit": "240s"}


@pytest.mark.parametrize(
    ("policy", "hops", "profile"),
    [("web", HOPS, "web"), ({}, HOPS[1:], "web"), ({}, HOPS, "nothing"), ({}, HOPS, "./nothing.yml")],
)
def test_a_hop_policy_that_cannot_be_is_one_clear_error(policy: t.Any, hops: t.Any, profile: str) -> None:
    with pytest.raises(AnsibleFilterError):
        hop_policy(policy, hops, "client", profile)
