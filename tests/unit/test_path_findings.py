# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the findings of a whole path: each rule on a path that is wrong in that one point."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from pathlib import Path as File

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _findings
from ansible_collections.pgharden.connection.plugins.module_utils._path import _findings as of_path
from ansible_collections.pgharden.connection.plugins.module_utils._path._hops import (
    Checks,
    Failover,
    Hop,
    Leg,
    Path,
    Socket,
)
from ansible_collections.pgharden.connection.plugins.module_utils._settings import Settings

GOOD = Socket(idle=45, interval=9, count=4, user_timeout=81_000)
DAY = 24 * 3600 * 1000
HOPS = (
    Hop("client", "app", driver="psycopg2", server_side=GOOD),
    Hop(
        "haproxy",
        "lb",
        client_side=dataclasses.replace(GOOD, idle_timeout=DAY),
        server_side=dataclasses.replace(GOOD, idle_timeout=DAY),
    ),
    Hop("pgbouncer", "pool", client_side=GOOD, server_side=GOOD, pooled_idle=300_000, max_age=3_600_000),
    Hop("server", "db", settings=Settings(45, 9, 4, 81_000, 8000)),
)
LEGS = (Leg(path_idle_limit=350_000), Leg(), Leg())
INDEX = {hop.kind: index for index, hop in enumerate(HOPS)}


def path(kind: str = "", legs: tuple[Leg, ...] = LEGS, **changes: t.Any) -> Path:
    hops = list(HOPS)
    if kind:
        hops[INDEX[kind]] = dataclasses.replace(hops[INDEX[kind]], **changes)
    return Path(tuple(hops), legs)


def ids(of: Path, **options: t.Any) -> list[str]:
    return [finding.id for finding in of_path.findings(of, **options)]


def test_a_hardened_path_has_none() -> None:
    assert ids(path()) == []
    assert ids(path(), longest_statement=DAY - 1) == []


def socket(**changes: t.Any) -> Socket:
    return dataclasses.replace(GOOD, **changes)


def server(**changes: t.Any) -> dict[str, t.Any]:
    return {"settings": dataclasses.replace(HOPS[3].settings or Settings(), **changes)}


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("haproxy", {"client_side": socket(idle_timeout=40_000)}, ["PGC401", "PGC402"]),
        ("haproxy", {"server_side": socket(idle_timeout=40_000)}, ["PGC401", "PGC402"]),
        ("haproxy", {"client_side": socket(idle_timeout=60_000)}, ["PGC402"]),
        ("haproxy", {"server_side": socket(keepalive=False)}, ["PGC407"]),
        ("pgbouncer", {"client_side": socket(idle_timeout=3_600_000)}, ["PGC402"]),
        ("pgbouncer", {"client_side": socket(keepalive=False)}, ["PGC407"]),
        ("client", {"server_side": socket(keepalive=False), "driver": "asyncpg"}, ["PGC407"]),
        ("client", {"server_side": socket(keepalive=False), "driver": ""}, ["PGC407"]),
        ("client", {"parameters": {"keepalives_idle": "0", "keepalives_count": 0}}, ["PGC408"]),
        ("client", {"parameters": {"keepalives_idle": "0", "keepalives": "0"}}, []),
        ("client", {"pooled_idle": DAY}, ["PGC410"]),
        ("client", {"pooled_idle": DAY - 1}, []),
        ("client", {"server_side": None}, []),
        ("server", server(idle_session_timeout=300_000), ["PGC403"]),
        ("server", server(idle_session_timeout=300_001), []),
        ("server", {"settings": None}, []),
    ],
)
def test_one_wrong_hop(kind: str, changes: dict[str, t.Any], expected: list[str]) -> None:
    assert ids(path(kind, **changes)) == expected


def test_a_pool_that_never_closes_is_kept_longer_than_the_server_does() -> None:
    of = path("server", **server(idle_session_timeout=DAY))
    hops = list(of.hops)
    hops[2] = dataclasses.replace(hops[2], pooled_idle=0)
    assert ids(Path(tuple(hops), LEGS)) == ["PGC403"]
    assert "never" in of_path.findings(Path(tuple(hops), LEGS))[0].evidence


def test_an_idle_timeout_that_outlasts_what_the_server_allows_is_none() -> None:
    hops = list(path("haproxy", client_side=socket(idle_timeout=700_000)).hops)
    hops[3] = dataclasses.replace(hops[3], **server(idle_session_timeout=600_000))
    assert ids(Path(tuple(hops), LEGS)) == []


@pytest.mark.parametrize(("limit", "age", "expected"), [(1800, 3600, 1), (3601, 3600, 0), (3600, 3600, 1), (60, 0, 1)])
def test_a_device_that_ends_connections_before_the_pool_does(limit: int, age: int, expected: int) -> None:
    legs = (LEGS[0], Leg(), Leg(age_limit=limit * 1000))
    assert ids(path("pgbouncer", legs=legs, max_age=age * 1000)) == ["PGC404"] * expected
    # Of a client nobody knows whether it has a pool, unless it says so.
    legs = (dataclasses.replace(LEGS[0], age_limit=limit * 1000), Leg(), Leg())
    assert ids(path("client", legs=legs, max_age=age * 1000)) == ["PGC404"] * (expected if age else 0)


def test_a_proxy_that_cuts_long_statements() -> None:
    (finding,) = of_path.findings(path(), longest_statement=DAY)[:1]
    assert (finding.id, finding.severity) == ("PGC405", "error")
    assert ids(path("server", **server(transaction_timeout=DAY))) == ["PGC405", "PGC405"]


def test_a_unix_socket_is_named_and_nothing_else_is_asked_of_it() -> None:
    legs = (*LEGS[:2], Leg(unix_socket=True))
    deaf = path("pgbouncer", legs=legs, server_side=socket(keepalive=False))
    assert ids(deaf) == ["PGC406"]


def test_a_device_that_forgets_before_either_end_probes() -> None:
    late = socket(idle=350)
    hops = list(path("client", server_side=late).hops)
    assert ids(Path(tuple(hops), LEGS)) == []  # the other end probes in time
    hops[1] = dataclasses.replace(hops[1], client_side=dataclasses.replace(late, idle_timeout=DAY))
    (finding,) = of_path.findings(Path(tuple(hops), LEGS))
    assert (finding.id, finding.where) == ("PGC409", "client app -> haproxy lb")
    hops[0] = dataclasses.replace(hops[0], server_side=socket(keepalive=False))
    hops[1] = dataclasses.replace(hops[1], client_side=socket(keepalive=False))
    assert sorted(ids(Path(tuple(hops), LEGS))) == ["PGC407", "PGC407", "PGC409"]
    last = (Leg(), Leg(), Leg(path_idle_limit=40_000))
    assert ids(path(legs=last)) == ["PGC409"]


@pytest.mark.parametrize("kind", INDEX)
def test_a_hop_that_nothing_is_known_of_is_not_blamed(kind: str) -> None:
    deaf = socket(keepalive=False, idle_timeout=600_000)
    hops = [
        dataclasses.replace(hop, **{side: deaf for side in ("client_side", "server_side") if getattr(hop, side)})
        for hop in path("server", **server(idle_session_timeout=600_000)).hops
    ]
    hops[INDEX[kind]] = Hop(kind, "nowhere")
    found = of_path.findings(Path(tuple(hops), (Leg(path_idle_limit=30_000, age_limit=DAY),) * 3))
    assert "PGC407" in [finding.id for finding in found]
    for finding in found:
        assert "nowhere" not in finding.where
        assert "nowhere probes" not in finding.evidence


def test_a_clients_pool_in_front_of_a_server_that_closes_first() -> None:
    direct = Path((dataclasses.replace(HOPS[0], pooled_idle=600_000), HOPS[3]), (Leg(),))
    assert ids(direct) == []
    closing = dataclasses.replace(HOPS[3], **server(idle_session_timeout=600_000))
    assert ids(Path((direct.hops[0], closing), (Leg(),))) == ["PGC410"]
    assert ids(Path((direct.hops[0], dataclasses.replace(HOPS[3], settings=None)), (Leg(),))) == []
    bare = dataclasses.replace(HOPS[1], client_side=None)
    assert ids(Path((direct.hops[0], bare, HOPS[3]), (Leg(), Leg()))) == []


#: In front of a cluster of three, as it should be: down after 12 s, and the next leader after 20 s at the soonest.
CHECKS = Checks(
    "listen pg", servers=3, kind="http", uri="/primary", ports=(8008,), interval=2000, patience=2000, ends_sessions=True
)
PATRONI = Failover(api_port=8008)


def cluster(**changes: t.Any) -> Path:
    of = path("haproxy", checks=(dataclasses.replace(CHECKS, **changes),))
    return Path((*of.hops[:3], dataclasses.replace(of.hops[3], failover=PATRONI)), LEGS)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"servers": 1, "kind": "none"}, None),
        ({"kind": "other", "ends_sessions": False}, None),
        ({"ends_sessions": False}, ["PGC411"]),
        ({"interval": 3333, "patience": 3333}, []),
        ({"interval": 3334, "patience": 3334}, ["PGC413"]),
        ({"uri": "/"}, []),
        ({"uri": "/replica?lag=1MB"}, []),
    ],
)
def test_a_proxy_that_is_out_of_step_with_failover(changes: dict[str, t.Any], expected: list[str] | None) -> None:
    assert ids(cluster(**changes)) == ([] if expected is None else [*expected, "PGC414"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "none"}, "not checked"),
        ({"kind": "tcp"}, "accept connections"),
        ({"kind": "pgsql"}, "pgsql-check"),
        ({"ports": (5432, 8008)}, "asks port 5432, and Patroni's REST API listens on 8008"),
        ({"uri": "/health?x=1"}, "asks for /health?x=1"),
        ({"uri": "/patroni/"}, "asks for /patroni/"),
    ],
)
def test_a_check_that_cannot_tell_the_leader(changes: dict[str, t.Any], why: str) -> None:
    (finding,) = of_path.findings(cluster(**changes))
    assert (finding.id, finding.severity, finding.where) == ("PGC412", "error", "haproxy lb, listen pg")
    assert why in finding.evidence


def test_what_is_not_known_of_failover_is_not_judged() -> None:
    of = cluster(ports=(1,))
    unknown = dataclasses.replace(of.hops[3], failover=Failover())
    assert ids(Path((*of.hops[:3], unknown), LEGS)) == ["PGC414"]
    assert ids(Path((*of.hops[:3], HOPS[3]), LEGS)) == []


def test_figures_of_a_failover() -> None:
    warning, figures = of_path.findings(cluster(ends_sessions=False))
    assert "(91 s)" in warning.evidence and "after 12 s" in warning.evidence
    assert "another one after 42 s" in figures.evidence and "used 4 s later" in figures.evidence
    assert "for 6 s (fall x inter)" in figures.evidence
    assert "longer than 46 s" in figures.remedy


@pytest.mark.parametrize("server_side", [None, socket(keepalive=False)])
def test_sessions_that_nothing_ends(server_side: Socket | None) -> None:
    of = cluster(ends_sessions=False)
    hops = [dataclasses.replace(hop, server_side=server_side) if hop.kind == "haproxy" else hop for hop in of.hops]
    assert "(for ever)" in next(
        finding.evidence for finding in of_path.findings(Path(tuple(hops), LEGS)) if finding.id == "PGC411"
    )


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"host": "a,b"}, ["PGC415", "PGC416"]),
        ({"hostaddr": "1.1.1.1,1.1.1.2", "connect_timeout": "0"}, ["PGC415", "PGC416"]),
        ({"host": "a,b", "connect_timeout": "-1", "target_session_attrs": "any"}, ["PGC415", "PGC416"]),
        ({"host": "a,b", "connect_timeout": "5", "target_session_attrs": "primary"}, []),
    ],
)
def test_a_client_with_a_list_of_hosts(keywords: dict[str, str], expected: list[str]) -> None:
    client = dataclasses.replace(HOPS[0], services={"app": keywords})
    server = dataclasses.replace(HOPS[3], failover=PATRONI)
    found = list(of_path.findings(Path((client, server), (Leg(),))))
    assert [finding.id for finding in found] == expected
    assert {finding.where for finding in found} <= {"client app, service app"}
    assert ids(Path((client, *HOPS[1:3], server), LEGS)) == []


def test_the_worst_comes_first() -> None:
    some = [
        _findings.Finding(id, severity, "", "", "") for id, severity in (("B", "info"), ("C", "error"), ("A", "info"))
    ]
    assert [finding.id for finding in _findings.ranked(some)] == ["C", "A", "B"]
    assert some[0].as_dict()["severity"] == "info"


def test_every_rule_has_its_page() -> None:
    root = File(__file__).resolve().parents[2]
    rooms = root / "plugins/module_utils/_path"
    source = "".join((rooms / name).read_text("utf-8") for name in ("_findings.py", "_findings_of_failover.py"))
    rules = set(re.findall(r'"(PGC\d+)"', source))
    assert rules == {page.stem for page in (root / "docs/findings").glob("PGC4*.md")}
    assert len(rules) == 16
