# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pgbouncer.ini is read as PgBouncer does (tests/integration asks it), and nothing in it changes but our settings."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _pgbouncerini as ini

PATH = "/etc/pgbouncer/pgbouncer.ini"
WHOLE = b"""\
;; databases
[databases]
app = host=10.0.0.1 password='it''s secret' pool_size=5 server_lifetime = 60
local = dbname=x
* = host=/run/postgresql user=u

[users]
batch = pool_mode=session idle_transaction_timeout=7

[pgbouncer]
listen_port = 6432
; keepalive
;tcp_keepidle = 0
;   about it
# tcp_keepintvl = 0
pool_mode = transaction

;; the end
"""


def load(files: t.Mapping[str, bytes]) -> ini.Load:
    return files.get


def items(data: bytes, **files: bytes) -> list[ini.Item]:
    return ini.items(PATH, data, load(files))


def edit(data: bytes, settings: dict[str, str | None], **files: bytes) -> bytes:
    once = ini.edit(PATH, data, settings, load(files))
    assert ini.edit(PATH, once, settings, load(files)) == once, "a second time changes something"
    found = ini.effective(items(once, **files))
    assert all(value is None or ini.same(found[name].value, value) for name, value in settings.items())
    return once


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[pgbouncer]\na = 1\n", {"a": "1"}),
        (b"[pgbouncer]\r\n  a\t=  1  \r\n", {"a": "1"}),
        (b"[pgbouncer] a = 1", {"a": "1"}),
        (b"[pgbouncer]\na=\n", {"a": ""}),
        (b"[pgbouncer]\na = 1 ; no comment\n", {"a": "1 ; no comment"}),
        (b"[pgbouncer]\n;a = 1\n #a = 2\n", {}),
        (b"[pgbouncer]\na = 1\na = 2\n", {"a": "2"}),
        (b"[pgbouncer]\na = 1\n[users]\na = 2\n", {"a": "1"}),
        (b"[pgbouncer]\na = 1\n[users]\n[pgbouncer]\nb = 2\n", {"b": "2"}),
        (b"[pgbouncer]\n'a' = 1\n", {"a": "1"}),
        (b"[pgbouncer]\na = 1\nnonsense\na = 2\n", {"a": "1"}),
        (b"[pgbouncer]\na = 1\0\na = 2\n", {"a": "1"}),
        (b"[pgbouncer]\na = \xff\n", {"a": "\udcff"}),
        (b"", {}),
    ],
)
def test_what_a_file_says(data: bytes, expected: dict[str, str]) -> None:
    assert {name: item.value for name, item in ini.effective(items(data)).items()} == expected
    assert ini.values_in(data) == expected


def test_no_file_says_nothing() -> None:
    assert ini.values_in(None) == {}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[pgbouncer]\n%include x\na = 1\n", "1"),
        (b"[pgbouncer]\na = 1\n%include x\n", "2"),
        (b"[pgbouncer]\na = 1\n[users]\n%include x\n", "1"),
        (b"%include \tsection \na = 1\n", "1"),
        (b"[pgbouncer]\na = 1\n%include section\n", "3"),
    ],
)
def test_an_include_goes_on_in_the_section_it_stands_in(data: bytes, expected: str) -> None:
    found = ini.effective(items(data, x=b"a = 2\n", section=b"[pgbouncer]\na = 3\n"))
    assert found["a"].value == expected
    assert found["a"].path == (PATH if expected == "1" else "x" if expected == "2" else "section")


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b"[pgbouncer]\nnonsense\n", 2, "it cannot be read"),
        (b"[pgbouncer\na = 1\n", 1, "it cannot be read"),
        (b"[pgbouncer]\n%included\n", 2, "it cannot be read"),
        (b"[pgbouncer]\n\n%include gone\n", 3, "there is no file gone to include"),
        (b"[PgBouncer]\n", 1, "PgBouncer"),
        (b"a = 1\n[pgbouncer]\n", 1, "a"),
        (b"[pgbouncer]\nb = 1\n", 2, "b"),
        (b"[pgbouncer]\n%include bad\n", 1, "it cannot be read"),
        (b"[pgbouncer]\n%include self\n", 1, "its files are included too deeply"),
    ],
)
def test_what_pgbouncer_would_not_take(data: bytes, line: int, what: str) -> None:
    files = {"bad": b"password\na = 1\n", "self": b"%include self\n"}
    (problem,) = ini.problems(items(data, **files), {"a"})
    assert (problem.line, problem.name) == (line, what)
    assert ini.problems(items(b"[pgbouncer]\na = 1\n"), {"a"}) == []
    assert ini.problems(items(b"[peers]\n"), {"peer_id"}) == ini.problems(items(b"[peers]\n"), None) == []
    assert len(ini.problems(items(b"[peers]\n"), {"a"})) == 1
    assert ini.problems(items(b"[pgbouncer]\nb = 1\n[users]\nc = 1\n"), None) == []


def test_what_databases_and_users_have_of_their_own() -> None:
    rows = ini.overrides(items(WHOLE))
    assert [(row["setting"], row["section"], row["name"], row["value"], row["line"]) for row in rows] == [
        ("default_pool_size", "databases", "app", "5", 3),
        ("server_lifetime", "databases", "app", "60", 3),
        ("pool_mode", "users", "batch", "session", 8),
        ("idle_transaction_timeout", "users", "batch", "7", 8),
    ]
    assert "secret" not in str(rows)


def test_legs_to_the_servers() -> None:
    assert ini.server_legs(items(WHOLE)) == [
        {"database": "app", "host": "10.0.0.1", "unix_socket": False},
        {"database": "local", "host": None, "unix_socket": True},
        {"database": "*", "host": "/run/postgresql", "unix_socket": True},
    ]


# ---- editing


def added(before: bytes, after: bytes) -> list[tuple[int, bytes]]:
    """The lines of *after* that *before* has not, with their numbers; all others must be the same."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    extra = [(number, line) for number, line in enumerate(new, 1) if line not in old]
    assert [line for line in new if line in old] == old
    return extra


def test_a_new_setting_goes_below_its_sample_or_to_the_end_of_the_section() -> None:
    after = edit(WHOLE, {"tcp_keepidle": "35", "tcp_keepintvl": "6", "tcp_keepcnt": "5"})
    assert added(WHOLE, after) == [
        (14, b"tcp_keepidle = 35\n"),
        (17, b"tcp_keepintvl = 6\n"),
        (19, b"tcp_keepcnt = 5\n"),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"[pgbouncer]\na=1\n", b"[pgbouncer]\na=2\n"),
        (b"[pgbouncer]\na =\t1  \r\nb = 1\r\n", b"[pgbouncer]\na =\t2  \r\nb = 1\r\n"),
        (b"[pgbouncer]\na = 7\na = 1", b"[pgbouncer]\na = 7\na = 2"),
        (b"[pgbouncer] a = 1", b"[pgbouncer] a = 2"),
        (b"[pgbouncer]\na = 2.0\n", b"[pgbouncer]\na = 2\n"),
        (b"[pgbouncer]\na = 02\n", b"[pgbouncer]\na = 02\n"),
        (b"[pgbouncer]", b"[pgbouncer]\na = 2\n"),
        (b"[pgbouncer]\r\nb = 1", b"[pgbouncer]\r\nb = 1\r\na = 2\r\n"),
        (b"[pgbouncer]\r\nb = 1\r\n[users]\r\n", b"[pgbouncer]\r\nb = 1\r\na = 2\r\n[users]\r\n"),
        (b"[pgbouncer]\nb = 1\n;a = 1", b"[pgbouncer]\nb = 1\n;a = 1\na = 2\n"),
        (b"[pgbouncer]\nb = 1\n[users]\n;a = 1\n", b"[pgbouncer]\nb = 1\na = 2\n[users]\n;a = 1\n"),
        (b"[pgbouncer]\na = 1\n[pgbouncer]\nb = 1\n", b"[pgbouncer]\na = 1\n[pgbouncer]\nb = 1\na = 2\n"),
        (b"[pgbouncer] [users]\n[pgbouncer]\n[users]\n", b"[pgbouncer] [users]\n[pgbouncer]\na = 2\n[users]\n"),
        # Below an include that sets it, whether the sample is above or not.
        (b"[pgbouncer]\n;a = 1\n%include x\nb = 1\n", b"[pgbouncer]\n;a = 1\n%include x\nb = 1\na = 2\n"),
        (b"[pgbouncer]\na = 2\n%include x\n", b"[pgbouncer]\na = 2\n%include x\na = 2\n"),
        (b"[users]\n%include section\n", b"[users]\n%include section\na = 2\n"),
        # Others may be above one that does not.
        (b"[pgbouncer]\n;a = 1\n%include other\n", b"[pgbouncer]\n;a = 1\na = 2\n%include other\n"),
    ],
)
def test_the_line_that_decides_is_changed_or_made(before: bytes, after: bytes) -> None:
    files = {"x": b"a = 9\n", "section": b"[pgbouncer]\na = 9\n", "other": b"c = 9\n"}
    assert edit(before, {"a": "2"}, **files) == after


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"[pgbouncer]\na = 1\n[users]\n%include away\n", "away:1 decides"),
        (b"[pgbouncer]\na = 1\n[users]\n%include set\n", "set:2 decides"),
        (b"[pgbouncer] [users]\n", "pgbouncer.ini:1 decides"),
        (b"[users]\n", "it has no section [pgbouncer]"),
        (b"", "it has no section [pgbouncer]"),
    ],
)
def test_where_nothing_could_decide_the_run_says_what_does(data: bytes, found: str) -> None:
    files = {"away": b"[pgbouncer]\n[users]\n", "set": b"[pgbouncer]\na = 9\n[users]\n"}
    with pytest.raises(Failure) as caught:
        ini.edit(PATH, data, {"a": "2"}, load(files))
    assert found in caught.value.found
    assert caught.value.code == ("bad_config_file" if "no section" in found else "outranked")


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"\xef\xbb\xbf[pgbouncer]\n", f"stops reading at {PATH}:1: it begins with a byte order mark"),
        (b"; one\nnonsense\n[pgbouncer]\n", f"stops reading at {PATH}:2: it cannot be read"),
        (b"%include away\n[pgbouncer]\n", f"stops reading at {PATH}:1: there is no file away to include"),
    ],
)
def test_a_file_that_ends_for_pgbouncer_before_its_section(data: bytes, found: str) -> None:
    with pytest.raises(Failure) as caught:
        ini.edit(PATH, data, {"a": "2"}, load({}))
    assert caught.value.code == "bad_config_file"
    assert found in caught.value.found


def test_where_it_listens() -> None:
    assert ini.port({}, PATH) == 6432
    assert ini.port({"listen_port": "7"}, PATH) == 7
    with pytest.raises(Failure) as caught:
        ini.port({"listen_port": "7 ; c"}, PATH)
    assert caught.value.code == "bad_config_file"


def test_taking_settings_out_comments_all_of_them_out() -> None:
    before = b"[pgbouncer]\na = 1\nb = 2\n  a = 3\n[users]\na = pool_mode=session\n"
    after = ini.edit(PATH, before, {"a": None, "c": None}, load({}))
    assert after == b"[pgbouncer]\n;a = 1\nb = 2\n  ;a = 3\n[users]\na = pool_mode=session\n"
    assert ini.values_in(after) == {"b": "2"}


@pytest.mark.parametrize("value", ["", " 1", "1\n[users]", "1\0", "1\r"])
def test_a_value_that_the_file_cannot_hold(value: str) -> None:
    with pytest.raises(Failure) as caught:
        ini.edit(PATH, b"[pgbouncer]\n", {"a": value}, load({}))
    assert caught.value.code == "bad_value"


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("60", "60.0", True),
        ("Session", "session", True),
        ("60", "61", False),
        (None, None, True),
        (None, "1", False),
        ("1", None, False),
    ],
)
def test_spellings_of_the_same(one: str | None, other: str | None, equal: bool) -> None:
    assert ini.same(one, other) is equal
