# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_settings on real servers: what it sets is in force, a second run and check mode change nothing."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from _settings import apply, in_force, majors, one_major, over_socket, over_tcp, refuse, state
from support import Cluster, places

IDLE, INTERVAL, USER_TIMEOUT = "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_user_timeout"
IN_TRANSACTION = "idle_in_transaction_session_timeout"
NAMES = (IDLE, USER_TIMEOUT, IN_TRANSACTION, "authentication_timeout")

#: The same four values.
SPELLINGS: list[tuple[t.Any, ...]] = [
    (60, 75000, "1.5min", "1min"),
    ("60", "75s", 90000, 60),
    ("60s", "1.25min", "90s", "60s"),
    ("1min", "75000", "90000ms", 60.0),
    (" 60000 ms ", 75000.0, " 90.0 s", "60"),
]


def accesses(cluster: Cluster) -> list[dict[str, t.Any]]:
    """Every way to log in as superuser."""
    found = [over_tcp(cluster), over_socket(cluster)]
    if places.is_root():
        found += [{**over_socket(cluster), "login_os_user": cluster.os_user}, {"as_user": cluster.os_user}]
    return found


def test_a_second_run_changes_nothing_however_it_comes_and_however_values_are_spelled(cluster: Cluster) -> None:
    first, *others = accesses(cluster)
    assert apply(cluster, dict(zip(NAMES, SPELLINGS[0], strict=True)), **first)["changed"]
    assert in_force(cluster, *NAMES) == ["60", "75000", "90000", "60"]
    before = state(cluster)
    for values, access in zip(SPELLINGS, itertools.cycle([*others, first])):
        result = apply(cluster, dict(zip(NAMES, values, strict=True)), **access)
        assert (result["changed"], result["diff"]) == (False, []), (values, access)
    assert state(cluster) == before


def test_zero_is_a_value(cluster: Cluster) -> None:
    assert not apply(cluster, {IDLE: 0, USER_TIMEOUT: "0"})["changed"]
    apply(cluster, {IDLE: 60, USER_TIMEOUT: 1000})
    assert apply(cluster, {IDLE: 0, USER_TIMEOUT: "0s"})["changed"]
    assert in_force(cluster, IDLE, USER_TIMEOUT) == ["7200", "0"]
    before = state(cluster)
    for access in (over_tcp(cluster), over_socket(cluster)):
        assert not apply(cluster, {IDLE: "0s", USER_TIMEOUT: 0}, **access)["changed"]
    assert state(cluster) == before


@one_major
def test_an_override_of_the_login_s_role_is_told_and_deceives_nobody(cluster: Cluster) -> None:
    cluster.query(f"ALTER ROLE postgres SET {IDLE} = 77")
    cluster.query(f"ALTER DATABASE postgres SET {USER_TIMEOUT} = '5s'")
    wanted = {IDLE: 60, USER_TIMEOUT: "75s"}
    result = apply(cluster, wanted, **over_tcp(cluster))
    assert result["changed"]
    assert result["settings"][IDLE]["after"]["value"] == "60"
    assert result["settings"][IDLE]["after"]["shadowed_by"] == [
        {"kind": "role", "value": "77", "role": "postgres", "database": None}
    ]
    assert result["settings"][USER_TIMEOUT]["after"]["shadowed_by"] == [
        {"kind": "database", "value": "5s", "role": None, "database": "postgres"}
    ]
    assert in_force(cluster, IDLE, USER_TIMEOUT) == ["77", "5000"]
    cluster.query("CREATE ROLE other LOGIN")
    assert in_force(cluster, IDLE, USER_TIMEOUT, user="other", dbname="template1") == ["60", "75000"]
    before = state(cluster)
    for access in (over_tcp(cluster), over_socket(cluster)):
        assert not apply(cluster, wanted, **access)["changed"]
    assert state(cluster) == before


@one_major
def test_a_file_that_alter_system_shadows(cluster: Cluster) -> None:
    cluster.query(f"ALTER SYSTEM SET {IDLE} = 99")
    cluster.reload()
    options = {"apply_through": "config_file", "config_file": str(cluster.config_file)}
    result = apply(cluster, {IDLE: "1min"}, **options)
    assert result["changed"]
    line = cluster.auto_conf.read_text().splitlines().index(f"{IDLE} = '99'") + 1
    shadow = {"kind": "alter system", "value": "99", "sourcefile": str(cluster.auto_conf), "sourceline": line}
    assert result["settings"][IDLE]["after"]["shadowed_by"] == [shadow]
    assert f"{IDLE} = '1min'\n" in cluster.config_file.read_text()
    assert in_force(cluster, IDLE) == ["99"]
    before = state(cluster)
    again = apply(cluster, {IDLE: 60}, **options)
    assert not again["changed"]
    assert again["settings"][IDLE]["after"]["shadowed_by"] == [shadow]
    assert state(cluster) == before


@one_major
def test_what_postgresql_conf_says_need_not_be_said_again(cluster: Cluster) -> None:
    with cluster.config_file.open("a") as file:
        file.write(f"{IDLE} = 60\n")
    auto = cluster.auto_conf.read_bytes()
    # Nobody has reloaded yet: the run notices, in check mode, too, and reloads without writing anything.
    assert in_force(cluster, IDLE) == ["7200"]
    foreseen = apply(cluster, {IDLE: "60s"}, check=True)
    assert foreseen["changed"]
    assert in_force(cluster, IDLE) == ["7200"]
    result = apply(cluster, {IDLE: "60s"})
    assert result["diff"] == foreseen["diff"] != []
    assert in_force(cluster, IDLE) == ["60"]
    assert not apply(cluster, {IDLE: "60s"})["changed"]
    assert cluster.auto_conf.read_bytes() == auto


@one_major
def test_a_value_that_was_taken_out_by_hand_is_unloaded(cluster: Cluster) -> None:
    options = {"apply_through": "config_file", "config_file": str(cluster.config_file)}
    apply(cluster, {IDLE: 60}, **options)
    content = cluster.config_file.read_text()
    cluster.config_file.write_text(content.replace(f"\n{IDLE} = 60\n", "\n"))
    assert in_force(cluster, IDLE) == ["60"]
    assert apply(cluster, {IDLE: None}, **options)["changed"]
    assert in_force(cluster, IDLE) == ["7200"]
    assert not apply(cluster, {IDLE: None}, **options)["changed"]


@one_major
def test_without_a_reload_values_are_written_only(cluster: Cluster) -> None:
    assert apply(cluster, {IDLE: 60}, reload=False)["changed"]
    assert in_force(cluster, IDLE) == ["7200"]
    assert not apply(cluster, {IDLE: 60}, reload=False)["changed"]
    assert apply(cluster, {IDLE: 60})["changed"]
    assert in_force(cluster, IDLE) == ["60"]


@majors(13, 18)
def test_a_restart_is_asked_for_and_not_fought_over(cluster: Cluster) -> None:
    wanted = {"max_connections": 55, IDLE: 60}
    assert apply(cluster, wanted, check=True)["restart_required"] == ["max_connections"]
    for changed in (True, False):
        result = apply(cluster, wanted)
        assert (result["changed"], result["restart_required"]) == (changed, ["max_connections"])
        assert result["settings"]["max_connections"]["after"]["pending_restart"]
    assert in_force(cluster, "max_connections", IDLE) == ["100", "60"]
    cluster.stop()
    cluster.start_again()
    result = apply(cluster, wanted)
    assert (result["changed"], result["restart_required"]) == (False, [])
    assert in_force(cluster, "max_connections") == ["55"]


def places_to_set(cluster: Cluster) -> list[dict[str, t.Any]]:
    file = {"apply_through": "config_file", "config_file": str(cluster.config_file)}
    return [{}, file, {"role": "postgres"}, {"database": "postgres"}, {"role": "postgres", "database": "postgres"}]


@majors(13, 18)
def test_check_mode_changes_nothing_and_foresees_everything(cluster: Cluster) -> None:
    cluster.query(f"ALTER SYSTEM SET {INTERVAL} = 7")
    cluster.query(f"ALTER ROLE postgres SET {INTERVAL} = 8")
    cluster.reload()
    for place in places_to_set(cluster):
        wanted: dict[str, t.Any] = {IDLE: "1min", INTERVAL: None, IN_TRANSACTION: 90000}
        if "role" not in place and "database" not in place:
            wanted["authentication_timeout"] = "50s"
            wanted["superuser_reserved_connections"] = 2
        before = state(cluster)
        foreseen = apply(cluster, wanted, check=True, **place)
        assert state(cluster) == before
        real = apply(cluster, wanted, **place)
        assert foreseen["diff"] == real["diff"] != []
        assert foreseen["changed"] and real["changed"]
        assert foreseen["restart_required"] == real["restart_required"]
        assert state(cluster) != before


@majors(13, 18)
@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("no_such_parameter = 5", "no_such_parameter"),
        ("work_mem == 5", "syntax error"),
        ("include 'gone.conf'", "gone.conf"),
        ("caf\udce9 = 'caf\udce9'", "unrecognized"),
    ],
)
def test_an_error_elsewhere_in_the_files_is_found_before(cluster: Cluster, line: str, told: str) -> None:
    content = cluster.config_file.read_bytes()
    cluster.config_file.write_bytes(content + line.encode(errors="surrogateescape") + b"\nfsync = off\n")
    number = content.count(b"\n") + 1
    message = refuse(cluster, {IDLE: 60}, "configuration_error")
    assert f"{cluster.config_file}:{number}" in message
    assert told in message
    assert in_force(cluster, IDLE) == ["7200"]


@one_major
def test_a_bad_value_of_another_parameter_is_not_in_the_way(cluster: Cluster) -> None:
    with cluster.config_file.open("a") as file:
        file.write("work_mem = much\n")
    assert apply(cluster, {IDLE: 60})["changed"]
    assert in_force(cluster, IDLE) == ["60"]
    assert not apply(cluster, {IDLE: 60})["changed"]
