# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what is on a path: hops, legs, and the path as an operator describes it."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._path import _hops
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues, Settings

ROWS: list[dict[str, t.Any]] = [
    {"kind": "client", "group": "applications", "driver": "pgjdbc", "path_idle_limit": "240s"},
    {"kind": "haproxy", "group": "proxies", "age_limit": "1h", "path_idle_limit": "350s"},
    {"kind": "pgbouncer", "group": "poolers", "unix_socket": True},
    {"kind": "server", "group": "databases"},
]


def test_a_hop_survives_the_way_through_json() -> None:
    hop = _hops.Hop(
        "pgbouncer",
        "pool1",
        version="1.18.0",
        pool_mode="transaction",
        client_side=_hops.Socket(idle=45, interval=9, count=4, user_timeout=81_000, idle_timeout=5),
        server_side=_hops.Socket(keepalive=False),
        os=OsValues(tcp_keepalive_time=60),
    )
    assert _hops.Hop.of(json.loads(json.dumps(hop.as_dict()))) == hop
    server = _hops.Hop("server", settings=Settings(tcp_keepalives_idle=45))
    assert _hops.Hop.of(json.loads(json.dumps(server.as_dict()))) == server
    assert "client_side" not in server.as_dict()
    proxy = _hops.Hop("haproxy", checks=(_hops.Checks("listen a", ports=(8008, 8009)), _hops.Checks("listen b")))
    assert _hops.Hop.of(json.loads(json.dumps(proxy.as_dict()))) == proxy
    cluster = _hops.Hop("server", failover=_hops.Failover(ttl=20_000, api_port=8008))
    assert _hops.Hop.of(json.loads(json.dumps(cluster.as_dict()))) == cluster


def test_a_hop_is_known_by_its_kind_and_name() -> None:
    assert _hops.Hop("pgbouncer", "pool1").label == "pgbouncer pool1"
    assert _hops.Hop("client").label == _hops.Hop("client", "client").label == "client"


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"kind": "nginx"}, "a hop of kind nginx"),
        ({}, "a hop of kind None"),
        ({"kind": "client", "colour": 1}, "client: colour"),
        ({"kind": "client", "server_side": {"idle": 1, "probes": 2}}, "client.server_side: probes"),
        ({"kind": "haproxy", "checks": [{"section": "a", "port": 1}]}, "haproxy.checks: port"),
        ({"kind": "server", "failover": {"lease": 1}}, "server.failover: lease"),
    ],
)
def test_what_is_no_hop_is_named(values: dict[str, t.Any], wrong: str) -> None:
    with pytest.raises(Failure) as caught:
        _hops.Hop.of(values)
    assert caught.value.code == "bad_path"
    assert caught.value.asked == wrong


def test_a_side_that_is_not_known_has_the_kernels_values() -> None:
    path = _hops.Path((_hops.Hop("client"), _hops.Hop("server")), (_hops.Leg(),))
    assert path.side(0, towards_client=False) == _hops.Socket()
    socket = _hops.Socket(idle=5)
    path = _hops.Path((_hops.Hop("client", server_side=socket), _hops.Hop("server", client_side=socket)), path.legs)
    assert path.side(0, towards_client=False) == path.side(1, towards_client=True) == socket


def test_a_described_path_has_its_legs() -> None:
    rows = _hops.describe(ROWS)
    assert rows == ROWS
    assert _hops.legs(rows) == (
        _hops.Leg(path_idle_limit=240_000),
        _hops.Leg(path_idle_limit=350_000, age_limit=3_600_000),
        _hops.Leg(unix_socket=True),
    )
    assert [_hops.idle_limit(rows, [kind]) for kind in _hops.KINDS] == [240_000, 240_000, 350_000, 0]
    assert _hops.idle_limit(rows, ["server", "pgbouncer"]) == 350_000
    assert _hops.idle_limit(rows, []) == 0


@pytest.mark.parametrize(
    ("rows", "asked"),
    [
        ("client -> server", "the path"),
        (["client", "server"], "the path"),
        ([], "the path"),
        ([ROWS[0]], "the path"),
        ([ROWS[3], ROWS[0]], "the path"),
        ([ROWS[0], ROWS[3], ROWS[3]], "the path"),
        ([ROWS[0], {"kind": "envoy"}, ROWS[3]], "a hop of kind envoy"),
        ([{**ROWS[0], "limit": "1s"}, ROWS[3]], "hop client: limit"),
    ],
)
def test_a_path_that_cannot_be_is_refused(rows: t.Any, asked: str) -> None:
    with pytest.raises(Failure) as caught:
        _hops.describe(rows)
    assert caught.value.code == "bad_path"
    assert caught.value.asked == asked


def test_a_limit_has_a_unit() -> None:
    with pytest.raises(Failure) as caught:
        _hops.describe([{**ROWS[0], "path_idle_limit": 350}, ROWS[3]])
    assert caught.value.code == "bad_duration"
