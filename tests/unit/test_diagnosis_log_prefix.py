# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of reading back what log_line_prefix and the server's clock put before a message."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _prefix
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clock import Clock

LINES = {
    "%m [%p] %q%u@%d ": "2026-11-22 12:00:00.123 UTC [42] app@shop ",
    "%t:%r:%u@%d:[%p]:": "2026-11-22 12:00:00 UTC:10.0.0.1(4711):app@shop:[42]:",
    "%t [%p]: [%l-1] db=%d,user=%u,app=%a,client=%h ": (
        "2026-11-22 12:00:00 UTC [42]: [7-1] db=shop,user=app,app=my app,client=10.0.0.1 "
    ),
    "%m [%p] %q[user=%u,db=%d,app=%a] ": "2026-11-22 12:00:00.123 UTC [42] [user=app,db=shop,app=my app] ",
    "< %m > ": "< 2026-11-22 12:00:00.123 UTC > ",
}
WHOLE = "%a|%u|%d|%r|%h|%L|%b|%p|%P|%t|%m|%n|%s|%i|%e|%c|%l|%v|%x|%Q|%%|"
WHOLE_LINE = (
    "my app|app|shop|10.0.0.1(4711)|10.0.0.1|10.0.0.9|client backend|42||2026-11-22 12:00:00 UTC|"
    "2026-11-22 12:00:00.123 UTC|1795348800.123|2026-11-22 11:00:00 UTC|SELECT|08006|6921abcd.3039|7|3/17|0|"
    "-5273|%|"
)


def read(prefix: str, line: str) -> dict[str, str]:
    found = _prefix.compiled(prefix).match(line)
    assert found, (prefix, line)
    return _prefix.fields(found)


def test_every_escape() -> None:
    said = read(WHOLE, f"{WHOLE_LINE}LOG:  something")
    assert said == {
        "a": "my app",
        "u": "app",
        "d": "shop",
        "r": "10.0.0.1(4711)",
        "h": "10.0.0.1",
        "L": "10.0.0.9",
        "b": "client backend",
        "p": "42",
        "t": "2026-11-22 12:00:00 UTC",
        "m": "2026-11-22 12:00:00.123 UTC",
        "n": "1795348800.123",
        "s": "2026-11-22 11:00:00 UTC",
        "i": "SELECT",
        "e": "08006",
        "c": "6921abcd.3039",
        "l": "7",
        "v": "3/17",
        "x": "0",
        "Q": "-5273",
        "severity": "LOG",
    }


@pytest.mark.parametrize(
    ("prefix", "line", "user"),
    [
        ("[%-10u] ", "[app       ] ", "app"),
        ("[%10u] ", "[       app] ", "app"),
        ("[%-10u] ", "[          ] ", None),
        ("[%u] ", "[two words] ", "two words"),
        ("%p %q%u ", "42 ", None),
        ("%p%q%q %u ", "42 app ", "app"),
        ("%u %u ", "app app ", "app"),  # the same twice
        ("%Z%u%", "app", "app"),  # the server prints nothing for what it does not know
        ("100%% %u ", "100% app ", "app"),
        ("(%u)* ", "(app)* ", "app"),  # nothing of a prefix is a regular expression
    ],
)
def test_paddings_literals_and_the_stop(prefix: str, line: str, user: str | None) -> None:
    assert read(prefix, f"{line}FATAL:  something").get("u") == user


@pytest.mark.parametrize(
    "place", ["[local]", "10.0.0.1(4711)", "::1(4711)", "fe80::1%eth0(4711)", "web-1.example.org(4711)"]
)
def test_places(place: str) -> None:
    assert read("%r %p ", f"{place} 42 LOG:  x")["r"] == place


def test_a_line_of_another_message_does_not_fit() -> None:
    pattern = _prefix.compiled("%m [%p] ")
    for label in ("DETAIL", "HINT", "STATEMENT", "CONTEXT", "LOCATION", "QUERY", "ANWEISUNG", "INSTRUCTION "):
        assert not pattern.match(f"2026-11-22 12:00:00.123 UTC [42] {label}:  FATAL:  connection to client lost")
    assert not pattern.match("\tFROM x WHERE FATAL:  connection to client lost")


def test_sqlstate_of_verbose_messages() -> None:
    assert read("%p ", "42 LOG:  08006: could not receive data from client")["code"] == "08006"


@pytest.mark.parametrize("prefix", LINES)
def test_the_prefix_is_guessed(prefix: str) -> None:
    line = LINES[prefix]
    lines = [f"{line}LOG:  a", "\tcontinued", f"{line}ERROR:  b", f"{line}STATEMENT:  select", "psql: noise"]
    found = _prefix.guess(lines)
    assert found
    match = found.match(lines[0])
    assert match
    assert match.end() == len(lines[0]) - 1
    assert _prefix.fields(match) == read(prefix, lines[0])


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("", {}),
        (
            "app=x y|usr=app|db=shop|client=10.0.0.1|pid=42|1795348800.123|08006|",
            {"n": "1795348800.123", "p": "42", "h": "10.0.0.1", "u": "app", "d": "shop", "e": "08006"},
        ),
        (
            "2026-11-22 12:00:00.123 UTC|4242|10.0.0.1(4711)|08006|",
            {"m": "2026-11-22 12:00:00.123 UTC", "p": "4242", "r": "10.0.0.1(4711)", "e": "08006"},
        ),
        ("4242 2026-11-22 12:00:00 UTC fd00::7 ", {"m": "2026-11-22 12:00:00 UTC", "p": "4242", "h": "fd00::7"}),
        ("2026-11-22 12:00:00 UTC|42|app1.lan(4711)|", {"p": "42", "r": "app1.lan(4711)"}),
        ("2026-11-22 12:00:00 UTC 2026-11-22 11:00:00 UTC <42> ", {"m": "2026-11-22 12:00:00 UTC", "p": "42"}),
        ("{2026-11-22 12:00:00 UTC} {4242} {app} ", {"m": "2026-11-22 12:00:00 UTC", "p": "4242"}),
        ("2026-11-22 12:00:00 UTC [4242:7] [08006] 10.0.0.1 ", {"p": "4242", "e": "08006", "h": "10.0.0.1"}),
        (
            "2026-11-22 12:00:00.123 CET 08006 [42-7] 6921abcd.3039 10.0.0.1(4711) app@shop ",
            {
                "m": "2026-11-22 12:00:00.123 CET",
                "e": "08006",
                "p": "42",
                "c": "6921abcd.3039",
                "r": "10.0.0.1(4711)",
                "u": "app",
                "d": "shop",
            },
        ),
        (
            "1795348800.123 pid=42 user=app,db=shop,app=my app,host=10.0.0.1 ",
            {"n": "1795348800.123", "p": "42", "u": "app", "d": "shop", "a": "my", "h": "10.0.0.1"},
        ),
    ],
)
def test_an_unknown_prefix_is_read_by_its_looks(before: str, said: dict[str, str]) -> None:
    found = _prefix.ANY.match(f"{before}FATAL:  something")
    assert found
    assert said.items() <= _prefix.fields(found).items()


def test_a_number_that_is_not_the_process_is_not_taken_for_it() -> None:
    for before in (
        "6921abcd.3039 7 2026-11-22 12:00:00.123 UTC ",
        "2026-11-22 12:00:00.123 UTC 0 2026-11-22 11:00:00 UTC ",
    ):
        found = _prefix.ANY.match(f"{before}LOG:  something")
        assert found
        assert not {"p", "h"}.intersection(_prefix.fields(found))


def test_a_guess_makes_sense() -> None:
    # Of a prefix that is not known, '%m [%p] %e %r %q%u@%d ', much would be part of the user's name.
    line = "2026-11-22 12:00:00.123 UTC [42] 08006 10.0.0.1(4711) app@shop LOG:  a"
    found = _prefix.guess([line])
    assert found
    match = found.match(line)
    assert match
    said = _prefix.fields(match)
    assert (said["u"], said["d"], said["r"], said["e"]) == ("app", "shop", "10.0.0.1(4711)", "08006")


def test_nothing_is_guessed_of_what_is_no_log() -> None:
    assert _prefix.guess(["# PostgreSQL Client Authentication", "host all all 127.0.0.1/32 trust", ""]) is None
    assert _prefix.guess([]) is None


def test_a_prefix_that_few_lines_have_is_not_guessed() -> None:
    odd = ["worker:7 LOG:  a", "worker:8 LOG:  b", "worker:9 LOG:  c"]
    assert _prefix.guess([*odd, "2026-11-22 12:00:00.123 UTC [42] LOG:  d"]) is _prefix.ANY


@given(st.text(alphabet="%audrhbpPtmnsieclvxqQL- 0159[]():,@=*+?\\", max_size=40), st.text(max_size=200))
def test_any_prefix_compiles_and_reads_anything(prefix: str, line: str) -> None:
    for pattern in (_prefix.compiled(prefix), _prefix.ANY):
        found = pattern.match(line)
        if found:
            assert _prefix.fields(found)["severity"] in _prefix.SEVERITY


# ---- times

NOON = 1795348800.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-22 12:00:00 UTC", NOON),
        ("2026-11-22 12:00:00.250 GMT", NOON + 0.25),
        ("2026-11-22 13:00:00 CET", NOON),
        ("2026-11-22 07:00:00 EST", NOON),
        ("2026-11-22 14:00:00 +02", NOON),
        ("2026-11-22 17:30:00 +0530", NOON),
        ("2026-11-22 17:45:00 +05:45", NOON),
        ("2026-11-22 08:30:00 -03:30", NOON),
        ("2026-11-22T13:00:00.5+01:00", NOON + 0.5),
        ("2026-11-22T12:00:00Z", NOON),
        ("2026-11-22 12:00:00 CST", None),  # of China, of America, of Cuba
        ("2026-11-22 12:00:00", None),
        ("2026-13-22 12:00:00 UTC", None),
        ("2026-11-32 12:00:00 UTC", None),
        ("0000-11-22 12:00:00 UTC", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_times(text: str, seconds: float | None) -> None:
    assert Clock().read(text) == seconds


def test_a_time_without_a_year_is_the_last_such_moment() -> None:
    def year(text: str, now: str) -> int:
        moment = Clock(now=datetime.datetime.fromisoformat(now).timestamp()).bare(text)
        assert moment is not None
        found = datetime.datetime.fromtimestamp(moment)
        assert f"{found:%b} {found.day:2} {found:%H:%M:%S}" == text
        return found.year

    assert year("Nov  3 12:00:00", "2026-11-23 12:00:00") == 2026
    assert year("Dec 31 23:59:59", "2026-01-01 00:00:01") == 2025
    assert year("Dec 31 10:00:00", "2025-12-31 23:30:00") == 2025
    assert year("Jan  1 00:30:00", "2025-12-31 23:30:00") == 2026  # a host whose clock, or zone, is ahead
    assert year("Feb 29 12:00:00", "2026-02-01 12:00:00") == 2024
    assert Clock(now=1795348800.0).bare("Feb 30 12:00:00") is None
    assert Clock(now=1826884800.0).bare("Feb 29 12:00:00") is None  # none of the last years has it
    assert Clock().bare("Nov  3 12:00:00") is None


def test_the_zone_of_the_server_wins() -> None:
    clock = Clock(lambda _local, zone: {"CST": 8 * 3600.0, "EST": 10 * 3600.0}.get(zone))
    assert clock.read("2026-11-22 20:00:00 CST") == NOON
    assert clock.read("2026-11-22 22:00:00 EST") == NOON
    assert clock.read("2026-11-22 13:00:00 CET") == NOON


@given(
    st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2100, 1, 1), timezones=st.just(datetime.UTC)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kathmandu", "America/Sao_Paulo"]),
)
def test_as_python_counts(moment: datetime.datetime, name: str) -> None:
    local = moment.replace(microsecond=0).astimezone(zoneinfo.ZoneInfo(name))
    assert Clock().read(local.strftime("%Y-%m-%d %H:%M:%S %z")) == moment.replace(microsecond=0).timestamp()
