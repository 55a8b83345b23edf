# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merging into a DSN, against libpq's own parser: all of what was said stays, and ours comes to it."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.plugin_utils import _dsn

OURS = {"keepalives": 1, "keepalives_idle": 35, "tcp_user_timeout": 71000}
TEXTS = {name: str(value) for name, value in OURS.items()}
#: Whatever libpq takes: no NUL, no lone surrogates.
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
KEYS = st.sampled_from(["host", "port", "user", "password", "dbname", "options", "sslmode", "keepalives_idle"])


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("", "keepalives=1 keepalives_idle=35 tcp_user_timeout=71000"),
        ("host=db", "host=db keepalives=1 keepalives_idle=35 tcp_user_timeout=71000"),
        ("host=db keepalives_idle = 9", "host=db keepalives_idle = 9 keepalives=1 tcp_user_timeout=71000"),
        ("host=db password=", "keepalives=1 keepalives_idle=35 tcp_user_timeout=71000 host=db password="),
        ("host=db password=a\\", "keepalives=1 keepalives_idle=35 tcp_user_timeout=71000 host=db password=a\\"),
        ("postgres://", "postgres://?keepalives=1&keepalives_idle=35&tcp_user_timeout=71000"),
        (
            "postgresql://u:p?w%40@h1:5432,[::1]:6432,h3/db",
            "postgresql://u:p?w%40@h1:5432,[::1]:6432,h3/db?keepalives=1&keepalives_idle=35&tcp_user_timeout=71000",
        ),
        (
            "postgresql:///db?host=%2Frun&keepalives_idle=9",
            "postgresql:///db?host=%2Frun&keepalives_idle=9&keepalives=1&tcp_user_timeout=71000",
        ),
        ("postgresql:///db?", "postgresql:///db?keepalives=1&keepalives_idle=35&tcp_user_timeout=71000"),
        (
            "postgresql://h/db?sslmode=require&",
            "postgresql://h/db?sslmode=require&keepalives=1&keepalives_idle=35&tcp_user_timeout=71000",
        ),
    ],
)
def test_the_rest_stays_as_it_is(dsn: str, expected: str) -> None:
    assert _dsn.merge(dsn, OURS) == expected
    assert _dsn.merge(expected, OURS) == expected


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        (
            "keepalives_idle='9' host='a b' keepalives = 0",
            "keepalives_idle=35 host='a b' keepalives = 1 tcp_user_timeout=71000",
        ),
        (
            "keepalives=0 keepalives='1'host=db",
            "keepalives=0 keepalives='1'host=db keepalives_idle=35 tcp_user_timeout=71000",
        ),
        (
            "postgres://u:p@h/d?keep%61lives=0&a%70plication_name=x",
            "postgres://u:p@h/d?keep%61lives=1&a%70plication_name=x&keepalives_idle=35&tcp_user_timeout=71000",
        ),
    ],
)
def test_force_replaces_in_place(dsn: str, expected: str) -> None:
    assert _dsn.merge(dsn, OURS, force=True) == expected
    assert _dsn.merge(expected, OURS, force=True) == expected


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("keepalives_idle=0", "keepalives_idle=35 keepalives=1 tcp_user_timeout=71000"),
        ("keepalives_idle=-3 keepalives=1", "keepalives_idle=35 keepalives=1 tcp_user_timeout=71000"),
        ("postgres://h?keepalives_idle=0", "postgres://h?keepalives_idle=35&keepalives=1&tcp_user_timeout=71000"),
        # without keepalive libpq does not look at it; and this 0 is no error
        ("keepalives=0 keepalives_idle=0", "keepalives=0 keepalives_idle=0 tcp_user_timeout=71000"),
        ("tcp_user_timeout=0 keepalives_idle=9", "tcp_user_timeout=0 keepalives_idle=9 keepalives=1"),
    ],
)
def test_a_zero_with_which_libpq_cannot_connect_is_replaced(dsn: str, expected: str) -> None:
    assert _dsn.merge(dsn, OURS) == expected
    assert _dsn.merge(expected, OURS) == expected


def _check(dsn: str) -> None:
    was = parse_dsn(dsn)
    assume(not re.fullmatch(r"0+|-\d+", was.get("keepalives_idle", "")))  # see above
    kept, forced = _dsn.merge(dsn, OURS), _dsn.merge(dsn, OURS, force=True)
    assert parse_dsn(kept) == {**TEXTS, **was}
    assert dsn in kept
    assert parse_dsn(forced) == {**was, **TEXTS}
    assert (_dsn.merge(kept, OURS), _dsn.merge(forced, OURS, force=True)) == (kept, forced)


@given(
    st.lists(st.tuples(KEYS, VALUES, st.sampled_from(["=", " = ", "=\t"])), max_size=6),
    st.sampled_from(["", " ", "\n"]),
)
@example([("password", "", "=")], "")
def test_any_connection_string(rows: list[tuple[str, str, str]], end: str) -> None:
    escaped = [(key, equals, value.replace("\\", "\\\\").replace("'", "\\'")) for key, value, equals in rows]
    _check(" ".join(f"{key}{equals}'{value}'" for key, equals, value in escaped) + end)


@given(st.lists(st.tuples(KEYS, st.text("ab=&'\\\\ ?@é", max_size=8)), max_size=5))
def test_connection_strings_as_people_write_them(rows: list[tuple[str, str]]) -> None:
    dsn = " ".join(f"{key}={value}" for key, value in rows)
    try:
        parse_dsn(dsn)
    except Exception:
        with pytest.raises(Failure, match="libpq cannot read it"):
            _dsn.merge(dsn, OURS)
    else:
        _check(dsn)


@given(
    st.tuples(VALUES, VALUES),
    st.lists(st.sampled_from(["h", "h:1", "[::1]", "[fe80::1]:5433", "%2Frun", "127.0.0.1:6432"]), max_size=3),
    VALUES,
    st.lists(st.tuples(st.sampled_from(["options", "application_name", "keepalives_idle"]), VALUES), max_size=4),
)
def test_any_uri(login: tuple[str, str], hosts: list[str], database: str, parameters: list[tuple[str, str]]) -> None:
    user, password = (quote(one, safe="?!$") for one in login)
    query = "&".join(f"{key}={quote(value, safe='?/:@')}" for key, value in parameters)
    uri = f"postgresql://{user}:{password}@{','.join(hosts)}/{quote(database, safe='')}" + (
        f"?{query}" if query else ""
    )
    _check(uri)


@pytest.mark.parametrize(
    "dsn", ["s3cret", "password=s3cret nonsense=1", "postgres://u:s3cret%zz@h/d", "password='s3cret", 7]
)
def test_no_error_shows_a_password(dsn: object) -> None:
    with pytest.raises(Failure) as problem:
        _dsn.merge(dsn, OURS)
    assert problem.value.code == "bad_dsn"
    assert "s3cret" not in str(problem.value)


def test_without_psycopg2_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dsn, "HAS_PSYCOPG2", False)
    with pytest.raises(Failure, match="psycopg2") as problem:
        _dsn.merge("password=s3cret", OURS)
    assert problem.value.code == "missing_library"
    assert "s3cret" not in str(problem.value)
