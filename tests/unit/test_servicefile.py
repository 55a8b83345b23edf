# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_service.conf: what is edited and what stays. That libpq reads it alike is tested with libpq in test_client.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _servicefile

FILE = b"""\
# who uses what
[app]
host=db1,db2
  keepalives_idle=60\t
# its pool
port=5432

# the reports
[reports]\r
host=db3\r
keepalives_idle=1\r
keepalives_idle=2\r
[app]
host=elsewhere
[empty]
"""


def test_it_is_read_as_libpq_does() -> None:
    assert _servicefile.services(FILE) == ["app", "reports", "empty"]
    assert _servicefile.values(FILE, "app") == {"host": "db1,db2", "keepalives_idle": "60", "port": "5432"}
    assert _servicefile.values(FILE, "reports") == {"host": "db3", "keepalives_idle": "1"}
    assert _servicefile.values(FILE, "empty") == _servicefile.values(FILE, "nobody") == {}
    assert _servicefile.values(None, "app") == {}
    assert _servicefile.services(b"[broken\nhost=x\n") == []


@pytest.mark.parametrize(
    ("wishes", "before", "after"),
    [
        ({"app": {"keepalives_idle": "35"}}, b"  keepalives_idle=60\t\n", b"  keepalives_idle=35\t\n"),
        ({"app": {"keepalives": "1"}}, b"port=5432\n", b"port=5432\nkeepalives=1\n"),
        ({"app": {"keepalives_idle": None}}, b"  keepalives_idle=60\t\n", b""),
        ({"app": {"keepalives_count": None}}, b"", b""),
        ({"reports": {"keepalives_idle": "3"}}, b"keepalives_idle=1\r\n", b"keepalives_idle=3\r\n"),
        (
            {"reports": {"keepalives_idle": None}},
            b"keepalives_idle=1\r\nkeepalives_idle=2\r\n",
            b"",
        ),
        ({"empty": {"port": "1"}}, b"[empty]\n", b"[empty]\nport=1\n"),
        ({"new": {"port": "1"}}, b"[empty]\n", b"[empty]\n[new]\nport=1\n"),
        ({"new": {"port": None}}, b"", b""),
    ],
)
def test_the_rest_stays(wishes: _servicefile.Wishes, before: bytes, after: bytes) -> None:
    expected = FILE.replace(before, after, 1) if before else FILE
    edited = _servicefile.edit(FILE, wishes)
    assert edited == expected
    assert _servicefile.edit(edited, wishes) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, b"[app]\nport=1\n"),
        (b"", b"[app]\nport=1\n"),
        (b"# nothing", b"# nothing\n[app]\nport=1\n"),
        (b"[app]", b"[app]\nport=1\n"),
        (b"[app]\nhost=x", b"[app]\nhost=x\nport=1\n"),
        (b"[broken\nport=2\n[app]\n# x", b"[broken\nport=2\n[app]\nport=1\n# x"),
    ],
)
def test_files_without_an_end_of_line(content: bytes | None, expected: bytes) -> None:
    assert _servicefile.edit(content, {"app": {"port": "1"}}) == expected


@pytest.mark.parametrize("content", [b"[app]\r\nhost=x\r\n", b"[app]\r\nhost=x", b"[app]\r\n", b"# none\r\n"])
def test_new_lines_end_as_the_others_do(content: bytes) -> None:
    edited = _servicefile.edit(content, {"app": {"port": "1"}})
    assert edited is not None
    assert edited.startswith(content.rstrip())
    assert edited.count(b"\n") == edited.count(b"\r\n") >= 2
    assert _servicefile.values(edited, "app")["port"] == "1"


def test_a_byte_order_mark_is_named() -> None:
    """libpq, asked for the service app, says that there is none."""
    with pytest.raises(Failure) as problem:
        _servicefile.edit(b"\xef\xbb\xbf[app]\nhost=x\n", {"app": {"port": "1"}})
    assert problem.value.code == "bad_service_file"


def test_no_file_stays_no_file() -> None:
    assert _servicefile.edit(None, {}) is None
    assert _servicefile.edit(b"", {}) == b""


@pytest.mark.parametrize("name", ["", "a]b", "a\nb"])
def test_names_that_no_section_can_have(name: str) -> None:
    with pytest.raises(Failure) as problem:
        _servicefile.edit(FILE, {name: {"port": "1"}})
    assert problem.value.code == "bad_service"


LINES = st.sampled_from(
    [b"[a]", b" [b] x", b"[c", b"k=1", b" k=2 ", b"l=", b"=x", b"# k=3", b"", b"\xff=1", b"m", b"k = 4"]
)


@given(
    st.lists(LINES, max_size=12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.dictionaries(
        st.sampled_from(["a", "b", "new"]),
        st.dictionaries(st.sampled_from(["k", "l"]), st.none() | st.sampled_from(["1", "9"])),
    ),
)
def test_any_file_gets_what_is_wanted_and_keeps_the_rest(
    lines: list[bytes], newline: bytes, closed: bool, wishes: dict[str, dict[str, str | None]]
) -> None:
    content = newline.join(lines) + (newline if closed else b"")
    edited = _servicefile.edit(content, wishes)
    assert _servicefile.edit(edited, wishes) == edited
    for service in {*_servicefile.services(content), *wishes}:
        expected = {**_servicefile.values(content, service), **wishes.get(service, {})}
        assert _servicefile.values(edited, service) == {k: v for k, v in expected.items() if v is not None}
