# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the audit's report: what it takes from the hosts, its formats, drift, and what is kept of earlier runs."""

from __future__ import annotations

import copy
import datetime
import json
import typing as t
from pathlib import Path

import _diagnoses
import _drills
import jsonschema
import junitparser
import pytest
import sarif_pydantic
from support import fleets, places

from ansible_collections.pgharden.connection.plugins.module_utils import _policy
from ansible_collections.pgharden.connection.plugins.module_utils._audit import _timeline
from ansible_collections.pgharden.connection.plugins.module_utils._drill import _cells
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues, Settings
from ansible_collections.pgharden.connection.plugins.plugin_utils import (
    _audit_data,
    _audit_files,
    _audit_formats,
    _audit_page,
    _audit_table,
    _diagnosis_files,
    _drill_files,
)

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs" / "audit.schema.json").read_text(encoding="utf-8"))
NOW = datetime.datetime(2026, 11, 23, 6, tzinfo=datetime.UTC)
LATER = NOW + datetime.timedelta(days=1)
POLICY = _policy.parse({"path_idle_limit": "350s", "detect_dead_peer_within": "90s"})
UNITS = {"tcp_keepalives_idle": "s", "tcp_keepalives_interval": "s", "tcp_user_timeout": "ms"}


def setting(name: str, value: str) -> dict[str, t.Any]:
    return {
        "value": value,
        "unit": UNITS.get(name),
        "source": "configuration file",
        "sourcefile": "/data/postgresql.auto.conf",
        "sourceline": 3,
        "pending_restart": False,
        "shadowed_by": [],
        "layers": {"file": [], "database": [], "role": [], "role_in_database": [], "session": {}},
    }


def result(idle: str = "60", user_timeout: str = "0") -> dict[str, t.Any]:
    """What connection_info returns, as far as the report itself reads it."""
    values = {"tcp_keepalives_idle": idle, "tcp_user_timeout": user_timeout}
    return {
        "server": {"version": "17.6", "version_num": 170006, "platform": "linux"},
        "reason": None,
        "settings": {name: setting(name, value) for name, value in values.items()},
        "kernel": {
            "sysctls": {
                "net.ipv4.tcp_keepalive_time": {"value": "7200"},
                "net.ipv4.tcp_keepalive_intvl": {"value": "20"},
                "net.ipv4.tcp_keepalive_probes": {"value": "3"},
            }
        },
        "sessions": {"stale": [{"pid": 1}, {"pid": 2}]},
        "hardened": None,
    }


@pytest.fixture(autouse=True)
def no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules have tests of their own; here a result has only what the report takes from it."""
    monkeypatch.setattr("ansible_collections.pgharden.connection.plugins.module_utils._audit._rules.findings", found)


def found(facts: t.Any, policy: t.Any) -> list[t.Any]:
    from ansible_collections.pgharden.connection.plugins.module_utils._findings import Finding

    return [Finding("PGC405", "error", "there", "so", "do"), Finding("PGC401", "warning", "here", "so", "do")]


def report(
    results: dict[str, t.Any], previous: t.Any = None, ignores: t.Any = (), now: datetime.datetime = NOW
) -> dict[str, t.Any]:
    asked = _audit_data.Asked(POLICY, ignores)
    rows = {
        host: {"audit": _audit_data.of_host(one, asked)} if "settings" in one else one for host, one in results.items()
    }
    made = _audit_data.report(rows, previous, now)
    return t.cast("dict[str, t.Any]", json.loads(json.dumps(made)))


def complete(made: dict[str, t.Any]) -> dict[str, t.Any]:
    """With what is put beside it when it is written."""
    return {**made, "hosts": [{**host, "drill": None, "diagnosis": None} for host in made["hosts"]]}


def test_the_report_is_what_its_schema_says() -> None:
    made = report(
        {"db1": result(), "db2": {"unreachable": True}, "db3": {"failed": True, "msg": "no"}},
        ignores=[{"id": "PGC401", "reason": "known"}],
    )
    jsonschema.validate(complete(made), SCHEMA)
    jsonschema.validate(fleets.fleet(20), SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**complete(made), "hosts": [{}]}, SCHEMA)


def test_a_host_shows_what_is_in_force_and_what_its_policy_gives() -> None:
    (host,) = report({"db1": result()})["hosts"]
    by_phase = {line["phase"]: line for line in host["timelines"]}
    # 60 s of the server, 20 s and 3 of the kernel
    assert by_phase["idle"]["seconds"] == 120
    assert by_phase["idle"]["events"] == [["first_probe", 60], ["last_probe", 100], ["gone", 120]]
    wanted = {line["phase"]: line["bound"] for line in host["wanted"]}
    assert wanted["idle"] <= 90 and wanted["sending"] <= 90
    assert host["stale_sessions"] == 2
    assert host["path_idle_limit"] == 350_000


def test_another_machines_kernel_says_nothing_of_the_servers() -> None:
    container = result(idle="0")
    container["kernel"]["of_server"] = False
    container["effective"] = {"settings": {"tcp_keepalives_idle": "300"}}
    (host,) = report({"db1": container})["hosts"]
    first = {line["phase"]: line["events"][0] for line in host["timelines"]}["idle"]
    assert first == ["first_probe", 300]


def test_what_all_roles_have_is_what_is_in_force() -> None:
    altered = result()
    shadow = {"kind": "all roles", "value": "5min", "role": None, "database": None}
    altered["settings"]["tcp_keepalives_idle"]["shadowed_by"] = [shadow]
    (host,) = report({"db1": altered})["hosts"]
    assert host["timelines"][0]["events"][0] == ["first_probe", 300]


def test_what_outranks_the_files_is_drift_too() -> None:
    outranked = result(user_timeout="71000")
    shadow = {"kind": "all roles", "value": "1min", "role": None, "database": None}
    outranked["settings"]["tcp_user_timeout"]["shadowed_by"] = [shadow]
    noted = {"tcp_keepalives_idle": "60", "tcp_user_timeout": "71000"}
    outranked["hardened"] = {"time": "", "profile": "web", "settings": {"server": noted, "os": {}}, "scope": None}
    (row,) = report({"db1": outranked})["hosts"][0]["drift"]["settings"]
    assert row == {"name": "tcp_user_timeout", "wanted": "71s", "found": "60s", "where": "ALTER ROLE ALL"}


def test_what_the_login_cannot_read_has_not_drifted() -> None:
    unread = result()
    unread["settings"]["tcp_user_timeout"]["value"] = None
    noted = {"tcp_keepalives_idle": "43", "tcp_user_timeout": "71000"}
    unread["hardened"] = {"time": "", "profile": "web", "settings": {"server": noted, "os": {}}, "scope": None}
    (host,) = report({"db1": unread})["hosts"]
    assert [row["name"] for row in host["drift"]["settings"]] == ["tcp_keepalives_idle"]


def test_without_a_policy_nothing_is_wanted() -> None:
    host = _audit_data.of_host(result(), _audit_data.Asked(None, ()))
    assert (host["wanted"], host["path_idle_limit"]) == ([], None)


def test_a_server_that_is_down_is_no_failure_of_the_audit() -> None:
    down = {**result(), "server": None, "settings": {}, "sessions": None, "reason": "connection refused"}
    (host,) = report({"db1": down})["hosts"]
    assert (host["status"], host["reason"], host["timelines"]) == ("down", "connection refused", [])


def test_what_is_ignored_is_kept_apart_with_its_reason() -> None:
    (host,) = report({"db1": result()}, ignores=[{"id": "PGC405", "reason": "on purpose"}])["hosts"]
    assert [row["id"] for row in host["findings"]] == ["PGC401"]
    assert [(row["id"], row["reason"]) for row in host["ignored"]] == [("PGC405", "on purpose")]
    with pytest.raises(Failure):
        report({"db1": result()}, ignores=[{"id": "PGC405"}])


def hardened(idle: str, time: str = "7200") -> dict[str, t.Any]:
    noted = {"server": {"tcp_keepalives_idle": "60"}, "os": {"net.ipv4.tcp_keepalive_time": time}}
    return {**result(idle), "hardened": {"time": "2026-10-01T00:00:00Z", "profile": "web", "settings": noted}}


def test_drift_is_seen_with_its_place_and_dated_by_the_first_audit_that_saw_it() -> None:
    fine = report({"db1": hardened("60")})
    assert fine["hosts"][0]["drift"]["settings"] == []
    assert fine["hosts"][0]["drift"]["since"] is None
    first = report({"db1": hardened("61")}, fine)
    (row,) = first["hosts"][0]["drift"]["settings"]
    assert row == {
        "name": "tcp_keepalives_idle",
        "wanted": "60s",
        "found": "61s",
        "where": "/data/postgresql.auto.conf:3",
    }
    second = report({"db1": hardened("62", time="60")}, first, now=LATER)
    drift = second["hosts"][0]["drift"]
    assert drift["since"] == "2026-11-23T06:00:00Z"
    assert [row["where"] for row in drift["settings"]] == ["/data/postgresql.auto.conf:3", "kernel"]
    assert report({"db1": hardened("60")}, second, now=LATER)["hosts"][0]["drift"]["since"] is None
    assert report({"db1": result()}, second)["hosts"][0]["drift"] is None


def test_what_was_before_is_kept_while_nothing_changes() -> None:
    first = report({"db1": result("60")})
    assert first["hosts"][0]["before"] == []
    second = report({"db1": result("45")}, first)
    assert second["hosts"][0]["before"] == first["hosts"][0]["timelines"]
    third = report({"db1": result("45")}, second)
    assert third["hosts"][0]["before"] == first["hosts"][0]["timelines"]


def test_a_severity_and_worse() -> None:
    made = report({"db1": result(), "db2": {"unreachable": True}})
    assert _audit_data.at_least(made, "error") == {"db1": ["PGC405"]}
    assert _audit_data.at_least(made, "info") == {"db1": ["PGC401", "PGC405"]}


def test_the_table_is_one_screen_for_any_fleet() -> None:
    lines = _audit_table.lines(fleets.fleet(1000))
    assert max(map(len, lines)) <= 100
    assert len([line for line in lines if line.startswith("db")]) == _audit_table.SHOWN
    assert "… and 975 hosts that are no worse" in lines
    assert lines[-1].startswith("1000 hosts, by their worst: ")


def test_the_table_names_the_worst_first() -> None:
    made = fleets.report(
        [
            fleets.host("good"),
            fleets.host("bad", findings=[fleets.finding("PGC405")], drift=fleets.drift(), stale_sessions=3),
            fleets.host("gone", status="failed", reason="unreachable, see above", timelines=[]),
            fleets.host(
                "off", status="down", reason="refused\nfor good", ignored=[{**fleets.finding("PGC406"), "reason": ""}]
            ),
        ]
    )
    lines = _audit_table.lines(made)
    assert [line.split()[0] for line in lines[1:5]] == ["gone", "off", "bad", "good"]
    assert lines[3].split() == [
        "bad",
        "PGC405",
        "error",
        *["71", "s", "76", "s", "71", "s"],
        "3",
        "1",
        "since",
        "2026-11-01",
    ]
    assert "1 finding is ignored, with the reasons in the report" in lines
    assert lines[-1] == "4 hosts, by their worst: 1 failed, 1 down, 1 error, 1 none"
    assert _audit_table.lines(fleets.report([fleets.host("good")]))[-1] == "1 host, by their worst: 1 none"


def test_a_long_reason_hides_no_column_of_other_hosts() -> None:
    gone = fleets.host("gone", status="failed", reason="why " * 30, timelines=[])
    rows = _audit_table.lines(fleets.report([gone, fleets.host("good", drift=fleets.drift())]))
    assert rows[0].split()[-3:] == ["sending", "stale", "drift"]
    assert rows[1].startswith("gone  failed: why why ") and rows[1].endswith("…") and len(rows[1]) == 100
    assert rows[2].endswith("1 since 2026-11-01")
    # Also where no host is left that has any.
    assert _audit_table.lines(fleets.report([gone]))[0].split()[-1] == "drift"


def test_junit_is_what_its_readers_expect(tmp_path: Path) -> None:
    made = report(
        {"db1": result(), "db2": {"unreachable": True}, "db3": result()}, ignores=[{"id": "PGC401", "reason": "k"}]
    )
    made["hosts"][2]["findings"] = made["hosts"][2]["ignored"] = []
    made["hosts"].append({**made["hosts"][2], "host": "db4", "status": "down", "reason": "connection refused"})
    path = tmp_path / "audit.xml"
    path.write_text(_audit_formats.junit(made), encoding="utf-8")
    suites = list(junitparser.JUnitXml.fromfile(str(path)))
    assert [(one.name, one.tests, one.failures, one.errors, one.skipped) for one in suites] == [
        ("db1", 2, 1, 0, 1),
        ("db2", 1, 0, 1, 0),
        ("db3", 1, 0, 0, 0),
        ("db4", 1, 0, 0, 1),
    ]
    case = next(iter(suites[0]))
    assert (case.classname, case.name) == ("db1", "PGC405 there")
    assert (case.result[0].type, case.result[0].message) == ("error", "so")
    assert [one.result[0].message for one in suites[3]] == ["down: connection refused"]


def test_sarif_is_what_its_readers_expect() -> None:
    made = report({"db1": result()}, ignores=[{"id": "PGC401", "reason": "known"}])
    (run,) = sarif_pydantic.Sarif.model_validate_json(_audit_formats.sarif(made)).runs
    assert [(one.rule_id, one.level.value) for one in run.results] == [("PGC405", "error"), ("PGC401", "warning")]
    assert [one.get("suppressions") for one in json.loads(_audit_formats.sarif(made))["runs"][0]["results"]] == [
        None,
        [{"kind": "external", "justification": "known"}],
    ]
    assert {one.rule_id for one in run.results} <= {rule.id for rule in run.tool.driver.rules}
    for rule in run.tool.driver.rules:
        assert (places.REPOSITORY / str(rule.help_uri).partition("/blob/main/")[2]).is_file(), rule.help_uri
    assert run.results[0].locations[0].logical_locations[0].name == "db1"


def test_sarif_has_what_code_scanning_needs() -> None:
    made = report({"db 1/a": result(), "db2": {"unreachable": True}})
    (run,) = json.loads(_audit_formats.sarif(made))["runs"]
    places_of = [one["locations"][0]["physicalLocation"] for one in run["results"]]
    assert places_of == [{"artifactLocation": {"uri": "db%201%2Fa"}, "region": {"startLine": 1}}] * 2
    hashes = {one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]}
    assert len(hashes) == len(run["results"])
    # The host without a result does not look like one without findings.
    (invocation,) = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert [one["message"]["text"] for one in invocation["toolExecutionNotifications"]] == ["db2: unreachable"]
    (run,) = json.loads(_audit_formats.sarif(report({"db1": result()})))["runs"]
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


def test_markdown_names_every_host_and_finding() -> None:
    made = report({"db|1": result(), "db2": {"unreachable": True}}, ignores=[{"id": "PGC401", "reason": "known"}])
    text = _audit_formats.markdown(made)
    assert "| db\\|1 | error | 120 s | never | 15 min 25 s | 2 |  |" in text
    assert "| db2 | failed: unreachable |" in text
    assert f"- [PGC405]({_audit_data.DOCUMENTATION}/PGC405.md) error, there: so. do" in text
    assert "- PGC401 ignored (known): here" in text


def test_markdown_says_what_has_drifted() -> None:
    text = _audit_formats.markdown(fleets.report([fleets.host("db1", drift=fleets.drift()), fleets.host("db2")]))
    assert "|  | 1 since 2026-11-01 |" in text
    assert (
        "## db1\n\n- drifted from what profile web put in force on 2026-10-01T06:00:00Z: "
        "tcp_user_timeout is 0 instead of 71s (postgresql.auto.conf:7)\n"
    ) in text
    assert "## db2" not in text


def test_hostile_text_stays_text() -> None:
    nasty = '</script><b>\x1b[31m\x00&"'
    made = fleets.report(
        [fleets.host(nasty, findings=[{**fleets.finding("PGC405"), "evidence": nasty, "where": nasty}])]
    )
    assert "\x1b" not in "".join(_audit_table.lines(made))
    assert "</script><b>" not in _audit_page.page(made).replace("</script>\n", "")
    assert "<b>" not in _audit_formats.markdown(made)
    junitparser.JUnitXml.fromstring(_audit_formats.junit(made).encode())
    sarif_pydantic.Sarif.model_validate_json(_audit_formats.sarif(made))


def test_shared_findings_and_timelines_are_written_once() -> None:
    small, large = (len(_audit_page.page(fleets.fleet(size))) for size in (100, 10_000))
    assert large < small + 10_000 * 500  # bytes


def test_files_are_written_and_read_again(tmp_path: Path) -> None:
    directory = str(tmp_path / "reports")
    assert _audit_files.previous(directory) is None
    made = report({"db1": result()})
    files = _audit_files.write(directory, copy.deepcopy(made), ["html", "md", "xml", "sarif", "html"])
    assert [Path(one).name for one in files] == ["audit.json", "audit.html", "audit.md", "audit.xml", "audit.sarif"]
    assert {Path(one).stat().st_mode & 0o777 for one in files} == {0o600}
    assert _audit_files.previous(directory) == complete(made)
    (tmp_path / "reports" / "audit.json").write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(Failure) as caught:
        _audit_files.previous(directory)
    assert caught.value.code == "foreign_file"


def test_what_drill_and_diagnosis_left_is_shown(tmp_path: Path) -> None:
    """By what they have written themselves."""
    losses = [_diagnoses.forgotten(0.0, 50_001), _diagnoses.forgotten(9.0, 50_002), _diagnoses.health_check(5.0)]
    diagnosed = _diagnoses.diagnosed(losses)
    (harmful,) = [row for row in diagnosed["causes"] if not row["harmless"]]
    drilled = _drills.drilled()
    _drill_files.write(str(tmp_path), "db1", drilled, NOW)
    _diagnosis_files.write(str(tmp_path), "db1", diagnosed, NOW)
    (tmp_path / "drill-db2.json").write_text(json.dumps({"host": "db2", "after": {}}), encoding="utf-8")
    (tmp_path / "diagnosis-db2.json").write_text("[1", encoding="utf-8")
    made = report({"db1": result(), "db2": result(), "db3": result()})
    _audit_files.write(str(tmp_path), made, ["html"])
    first, *others = made["hosts"]
    time, keys = "2026-11-23T06:00:00Z", ("phase", "fault", "bound", "measured", "verdict")
    assert first["drill"] == {"time": time, "cells": [{key: cell[key] for key in keys} for cell in drilled["cells"]]}
    assert first["diagnosis"] == {"time": time, "causes": [{"cause": harmful["cause"], "losses": 2}]}
    assert all(one["drill"] is None and one["diagnosis"] is None for one in others)
    written = json.loads((tmp_path / "audit.json").read_bytes())
    jsonschema.validate(written, SCHEMA)
    for of in ("drill", "diagnosis"):
        wrong = copy.deepcopy(written)
        wrong["hosts"][0][of]["more"] = 1
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


def test_the_schema_knows_every_phase_of_a_drill() -> None:
    cell = SCHEMA["$defs"]["drill"]["properties"]["cells"]["items"]["properties"]
    assert tuple(cell["phase"]["enum"]) == _cells.PHASES["server"]


def test_a_timeline_ends_where_something_else_ends_the_session() -> None:
    settings = Settings(60, 5, 3, idle_in_transaction_session_timeout=61_000)
    line = _timeline.timeline("idle_in_transaction", settings, OsValues())
    assert line["events"] == [["first_probe", 60.0], ["gone", 61.0]]
    busy = _timeline.timeline("executing", settings, OsValues())
    assert busy["seconds"] is None
    assert busy["events"][-1] == ["noticed", 75]
    sending = _timeline.timeline("sending", Settings(tcp_user_timeout=30_000), OsValues())
    assert sending["events"] == [["user_timeout", 30.0], ["gone", 30.2]]


def test_a_timeline_has_the_user_timeout_where_it_comes_to_it() -> None:
    early = _timeline.timeline("idle", Settings(60, 5, 3, tcp_user_timeout=30_000), OsValues())
    assert early["events"] == [["user_timeout", 30.0], ["first_probe", 60.0], ["last_probe", 60.0], ["gone", 65.0]]
    late = _timeline.timeline("executing", Settings(60, 5, 3, tcp_user_timeout=67_000), OsValues())
    assert late["events"] == [["first_probe", 60.0], ["last_probe", 65.0], ["user_timeout", 67.0], ["noticed", 70.0]]
    ended = Settings(60, 5, 3, tcp_user_timeout=67_000, idle_in_transaction_session_timeout=61_000)
    line = _timeline.timeline("idle_in_transaction", ended, OsValues())
    assert line["events"] == [["first_probe", 60.0], ["gone", 61.0]]


def test_reports_of_hosts_that_audit_themselves_are_collected(tmp_path: Path) -> None:
    for name, hosts, now in (("a", ["db1", "db2"], NOW), ("b", ["db2"], LATER), ("c/d", ["db3"], NOW)):
        made = report({host: result("77" if now is LATER else "60") for host in hosts}, now=now)
        _audit_files.write(str(tmp_path / name), made, [])
    rows = _audit_files.collected(str(tmp_path))
    assert [row["host"] for row in rows] == ["db1", "db2", "db3"]
    assert [row["timelines"][0]["events"][0][1] for row in rows] == [60, 77, 60]
    (tmp_path / "c" / "audit.json").write_text("{}", encoding="utf-8")
    for directory, code in ((tmp_path, "foreign_file"), (tmp_path / "nowhere", "no_directory")):
        with pytest.raises(Failure) as caught:
            _audit_files.collected(str(directory))
        assert caught.value.code == code
