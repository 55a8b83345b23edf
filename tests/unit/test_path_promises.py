# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the promises of a whole path."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _detection, _promises, _settings
from ansible_collections.pgharden.connection.plugins.module_utils._path import _promises as of_path
from ansible_collections.pgharden.connection.plugins.module_utils._path._hops import Hop, Leg, Path, Socket

SERVER = _settings.Settings(60, 5, 3, 0, 30_000)
#: 60 + 5 * 3 = 75 s, 80 s with data in flight
PROBED = Socket(idle=60, interval=5, count=3)
QUICK = Socket(idle=10, interval=2, count=5, user_timeout=20_000)


def path(*kinds: str, **changes: t.Any) -> Path:
    hops = []
    for kind in kinds:
        if kind == "server":
            hops.append(Hop(kind, "db", settings=SERVER))
        elif kind == "client":
            hops.append(Hop(kind, "app", server_side=QUICK))
        else:
            hops.append(Hop(kind, "mid", client_side=PROBED, server_side=QUICK, **changes))
    return Path(tuple(hops), (Leg(),) * (len(hops) - 1))


def rows(of: Path, lost: str, end: str) -> dict[str, of_path.PathPromise]:
    return {row.phase: row for row in of_path.promises(of) if (row.lost, row.end) == (lost, end)}


def test_without_a_hop_in_between_it_is_the_servers_promise() -> None:
    direct = rows(path("client", "server"), "client app", "backend")
    assert list(direct) == list(of_path.BACKEND_PHASES)
    for phase, row in direct.items():
        own = _promises.promise(phase, "peer_vanished", SERVER)
        assert (row.seconds, row.bound, row.formula) == (own.seconds, own.bound, own.formula)
        assert row.noticed_by == "server db"


def test_a_lost_client_is_noticed_by_the_first_hop_and_the_backend_within_its_check_interval() -> None:
    found = rows(path("client", "haproxy", "pgbouncer", "server"), "client app", "backend")
    assert {phase: row.seconds for phase, row in found.items()} == {
        "idle": 75,
        "executing": 75 + 30,
        "lock_wait": 75 + 30,
        "sending": pytest.approx(924.6),
        "idle_in_transaction": 75,
    }
    assert {row.noticed_by for row in found.values()} == {"haproxy mid"}
    assert found["executing"].bound == 105 * _settings.SLACK
    assert found["executing"].formula == "keepalive+check_interval"
    assert found["executing"].as_dict()["text"] == "105 s"


def test_the_server_notices_the_hop_before_it_by_itself() -> None:
    four = path("client", "haproxy", "pgbouncer", "server")
    for phase, row in rows(four, "pgbouncer mid", "backend").items():
        assert row.seconds == _promises.promise(phase, "peer_vanished", SERVER).seconds
    assert {row.noticed_by for row in rows(four, "haproxy mid", "backend").values()} == {"pgbouncer mid"}


def test_a_client_learns_of_a_lost_server_when_the_hop_before_it_notices() -> None:
    four = path("client", "haproxy", "pgbouncer", "server")
    found = rows(four, "server db", "client")
    assert list(found) == list(of_path.CLIENT_PHASES)
    assert {row.noticed_by for row in found.values()} == {"pgbouncer mid"}
    assert found["waiting"].seconds == _detection.keepalive_seconds(QUICK.settings(), _settings.OsValues())
    assert found["sending"].seconds == 20.2
    assert {row.noticed_by for row in rows(four, "haproxy mid", "client").values()} == {"client app"}
    # Nobody is told of a client that is lost but the backend.
    assert not rows(four, "client app", "client")
    assert not rows(four, "server db", "backend")


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_an_idle_client_of_a_shared_pool_has_no_backend_to_lose(mode: str) -> None:
    shared = path("client", "pgbouncer", "server", pool_mode=mode)
    assert rows(shared, "client app", "backend")["idle"][3:6] == (0, 0, "not_linked")
    assert rows(shared, "server db", "client")["idle"].formula == "not_linked"
    assert rows(shared, "client app", "backend")["idle_in_transaction"].seconds == 75
    assert rows(path("client", "pgbouncer", "server"), "client app", "backend")["idle"].seconds == 75


def test_a_side_without_keepalive_never_notices_unless_its_idle_timeout_comes() -> None:
    deaf = dataclasses.replace(path("client", "haproxy", "server").hops[1], client_side=Socket(keepalive=False))
    base = path("client", "haproxy", "server")
    found = rows(Path((base.hops[0], deaf, base.hops[2]), base.legs), "client app", "backend")
    assert found["idle"][3:6] == (None, None, "no_keepalive")
    assert found["executing"].seconds is None
    assert found["sending"].seconds == pytest.approx(924.6)
    closing = dataclasses.replace(deaf, client_side=Socket(keepalive=False, idle_timeout=40_000))
    found = rows(Path((base.hops[0], closing, base.hops[2]), base.legs), "client app", "backend")
    assert found["idle"][3:6] == (40, 45, "idle_timeout")
    assert found["executing"].seconds == 70
    assert found["sending"].formula == "idle_timeout"


def test_timeouts_of_the_servers_sessions_come_first_where_they_are_shorter() -> None:
    base = path("client", "haproxy", "server")
    settings = dataclasses.replace(SERVER, idle_session_timeout=20_000, idle_in_transaction_session_timeout=10_000)
    server = dataclasses.replace(base.hops[2], settings=settings)
    found = rows(Path((*base.hops[:2], server), base.legs), "client app", "backend")
    assert (found["idle"].seconds, found["idle"].formula) == (20, "idle_session_timeout")
    assert found["idle_in_transaction"].seconds == 10


def test_what_is_not_known_of_a_server_is_not_promised() -> None:
    base = path("client", "haproxy", "server")
    unknown = Path((*base.hops[:2], Hop("server", "db")), base.legs)
    assert {row.formula for row in of_path.promises(unknown) if row.end == "backend"} == {"unknown"}


def test_what_is_not_known_of_a_hop_is_not_promised_where_it_matters() -> None:
    base = path("client", "haproxy", "pgbouncer", "server")
    without = Path((*base.hops[:2], Hop("pgbouncer", "mid"), base.hops[3]), base.legs)
    for lost in ("client app", "haproxy mid"):
        assert {row.formula for row in rows(without, lost, "backend").values()} == {"unknown"}
    assert {row.formula for row in rows(without, "server db", "client").values()} == {"unknown"}
    for lost, end in (("pgbouncer mid", "backend"), ("pgbouncer mid", "client"), ("haproxy mid", "client")):
        assert rows(without, lost, end) == rows(base, lost, end)


def test_both_ends_of_a_unix_socket_vanish_together() -> None:
    four = path("client", "haproxy", "pgbouncer", "server")
    local = dataclasses.replace(four, legs=(Leg(), Leg(), Leg(unix_socket=True)))
    # The pooler's host is the server's: of its loss the proxy tells the client, and there is no backend left.
    assert not rows(local, "pgbouncer mid", "backend")
    assert {row.noticed_by for row in rows(local, "server db", "client").values()} == {"haproxy mid"}
    first = dataclasses.replace(four, legs=(Leg(unix_socket=True), Leg(), Leg()))
    assert {row.noticed_by for row in rows(first, "client app", "backend").values()} == {"pgbouncer mid"}
    assert not rows(first, "haproxy mid", "client")
