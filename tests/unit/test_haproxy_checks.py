# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of how HAProxy's sections find out which of their servers they may use."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_checks as room
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxycfg
from ansible_collections.pgharden.connection.plugins.module_utils._path._hops import Checks

#: As Patroni's own example has it.
EXAMPLE = """
defaults
    mode tcp
    timeout connect 4s
    timeout check 5s
listen batman
    bind *:5000
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
    server one 127.0.0.1:5432 maxconn 100 check port 8008
    server two 127.0.0.1:5433 maxconn 100 check port 8009
"""


def checks(text: str) -> tuple[Checks, ...]:
    return room.checks(_haproxycfg.parse({"x": text.encode()}))


def of(lines: str, defaults: str = "mode tcp") -> Checks:
    (found,) = checks(f"defaults\n {defaults}\nbackend b\n" + "".join(f" {line}\n" for line in lines.split("; ")))
    return found


def test_the_example() -> None:
    (found,) = checks(EXAMPLE)
    assert found == Checks(
        section="listen batman",
        servers=2,
        kind="http",
        uri="/primary",
        ports=(8008, 8009),
        interval=3000,
        fall=3,
        rise=2,
        patience=3000,
        ends_sessions=True,
    )
    assert (found.down_after, found.demoted_after, found.up_after) == (18_000, 9000, 6000)


@pytest.mark.parametrize(
    ("lines", "changes"),
    [
        ("server a :1", {"kind": "none"}),
        ("server a :1 check", {}),
        ("server a :1 check no-check", {"kind": "none"}),
        ("server a :1 check; server b :1", {"kind": "none", "servers": 2}),
        ("default-server check; server a :1; server b :1 no-check", {"kind": "none", "servers": 2}),
        ("default-server check; server a :1", {}),
        ("option pgsql-check user x; server a :1 check", {"kind": "pgsql"}),
        ("option tcp-check; server a :1 check", {}),
        ("option tcp-check; tcp-check expect string x; server a :1 check", {"kind": "other"}),
        ("option tcp-check; tcp-check connect port 8008; server a :1 check", {"ports": (8008,)}),
        ("option external-check; server a :1 check", {"kind": "other"}),
        ("option pgsql-check; server a :1 track x/y", {"kind": "other"}),
        ("server a :1 check agent-check agent-port 9", {"kind": "other"}),
        ("option httpchk; server a :1 check", {"kind": "http", "uri": "/"}),
        ("option httpchk /leader; server a :1 check", {"kind": "http", "uri": "/leader"}),
        ("option httpchk GET /leader HTTP/1.1; server a :1 check", {"kind": "http", "uri": "/leader"}),
        (
            "option httpchk; http-check connect port 8008; http-check send meth GET uri /x; server a :1 check",
            {"kind": "http", "uri": "/x", "ports": (8008,)},
        ),
        ("option httpchk /x; option tcp-check; option tcplog; option; server a :1 check", {"uri": "/x"}),
        ("server a :1 check inter 500 fall 1 rise 4", {"interval": 500, "patience": 500, "fall": 1, "rise": 4}),
        (
            "server a :1 check; server b :1 check inter 5s fall 9",
            {"servers": 2, "interval": 5000, "patience": 5000, "fall": 9},
        ),
        ("server a :1 check on-marked-down shutdown-sessions", {"ends_sessions": True}),
        ("server a :1 check on-marked-down shutdown-sessions; server b :1 check", {"servers": 2}),
        ("server-template n 3 db:1 check", {"servers": 3}),
        ("server-template n 2-5 db:1 check port 7", {"servers": 4, "ports": (7,)}),
        ("server-template n x db:1 check", {"servers": 1}),
        ("server a db check fall many", {"ports": (0,)}),
    ],
)
def test_what_counts(lines: str, changes: dict[str, t.Any]) -> None:
    plain: dict[str, t.Any] = {"section": "backend b", "kind": "tcp", "ports": (1,)}
    assert of(lines) == Checks(**{**plain, **changes})


def test_what_is_inherited() -> None:
    found = of("server a :1", "default-server check inter 1s\n option httpchk /primary")
    assert (found.kind, found.uri, found.interval) == ("http", "/primary", 1000)
    assert of("option pgsql-check; server a :1 check", "option httpchk /primary").kind == "pgsql"


@pytest.mark.parametrize(
    ("timeouts", "patience"),
    [
        ("timeout connect 1s", 2000),
        ("timeout check 1s", 2000),
        ("timeout connect 1s\n timeout check 10s", 1000),
        ("timeout connect 5s\n timeout check 10s", 2000),
    ],
)
def test_how_long_a_check_waits_for_a_server_that_is_silent(timeouts: str, patience: int) -> None:
    assert of("server a :1 check", timeouts).patience == patience


def test_sections_without_servers_have_none() -> None:
    assert checks("frontend f\n bind :1\n default_backend b\nbackend b\n server a /run/x check\n") == (
        Checks(section="backend b", servers=0, kind="tcp", interval=0, patience=0, ends_sessions=True),
    )


def test_what_only_the_environment_knows_is_said() -> None:
    with pytest.raises(Failure, match="environment variable"):
        of('server a :1 check inter "$INTER"')
