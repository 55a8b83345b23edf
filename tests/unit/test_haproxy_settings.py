# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the HAProxy settings room: what a section has, what counts in it, and what to edit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_settings as room
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxycfg

DEFAULTS = """\
defaults
    mode tcp
    option tcpka
    clitcpka-idle 60
    timeout client 1m
    timeout tunnel 1h
    default-server inter 3s tcp-ut 10s
"""
ALL = {
    "option clitcpka": "on",
    "clitcpka-idle": "35s",
    "clitcpka-intvl": "6s",
    "clitcpka-cnt": "6",
    "timeout client": "1d",
    "timeout client-fin": "90s",
    "option srvtcpka": "on",
    "srvtcpka-idle": "35s",
    "srvtcpka-intvl": "6s",
    "srvtcpka-cnt": "6",
    "timeout connect": "30s",
    "timeout server": "1d",
    "timeout server-fin": "90s",
    "tcp-ut": "71s",
}


def last(text: str) -> _haproxycfg.Section:
    return _haproxycfg.parse({"x": text.encode()})[-1]


def edited(text: str, values: room.Values) -> str:
    data = text.encode()
    return _haproxycfg.apply(data, room.edits(last(text), data, values)).decode()


def hardened(text: str, settings: dict[str, str]) -> str:
    return edited(text, room.edits_needed(last(text), settings))


# ---- values


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("timeout client", "1500", 1500),
        ("timeout client", "1500us", 2),
        ("timeout client", "5m", 300_000),
        ("tcp-ut", "30s", 30_000),
        ("clitcpka-idle", "60", 60_000),
        ("srvtcpka-intvl", "60ms", 60),
        ("timeout server", "1h", 3_600_000),
        ("timeout tunnel", "1d", 86_400_000),
    ],
)
def test_times_are_haproxys(name: str, value: str, expected: int) -> None:
    assert room.milliseconds(name, value) == expected


@pytest.mark.parametrize("value", ["", "1.5s", "5min", "-1", "1m30s", "5 s"])
def test_what_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(Failure, match="this is no time of HAProxy") as raised:
        room.milliseconds("timeout client", value)
    assert raised.value.code == "bad_time"


def test_settings_of_plan_and_operator_are_checked() -> None:
    given_settings = {"option clitcpka": "", "option srvtcpka": "0", "clitcpka-cnt": "127", "tcp-ut": "30s"}
    given_settings |= {"clitcpka-idle": "32767", "timeout client": "20d", "timeout server": "0"}
    assert room.normal(given_settings) == {**given_settings, "option clitcpka": "on", "option srvtcpka": "off"}
    for name, value, code in (
        ("timeout queue", "5s", "bad_setting"),
        ("clitcpka-cnt", "3s", "bad_setting"),
        ("clitcpka-cnt", "0", "bad_setting"),
        ("srvtcpka-cnt", "128", "bad_setting"),
        ("clitcpka-idle", "0", "bad_setting"),
        ("srvtcpka-intvl", "32768s", "bad_setting"),
        ("timeout client", "5min", "bad_time"),
    ):
        with pytest.raises(Failure) as raised:
            room.normal({name: value})
        assert raised.value.code == code


@given(st.integers(1, 10**6))
def test_one_value_in_two_units_is_the_same(number: int) -> None:
    assert room.same("clitcpka-idle", str(number), f"{number}s")
    assert room.same("timeout client", f"{number}s", f"{number}000")
    assert not room.same("clitcpka-idle", str(number), f"{number}ms")
    assert not room.same("clitcpka-cnt", str(number), None)


# ---- what counts


def test_what_counts_is_the_last_line_or_inherited() -> None:
    section = last(DEFAULTS + "listen a\n clitcpka-idle 9\n clitcpka-idle 5s\n no option clitcpka\n bind :1\n")
    assert room.effective(section, "clitcpka-idle") == "5s"
    assert room.effective(section, "timeout client") == "1m"
    assert room.effective(section, "option clitcpka") == "off"
    assert room.effective(section, "option srvtcpka") == "on"
    assert room.effective(section, "timeout server") is None
    assert room.own(section, room.NAMES) == {"clitcpka-idle": "5s", "option clitcpka": "off"}


@pytest.mark.parametrize(
    ("address", "named"),
    [
        *(
            (one, False)
            for one in ("10.0.0.1:5432", "10.0.0.1", "::1", "[::1]:5432", "ipv4@10.0.0.1:5432", "*:5432", ":5432")
        ),
        *((one, True) for one in ("db", "db:5432", "db.example.org:5432", "ipv6@db:5432")),
        ('"${DB}:5432"', False),  # who knows
    ],
)
def test_a_server_with_a_name_has_no_user_timeout(address: str, named: bool) -> None:
    text = f"listen pg\n  bind :9 tcp-ut 1s\n  server one {address} tcp-ut 1s\n"
    bind, server = room.tcp_lines(last(text), "bind", "server")
    assert [room.is_named(one) for one in (bind, server)] == [False, named]
    assert room.user_timeout(last(text), server) == (None if named else "1s")
    bare = text.replace(" tcp-ut 1s", "")
    assert hardened(bare, {"tcp-ut": "1s"}) == (text.replace(f"{address} tcp-ut 1s", address) if named else text)


def test_the_user_timeout_of_a_line() -> None:
    section = last(
        DEFAULTS
        + "listen a\n bind :1\n bind :2 tcp-ut 1s ssl tcp-ut 2s\n server a 10.0.0.9:1\n default-server tcp-ut 4s\n"
        + " default-server inter 1s\n server b 10.0.0.9:1\n server c 10.0.0.9:1 tcp-ut 6s\n server tcp-ut 10.0.0.9:1\n"
    )
    found = [(line.text(1), room.user_timeout(section, line)) for line in room.tcp_lines(section, "bind", "server")]
    assert found == [(":1", None), (":2", "2s"), ("a", None), ("b", None), ("c", "6s"), ("tcp-ut", None)]
    assert room.own(section, ("tcp-ut",)) == {
        "bind :2 tcp-ut": "2s",
        "server c tcp-ut": "6s",
    }
    assert room.arguments(section) == {
        *("bind :1 tcp-ut", "bind :2 tcp-ut"),
        *(f"server {name} tcp-ut" for name in ("a", "b", "c", "tcp-ut")),
    }


def test_unix_sockets_are_no_matter_of_tcp() -> None:
    section = last(
        "listen a\n bind /run/x.sock\n bind abns@x,unix@y\n bind /run/y,:5\n bind fd@3\n bind ipv4@:6\n"
        " server a unix@/run/z\n server b /run/z\n server-template c 2 h:5432\n mode tcp\n"
    )
    assert [line.text(1) for line in room.tcp_lines(section, "bind", "server", "server-template")] == [
        *("/run/y,:5", "ipv4@:6", "c")
    ]


# ---- what to edit


def test_a_bare_section_gets_all_of_its_side() -> None:
    assert hardened("frontend a\n bind :1 # here\n", ALL) == (
        "frontend a\n bind :1 tcp-ut 71s # here\n option clitcpka\n clitcpka-idle 35s\n clitcpka-intvl 6s\n"
        " clitcpka-cnt 6\n timeout client 1d\n timeout client-fin 90s\n"
    )
    assert hardened("backend a\n server-template b 2 [::1]:1\n", ALL) == (
        "backend a\n server-template b 2 [::1]:1 tcp-ut 71s\n option srvtcpka\n srvtcpka-idle 35s\n srvtcpka-intvl 6s\n"
        " srvtcpka-cnt 6\n timeout connect 30s\n timeout server 1d\n timeout server-fin 90s\n"
    )
    both = hardened("listen a\n bind :1\n server b [::1]:1\n", ALL)
    assert both.count("tcp-ut 71s") == 2
    assert all(f" {name} {value}\n" in both for name, value in ALL.items() if value not in ("on", "71s"))
    # one that only hands on has no servers of its own
    assert "srvtcpka" not in hardened("listen a\n bind :1\n default_backend b\n", ALL)


def test_a_last_line_without_an_end_keeps_its_argument() -> None:
    settings = {"timeout server": "1d", "tcp-ut": "71s"}
    assert hardened("backend a\n server b [::1]:1", settings) == (
        "backend a\n server b [::1]:1 tcp-ut 71s\n timeout server 1d\n"
    )


def test_what_is_inherited_is_not_said_again() -> None:
    text = DEFAULTS.replace("60", "35") + "listen a\n server a [::1]:1 tcp-ut 71000\n"
    needed = room.edits_needed(last(text), ALL)
    assert not {"option clitcpka", "option srvtcpka", "clitcpka-idle", "server a tcp-ut"} & set(needed)
    assert needed["timeout client"] == "1d"


def test_nothing_is_left_to_edit_afterwards() -> None:
    for text in (
        "listen a\n bind :1\n server a [::1]:1\n default-server tcp-ut 1s\n server b [::1]:1\n",
        DEFAULTS + "listen a\n",
    ):
        once = hardened(text, {**ALL, "timeout tunnel": "1d"})
        assert room.edits_needed(last(once), {**ALL, "timeout tunnel": "1d"}) == {}
        assert once != text


def test_a_tunnel_timeout_is_managed_where_there_is_one() -> None:
    assert room.edits_needed(last("backend a\n"), {"timeout tunnel": "1d"}) == {}
    assert room.edits_needed(last("backend a\n timeout tunnel 1h\n"), {"timeout tunnel": "1d"}) == {
        "timeout tunnel": "1d"
    }
    assert room.edits_needed(last(DEFAULTS + "backend a\n"), {"timeout tunnel": "1d"}) == {"timeout tunnel": "1d"}
    assert room.edits_needed(last(DEFAULTS + "frontend a\n"), {"timeout tunnel": "1d"}) == {}


def test_each_server_has_its_own() -> None:
    # HAProxy 2.6 takes tcp-ut in a default-server, and does nothing with it.
    text = "backend a\n default-server tcp-ut 71s\n server b 10.0.0.9:1\n server c 10.0.0.9:1 tcp-ut 2s # !\n"
    assert hardened(text, {"tcp-ut": "71s"}) == (
        "backend a\n default-server tcp-ut 71s\n server b 10.0.0.9:1 tcp-ut 71s\n server c 10.0.0.9:1 tcp-ut 71s # !\n"
    )


@pytest.mark.parametrize(
    ("lines", "value", "expected"),
    [
        ("", "on", " option clitcpka\n"),
        ("", "off", ""),
        (" option  clitcpka # why\n", "on", " option  clitcpka # why\n"),
        (" option  clitcpka # why\n", "off", " no option  clitcpka # why\n"),
        (" no  option clitcpka\n", "on", " option clitcpka\n"),
        (" no  option clitcpka\n", "off", " no  option clitcpka\n"),
        (" option tcpka\n", "on", " option tcpka\n"),
        (" option tcpka\n", "off", " option tcpka\n no option clitcpka\n"),
        (" no option clitcpka\n option clitcpka\n", "off", " no option clitcpka\n no option clitcpka\n"),
    ],
)
def test_options_are_switched_on_and_off(lines: str, value: str, expected: str) -> None:
    text = f"frontend a\n{lines}"
    assert hardened(text, {"option clitcpka": value}) == f"frontend a\n{expected}".replace(
        "a\n option clitcpka", "a\n    option clitcpka" if not lines else "a\n option clitcpka"
    )


def test_an_inherited_option_is_switched_off() -> None:
    text = DEFAULTS + "frontend a\n mode tcp\n"
    assert hardened(text, {"option clitcpka": "off"}) == text + " no option clitcpka\n"


def test_a_section_already_has_its_option_from_tcpka() -> None:
    text = "frontend a\n option tcpka\n"
    assert edited(text, {"option clitcpka": "on"}) == text
    assert edited("frontend a\n option clitcpka\n", {"option clitcpka": "on"}) == "frontend a\n option clitcpka\n"
    assert edited("frontend a\n clitcpka-idle 5\n", {"clitcpka-idle": "5s"}) == "frontend a\n clitcpka-idle 5\n"
    same = "backend a\n server b 10.0.0.9:1 tcp-ut 5000\n"
    assert edited(same, {"server b tcp-ut": "5s", "server c tcp-ut": "5s"}) == same


def test_what_was_not_there_is_taken_out_again() -> None:
    text = "listen a\n option tcpka\n bind :1 # b\n server b 10.0.0.9:1 check\n timeout client 5s # c\n"
    whole = hardened(text, ALL)
    here, there = room.own(last(whole), room.NAMES), room.own(last(text), room.NAMES)
    assert edited(whole, {**dict.fromkeys(here), **there}) == text
    assert edited(text, {"bind :1 tcp-ut": None, "timeout server": None}) == text


def test_variables_are_refused_where_they_matter() -> None:
    for line, settings in (
        ('timeout client "${T}"', {"timeout client": "5s"}),
        ('bind :1 tcp-ut "${T}"', {"tcp-ut": "5s"}),
    ):
        with pytest.raises(Failure) as raised:
            room.edits_needed(last(f"listen a\n {line}\n"), settings)
        assert raised.value.code == "unknown_variable"
        assert room.edits_needed(last(f"listen a\n {line}\n"), {"clitcpka-cnt": "5"}) == {"clitcpka-cnt": "5"}


def test_a_line_without_its_value_says_nothing() -> None:
    # HAProxy refuses such a line itself
    assert room.user_timeout(last("listen a\n server b\n"), last("listen a\n server b\n").lines[0]) is None
    assert (
        room.own(
            last("listen a\n timeout\n timeout client\n option\n bind :1 tcp-ut\n no timeout client 5\n"), room.NAMES
        )
        == {}
    )
