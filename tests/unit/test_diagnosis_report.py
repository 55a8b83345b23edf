# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a diagnosis: readable at 100 columns, whatever a log holds, and nothing of others is overwritten."""

from __future__ import annotations

import datetime
import html
import json
import re
import stat
import typing as t
from pathlib import Path

import pytest
from _diagnoses import IDLE, LOG, MORNING, SUSPECT, Result, diagnosed, event, forgotten, health_check
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._causes import CAUSES
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._policy import KEYS
from ansible_collections.pgharden.connection.plugins.plugin_utils import (
    _diagnosis_files,
    _diagnosis_page,
    _diagnosis_table,
    _diagnosis_words,
)

RESET = "could not receive data from client: Connection reset by peer"
NOW = datetime.datetime(2026, 11, 23, 6, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))


def lines(result: Result) -> list[str]:
    return _diagnosis_table.lines({"db1": result})


def page(result: Result, host: str = "db1") -> str:
    return _diagnosis_page.page(host, "2026-11-23T04:00:00Z", result)


# ---- the terminal


def test_a_cause_with_all_that_is_known_of_it() -> None:
    result = diagnosed([forgotten(60.0 * number, 50000 + number) for number in range(12)])
    evidence = "data of the client was sent 10 times and never acknowledged, after 351.0 s of silence"
    result["causes"][0] |= {
        "confidence": 0.63,
        "evidence_for": [f"{LOG}:12: it timed out", f"{LOG}:13: it timed out", evidence, "not in the terminal"],
        "missing_evidence": ["a capture on the server's host of the same minutes: did the client's packets arrive"],
    }
    for loss in result["losses"][::2]:  # half of them
        loss["alternatives"] = [{"cause": "client_vanished", "confidence": 0.4}, {"cause": "x", "confidence": 0.08}]
        loss["evidence_against"] = ["line 7 says no", "line 8 says no", "so does another"]
    for loss in result["losses"][1::2]:
        loss["alternatives"] = [{"cause": "one_way_loss", "confidence": 0.5}]
    assert lines(result) == [
        "db1: PostgreSQL 17.2; 1 log file; 431 connections logged, 419 closed normally",
        "  1. a firewall, NAT or load balancer forgot the idle connection and drops its packets",
        "    (middlebox_forgot_flow)",
        "     seen: 12 connections, 2026-11-23 03:12:01 to 03:23:01 UTC",
        "     confidence: more likely than not (0.63)",
        "     clients: 10.0.0.7 (12)",
        "     for: /var/log/postgresql/postgresql-17-main.log:12: it timed out",
        "     for: data of the client was sent 10 times and never acknowledged, after 351.0 s of silence",
        "     against: line 7 says no",  # line 8 says the same
        "     against: so does another",
        "     may also be: one_way_loss (0.25), client_vanished (0.20)",
        "     such an idle limit: AWS NLB, NAT gateway, Network Firewall or security group tracking (350 s)",
        "     would tell: a capture on the server's host of the same minutes: did the client's packets arrive",
        "     remedy: Send keepalive probes more often than the device's idle limit, at either end, or raise",
        "       that limit.",
        "     prevented by: path_idle_limit of harden_policy",
    ]


def test_the_harmful_causes_by_rank_and_the_harmless_in_one_line_at_the_end() -> None:
    losses = [event("eof_in_transaction", "unexpected EOF", float(number)) for number in range(3)]
    losses += [event("idle_session_timeout", IDLE, 9.0), *(health_check(float(number)) for number in range(40))]
    text = lines(diagnosed(losses))
    assert [line for line in text if re.match(r"  \d+\. ", line)] == [
        "  1. the client's process ended without saying goodbye (client_exited)",
        "  2. idle_session_timeout ended the session (idle_session_timeout)",
    ]
    assert text[-1] == "  harmless: 40 health checks"
    assert "     seen: 3 connections, 2026-11-23 03:12:01 to 03:12:03 UTC" in text
    assert "     seen: 1 connection, 2026-11-23 03:12:10 UTC" in text
    assert "nothing wrong" not in "\n".join(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99, "almost certain"),
        (0.9, "almost certain"),
        (0.7, "likely"),
        (0.5, "more likely than not"),
        (0.3, "uncertain"),
    ],
)
def test_confidence_in_words_and_number(value: float, text: str) -> None:
    result = diagnosed([event("idle_session_timeout", IDLE)])
    result["causes"][0]["confidence"] = value
    assert f"     confidence: {text} ({value:.2f})" in lines(result)


def test_the_most_frequent_clients() -> None:
    some = [event("idle_session_timeout", IDLE, address=f"10.0.0.{number % 8}") for number in range(9)]
    clients = "10.0.0.0 (2), 10.0.0.1 (1), 10.0.0.2 (1), 10.0.0.3 (1), 10.0.0.4 (1) and 3 more"
    assert f"     clients: {clients}" in lines(diagnosed(some))


def test_a_healthy_server_with_its_noise() -> None:
    connections = {"seen": 4431, "normal_closes": 419, "empty": 4012}  # more than have a row
    result = diagnosed([health_check(float(number)) for number in range(312)], connections=connections)
    assert lines(result) == [
        "db1: PostgreSQL 17.2; 1 log file; 4431 connections logged, 419 closed normally, 4012 without a login",
        "  nothing wrong",
        "  harmless: 312 health checks",
    ]


def test_nothing_wrong_is_not_said_of_what_could_not_be_read() -> None:
    result = diagnosed(
        problems=["the server's log: it goes to a pipe"], connections={"seen": 0, "normal_closes": 0, "empty": 0}
    )
    result["sources"] = {"logs": [], "captures": []}
    assert lines(result) == [
        "db1: PostgreSQL 17.2",
        "  nothing wrong in what could be read",
        "  problem: the server's log: it goes to a pipe",
    ]


def test_what_no_log_has_is_said_once() -> None:
    result = diagnosed(missing_evidence=["client_exited: no line; a capture would"])
    assert _diagnosis_words.remarks(result) == [("not in a log", "client_exited: no line; a capture would")]


def test_a_host_without_a_server() -> None:
    counts = {"address": "10.0.0.5", "port": 5432, "open": 9, "connecting": 0, "closed_by_server": 0, "unanswered": 0}
    well = diagnosed(server=None, sources={"logs": [], "captures": []}, sockets=[counts])
    well["connections"] = {"seen": 0, "normal_closes": 0, "empty": 0}
    assert lines(well) == ["db1: no PostgreSQL server here", "  nothing wrong"]
    badly = {**well, "sockets": [{**counts, "connecting": 1, "closed_by_server": 2, "unanswered": 3}]}
    assert lines(badly)[2:] == [
        "  as a client: 2 connections to 10.0.0.5:5432 that it has closed, and the program here not",
        "  as a client: 1 connection attempt to 10.0.0.5:5432 without an answer yet",
        "  as a client: 3 connections to 10.0.0.5:5432 on which nobody answers",
    ]


def test_files_that_somebody_sent_and_no_server() -> None:
    captures = [{"path": "/tmp/a", "side": "client"}, {"path": "/tmp/b", "side": "server"}]
    result = diagnosed(server=None, look=None, statistics=None, sources={"logs": [LOG, LOG], "captures": captures})
    assert lines(result)[0] == (
        "db1: 2 log files; 2 captures (client, server); 431 connections logged, 419 closed normally"
    )
    del result["sources"]
    assert lines({**result, "connections": {"seen": 0, "normal_closes": 0, "empty": 0}})[0] == "db1: counters alone"


def test_what_is_seen_now() -> None:
    result = diagnosed(
        suspects=[SUSPECT, *([{**SUSPECT, "address": "fe80::1", "tls": False, "state": None, "seconds": None}] * 7)],
        healthy=False,
        statistics={
            "seconds": 5.0,
            "databases": {"shop": {"sessions": 7, "sessions_abandoned": 2, "sessions_killed": 1}},
            "kernel": {"TCPAbortOnTimeout": 2, "RetransSegs": 900},
        },
        standbys=[
            {"application_name": "db2", "address": "10.0.0.6", "silent": 45.0},
            {"application_name": "db3", "address": None, "silent": 3.0},
            {"application_name": "db4", "address": None, "silent": None},
        ],
        host={"reasons": ["the run queue is 4.2 processes a processor long"]},
    )
    text = lines(result)
    assert text[1:3] == [
        "  open session: process 4711, app@shop from 10.0.0.9:50123 with TLS, idle in transaction for 5 min",
        "    35 s: keepalive probed 3 times and got no answer (client_vanished)",
    ]
    assert text[3].startswith("  open session: process 4711, app@shop from [fe80::1]:50123: keepalive probed 3 times")
    assert text[-5:] == [
        "  open sessions: 3 more like these",
        "  in 5 s: 2 sessions of shop abandoned by the client; 1 session of shop ended by somebody; 2",
        "    connections given up because nobody answered",
        "  standby: db2 (10.0.0.6) has not replied for 45 s",
        "  this host may answer late: the run queue is 4.2 processes a processor long",
    ]
    assert "nothing wrong" not in "\n".join(text)


def test_what_strains_a_host_that_only_read_files_is_not_said() -> None:
    slow = {"reasons": ["the run queue is 4.2 processes a processor long"]}
    assert "run queue" in " ".join(lines(diagnosed(host=slow)))
    assert "run queue" not in " ".join(lines(diagnosed(host=slow, look=None)))


def test_hosts_with_the_same_result_share_and_those_that_failed_are_named() -> None:
    good, bad = diagnosed([health_check(0.0)]), diagnosed([event("idle_session_timeout", IDLE)])
    results = {
        "db1": good,
        "db2": bad,
        "db3": diagnosed([health_check(0.0)], look={"at": MORNING + 1}),  # which is not shown
        "db4": {"failed": True, "msg": "log in to 10.0.0.6: refused. Start the server."},
        "db5": {"unreachable": True, "msg": "ssh says no"},
        "db6": {"skipped": True},
    }
    text = _diagnosis_table.lines(results)
    assert [line.split(":")[0] for line in text if line.startswith("db")] == ["db1, db3", "db2", "db4", "db5", "db6"]
    assert text[-5:] == [
        "db4: failed, see above: log in to 10.0.0.6: refused. Start the server.",
        "",
        "db5: unreachable, see above",
        "",
        "db6: skipped",
    ]
    assert _diagnosis_table.lines({}) == []


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        (None, None, ""),
        (0.0, 0.0, "1970-01-01 00:00:00 UTC"),
        (MORNING, MORNING + 86400, "2026-11-23 03:12:01 to 2026-11-24 03:12:01 UTC"),
        (MORNING, 1e30, "2026-11-23 03:12:01 UTC"),  # of a broken capture
        (float("nan"), MORNING, ""),
    ],
)
def test_times_are_in_utc(first: float | None, last: float | None, text: str) -> None:
    assert _diagnosis_words.span(first, last) == text


def test_what_prevents_a_cause_is_a_key_of_a_policy_or_a_setting_of_the_client() -> None:
    settings = {name for cause in CAUSES.values() for name in cause.prevented_by} - set(KEYS)
    assert settings <= {"keepalives_idle", "tcp_user_timeout", "connect_timeout"}  # keywords of libpq
    result = diagnosed([event("idle_session_timeout", IDLE)])
    result["causes"][0]["prevented_by"] = ["connect_within", "tcp_user_timeout"]
    assert lines(result)[-2:] == [
        "     prevented by: connect_within of harden_policy",
        "     prevented by: tcp_user_timeout of the client",
    ]


# ---- what a log may hold

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
HOSTILE += "<img src=x onerror=alert(1)> [x](http://evil.example) `|` **b** www.evil.example"
RENDERED = MarkdownIt("commonmark").enable("table")


def hostile(text: str) -> Result:
    losses = [event("idle_session_timeout", text, user=text, database=text, address=text)]
    suspects = [{**SUSPECT, "role": text, "database": text, "address": text, "state": text}]
    standbys = [{"application_name": text, "address": text, "silent": 99.0}]
    statistics = {"seconds": 5.0, "databases": {text: {"sessions_fatal": 1}}, "kernel": {}}
    return diagnosed(losses, suspects=suspects, standbys=standbys, statistics=statistics, problems=[text])


def test_a_terminal_is_not_steered() -> None:
    text = lines(hostile(HOSTILE))
    assert all(line.isprintable() and len(line) <= 100 for line in text)
    assert sum("onerror" in line for line in text) >= 5


def test_a_page_has_no_markup_of_a_log() -> None:
    text = page(hostile(HOSTILE), host="db*1*")
    assert "\x1b" not in text and "\u202e" not in text
    # Not even a renderer that knows bare addresses sees one.
    assert "http://" not in text and "www." not in text
    shown = RENDERED.render(text)
    assert set(re.findall(r"<(\w+)", shown)) == {
        *("h1", "h2", "p", "ul", "li", "strong", "table", "thead", "tbody", "tr", "th", "td")
    }
    plain = html.unescape(re.sub(r"<[^>]+>", "", shown))
    assert "<img src=x onerror=alert(1)> [x](http://evil.example) `|` **b** www.evil.example" in plain
    assert "Lost connections of db*1*" in plain
    (row,) = re.findall(r"<tbody>(.*)</tbody>", shown, re.DOTALL)
    assert row.count("<td>") == 9


@given(st.text(max_size=400))
def test_whatever_a_log_holds(text: str) -> None:
    result = hostile(text)
    assert all(line.isprintable() and len(line) <= 100 for line in lines(result))
    shown = RENDERED.render(page(result, host=text))
    assert not re.findall(r"<(a|img|script|code|em|pre|hr|blockquote|ol|h3|del)\b", shown)
    (rows,) = re.findall(r"<tbody>(.*)</tbody>", shown, re.DOTALL)
    assert (rows.count("<tr>"), rows.count("<td>")) == (1, 9)


# ---- the files


def write(directory: Path, result: Result, host: str = "db1") -> list[Path]:
    return [Path(path) for path in _diagnosis_files.write(str(directory), host, result, NOW)]


def test_what_is_kept(tmp_path: Path) -> None:
    result = diagnosed(
        [event("idle_session_timeout", IDLE), health_check(3.0)],
        invocation={"module_args": {"login_password": "hunter2"}},
        warnings=["of Ansible"],
    )
    result["losses"][0]["confidence"] = 0.93
    files = write(tmp_path / "some" / "reports", result)
    assert [path.name for path in files] == ["diagnosis-db1.json", "diagnosis-db1.md"]
    report = json.loads(files[0].read_bytes())
    assert (report["schema"], report["host"], report["time"]) == (1, "db1", "2026-11-23T04:00:00Z")
    assert report["result"] == {
        key: value for key, value in result.items() if key not in ("changed", "invocation", "warnings")
    }
    text = files[1].read_text("utf-8")
    assert text.startswith("# Lost connections of db1\n\n2026-11-23T04:00:00Z: PostgreSQL 17.2; ")
    (row,) = (line for line in text.splitlines() if line.startswith("| 2026"))
    assert row.startswith(
        "| 2026-11-23 03:12:01 | 10.0.0.7:50001 | 4001 | app | shop | idle\\_session\\_timeout | 0.93 |  | /var/log/"
    )
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "hunter2" not in path.read_text("utf-8")
    write(tmp_path / "some" / "reports", diagnosed())  # the next run
    assert "**Nothing wrong.**" in files[1].read_text("utf-8")


def test_very_many_losses(tmp_path: Path) -> None:
    losses = [event("idle_session_timeout", IDLE, float(number)) for number in range(_diagnosis_page.MOST_LOSSES + 7)]
    page_file = write(tmp_path, diagnosed(losses))[1].read_text("utf-8")
    assert page_file.count("\n| 2026-") == _diagnosis_page.MOST_LOSSES
    assert page_file.endswith("7 more are in the JSON file beside this one.\n")


def test_a_host_that_could_not_be_diagnosed_keeps_its_files(tmp_path: Path) -> None:
    assert write(tmp_path / "reports", {"failed": True, "msg": "no"}) == []
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize("content", ["", "[]", "null", '{"schema": 1, "host": "db1"}', '{"schema": 2, "host": "db1"}'])
def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "diagnosis-db1.json"
    path.write_text(content)
    with pytest.raises(
        Failure, match=r"diagnosis-db1\.json: what is there is no report of a diagnosis of db1"
    ) as failure:
        write(tmp_path, diagnosed())
    assert failure.value.code == "foreign_file"
    assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


def test_hosts_whose_names_become_the_same(tmp_path: Path) -> None:
    write(tmp_path, diagnosed(), host="db/1")
    with pytest.raises(Failure, match="no report of a diagnosis of db:1"):
        write(tmp_path, diagnosed(), host="db:1")
    report = t.cast("dict[str, t.Any]", json.loads((tmp_path / "diagnosis-db_1.json").read_bytes()))
    assert report["host"] == "db/1"
