# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read at a glance is what the readers of whole lines read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _common, _lines, _prefix
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._clock import Clock
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import LogEvent

TIME = "2026-11-22 12:00:00.500 UTC"
TLS = " SSL enabled (protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)"
MESSAGES = (
    "connection received: host=10.0.0.1 port=4711",
    "connection received: host=::1 port=4711",
    "connection received: host=[local]",
    "connection authorized: user=app database=shop",
    f"connection authorized: user=app database=shop application_name=my app{TLS}",
    "connection authorized: user=app database=shop GSS (authenticated=yes, encrypted=no, principal=app)",
    "connection authorized: user=password application_name=psql",
    "replication connection authorized: user=repl application_name=walreceiver",
    "disconnection: session time: 100:01:02.345 user=app database=shop host=10.0.0.1 port=4711",
    "disconnection: session time: 0:00:00.000 user=app database=shop host=[local]",
)
#: Of no such line, or not of all of one.
OTHERS = (
    "connection received: host=",
    "connection received: host=10.0.0.1 port=4711 more",
    "connection received: host=10.0.0.1 port=1234567",
    "connection authorized: user=app host=10.0.0.1",
    "connection authorized: user=a b database=shop",
    "disconnection: session time: 0:00:00.000 user=app",
    "checkpoint starting: time",
    "could not receive data from client: Connection reset by peer",
)
PREFIXES = (
    "%m [%p] %q%u@%d ",
    "%t:%r:%u@%d:[%p]:",
    "%m [%p] %e %c %h %q%10u|%-10d|%a ",
    "%t [%p]: db=%d,user=%u,app=%a ",
)
WHO = {"%u": "app", "%d": "shop", "%p": "42", "%m": TIME, "%t": TIME, "%r": "10.0.0.1(4711)", "%h": "::1"}
WHO |= {"%e": "00000", "%c": "6921abcd.3039", "%a": "[unknown]", "%q": "", "%10u": "       app", "%-10d": "shop      "}


def in_text(prefix: str, message: str, **who: str) -> str:
    for escape, value in sorted({**WHO, **who}.items(), key=lambda one: -len(one[0])):
        prefix = prefix.replace(escape, value)
    return f"{prefix}LOG:  {message}"


def in_csv(message: str, user: str = "app", application: str = "web") -> str:
    quoted = message.replace('"', '""')
    return (
        f'{TIME},"{user}","shop",42,"::1:4711",6921abcd.3039,17,"idle",2026-11-22 11:00:00 UTC,3/17,0,LOG,00000,'
        f'"{quoted}",,,,,,,,,"{application}","client backend",,0'
    )


def in_json(message: str, **fields: object) -> str:
    record = {"timestamp": TIME, "user": "app", "dbname": "shop", "pid": 42, "remote_host": "::1", "remote_port": 4711}
    record |= {
        "session_id": "6921abcd.3039",
        "line_num": 17,
        "ps": "idle",
        "error_severity": "LOG",
        "state_code": None,
        "message": message,
    }
    record |= {"application_name": "web", "backend_type": "client backend", "query_id": 0, **fields}
    return json.dumps({key: value for key, value in record.items() if value is not None}, separators=(",", ":"))


def both(form: _lines.Format, line: str) -> tuple[LogEvent | None, LogEvent | None]:
    """At a glance, and by the reader; the line is in the middle of others."""
    assert form.glance
    data = f"before\n{line}\nafter\n".encode()
    record = form.read(line)
    return form.glance(data, 7, len(data), "log", 2), record and _lines.event(record, "log", 2)


def form_of(line: str, prefix: str | None = None) -> _lines.Format:
    form = _lines.recognised([line], prefix, Clock())
    assert form
    return form


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("prefix", PREFIXES)
def test_lines_of_stderr(prefix: str, message: str) -> None:
    line = in_text(prefix, message)
    glance, read = both(form_of(line, prefix), line)
    assert read is not None
    assert glance == read
    assert (read.pid, read.time) == (42, 1795348800.5)


@pytest.mark.parametrize("message", MESSAGES)
def test_lines_of_csvlog_and_jsonlog(message: str) -> None:
    for line in (in_csv(message), in_json(message), in_json(message, application_name=None, state_code="00000")):
        glance, read = both(form_of(line), line)
        assert read is not None
        assert glance == read


@pytest.mark.parametrize("message", OTHERS)
def test_other_lines_are_left_to_the_readers(message: str) -> None:
    for line in (in_text(PREFIXES[0], message), in_csv(message), in_json(message)):
        assert both(form_of(line), line)[0] is None


def test_prefixes_of_which_too_little_is_known() -> None:
    for prefix in (_prefix.ANY, _prefix.compiled("%u "), _prefix.compiled("%n %m ")):
        assert _common.in_text(prefix, Clock()) is None


def test_a_time_in_a_zone_that_is_not_known_and_a_number_that_is_none() -> None:
    prefix = "%m [%p] "
    line = in_text(prefix, MESSAGES[0], **{"%m": "2026-11-22 12:00:00.500 CST", "%p": "1" * 20})
    glance, read = both(form_of(line, prefix), line)
    assert read is not None
    assert glance == read
    assert (read.time, read.pid) == (None, None)


PIECES = st.one_of(
    st.sampled_from(
        [
            *MESSAGES,
            *OTHERS,
            " user=",
            " database=",
            " host=",
            ": ",
            ":  ",
            "LOG:  ",
            "@",
            '"',
            "\\",
            "=",
            "\r",
            "ä",
            "secret",
        ]
    ),
    st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=12),
)
TEXTS = st.lists(PIECES, max_size=4).map("".join)


@given(prefix=st.sampled_from(PREFIXES), message=TEXTS, user=TEXTS, application=TEXTS)
def test_they_never_contradict_the_readers(prefix: str, message: str, user: str, application: str) -> None:
    text = in_text(prefix, message, **{"%u": user, "%a": application})
    csv = in_csv(message, user.replace('"', '""'), application.replace('"', '""'))
    for line, form in (
        (text, _lines.stderr(_prefix.compiled(prefix), Clock())),
        (csv, _lines.csvlog(Clock())),
        (in_json(message, user=user, application_name=application), _lines.jsonlog(Clock())),
    ):
        glance, read = both(form, line)
        assert glance is None or glance == read
