# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the HAProxy sections room: which sections carry PostgreSQL, and what they are as a hop of the path."""

from __future__ import annotations

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_sections as room
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxycfg
from ansible_collections.pgharden.connection.plugins.module_utils._path._hops import Socket

DEFAULTS = "defaults\n mode tcp\n"


def parse(text: str) -> list[_haproxycfg.Section]:
    return _haproxycfg.parse({"x": text.encode()})


def carrying(text: str, *names: str, ports: tuple[int, ...] = room.PORTS) -> list[str]:
    return [section.label for section in room.carrying(parse(text), names, ports)]


def failing(text: str, *names: str) -> Failure:
    with pytest.raises(Failure) as raised:
        carrying(text, *names)
    return raised.value


@pytest.mark.parametrize(
    "listen",
    [
        "bind :5432",
        "bind 127.0.0.1:5432,[::1]:5432",
        "bind *:80,:5433",
        "bind ipv6@:::6432",
        "bind 10.0.0.1:5430-5440 name x",
        "bind :15432\n server one 10.0.0.1:5432",
        "bind :15432\n server one pg:5432 check backup",
        "bind :15432\n server-template one 3 _pg._tcp.example:5432",
        "bind :15432\n option pgsql-check user x\n server one pg:25432",
    ],
)
def test_sections_are_found(listen: str) -> None:
    assert carrying(f"{DEFAULTS}listen other\n bind :80\nlisten pg\n {listen}\n") == ["listen pg"]
    # HAProxy's own default is tcp, if no parent says otherwise
    assert carrying(f"defaults\n timeout client 5s\nlisten pg\n {listen}\n") == ["listen pg"]
    assert carrying(f"listen pg\n {listen}\n") == ["listen pg"]


@pytest.mark.parametrize(
    "text",
    [
        "listen web\n mode http\n bind :5432\n",
        "defaults\n mode http\nlisten web\n bind :5432\n",
        "defaults\n mode tcp\n mode http\ndefaults y from x\nlisten web\n mode http\n bind :5432\n",
        "listen a\n bind :80\n server b h:80\n",
        'listen a\n bind "127.0.0.1:${PORT}"\n',
        "listen a\n bind /run/postgresql/.s.PGSQL.5432\n",
        "listen a\n server b 127.0.0.1:+5432\n",
        "frontend a\n bind :80\n option pgsql-check\n",
        "",
    ],
)
def test_none_is_found(text: str) -> None:
    failure = failing(text)
    assert failure.code == "no_section"
    for name in ("listen a", "frontend a") if "mode http" not in text and text else ():
        assert (name in failure.found) == (f"{name}\n" in text)


def test_other_ports_can_be_given() -> None:
    text = "listen a\n bind :5432\nlisten b\n bind :7000\n"
    assert carrying(text, ports=(7000,)) == ["listen b"]


def test_frontends_are_followed_to_their_backends_and_back() -> None:
    text = (
        f"{DEFAULTS} default_backend dflt\nfrontend in\n bind :5432\n use_backend ro if read_only\n"
        "backend ro\n server a h:7777\nbackend dflt\n server b h:7777\nbackend web\n mode http\n server c h:80\n"
        "frontend elsewhere\n bind :9999\n use_backend ro if x\n"
    )
    assert carrying(text) == ["frontend in", "backend ro", "backend dflt", "frontend elsewhere"]


def test_the_check_of_postgresql_may_be_inherited() -> None:
    text = "defaults\n option pgsql-check\nfrontend in\n bind :1\n default_backend b\nbackend b\n server a h:2\n"
    assert carrying(text) == ["frontend in", "backend b"]


def test_a_frontend_for_more_than_postgresql_is_ambiguous() -> None:
    text = (
        f"{DEFAULTS}frontend tls\n bind :443\n use_backend web if x\n default_backend pg\n"
        "backend web\n server a h:80\nbackend pg\n server a h:5432\n"
    )
    failure = failing(text)
    assert failure.code == "ambiguous_section"
    assert "frontend tls leads to backend web, backend pg" in failure.found
    assert carrying(text, "pg") == ["backend pg"]
    assert carrying(text, "backend pg", "frontend tls") == ["frontend tls", "backend web", "backend pg"]


@pytest.mark.parametrize("name", ["%[ssl_fc_sni]", '"${BACKEND}"'])
def test_a_backend_that_is_known_at_run_time_only_is_ambiguous(name: str) -> None:
    failure = failing(f"{DEFAULTS}frontend a\n bind :5432\n use_backend {name}\nbackend b\n")
    assert failure.code == "ambiguous_section"
    assert "known only at run time" in failure.found


def test_named_sections_have_to_be_there_and_in_tcp_mode() -> None:
    text = "listen a\n mode http\n bind :5432\nlisten b\n bind :1\n.if 1\n maxconn 5\n.endif\n"
    failure = failing(text, "c")
    assert failure.code == "no_section"
    assert "listen a, listen b" in failure.remedy
    assert failing(text, "a").code == "no_tcp_section"
    assert failing(text, "b").code == "conditional_section"
    inherited = ".if 1\ndefaults\n mode tcp\n.endif\nlisten c\n bind :5432\n"
    assert failing(inherited).code == "conditional_section"


# ---- as a hop

SIDES = f"""{DEFAULTS} timeout client 1h
 timeout server 2h
frontend a
 bind :5432 tcp-ut 30s
 bind :5433
 bind /run/socket
 option clitcpka
 clitcpka-idle 60
 clitcpka-cnt 3
 default_backend b
backend b
 option srvtcpka
 srvtcpka-idle 30s
 srvtcpka-intvl 10s
 srvtcpka-cnt 4
 server a 10.0.0.9:5432 tcp-ut 20s
 server b 10.0.0.9:5432 tcp-ut 40s
"""


def sides(text: str) -> tuple[Socket | None, Socket | None]:
    config = parse(text)
    chosen = room.carrying(config, (), room.PORTS)
    return room.client_side(config, chosen), room.server_side(chosen)


def test_servers_with_names_have_no_user_timeout() -> None:
    text = "listen a\n bind :5432\n server b 10.0.0.1:5432 tcp-ut 1s\n server c db:5432 tcp-ut 1s\n"
    config = _haproxycfg.parse({"x": text.encode()})
    assert room.named_servers(config) == ["listen a: server c"]
    side = room.server_side(config)
    assert side and side.user_timeout == 0


def test_a_hop_is_what_counts_on_either_side() -> None:
    client, server = sides(SIDES)
    # no interval is the kernel's own, and one of the addresses has no user timeout
    assert client == Socket(True, 60, 0, 3, 0, 3_600_000)
    assert server == Socket(True, 30, 10, 4, 40_000, 7_200_000)


def test_a_tunnel_timeout_supersedes_both() -> None:
    client, server = sides(SIDES + " timeout tunnel 5m\n")
    assert client and server
    assert client.idle_timeout == server.idle_timeout == 300_000


def test_without_the_option_there_is_no_keepalive() -> None:
    client, server = sides(SIDES.replace("option clitcpka", "no option clitcpka").replace("timeout server 2h", ""))
    assert client == Socket(False, 0, 0, 0, 0, 3_600_000)
    assert server and server.idle_timeout == 0


def test_of_several_sections_the_weakest_counts() -> None:
    client, server = sides(SIDES + "listen c\n bind :6432 tcp-ut 1s\n timeout client 5s\n server x h:1\n")
    assert client == Socket(False, 0, 0, 0, 0, 5000)
    assert server == Socket(False, 0, 0, 0, 0, 7_200_000)


def test_a_side_that_is_not_there_is_none() -> None:
    client, server = sides("frontend a\n bind :5432\n")
    assert client == Socket(False)
    assert server is None
    assert sides("backend a\n server b h:5432\n")[0] is None
