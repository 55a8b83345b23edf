# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a drill: readable at 100 columns, whatever a server says."""

from __future__ import annotations

import typing as t

import pytest
from _drills import DEFAULTS, HARDENED, LOG, drilled, noticed, only_checked, survived
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.plugin_utils import _drill_table

KERNEL = {
    "tcp_keepalives_idle": 7200,
    "tcp_keepalives_interval": 75,
    "tcp_keepalives_count": 9,
    "tcp_user_timeout": 0,
}


def test_what_was_promised_and_measured() -> None:
    some = [
        noticed("idle", "process_died", HARDENED, log=None),
        noticed("idle", "peer_vanished", HARDENED),
        noticed("executing", "peer_vanished", HARDENED, verdict="broken", measured=110.4, reasons=["It is a proxy."]),
        survived("idle", "short_outage", 25.0, 24.0),
        survived("sending", "slow_reader", None, 30.0),
        survived("sending", "short_outage", 12.0, 40.0, outcome="lost", verdict="not_promised", measured=31.0),
    ]
    assert _drill_table.lines({"db1": drilled(some=some, notes=["It is a note."])}) == [
        "db1: PostgreSQL 15.8 at 10.0.0.5:5432 with TLS, drilled from db1 (socket)",
        "  in force: keepalive 35 s, 6 s, 6 times; user timeout 71 s; check interval 5 s",
        "                            promised  at worst         measured",
        "  idle       process died    at once                under 0.1 s  kept",
        "  idle       peer vanished      71 s      80 s             73 s  kept",
        "    LOG:  could not receive data from client: Connection timed out",
        "  executing  peer vanished      76 s      86 s            110 s  BROKEN",
        "    LOG:  could not receive data from client: Connection timed out",
        "    possible cause: It is a proxy.",
        "                            survives    lasted          outcome",
        "  idle       short outage       25 s      24 s         survived  kept",
        "  sending    slow reader         any      30 s         survived  kept",
        "  sending    short outage       12 s      40 s  lost after 31 s  not promised",
        "  It is a note.",
        "",
        "4 kept, 1 broken, 1 not promised",
    ]


def test_what_outlasts_the_patience() -> None:
    some = [noticed(phase, "peer_vanished", DEFAULTS) for phase in ("idle", "executing")]
    result = drilled(DEFAULTS, some, log={"source": None, "reason": "the server is on another host"})
    assert _drill_table.lines({"db1": result})[1:] == [
        "  in force: keepalive 2 h, 75 s, 9 times; user timeout off; check interval off",
        "                              promised    at worst     measured",
        "  idle       peer vanished  2 h 11 min  2 h 27 min  still there  beyond patience",
        "  executing  peer vanished       never              still there  beyond patience",
        "  no lines of the server's log: the server is on another host",
        "",
        "0 kept, 0 broken, 2 beyond the patience of 120 s",
    ]


def test_hosts_that_failed_and_the_count_of_all() -> None:
    results = {
        "db1": drilled(),
        "db2": {"failed": True, "msg": "log in to 10.0.0.6: refused. Start the server."},
        "db3": drilled(DEFAULTS, patience=60.0),
        "db4": {"skipped": True},
        "db5": {"unreachable": True, "msg": "ssh says no"},
    }
    lines = _drill_table.lines(results)
    assert "db2: failed, see above: log in to 10.0.0.6: refused. Start the server." in lines
    assert "db4: skipped" in lines
    assert "db5: unreachable, see above" in lines
    assert lines[-1] == "22 kept, 0 broken, 6 beyond the patience"  # theirs are not the same
    assert [line.split(":")[0] for line in lines if line.startswith("db")] == ["db1", "db2", "db3", "db4", "db5"]


def test_nothing_was_drilled() -> None:
    assert _drill_table.lines({}) == []
    assert _drill_table.lines({"db1": {"failed": True, "msg": "no"}}) == ["db1: failed, see above: no", ""]


def test_check_mode_has_promises_alone() -> None:
    lines = _drill_table.lines({"db1": only_checked()})
    assert [line.split() for line in lines[2:5]] == [
        ["promised", "at", "worst"],
        ["idle", "process", "died", "at", "once"],
        ["idle", "peer", "vanished", "71", "s", "80", "s"],
    ]
    assert lines[-3].split() == ["sending", "slow", "reader", "71", "s"]
    assert lines[-1] == "14 to be drilled, all side by side, for as long as the patience of 120 s"


def test_an_ipv6_host_and_a_server_without_the_check_interval() -> None:
    old = {name: value for name, value in HARDENED.items() if name != "client_connection_check_interval"}
    result = drilled(old)
    result["server"] |= {"host": "fe80::1", "tls": False}
    lines = _drill_table.lines({"db1": result})
    assert lines[0] == "db1: PostgreSQL 15.8 at [fe80::1]:5432, drilled from db1 (socket)"
    assert lines[1] == "  in force: keepalive 35 s, 6 s, 6 times; user timeout 71 s"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**KERNEL, "keepalive": 1}, "keepalive 2 h, 75 s, 9 times; user timeout off"),
        ({**KERNEL, "keepalive": 0, "tcp_user_timeout": 9000}, "keepalive off; user timeout 9 s"),
    ],
)
def test_a_client_is_judged_by_its_own_socket(options: dict[str, int], words: str) -> None:
    result = drilled(side="client", client={"host": "app1", "kernel": "6.1", "options": options})
    assert _drill_table.lines({"app1": result})[1] == f"  in force: {words}"


def test_every_line_of_the_log() -> None:
    cell = noticed("idle", "peer_vanished", HARDENED, log=f"{LOG}\nFATAL:  connection to client lost")
    assert _drill_table.lines({"db1": drilled(some=[cell])})[4:6] == [
        "    LOG:  could not receive data from client: Connection timed out",
        "    FATAL:  connection to client lost",
    ]


def test_a_log_line_shows_its_message_and_steers_no_terminal() -> None:
    logs = {
        LOG: "    LOG:  could not receive data from client: Connection timed out",
        "2026-11-23 СООБЩЕНИЕ:  незавершённый пакет": "    СООБЩЕНИЕ:  незавершённый пакет",
        "of no known form": "    of no known form",
        "LOG:  \x1b[31mred\x07\tand\x9b2J": "    LOG:   [31mred  and 2J",
    }
    for log, shown in logs.items():
        assert (
            _drill_table.lines({"db1": drilled(some=[noticed("idle", "peer_vanished", HARDENED, log=log)])})[4] == shown
        )
    long = _drill_table.lines(
        {"db1": drilled(some=[noticed("idle", "peer_vanished", HARDENED, log="LOG:  " + "x" * 200)])}
    )
    assert long[4] == "    LOG:  " + "x" * 89 + "…"


SECONDS = st.none() | st.floats(0, 5e6)
TEXTS = st.text(max_size=300)
CELLS = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(["idle_unacknowledged", "idle_in_transaction", "executing_cpu"]),
        "fault": st.sampled_from(["path_forgot_flow", "probes_dropped", "short_outage", "slow_reader"]),
        "promised": SECONDS,
        "bound": SECONDS,
        "lasted": SECONDS,
        "measured": st.floats(0, 5e6),
        "outcome": st.sampled_from(["gone", "still_there", "survived", "lost", None]),
        "verdict": st.sampled_from(["kept", "broken", "beyond_patience", "not_promised", None]),
        "reasons": st.lists(TEXTS, max_size=3),
        "log": st.none() | TEXTS,
    }
)


@given(st.lists(CELLS, min_size=1, max_size=5), TEXTS)
def test_no_line_is_wider_than_100_columns(some: list[dict[str, t.Any]], text: str) -> None:
    client = {"host": text, "kernel": text}
    results = {"db" * 70: drilled(some=some, notes=[text], client=client), "db2": {"failed": True, "msg": text}}
    lines = _drill_table.lines(results)
    assert max(map(len, lines)) <= 100
    assert all(line.isprintable() for line in lines)
