# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary of a play: readable at 100 columns, hosts with equal results together, quiet when nothing changed."""

from __future__ import annotations

import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils import _promises, _settings
from ansible_collections.pgharden.connection.plugins.plugin_utils import _summary

HARDENED = _settings.Settings(35, 6, 6, 71_000, 5000, authentication_timeout=26)
Result = dict[str, t.Any]


def rows(settings: _settings.Settings) -> list[dict[str, t.Any]]:
    return [one.as_dict() for one in _promises.promises(settings)]


def changed(**more: t.Any) -> Result:
    values = [{"name": "tcp_keepalives_idle", "before": "0", "after": "35s"}]
    return {
        "changes": {"server: ALTER SYSTEM": values},
        "promises": {"before": rows(_settings.Settings()), "after": rows(HARDENED)},
        **more,
    }


def unchanged(**more: t.Any) -> Result:
    return {"changes": {}, "promises": {"before": rows(HARDENED), "after": rows(HARDENED)}, **more}


def stale(*pids: int) -> list[dict[str, t.Any]]:
    return [{"pid": pid} for pid in pids]


def test_a_host_that_changed() -> None:
    assert _summary.lines({"db1": changed()}) == [
        "db1: 1 value changed",
        "  idle client vanished                     2 h 11 min → 71 s  (at worst 80 s)",
        "    its last reply still unacknowledged   15 min 25 s → 71 s  (at worst 80 s)",
        "    in a transaction                       2 h 11 min → 71 s  (at worst 80 s)",
        "    executing or waiting for a lock             never → 76 s  (at worst 86 s)",
        "    being sent a result                   15 min 25 s → 71 s  (at worst 80 s)",
        "  client killed while executing                 never → 5 s  (at worst 5.6 s)",
        "  client never finishes logging in               60 s → 26 s  (at worst 58 s)",
        "  server: ALTER SYSTEM: tcp_keepalives_idle = 35s",
    ]


def test_what_is_set_for_databases_and_roles_is_not_told_of_the_server() -> None:
    scope = {"covers": "databases and roles", "databases": ["reports", "shop"], "roles": ["crawler"], "reason": "so"}
    head, covered, *_figures, sessions = _summary.lines({"db1": changed(scope=scope, stale_sessions=stale(1))})
    assert head == "db1: 1 value changed"
    assert covered == "  for sessions of databases reports, shop and roles crawler only:"
    assert sessions == "  open sessions on the old socket options until they end: 1 on db1"
    line = " ".join(_summary.lines({"db1": unchanged(scope={**scope, "roles": []})}))
    assert line.startswith("db1: nothing to change, for sessions of databases reports, shop only; an idle client")
    whole = {"covers": "server", "databases": [], "roles": [], "reason": None}
    assert _summary.lines({"db1": changed(scope=whole)}) == _summary.lines({"db1": changed()})


def test_a_check_says_would() -> None:
    assert _summary.lines({"db1": changed()}, check_mode=True)[0] == "db1: 1 value would change"


def test_hosts_with_equal_results_share_a_paragraph_whatever_sessions_they_have() -> None:
    results = {
        "db1": changed(stale_sessions=stale(11, 12)),
        "db2": changed(),
        "db3": changed(stale_sessions=stale(31, 32), terminated=[]),
        "db4": unchanged(),
        "db5": unchanged(stale_sessions=stale(51)),
    }
    lines = _summary.lines(results)
    heads = [line for line in lines if line.startswith("db")]
    assert heads == [
        "db1, db2, db3: 1 value changed",
        "db4, db5: nothing to change; an idle client that vanished is noticed after 71 s",
    ]
    assert "  open sessions on the old socket options until their client's next message: 2 on db1, 2 on db3" in lines


def test_sessions_that_were_ended_are_not_open() -> None:
    lines = _summary.lines({"db1": changed(stale_sessions=stale(1), terminated=[1])})
    assert "  1 stale session was ended" in lines
    assert not any("open sessions" in line for line in lines)


def test_nothing_changed_is_one_line_even_if_something_is_not_kept() -> None:
    result = unchanged(
        unsupported=[{"layer": "server", "setting": "idle_session_timeout", "key": "x", "reason": "it is too old"}],
        not_kept=[{"key": "close_idle_session_after", "wanted": "1h", "promised": "never", "phase": ""}] * 2,
        notes=["a trade-off"],
    )
    (line, *rest) = _summary.lines({"db1": result})
    assert line.startswith("db1: nothing to change; an idle client that vanished is noticed after 71 s; not possible")
    assert rest == ["  idle_session_timeout; not kept: close_idle_session_after"]


def test_hosts_without_changes_and_those_that_failed_take_a_line_a_group() -> None:
    results: dict[str, Result] = {
        "db1": unchanged(),
        "db2": {"failed": True, "msg": "no"},
        "db3": {"skipped": True},
        "db4": {"failed": True, "msg": "other"},
    }
    assert _summary.lines(results) == [
        "db1: nothing to change; an idle client that vanished is noticed after 71 s",
        "db2, db4: failed, see above",
        "db3: skipped",
    ]


def test_no_hosts_no_lines() -> None:
    assert _summary.lines({}) == []


def test_everything_a_user_has_to_know() -> None:
    result = changed(
        server_down=True,
        unsupported=[
            {"layer": "server", "setting": name, "key": "k", "reason": "it came with PostgreSQL 14"}
            for name in ("idle_session_timeout", "client_connection_check_interval")
        ],
        not_kept=[
            {"key": "detect_dead_peer_within", "wanted": "90s", "promised": "never", "phase": "lock_wait"},
            {"key": "detect_dead_peer_within", "wanted": "90s", "promised": "never", "phase": "executing"},
        ],
        shadowed={"tcp_user_timeout": [{"kind": "role", "role": "fast", "value": "9s", "database": None}]},
        notes=["Sessions of slow may stop reading."],
        restart_required=["max_connections"],
        skipped_entries=["the role gone does not exist any more"],
    )
    text = " ".join(" ".join(_summary.lines({"db1": result})).split())
    for words in (
        "the server is down",
        "not possible here: idle_session_timeout, client_connection_check_interval: it came with PostgreSQL 14",
        "not kept: detect_dead_peer_within 90s: never (lock wait)",
        "outranked: tcp_user_timeout is 9s by role fast",
        "Sessions of slow may stop reading.",
        "takes effect after a restart of the server: max_connections",
        "skipped: the role gone does not exist any more",
    ):
        assert words in text
    assert text.count("not kept") == 1


HOSTS = st.lists(st.from_regex(r"[a-z][a-z0-9.-]{0,40}", fullmatch=True), min_size=1, max_size=30, unique=True)
TEXTS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=150)


@given(HOSTS, TEXTS, TEXTS, st.integers(0, 2**31 - 1), st.booleans())
def test_no_line_is_wider_than_100_columns(hosts: list[str], value: str, reason: str, number: int, some: bool) -> None:
    after = rows(_settings.Settings(number, number, number, number, number))
    result = {
        "changes": {f"server: /{value}": [{"name": "a" * 60, "before": None, "after": value}] * 5} if some else {},
        "promises": {"before": after, "after": after},
        "unsupported": [{"setting": "x" * 40, "reason": reason}],
        "not_kept": [{"key": "y" * 40, "wanted": value, "promised": reason, "phase": "idle"}],
        "stale_sessions": stale(*range(50)),
        "notes": [reason],
    }
    assert max(map(len, _summary.lines(dict.fromkeys(hosts, result)))) <= _summary.WIDTH


@given(HOSTS)
def test_no_hosts_name_is_broken(hosts: list[str]) -> None:
    lines = _summary.lines(dict.fromkeys(hosts, unchanged()))
    words = {word.rstrip(",:") for line in lines for word in line.split()}
    assert {host.rstrip(",:") for host in hosts} <= words
