# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule of an audit on a host that is wrong in that one point, and on one that is not."""

from __future__ import annotations

import copy
import re
import typing as t
from pathlib import Path

import pytest
from _hosts import AUTO, CONF, Facts, configure, hardened, profile, put, session, setting

from ansible_collections.pgharden.connection.plugins.module_utils import _findings, _plan
from ansible_collections.pgharden.connection.plugins.module_utils._audit import _rules
from ansible_collections.pgharden.connection.plugins.module_utils._audit._host import Host
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

ROOT = Path(__file__).resolve().parents[2]
WEB = profile("web")
KA = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
Changes = dict[str, t.Any]


def changed(changes: Changes, facts: Facts | None = None) -> Facts:
    """A host with *changes*: a parameter's value for the whole server, or whatever a path with slashes names."""
    facts = copy.deepcopy(facts) if facts else hardened()
    for key, value in changes.items():
        if key == "keepalive":
            for name, number in zip(KA, value, strict=True):
                configure(facts, name, str(number))
        elif "/" in key or key in facts:
            put(facts, key, value)
        else:
            configure(facts, key, str(value))
    return facts


def found(changes: Changes, policy: t.Any = None) -> list[_findings.Finding]:
    return _rules.findings(changed(changes), policy)


def places(changes: Changes, policy: t.Any = None) -> list[tuple[str, str]]:
    return [(one.id, one.where) for one in found(changes, policy)]


def override(name: str, value: str, layer: str = "role", **whose: str | None) -> Changes:
    return {f"settings/{name}/layers/{layer}": [{**whose, "value": value}]}


def line(value: str, file: str = CONF, number: int = 7, applied: bool = False) -> Facts:
    return {"value": value, "sourcefile": file, "sourceline": number, "applied": applied}


def error(name: str | None, fatal: bool) -> Changes:
    row = {"sourcefile": CONF, "sourceline": 9, "name": name, "error": "it is wrong", "fatal": fatal}
    return {"server/configuration_errors": [row]}


def sysctl(key: str, **row: t.Any) -> Changes:
    whole = {"value": "0", "reason": None, "persistent": None, "overridden": [], **row}
    return {f"kernel/sysctls/net.ipv4.{key}": whole}


def persistent(value: str, file: str = "/etc/sysctl.d/50-some.conf") -> Facts:
    return {"value": value, "file": file, "line": 4}


def notable(*rows: Facts, **counts: int) -> Changes:
    return {"sessions/notable": {"counts": counts, "rows": list(rows)}}


def database(**counters: int) -> Changes:
    return {"sessions/databases": [{"datname": "shop", "sessions": 1000, "stats_reset": "2026-01-01", **counters}]}


CONTAINER = {"kernel/namespace": "other"}
STANDBY = {"server/in_recovery": True, "replication/receiver": {"status": "streaming"}}
CONNINFO = {
    "unix_socket": False,
    "keepalives_idle": "60",
    "tcp_user_timeout": "60000",
    "connect_timeout": "10",
}


def conninfo(**changes: t.Any) -> Changes:
    values = {key: value for key, value in {**CONNINFO, **changes}.items() if value is not None}
    return {**STANDBY, "replication/primary_conninfo": values}


MEMBER = {"name": "m0", "role": "leader", "own": True, "pending_restart": False, "pending_restart_reason": None}


def patroni(*members: Facts, **changes: t.Any) -> Changes:
    """A member of a cluster whose parameters are in Patroni's file, as they should be."""
    cluster = {"scope": "main", "leader": "m0", "paused": False, "members": list(members) or [MEMBER]}
    facts: Facts = {"name": "m0", "cluster": cluster, "parameters": {}, "local": {}, "reason": None, **changes}
    lines = {f"settings/{name}/layers/file": [line(row["value"], applied=True)] for name, row in IN_FILES.items()}
    return {**lines, "patroni": facts}


IN_FILES = {name: row for name, row in hardened()["settings"].items() if row["layers"]["file"]}
LOCAL = {"value": "30s", "sourcefile": "/etc/patroni/config.yml", "sourceline": 12}
WAITS = {**MEMBER, "pending_restart": True}
UNTOUCHED = {
    **sysctl("tcp_keepalive_time", value="7200"),
    **sysctl("tcp_keepalive_intvl", value="75"),
    **sysctl("tcp_keepalive_probes", value="9"),
}
OF_SESSION = "settings/statement_timeout/layers/session"
SLOT = {"slot_name": "s1", "slot_type": "physical", "active": False, "retained_bytes": 2**25}
WRONG = [persistent("3")]
#: Without a policy: what is wrong, and what is found.
CASES: list[tuple[str, str, Changes]] = [
    ("PGC101", "tcp_user_timeout", {"settings/tcp_user_timeout/layers/file": [line("30s"), line("81s", AUTO)]}),
    (
        "PGC101",
        "tcp_user_timeout",
        {"settings/tcp_user_timeout/shadowed_by": [{"kind": "override", "value": "71000"}]},
    ),
    ("PGC101", "log_line_prefix", {"settings/log_line_prefix/layers/file": [line("a"), line("b")]}),
    ("PGC101", "max_connections", {"settings/max_connections/layers/file": [line("100", AUTO), line("60", AUTO)]}),
    ("PGC101", "max_connections", {"settings/max_connections/layers/file": [line("90"), line("60", AUTO)]}),
    ("PGC101", "max_connections", {"settings/max_connections/layers/file": [line("100"), line("80"), line("60")]}),
    ("PGC102", "statement_timeout", override("statement_timeout", "5min", role="reader")),
    ("PGC102", "statement_timeout", override("statement_timeout", "5min", "database", database="shop")),
    ("PGC106", "max_connections", {"server/pending_restart": ["max_connections"]}),
    ("PGC106", "work_mem", {"server/pending_restart": ["work_mem"], **error("work_mem", False)}),
    ("PGC107", f"{CONF}:9", error("nonsense", True)),
    ("PGC107", f"{CONF}:9", error(None, True)),
    ("PGC108", f"{CONF}:9", error("wal_sender_shutdown_timeout", True)),
    ("PGC109", f"{CONF}:9", error("work_mem", False)),
    ("PGC110", "statement_timeout", {"statement_timeout": 9000, f"{OF_SESSION}/value": "8000"}),
    ("PGC110", "lc_messages", {"settings/lc_messages/layers/file": [line("x")], "settings/lc_messages/value": "en_US"}),
    ("PGC111", "tcp_keepalives_idle", {"effective/settings/tcp_keepalives_idle": "7200"}),
    ("PGC120", "tcp_keepalives_idle", {"keepalive": (4000, 9, 4, 0), "tcp_user_timeout": 4036000}),
    ("PGC121", "tcp_keepalives_interval", {"keepalive": (20, 25, 4, 120_000)}),
    ("PGC122", "tcp_keepalives_count", {"keepalive": (45, 18, 2, 81_000)}),
    ("PGC123", "tcp_keepalives_idle", {"keepalive": (14, 3, 4, 26_000)}),
    ("PGC124", "tcp_user_timeout", {"tcp_user_timeout": 0}),
    ("PGC125", "tcp_user_timeout", {"tcp_user_timeout": 90_001}),
    ("PGC127", "tcp_keepalives_count", {"tcp_user_timeout": 60_000}),
    ("PGC130", "client_connection_check_interval", {"client_connection_check_interval": 0}),
    ("PGC132", "idle_in_transaction_session_timeout", {"idle_in_transaction_session_timeout": 0}),
    ("PGC134", "authentication_timeout", {"authentication_timeout": 61}),
    ("PGC134", "authentication_timeout", {"authentication_timeout": 4}),
    ("PGC135", "statement_timeout", {"transaction_timeout": 600_000, "statement_timeout": 600_000}),
    ("PGC201", "net.ipv4.tcp_retries2", sysctl("tcp_retries2", value=None, reason="absent")),
    ("PGC202", "net.ipv4.tcp_syn_retries", sysctl("tcp_syn_retries", value="3")),
    ("PGC203", "net.ipv4.tcp_syn_retries", sysctl("tcp_syn_retries", value="6", persistent=persistent("3"))),
    (
        "PGC204",
        "net.ipv4.tcp_syn_retries",
        sysctl("tcp_syn_retries", value="6", persistent=persistent("6"), overridden=WRONG),
    ),
    ("PGC205", "net.ipv4.tcp_retries2", sysctl("tcp_retries2", value="7", persistent=persistent("7"))),
    ("PGC206", "net.ipv4.tcp_keepalive_time", sysctl("tcp_keepalive_time", value="7200")),
    (
        "PGC208",
        "net.ipv4.tcp_syn_retries",
        {**CONTAINER, **sysctl("tcp_syn_retries", value="6", persistent=WRONG[0])},
    ),
    ("PGC209", "TCPAbortOnTimeout", {"kernel/counters/TCPAbortOnTimeout": 10}),
    ("PGC210", "ListenOverflows", {"kernel/counters/ListenOverflows": 1}),
    ("PGC301", "sessions", {"sessions/stale": [session("", evidence="its keepalive timer has 7000 s left")]}),
    ("PGC302", "sessions", notable(session("idle"), idle=1)),
    ("PGC303", "sessions", notable(session("idle_in_transaction", client_addr=None, application_name=""))),
    ("PGC305", "sessions", notable(session("silent", evidence="keepalive probed 2 times and got no answer"), silent=7)),
    ("PGC306", "sessions", notable(session("not_reading", seconds=None), not_reading=1)),
    ("PGC307", "max_connections", {"sessions/total": 78}),
    ("PGC308", "database shop", database(sessions_abandoned=50)),
    ("PGC309", "database shop", database(sessions_fatal=50)),
    ("PGC310", "database shop", database(sessions_killed=50)),
    ("PGC501", "primary_conninfo", conninfo(tcp_user_timeout=None)),
    ("PGC501", "primary_conninfo", conninfo(connect_timeout="0")),
    ("PGC501", "primary_conninfo", conninfo(keepalives="0")),
    ("PGC502", "primary_conninfo", conninfo(keepalives_count="0")),
    ("PGC503", "wal_sender_timeout", {"wal_sender_timeout": 0}),
    ("PGC504", "wal_receiver_timeout", {"wal_receiver_timeout": 0}),
    ("PGC505", "wal_receiver_status_interval", {"wal_receiver_status_interval": 60}),
    ("PGC505", "wal_receiver_status_interval", {"wal_receiver_status_interval": 0}),
    (
        "PGC506",
        "slot s1",
        {"replication/slots": [SLOT, {**SLOT, "active": True}]},
    ),
    (
        "PGC506",
        "slot s1",
        {"replication/slots": [{**SLOT, "retained_bytes": None}]},
    ),
    ("PGC507", "primary_conninfo", {**conninfo(), "replication/receiver": None}),
    (
        "PGC508",
        "standby s2",
        {"replication/standbys": [{"application_name": "s2", "evidence": "keepalive probed 3 times"}]},
    ),
    ("PGC601", "log_disconnections", {"log_disconnections": "off"}),
    ("PGC602", "log_connections", {"log_connections": "off"}),
    ("PGC602", "log_connections", {"log_connections": ""}),
    ("PGC602", "log_connections", {"log_connections": "NO"}),  # 18 keeps the list as it was written
    ("PGC603", "log_line_prefix", {"log_line_prefix": "%m [%p] %e "}),
    ("PGC604", "log_line_prefix", {"log_line_prefix": "[%10p] %r %e "}),
    ("PGC605", "log_line_prefix", {"log_line_prefix": "%m %h %e "}),
    ("PGC606", "log_line_prefix", {"log_line_prefix": "%t [%-5p] %r %%e "}),
    ("PGC608", "log_min_messages", {"log_min_messages": "fatal"}),
    ("PGC702", "version", {"server/date": "2029-11-09"}),
    ("PGC703", "version", {"server/version_num": 190000}),
    ("PGC704", "pgbouncer", {"poolers": [{"name": "pgbouncer", "seen_in": "processes", "evidence": "process 812"}]}),
    ("PGC705", "listen_addresses", {"server/listen_addresses": ""}),
    ("PGC706", "login", {"server/unreadable": [{"what": "files", "privilege": "superuser"}]}),
    ("PGC708", "platform", {"server/platform": "darwin"}),
    ("PGC801", "tcp_user_timeout", {**patroni(), "settings/tcp_user_timeout/layers/file": [line("71s", AUTO)]}),
    (
        "PGC801",
        "statement_timeout",
        {
            **patroni(parameters={"statement_timeout": "0"}),
            "settings/statement_timeout/layers/file": [line("0", AUTO, applied=True)],
        },
    ),
    (
        "PGC802",
        "tcp_user_timeout",
        patroni(local={"tcp_user_timeout": LOCAL}, parameters={"tcp_user_timeout": "71s"}),
    ),
    (
        "PGC802",
        "log_line_prefix",
        patroni(local={"log_line_prefix": {**LOCAL, "value": "%m"}}, parameters={"log_line_prefix": "%p"}),
    ),
    ("PGC803", "member m0", patroni(WAITS)),
    (
        "PGC803",
        "member m0",
        patroni({**WAITS, "pending_restart_reason": {"max_connections": {"old_value": "100", "new_value": "200"}}}),
    ),
    ("PGC803", "member m0", patroni({**WAITS, "pending_restart_reason": {"max_connections": None}})),
    ("PGC804", "patroni", patroni(cluster=None, reason="GET http://127.0.0.1:8008/cluster: Connection refused")),
    ("PGC709", "effective", {"effective/settings": None, "effective/reason": "no password supplied"}),
]


@pytest.mark.parametrize(
    "changes",
    [
        patroni(),
        patroni({**WAITS, "own": False}, MEMBER),  # its own audit says so
        patroni(local={"tcp_user_timeout": LOCAL}),
        patroni(local={"tcp_user_timeout": LOCAL}, parameters={"tcp_user_timeout": "30000"}),
        patroni(local={"lc_messages": {**LOCAL, "value": "C"}}, parameters={"lc_messages": "C"}),
        patroni(cluster=None),
    ],
)
def test_a_member_like_its_cluster_has_none(changes: Changes) -> None:
    assert found(changes) == []


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("max_connections", "100", "60"),
        ("lc_messages", "de_DE.UTF-8", "C"),
        ("log_line_prefix", "%m [%p] %q%u@%d ", "%m [%p] %r %e "),
    ],
)
def test_a_line_of_the_installation_may_lose(name: str, value: str, other: str) -> None:
    changes = {f"settings/{name}/layers/file": [line(value), line(other, AUTO)]}
    assert "PGC101" not in [one.id for one in found(changes)]


def test_patroni_has_no_place_for_keywords_of_tcp() -> None:
    """What to do about a bare primary_conninfo is another thing there."""
    (one,) = [one for one in found({**patroni(), **conninfo(connect_timeout=None)}) if one.id == "PGC501"]
    assert "layers: [os]" in one.remedy
    (other,) = found(conninfo(connect_timeout=None))
    assert "client_parameters" in other.remedy


def test_a_hardened_host_has_none() -> None:
    assert _rules.findings(hardened()) == []
    assert _rules.findings(hardened(), WEB) == []


@pytest.mark.parametrize(("written", "found_wrong"), [("500ms", False), ("500", True)])
def test_a_timeout_below_a_second_that_has_its_unit_is_meant(written: str, found_wrong: bool) -> None:
    name = "client_connection_check_interval"
    lines = [line("9s"), line(written, number=8, applied=True)]
    for changes in (
        {name: 500, f"settings/{name}/layers/file": lines},
        override("tcp_user_timeout", written, role="app"),
        {
            **override("tcp_user_timeout", written, role=None),
            "settings/tcp_user_timeout/shadowed_by": [{"kind": "all roles", "value": written, "role": None}],
        },
    ):
        assert ("PGC104" in {one.id for one in found(changes)}) == found_wrong


@pytest.mark.parametrize(("id", "where", "changes"), CASES, ids=[f"{one[0]}-{n}" for n, one in enumerate(CASES)])
def test_one_wrong_point(id: str, where: str, changes: Changes) -> None:
    (one,) = found(changes)
    assert (one.id, one.where, one.severity) == (id, where, _rules.RULES[id][0])
    assert len(one.evidence) > 20
    assert len(one.remedy) > 10


#: What cannot be wrong alone: all that is found.
TOGETHER: list[tuple[Changes, list[tuple[str, str]]]] = [
    (
        override("tcp_user_timeout", "0", role="backup"),
        [("PGC103", "tcp_user_timeout, role backup"), ("PGC102", "tcp_user_timeout")],
    ),
    (
        override("idle_session_timeout", "300", "role_in_database", role="app", database="shop"),
        [("PGC104", "idle_session_timeout, role app in database shop"), ("PGC102", "idle_session_timeout")],
    ),
    ({"client_connection_check_interval": 30}, [("PGC104", "client_connection_check_interval")]),
    (
        {"tcp_user_timeout": 30},
        [("PGC104", "tcp_user_timeout")],
    ),
    (
        {"tcp_user_timeout": 35_000},
        [("PGC126", "tcp_user_timeout")],
    ),
    (
        {"tcp_user_timeout": 45_000},
        [("PGC122", "tcp_keepalives_count"), ("PGC127", "tcp_keepalives_count")],
    ),
    (
        {"keepalive": (6, 2, 4, 14_000)},
        [("PGC123", "tcp_keepalives_idle"), ("PGC131", "tcp_user_timeout")],
    ),
    (
        {"settings/tcp_user_timeout/layers/session/value": "9000"},
        [("PGC111", "tcp_user_timeout"), ("PGC110", "tcp_user_timeout")],
    ),
    (
        {"tcp_keepalives_idle": 40_000},
        [("PGC105", "tcp_keepalives_idle")],
    ),
    (
        override("tcp_keepalives_count", "200", "database", database="shop"),
        [("PGC105", "tcp_keepalives_count, database shop"), ("PGC102", "tcp_keepalives_count")],
    ),
    (
        {"settings/lc_messages": setting("lc_messages", "de_DE.UTF-8"), "log_line_prefix": "%m [%p] %r "},
        [("PGC606", "log_line_prefix"), ("PGC607", "lc_messages")],
    ),
    (
        {**CONTAINER, "keepalive": (0, 0, 0, 0), **UNTOUCHED},
        [
            ("PGC120", "tcp_keepalives_idle"),
            ("PGC124", "tcp_user_timeout"),
            ("PGC207", "network namespace"),
            ("PGC206", "net.ipv4.tcp_keepalive_time"),
        ],
    ),
    (
        notable(
            session("silent", pid=1, evidence="keepalive probed 2 times and got no answer"),
            session("blocked", pid=2, blocked_by=[1]),
            session("blocked", pid=3, blocked_by=[2, 1]),
            session("blocked", pid=4, blocked_by=[9]),
        ),
        [("PGC304", "sessions"), ("PGC305", "sessions")],
    ),
    (
        {**conninfo(keepalives_idle=None), **sysctl("tcp_keepalive_time", value="7200")},
        [("PGC206", "net.ipv4.tcp_keepalive_time"), ("PGC501", "primary_conninfo")],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), TOGETHER)
def test_what_is_wrong_together(changes: Changes, expected: list[tuple[str, str]]) -> None:
    assert places(changes) == expected


#: What looks alike and is right.
RIGHT: list[Changes] = [
    {"tcp_user_timeout": 71_000, "settings/tcp_user_timeout/layers/file": [line("71s"), line("71000", AUTO)]},
    {"settings/tcp_user_timeout/shadowed_by": [{"kind": "role", "value": "0", "role": "x", "database": None}]},
    {"settings/lc_messages/shadowed_by": [{"kind": "all roles", "value": "POSIX", "role": None, "database": None}]},
    {**CONTAINER, "keepalive": (35, 6, 6, 71_000), **sysctl("tcp_syn_retries", value="3")},
    sysctl(
        "tcp_syn_retries", value="6", persistent={**persistent("6"), "file": "/etc/x"}, overridden=[persistent("6")]
    ),
    sysctl("tcp_syn_retries", value="6", overridden=[persistent("3", "/usr/lib/sysctl.d/10-default.conf")]),
    sysctl("tcp_syn_retries", value="6", persistent=persistent("nonsense")),
    {"sessions/total": 77},
    database(sessions=99, sessions_abandoned=99),
    {"sessions/databases": [{"datname": "shop", "numbackends": 1, "stats_reset": None}]},
    conninfo(),
    conninfo(keepalives_idle=None),
    conninfo(unix_socket=True, tcp_user_timeout=None),
    conninfo(keepalives_idle=None, keepalives_count=None),
    {"log_destination": "stderr,csvlog", "log_line_prefix": ""},
    {"lc_messages": "de_DE.UTF-8"},
    {"lc_messages": "en_GB.UTF-8", "log_line_prefix": "%n %c %h %e"},
    {"transaction_timeout": 600_001, "statement_timeout": 600_000},
    {"server/version_num": 180000, "server/date": "2030-11-14"},
    {"server/version_num": 180000, "server/date": None},
    {"replication/standbys": [{"application_name": "s2", "evidence": None}]},
    {"effective": None},
    {"kernel/of_server": False, "kernel/sysctls": {}},
]


@pytest.mark.parametrize("changes", RIGHT)
def test_what_is_right(changes: Changes) -> None:
    assert found(changes) == []


@pytest.mark.parametrize("name", ["analytics", "cloud_nat", "interactive", "pooled", "replication", "web"])
@pytest.mark.parametrize("major", [14, 15, 16, 17, 18])
def test_every_profile_is_kept_by_its_own_plan(name: str, major: int) -> None:
    policy = profile(name)
    wrong = [one.id for one in _rules.findings(hardened(policy, major), policy) if one.severity != "info"]
    # of idle transactions this one says nothing
    assert wrong == (["PGC132"] if name == "replication" else [])


def test_what_13_cannot_keep() -> None:
    wrong = [one for one in _rules.findings(hardened(WEB, 13), WEB) if one.severity != "info"]
    assert [(one.id, one.where) for one in wrong] == [("PGC141", "stop_orphaned_query_within")]
    assert "it came with PostgreSQL 14" in wrong[0].evidence
    lacking = [one.where for one in _rules.findings(hardened(WEB, 13)) if one.id == "PGC701"]
    assert lacking == sorted(_plan.SINCE)


POLICIES: list[tuple[Changes, Changes, list[tuple[str, str]]]] = [
    (
        {"detect_dead_peer_within": "60s", "stop_orphaned_query_within": "2min"},
        {},
        [("PGC140", "detect_dead_peer_within")],
    ),
    ({"close_idle_session_after": "1h"}, {}, [("PGC140", "close_idle_session_after")]),
    ({"slow_reader_grace": "71s"}, {}, [("PGC140", "slow_reader_grace")]),
    (
        {"slow_reader_grace": None},
        {"keepalive": (6, 2, 4, 14_000)},
        [("PGC140", "tolerate_outage_of"), ("PGC131", KA[3])],
    ),
    ({"path_idle_limit": "39s"}, {}, [("PGC128", KA[0]), ("PGC140", "path_idle_limit")]),
    ({"path_idle_limit": "69s"}, {}, [("PGC129", KA[0])]),
    ({"path_idle_limit": "70s"}, {}, []),
    ({"path_idle_limit": None}, {}, []),
    ({"slow_reader_roles": ["reader"], "slow_reader_grace": "2min"}, {}, [("PGC131", f"{KA[3]}, role reader")]),
    (
        {"slow_reader_roles": ["reader"], "slow_reader_grace": "2min"},
        override(KA[3], "121s", role="reader"),
        [("PGC102", KA[3])],
    ),
    ({"close_idle_in_transaction_after": "off"}, {"idle_in_transaction_session_timeout": 0}, []),
    ({"connect_within": None}, {"authentication_timeout": 61}, [("PGC134", "authentication_timeout")]),
    ({"connect_within": "5min"}, {"authentication_timeout": 61}, []),
    ({}, {"server/listen_addresses": "", "keepalive": (0, 0, 0, 0)}, [("PGC705", "listen_addresses")]),
    # nothing could keep this one, so that there is no plan to ask what is missing
    ({"tolerate_outage_of": "10min"}, {}, [("PGC140", "tolerate_outage_of")]),
]


@pytest.mark.parametrize(("of_policy", "changes", "expected"), POLICIES)
def test_a_policy(of_policy: Changes, changes: Changes, expected: list[tuple[str, str]]) -> None:
    assert places(changes, profile("web", **of_policy)) == expected


@pytest.mark.parametrize(
    ("roles", "poolers", "timeouts", "expected"),
    [
        (["pool"], ["pgbouncer"], {"role pool": "10min"}, ["role pool"]),
        (["pool"], ["pgbouncer"], {"role pool": "0", "": "600000"}, []),
        (["pool"], [], {"": "600000"}, [""]),
        (["pool", "batch"], [], {"": "600000", "role pool": "0"}, [""]),
        (["pool"], [], {"": "600000", "role people": "5min", "role people in shop": "5min"}, [""]),
        ([], ["pgbouncer"], {"": "600000"}, [""]),
        ([], [], {"": "600000", "database shop": "10min"}, []),
        ([], ["pgbouncer"], {"": "3600001"}, []),
        (["pool"], [], {"role pool": "nonsense"}, []),
        # The server's value is outranked by a database's, that by a role's, and that by a role's in a database.
        (["pool"], [], {"database shop": "10min"}, ["database shop"]),
        ([], ["pgbouncer"], {"database shop": "10min", "role people": "10min"}, ["database shop"]),
        (["pool"], [], {"database shop": "10min", "role pool": "0"}, []),
        (["pool"], [], {"role pool": "0", "role pool in shop": "10min"}, ["role pool in database shop"]),
    ],
)
def test_a_pooler_whose_connections_are_closed(
    roles: list[str], poolers: list[str], timeouts: dict[str, str], expected: list[str]
) -> None:
    changes: Changes = {"idle_session_timeout": timeouts.pop("", "0")}
    layers: dict[str, list[Facts]] = {"database": [], "role": [], "role_in_database": []}
    for whose, value in timeouts.items():
        kind, name, *place = whose.split(" ")
        own = {"role": name, "database": place[-1]} if place else {kind: name}
        layers["role_in_database" if place else kind].append({**own, "value": value})
    for layer, rows in layers.items():
        changes[f"settings/idle_session_timeout/layers/{layer}"] = rows
    changes["sessions/pooler_roles"] = roles
    changes["poolers"] = [{"name": name, "seen_in": "processes", "evidence": "process 812"} for name in poolers]
    wheres = [one.where for one in found(changes) if one.id == "PGC133"]
    assert wheres == [f"idle_session_timeout, {whose}" if whose else "idle_session_timeout" for whose in expected]


def test_all_roles_are_the_whole_server() -> None:
    changes = {
        **override("tcp_user_timeout", "30", role=None),
        "settings/tcp_user_timeout/shadowed_by": [{"kind": "all roles", "value": "30", "role": None}],
    }
    first, second = found(changes)
    assert (first.id, first.where) == ("PGC104", "tcp_user_timeout")
    assert first.evidence.startswith("tcp_user_timeout = 30ms (ALTER ROLE ALL)")
    assert second.id == "PGC102"
    assert second.evidence == f"tcp_user_timeout = 71s ({AUTO}:3), but 30 for all roles"
    # Where no file has it, it is the default that is hidden.
    changes["settings/tcp_user_timeout/sourcefile"] = None
    changes["settings/tcp_user_timeout/source"] = "default"
    assert found(changes)[1].evidence == "tcp_user_timeout = 71s (default), but 30 for all roles"


@pytest.mark.parametrize("text", ["40000", "0x9C40", "40000s", "30d"])
def test_an_override_is_read_as_the_server_reads_it(text: str) -> None:
    above = [one for one in found(override("tcp_keepalives_idle", text, role="app")) if one.id == "PGC105"]
    assert [one.where for one in above] == ["tcp_keepalives_idle, role app"]


def test_what_an_override_of_the_login_hides_is_not_taken_for_the_default() -> None:
    row = hardened()["settings"]["tcp_keepalives_idle"]
    own = row["value"]
    row.update(value=None, source=None, sourcefile=None, sourceline=None)
    row["layers"] |= {"file": None, "session": {"value": own, "source": "user"}}
    changes: Changes = {"settings/tcp_keepalives_idle": row}
    assert places(changes) == []
    changes["settings/tcp_user_timeout/shadowed_by"] = [{"kind": "override", "value": f"{own}s"}]
    (early,) = [one for one in found(changes) if one.id == "PGC126"]
    assert f"tcp_keepalives_idle = {own}s (of this login; what others have is not readable)" in early.evidence
    row["layers"]["session"] = {}
    assert Host(changed(changes)).origin("tcp_keepalives_idle") == "source not readable"


def test_a_slot_is_told_by_what_it_costs() -> None:
    def evidence(**changes: t.Any) -> list[str]:
        return [one.evidence for one in found({"replication/slots": [{**SLOT, **changes}]})]

    assert evidence()[0].endswith("nobody reads from it, and the server keeps WAL for it, 32 MB so far")
    assert evidence(retained_bytes=None)[0].endswith("no WAL is kept for it so far")
    assert "is gone" in evidence(retained_bytes=None, wal_status="lost")[0]
    assert evidence(synced=True) == []  # a standby's copy of its primary's, which nobody reads


def test_syslog_writes_time_and_process_by_itself() -> None:
    assert places({"log_line_prefix": "%r %e ", "log_destination": "Syslog"}) == []


def test_a_transaction_timeout_ends_idle_ones_too() -> None:
    assert places({"idle_in_transaction_session_timeout": 0, "transaction_timeout": 600_000}) == []


def test_evidence_says_what_is_in_force_and_where_it_comes_from() -> None:
    (one,) = found({"tcp_user_timeout": 0, "settings/tcp_user_timeout/sourceline": 12})
    assert one.evidence.startswith(f"tcp_user_timeout = 0 ({AUTO}:12)")
    assert "15 min 25 s (tcp_retries2 = 15)" in one.evidence
    (one,) = [one for one in found({"keepalive": (0, 0, 0, 0), **UNTOUCHED}) if one.id == "PGC120"]
    assert one.evidence.startswith("tcp_keepalives_idle = 0, which the kernel makes 7200 (")
    assert "2 h 11 min" in one.evidence
    (one,) = found(notable(*(session("idle", pid=pid) for pid in range(1, 6)), idle=60))
    assert one.evidence.startswith("60: pid 1, role app, database shop, worker, from 10.0.0.7, for 2 h; pid 2")
    assert one.evidence.endswith(", and 57 more")


def test_a_server_of_another_host_has_a_kernel_of_its_own() -> None:
    facts = changed({"keepalive": (0, 0, 0, 81_000), "kernel/of_server": False})
    facts["effective"]["settings"].update(dict(zip(KA, ("60", "7", "3", "81000"), strict=True)))
    assert [one.id for one in _rules.findings(facts)] == []


def test_a_server_that_is_down() -> None:
    facts = {
        "server": None,
        "server_down": True,
        "reason": "Connection refused",
        "settings": {},
        "effective": None,
        "kernel": hardened()["kernel"],
        "promises": [],
        "sessions": None,
        "replication": None,
        "poolers": [],
    }
    assert [(one.id, one.where) for one in _rules.findings(facts, WEB)] == [("PGC707", "server")]
    facts["kernel"]["counters"]["ListenOverflows"] = 9
    facts["kernel"]["sysctls"]["net.ipv4.tcp_retries2"]["value"] = "3"
    assert [one.id for one in _rules.findings(facts)] == ["PGC202", "PGC205", "PGC707"]


def parts(facts: t.Any, path: tuple[t.Any, ...] = ()) -> t.Iterator[tuple[t.Any, ...]]:
    """Each way into the facts."""
    inner = facts.items() if isinstance(facts, dict) else enumerate(facts) if isinstance(facts, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from parts(value, (*path, key))


def test_facts_that_are_missing_are_not_judged_and_raise_nothing() -> None:
    wrong: Changes = {}
    for _id, _where, changes in CASES:
        wrong.update(changes)
    for facts in (hardened(), changed(wrong)):
        for path in list(parts(facts)):
            holder: t.Any = facts
            for key in path[:-1]:
                holder = holder[key]
            value, holder[path[-1]] = holder[path[-1]], None
            _rules.findings(facts, WEB)
            if isinstance(holder, dict):
                del holder[path[-1]]
                _rules.findings(facts, WEB)
            holder[path[-1]] = value
    assert _rules.findings({}, WEB) == []


def test_ignoring() -> None:
    both = found({"tcp_user_timeout": 0, "client_connection_check_interval": 0, "log_connections": "off"})
    first, second, third = both
    wishes = [
        {"id": first.id, "reason": "reads slowly"},
        {"id": first.id, "reason": "never comes to this one"},
        {"id": second.id, "where": "*interval", "reason": "short statements"},
        {"id": third.id, "where": "log_disconnections", "reason": "another place"},
    ]
    kept, ignored = _rules.ignore(both, wishes)
    assert kept == [third]
    assert ignored == [(first, "reads slowly"), (second, "short statements")]
    kept, ignored = _rules.ignore(both, [{"id": first.id, "where": first.where, "reason": "this very one"}])
    assert (kept, ignored) == ([second, third], [(first, "this very one")])
    assert _rules.ignore(both, []) == (both, [])


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        ({"id": "PGC999", "reason": "why not"}, "no rule has that id"),
        ({"reason": "why not"}, "no rule has that id"),
        ("PGC124", "it is no mapping"),
        ({"id": "PGC124"}, "it has no reason"),
        ({"id": "PGC124", "reason": " "}, "it has no reason"),
    ],
)
def test_wishes_that_are_refused(wish: t.Any, problem: str) -> None:
    with pytest.raises(Failure) as failure:
        _rules.ignore([], [wish])
    assert (failure.value.code, failure.value.found) == ("bad_ignore", problem)


@pytest.mark.parametrize(("id", "where", "changes"), CASES)
def test_what_a_member_of_a_cluster_refuses_is_no_remedy_there(id: str, where: str, changes: Changes) -> None:
    for one in _rules.findings(changed(changes, changed(patroni())), WEB):
        of_kernel = one.id.startswith("PGC2") or "layers: [os]" in one.remedy
        for refused in ("pgharden.connection.harden", "pgharden.connection.server_settings"):
            assert of_kernel or refused not in one.remedy, one


def test_every_rule_is_documented_and_tried() -> None:
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs/findings").iterdir()}
    assert set(pages) == set(_rules.RULES)
    for id, (severity, title) in _rules.RULES.items():
        assert pages[id].startswith(f"# {id}: {title}\n\nSeverity: {severity}. "), id
        assert re.findall(r"^## (.+)\n\n.", pages[id], re.MULTILINE) == ["How to see it by hand", "What to do"], id
    index = re.findall(
        r"^\| \[(PGC\d+)\]\(findings/\1\.md\) \| (\w+) \| (.+) \|$",
        (ROOT / "docs/findings.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert index == [(id, severity, title) for id, (severity, title) in _rules.RULES.items()]
    assert len(_rules.RULES) >= 80
    assert {severity for severity, _title in _rules.RULES.values()} == set(_findings.SEVERITIES)
    tried = {id for id, _where, _changes in CASES}
    tried |= {id for _changes, expected in TOGETHER for id, _where in expected}
    tried |= {id for _of, _changes, expected in POLICIES for id, _where in expected}
    tried |= {"PGC133", "PGC141", "PGC701", "PGC707"}  # tests of their own
    assert tried == {id for id in _rules.RULES if not id.startswith("PGC4")}


def test_the_catalogue_says_of_paths_what_their_rules_say() -> None:
    rooms = [ROOT / "plugins/module_utils/_path" / name for name in ("_findings.py", "_findings_of_failover.py")]
    source = "".join(room.read_text(encoding="utf-8") for room in rooms)
    said = dict(re.findall(r'"(PGC4\d\d)",\s*"(\w+)"', source))
    assert said == {id: severity for id, (severity, _title) in _rules.RULES.items() if id.startswith("PGC4")}


@pytest.mark.parametrize(
    ("id", "is_found", "changes"),
    [
        ("PGC105", False, {"keepalive": (32767, 32767, 127, 0)}),
        ("PGC108", False, error("transaction_timeout", True)),
        ("PGC120", True, {"keepalive": (3600, 9, 4, 0)}),
        ("PGC121", False, {"keepalive": (20, 20, 4, 0)}),
        ("PGC123", False, {"keepalive": (20, 5, 2, 0)}),
        ("PGC126", False, {"tcp_user_timeout": 999}),
        ("PGC126", True, {"tcp_user_timeout": 1000}),
        ("PGC131", True, {"tcp_user_timeout": 1000}),
        ("PGC131", False, {"tcp_user_timeout": 15_000}),
        ("PGC133", True, {"idle_session_timeout": 3_600_000, "sessions/pooler_roles": ["pool"]}),
        ("PGC134", False, {"authentication_timeout": 5}),
        ("PGC134", False, {"authentication_timeout": 60}),
        ("PGC205", False, sysctl("tcp_retries2", value="8", persistent=persistent("8"))),
        ("PGC206", True, sysctl("tcp_keepalive_time", value="3600")),
        ("PGC308", True, database(sessions=100, sessions_abandoned=5)),
    ],
)
def test_edges(id: str, is_found: bool, changes: Changes) -> None:
    assert (id in {one.id for one in found(changes)}) is is_found


def test_a_slow_reader_without_a_user_timeout_is_not_cut() -> None:
    patient = profile("web", slow_reader_roles=["reader"], slow_reader_grace="2min")
    for value, expected in (("0", False), ("2min", True), ("120001ms", False)):
        changes = override(KA[3], value, role="reader")
        assert ("PGC131" in {one.id for one in found(changes, patient)}) is expected
    # What another role has is nothing to this one, nor is what no server would take.
    for role, value in (("writer", "20min"), ("reader", "nonsense")):
        changes = {KA[3]: 60_000, **override(KA[3], value, role=role)}
        assert "PGC131" in {one.id for one in found(changes, patient)}


def test_as_many_as_are_named_are_all() -> None:
    (one,) = found(notable(*(session("idle", pid=pid) for pid in (1, 2, 3)), idle=3))
    assert one.evidence.count("pid ") == 3
    assert "more" not in one.evidence
