# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the HAProxy configuration rooms: words, sections, edits. HAProxy's own opinion is asked in integration."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_settings, _haproxycfg

PATH = "/etc/haproxy/haproxy.cfg"


def parse(text: str | bytes) -> list[_haproxycfg.Section]:
    return _haproxycfg.parse({PATH: text.encode() if isinstance(text, str) else text})


def words(line: bytes) -> list[str]:
    """Of a line that is the only one of a section."""
    (section,) = parse(b"listen a\n" + line + b"\n")
    return [word.text for one in section.lines for word in one.words]


# ---- words


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"  timeout\tclient  1m", ["timeout", "client", "1m"]),
        (b"bind :5432#comment", ["bind", ":5432"]),
        (b"bind :5432 # comment", ["bind", ":5432"]),
        (b"# only a comment", []),
        (b"   ", []),
        (rb"acl a\ b \# c", ["acl", "a b", "#", "c"]),
        (rb"x \\ \t\n\r \x41\x4", ["x", "\\", "\t\n\r", r"A\x4"]),
        (rb'x "a # b" "it\"s" "\q"', ["x", "a # b", 'it"s', "\\q"]),
        (rb"x 'a # \b' ''", ["x", r"a # \b", ""]),
        (rb'x a"b c"d', ["x", "ab cd"]),
        (rb'x "unfinished # b', ["x", "unfinished # b"]),
        (rb"x 'unfinished", ["x", "unfinished"]),
        (b"x y\\", ["x", "y\\"]),
        (b"x y\r", ["x", "y"]),
        (b"x y\rz", ["x", "y"]),
        ("x Grüße".encode(), ["x", "Grüße"]),
        (b"x \xe4", ["x", "\udce4"]),
    ],
)
def test_words_are_those_of_haproxy(line: bytes, expected: list[str]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize(
    ("word", "variable"),
    [
        (rb'"${T}"', True),
        (rb'"$T"', True),
        (rb'1"${T-5}"s', True),
        (rb'"\$T"', False),
        (rb"'$T'", False),
        (rb"$T", False),
        (rb'"5$"', False),
    ],
)
def test_variables_count_inside_double_quotes_only(word: bytes, variable: bool) -> None:
    (section,) = parse(b"listen a\n timeout client " + word + b" # end\n")
    found = section.lines[0].words[2]
    assert found.variable is variable
    if variable:
        with pytest.raises(Failure) as raised:
            _haproxycfg.known(found, "listen a: timeout client")
        assert raised.value.code == "unknown_variable"
        assert "listen a: timeout client" in raised.value.asked
    else:
        assert _haproxycfg.known(found, "x") == found.text


@given(st.binary())
def test_every_byte_of_a_file_is_read_and_kept(data: bytes) -> None:
    sections = parse(b"listen a\n" + data)
    assert _haproxycfg.apply(data, []) == data
    whole = b"listen a\n" + data
    ends = [0]
    for section in sections:
        for line in (section.header, *section.lines):
            assert line.start >= ends[-1]
            ends.append(line.end)
            assert all(line.start <= word.start <= word.end <= line.end for word in line.words)
            assert b"\n" not in whole[line.start : line.end - 1]


# ---- sections

SEVERAL = """
global
    daemon
defaults
    mode tcp
listen first
    bind :1
defaults named
    mode http
frontend second
    bind :2
defaults other from named
backend third from named
backend fourth from nobody
defaults
frontend "a b"
"""


def test_sections_know_what_they_inherit_from() -> None:
    sections = {one.label: one for one in parse("unknown line\n" + SEVERAL)}
    parents = {label: one.parent.label if one.parent else None for label, one in sections.items()}
    assert parents == {
        "global": None,
        "defaults": None,
        "listen first": "defaults",
        "defaults named": None,
        "frontend second": "defaults named",
        "defaults other": "defaults named",
        "backend third": "defaults named",
        "backend fourth": None,
        "frontend a b": "defaults",
    }
    assert [one.label for one in sections["defaults other"].lineage()] == ["defaults other", "defaults named"]


def test_defaults_count_in_the_files_after_them() -> None:
    sections = _haproxycfg.parse({"a": b"defaults\n mode tcp\n", "b": b"listen x\n bind :1\n"})
    assert sections[1].parent is sections[0]
    assert [one.path for one in sections] == ["a", "b"]


def test_what_depends_on_a_condition_is_known() -> None:
    text = "listen a\n.notice hello\nlisten b\n.if 1\n bind :1\n.else\n.endif\n.if 1\nlisten c\n.endif\n bind :1\n"
    found = {one.name: one.conditional for one in parse(text + "listen d\n bind :1\n.if 1\nlisten e\n.endif\n")}
    assert found == {"a": False, "b": True, "c": True, "d": False, "e": True}
    # nothing of a file before
    assert not _haproxycfg.parse({"a": b".if 1\n", "b": b"listen x\n"})[0].conditional


# ---- edits


def test_edits_at_one_place_come_in_order() -> None:
    edits = [_haproxycfg.Edit(1, 1, "x"), _haproxycfg.Edit(0, 1, "A"), _haproxycfg.Edit(1, 1, "y\udcff")]
    assert _haproxycfg.apply(b"abc", edits) == b"Axy\xffbc"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # the indentation of the last setting, above what belongs to the next section
        ("listen a\n\tbind :1\n\n# next\nlisten b\n", "listen a\n\tbind :1\n\ttimeout client 5s\n\n# next\nlisten b\n"),
        ("listen a\n  bind :1\r\n", "listen a\n  bind :1\r\n  timeout client 5s\r\n"),
        ("listen a\n# nothing\n", "listen a\n    timeout client 5s\n# nothing\n"),
        ("listen a\n bind :1", "listen a\n bind :1\n timeout client 5s\n"),
        ("listen a\nbind :1\n", "listen a\nbind :1\ntimeout client 5s\n"),
        # in place
        ("listen a\n timeout  client 7 # why\n", "listen a\n timeout  client 5s # why\n"),
        ("listen a\n timeout client '7'\n", "listen a\n timeout client 5s\n"),
        ("listen a\n timeout client 1\n timeout client 7\n", "listen a\n timeout client 1\n timeout client 5s\n"),
        # the same, spelled otherwise
        ("listen a\n timeout client 5000\n", "listen a\n timeout client 5000\n"),
    ],
)
def test_a_line_is_edited_in_place_or_added_at_the_end(before: str, after: str) -> None:
    section = parse(before)[0]
    edits = _haproxy_settings.edits(section, before.encode(), {"timeout client": "5s"})
    assert _haproxycfg.apply(before.encode(), edits).decode() == after


def test_a_missing_line_end_is_given_once() -> None:
    data = b"listen a\r\n bind :1"
    values: dict[str, t.Any] = {"timeout client": "5s", "timeout server": "6s"}
    edits = _haproxy_settings.edits(parse(data)[0], data, values)
    assert _haproxycfg.apply(data, edits) == b"listen a\r\n bind :1\n timeout client 5s\n timeout server 6s\n"
