# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the configuration file room; a real server's opinion on the same is asked in the integration tests."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _conffile

IDLE = "tcp_keepalives_idle"


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"port = 5432", "port", "5432"),
        (b"port=5432", "port", "5432"),
        (b"port 5432", "port", "5432"),
        (b" \t\rPort\t5432 \t# the usual one\r", "port", "5432"),
        (b"port=5432#no blank needed", "port", "5432"),
        (b"port'5432'", "port", "5432"),
        (b"port+5432", "port", "+5432"),
        (b"port = 0x1Fkb", "port", "0x1Fkb"),
        (b"port = 0xkb", "port", "0xkb"),
        (b"tcp_user_timeout = 75s", "tcp_user_timeout", "75s"),
        (b"seq_page_cost = -.5", "seq_page_cost", "-.5"),
        (b"seq_page_cost = 1.e+5", "seq_page_cost", "1.e+5"),
        (b"seq_page_cost = .", "seq_page_cost", "."),
        (b"ssl = on", "ssl", "on"),
        (b"log_timezone = Etc/UTC", "log_timezone", "Etc/UTC"),
        (b"x = a.b-c", "x", "a.b-c"),
        (b"x = a.b.c", "x", "a.b.c"),
        (b"my.setting = 'x'", "my.setting", "x"),
        (b"x = ''", "x", ""),
        (b"x = '# no comment'# a comment", "x", "# no comment"),
        (b"x = 'it''s' # ''", "x", "it's"),
        (rb"x = 'it\'s'", "x", "it's"),
        (rb"x = '\b\f\n\r\t\\\q\8'", "x", "\b\f\n\r\t\\q8"),
        (rb"x = '\101\1012\7a\501'", "x", "AA2\x07aA"),
        (rb"x = 'ends\0here'", "x", "ends"),
        ("größe = 'Grüße'".encode(), "größe", "Grüße"),
        ("GRÖẞE = 1".encode(), "grÖẞe", "1"),
        (b"x\xff = '\xe4'", "x\udcff", "\udce4"),
        (b"x = 'a\rb'", "x", "a\rb"),
    ],
)
def test_lines_that_set_something(line: bytes, name: str, value: str) -> None:
    for data in (line, line + b"\n", b"# first\n\n" + line + b"\r\n"):
        (entry,) = _conffile.entries(data)
        assert (entry.name, entry.value) == (name, value)
        assert entry.line == data[: entry.start].count(b"\n") + 1
        assert line.strip().lower().startswith(data[entry.start : entry.value_span[0]].strip().lower())
        assert not _conffile.errors(data)
        assert not _conffile.includes(data)
        assert _conffile.value_of(data, name.upper() if name.isascii() else name) == value


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"port", "port"),
        (b"port =", "port"),
        (b"port = # 5432", "port"),
        (b"port == 5432", "port"),
        (b"port = 5432 5433", "port"),
        (b"port = 5432, 5433", "port"),
        (b"port-5432", None),
        (b"port.5432", None),
        (b"a.b.c = 1", None),
        (b"a. = 1", None),
        (b"5432 = port", None),
        (b"'port' = 5432", None),
        (b"= 5432", None),
        (b"\fport = 5432", None),
        (b"x = a.b", "x"),
        (b"idle = 1.5min", "idle"),
        (b"idle = 1e5", "idle"),
        (b"x = 'no end", "x"),
        (b"x = 'a''", "x"),
        (rb"x = 'a\'", "x"),
        (b"x = 'a'b'", "x"),
        (b"x = 'a\x00b'", "x"),
        (b"x = 50%", "x"),
        (b"\x00", None),
    ],
)
def test_lines_that_the_server_cannot_read(line: bytes, name: str | None) -> None:
    data = b"# first\n" + line + b"\nlast = 1\n"
    (problem,) = _conffile.errors(data)
    assert (problem.line, problem.name) == (2, name)
    assert [entry.name for entry in _conffile.entries(data)] == ["last"]


def test_text_after_a_nul_in_a_comment_is_a_comment() -> None:
    assert _conffile.entries(b"#\x00\nport = 1 #\x00 2\n")[0].value == "1"


def test_includes_are_no_settings() -> None:
    data = b"include 'a.conf'\nInclude_If_Exists = b\nport = 1\ninclude_dir='conf.d' # last\nincludes = 2\n"
    assert _conffile.includes(data) == [
        ("include", "a.conf", 1),
        ("include_if_exists", "b", 2),
        ("include_dir", "conf.d", 4),
    ]
    assert [entry.name for entry in _conffile.entries(data)] == ["port", "includes"]
    assert _conffile.value_of(data, "include_dir") is None


def test_the_last_one_counts() -> None:
    assert _conffile.value_of(b"port = 1\nPORT = 2\nport_x = 3\n#port = 4\n", "port") == "2"
    assert _conffile.value_of(b"#port = 4\n", "port") is None


SAMPLE = b"#tcp_keepalives_idle = 0\t\t# TCP_KEEPIDLE, in seconds;\n\t\t\t# 0 selects the system default\n"


@pytest.mark.parametrize(
    ("before", "settings", "after"),
    [
        # In place: nothing but the value's bytes.
        (b"a=1\n B\t =  2 # two\r\nc 3", {"b": "9"}, b"a=1\n B\t =  9 # two\r\nc 3"),
        (b"a=1\nc 3", {"c": "9"}, b"a=1\nc 9"),
        (b"a'x'#y", {"a": "9"}, b"a'9'#y"),
        (b"a+5", {"a": "on"}, b"a'on'"),
        (b"a = 1\na = 2\n# a = 3\n", {"a": "9"}, b"a = 1\na = 9\n# a = 3\n"),
        (b"a = 9\na = 2\n", {"a": "9"}, b"a = 9\na = 9\n"),
        (b"log_statement_stats = on\nlog_statement = all\n", {"log_statement": "none"}, None),
        (b"\xff\xfe = '\xe4' # \xfc\n", {"\udcff\udcfe": "\udce5"}, b"\xff\xfe = '\xe5' # \xfc\n"),
        # The value is there already, however it is written.
        (b"a = '60'\n", {"a": "60"}, b"a = '60'\n"),
        (b"a = 'it\\'s'", {"a": "it's"}, b"a = 'it\\'s'"),
        # Added below the sample, with what it says about itself, or at the end.
        (SAMPLE + b"b = 1\n", {IDLE: "60"}, SAMPLE + b"tcp_keepalives_idle = 60\nb = 1\n"),
        (b"  #a = 1\n  #b = 2\n", {"a": "9"}, b"  #a = 1\na = 9\n  #b = 2\n"),
        (b"# a = 1\n#A = 2\n# a: see a = 3\n", {"a": "9"}, b"# a = 1\n#A = 2\na = 9\n# a: see a = 3\n"),
        (b"#a = 1\r\nb = 1\n", {"a": "9"}, b"#a = 1\r\na = 9\r\nb = 1\n"),
        (b"#a = 1", {"a": "9"}, b"#a = 1\na = 9\n"),
        (b"#a_b = 1\n#a 2\n", {"a": "9"}, b"#a_b = 1\n#a 2\na = 9\n"),
        (b"b = 1\r\n#end", {"a": "9"}, b"b = 1\r\n#end\r\na = 9\r\n"),
        (b"b = 1", {"DateStyle": "ISO, MDY"}, b"b = 1\nDateStyle = 'ISO, MDY'\n"),
        (b"include_dir 'conf.d'\n", {"x.y": "9"}, b"include_dir 'conf.d'\nx.y = 9\n"),
        (b"", {"a": "9", "b": "8"}, b"a = 9\nb = 8\n"),
        # How values are written.
        (b"", {"a": "-1"}, b"a = -1\n"),
        (b"", {"a": "off"}, b"a = off\n"),
        (b"", {"a": ""}, b"a = ''\n"),
        (b"", {"a": "60s"}, b"a = '60s'\n"),
        (b"", {"a": "1.5min"}, b"a = '1.5min'\n"),
        (b"", {"a": "x.y"}, b"a = 'x.y'\n"),
        (b"", {"a": "it's \\"}, b"a = 'it''s \\\\'\n"),
        (b"", {"a": "ä"}, "a = 'ä'\n".encode()),
        # No longer set.
        (b"a = 1 # one\n\ta = 2\r\nb = 3\na=4", {"a": None}, b"#a = 1 # one\n\t#a = 2\r\nb = 3\n#a=4"),
        (b"a = 1", {"a": None}, b"#a = 1"),
        (b"#a = 1\na = 1\nb = 2\n", {"a": None}, b"#a = 1\nb = 2\n"),
        (b"#a = 1\na = 1", {"a": None}, b"#a = 1\n"),
        (b"#a = 1\na = 2\n", {"a": None}, b"#a = 1\n#a = 2\n"),
        (b"a = 1\na = 1\n", {"a": None}, b"#a = 1\n#a = 1\n"),
        (b"#a = 1\n", {"a": None}, b"#a = 1\n"),
        (b"oh dear\nb = 1\n", {"b": "2"}, b"oh dear\nb = 2\n"),
        (b"a = 1\n", {}, b"a = 1\n"),
    ],
)
def test_edit(before: bytes, settings: dict[str, str | None], after: bytes | None) -> None:
    if after is None:
        after = before.replace(b"all", b"none")
    assert _conffile.edit(before, settings) == after
    assert _conffile.edit(after, settings) == after


def test_setting_and_unsetting_again_and_again_does_not_grow_the_file() -> None:
    once = _conffile.edit(_conffile.edit(SAMPLE, {IDLE: "60"}), {IDLE: None})
    assert _conffile.edit(_conffile.edit(once, {IDLE: "60"}), {IDLE: None}) == once


@pytest.mark.parametrize(
    ("data", "name", "value", "code"),
    [
        (b"", "a", "1\n2", "bad_value"),
        (b"", "a", "1\x002", "bad_value"),
        (b"", "a", "\ud800", "bad_value"),
        (b"", "a b", "1", "bad_name"),
        (b"", "a\n", "1", "bad_name"),
        (b"", "a.b.c", "1", "bad_name"),
        (b"", "", None, "bad_name"),
        (b"", "Include", "x", "bad_name"),
        (b"a = 1.5min\n", "a", "1", "bad_config_file"),
        (b"a =\na = 1\n", "A", None, "bad_config_file"),
    ],
)
def test_what_is_refused(data: bytes, name: str, value: str | None, code: str) -> None:
    with pytest.raises(Failure) as caught:
        _conffile.edit(data, {name: value})
    assert caught.value.code == code


def test_a_line_that_cannot_be_read_is_named_but_not_shown() -> None:
    with pytest.raises(Failure, match="line 2") as caught:
        _conffile.edit(b"#\n primary_conninfo = 'password=secret\n", {"primary_conninfo": "x"})
    assert caught.value.details == {"line": 2}
    assert "secret" not in str(caught.value)


def test_long_lines_take_no_quadratic_time() -> None:
    for long in (b" " * 200_000, b"a" * 200_000, b"a.b" * 70_000, b"'" * 200_001, b"\\'" * 100_000, b"1" * 200_000):
        for data in (b"a" + long + b"=" + long + b"!", b"#" + long + b"a" + long + b"!", b"a=" + long + b"\x00"):
            _conffile.edit(data, {"b": "1"})


names = st.sampled_from(["a", "b", "ab", "a.b", "A", "Ab"])
values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\x00"), max_size=8),
    st.sampled_from(["60", "off", "1.5", "it's", "\\", "\\'", "'", "#", "60s", "\udcff", "\r"]),
)
files = st.lists(
    st.one_of(
        st.sampled_from([b"a", b"b", b"a.b", b"=", b" ", b"#", b"'", b"\\", b"\n", b"\r\n", b"1", b"# a = 1\n", b"\t"]),
        st.sampled_from([b"a = 1", b"AB = 'x''y' # c", b"#ab = 1", b"\n  b 2", b"include x\n", b"\xff", b"\0", b".5"]),
        st.binary(max_size=4),
    )
).map(b"".join)


@given(files, st.dictionaries(names, st.one_of(st.none(), values)))
@example(b"#a = 1", {"a": "1", "b": None})
def test_any_edit_of_any_file(data: bytes, settings: dict[str, str | None]) -> None:
    try:
        edited = _conffile.edit(data, settings)
    except Failure as failure:
        assert failure.code == "bad_config_file"
        assert {problem.name for problem in _conffile.errors(data)} & {name.lower() for name in settings}
        return
    # Of names that differ only in case, the last one counts.
    wanted = {name.lower(): value for name, value in settings.items()}
    for name, value in wanted.items():
        assert _conffile.value_of(edited, name) == value
    assert _conffile.edit(edited, wanted) == edited

    def others(content: bytes) -> list[tuple[str, str]]:
        return [(entry.name, entry.value) for entry in _conffile.entries(content) if entry.name not in wanted]

    assert others(edited) == others(data)
    assert [(kind, path) for kind, path, _line in _conffile.includes(edited)] == [
        (kind, path) for kind, path, _line in _conffile.includes(data)
    ]
    assert [problem.name for problem in _conffile.errors(edited)] == [p.name for p in _conffile.errors(data)]


@given(values, st.sampled_from([b"a = 1 # one", b"a'1'#one", b"a=1", b"a\t1\r"]))
def test_any_value_survives_being_written(value: str, data: bytes) -> None:
    assert _conffile.value_of(_conffile.edit(data, {"a": value}), "a") == value


@given(files)
def test_any_file_can_be_read(data: bytes) -> None:
    said = [entry.line for entry in _conffile.entries(data)] + [found.line for found in _conffile.includes(data)]
    said += [problem.line for problem in _conffile.errors(data)]
    lines = data.split(b"\n")
    silent = [number for number, line in enumerate(lines, 1) if not line.split(b"#")[0].strip(b" \t\r")]
    assert sorted(said + silent) == list(range(1, len(lines) + 1))
    for entry in _conffile.entries(data):
        start, end = entry.value_span
        assert entry.start < start < end
        assert b"\n" not in data[entry.start : end]
