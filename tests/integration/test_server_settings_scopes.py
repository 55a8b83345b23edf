# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_settings for roles and databases, by logins with few privileges, and on servers that refuse something."""

from __future__ import annotations

import typing as t

import pytest
from _settings import apply, in_force, majors, one_major, over_tcp, refuse, run, state
from support import Cluster

if t.TYPE_CHECKING:
    from conftest import NewCluster

IDLE, COUNT, USER_TIMEOUT = "tcp_keepalives_idle", "tcp_keepalives_count", "tcp_user_timeout"
ODD = 'Odd "one" isn\'t % = {x}'


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def login(cluster: Cluster, user: str, **more: t.Any) -> dict[str, t.Any]:
    return {**over_tcp(cluster), "login_user": user, **more}


def test_alter_system_by_grant(cluster: Cluster, major: int) -> None:
    cluster.query("CREATE ROLE keeper LOGIN")
    access = login(cluster, "keeper")
    wanted = {IDLE: "1min", USER_TIMEOUT: 75000}
    assert IDLE in refuse(cluster, wanted, "not_allowed", **access)
    if major < 15:
        return
    cluster.query(f"GRANT ALTER SYSTEM ON PARAMETER {IDLE}, {USER_TIMEOUT} TO keeper")
    assert "pg_reload_conf" in refuse(cluster, wanted, "not_allowed", **access)
    assert apply(cluster, wanted, reload=False, **access)["changed"]
    assert in_force(cluster, IDLE, USER_TIMEOUT) == ["7200", "0"]
    cluster.query("GRANT EXECUTE ON FUNCTION pg_reload_conf() TO keeper")
    assert apply(cluster, wanted, **access)["changed"]
    assert in_force(cluster, IDLE, USER_TIMEOUT) == ["60", "75000"]
    before = state(cluster)
    assert not apply(cluster, wanted, **access)["changed"]
    assert state(cluster) == before
    # What it has no grant for is told by name, and what it asks for beside it is not set; no change needs no grant.
    message = refuse(cluster, {IDLE: 70, COUNT: 5}, "not_allowed", **access)
    assert COUNT in message and IDLE not in message
    assert not apply(cluster, {**wanted, COUNT: 0}, **access)["changed"]
    # Half-way: a value that only ALTER SYSTEM refuses.
    cluster.query("GRANT ALTER SYSTEM ON PARAMETER log_destination TO keeper")
    assert run(cluster, {IDLE: 70, "log_destination": "nowhere"}, **access)["failure"]["put_back"]
    written = {line for line in cluster.auto_conf.read_text().splitlines() if not line.startswith("#")}
    assert written == {f"{IDLE} = '60'", f"{USER_TIMEOUT} = '75000'"}  # what it could see of them
    assert apply(cluster, {IDLE: None, USER_TIMEOUT: None}, **access)["changed"]
    assert in_force(cluster, IDLE, USER_TIMEOUT) == ["7200", "0"]
    assert not apply(cluster, {IDLE: None, USER_TIMEOUT: None}, **access)["changed"]


@one_major
def test_what_a_login_cannot_see_it_does_not_change_again_and_again(cluster: Cluster) -> None:
    """An override for its own role hides what is configured from a login that may not read pg_file_settings."""
    for statement in (
        "CREATE ROLE keeper LOGIN",
        f"GRANT ALTER SYSTEM ON PARAMETER {IDLE} TO keeper",
        "GRANT EXECUTE ON FUNCTION pg_reload_conf() TO keeper",
        f"ALTER ROLE keeper SET {IDLE} = 77",
    ):
        cluster.query(statement)
    access = login(cluster, "keeper")
    message = refuse(cluster, {IDLE: 60}, "not_visible", **access)
    assert "pg_file_settings" in message
    cluster.query("GRANT SELECT ON pg_file_settings TO keeper")
    cluster.query("GRANT EXECUTE ON FUNCTION pg_show_all_file_settings() TO keeper")
    assert apply(cluster, {IDLE: 60}, **access)["changed"]
    assert in_force(cluster, IDLE) == ["60"]
    assert not apply(cluster, {IDLE: 60}, **access)["changed"]


@majors(13, 18)
def test_the_owner_of_a_database(cluster: Cluster) -> None:
    cluster.query("CREATE ROLE owner LOGIN")
    cluster.query("CREATE ROLE stranger LOGIN")
    cluster.query(f"CREATE DATABASE {quoted(ODD)} OWNER owner")
    place = {"database": ODD}
    for access in (login(cluster, "stranger"), login(cluster, "stranger", login_db=ODD)):
        assert "owner" in refuse(cluster, {IDLE: 60}, "server_refused", **access, **place)
    access = login(cluster, "owner")
    wanted = {IDLE: "1min", USER_TIMEOUT: "75s"}
    # log_duration is for superusers: with it, nothing is set.
    refuse(cluster, {**wanted, "log_duration": True}, "server_refused", **access, **place)
    assert apply(cluster, wanted, **access, **place)["changed"]
    assert in_force(cluster, IDLE, USER_TIMEOUT, dbname=ODD) == ["60", "75000"]
    assert in_force(cluster, IDLE) == ["7200"]
    for spelled in ({IDLE: 60, USER_TIMEOUT: 75000}, wanted):
        assert not apply(cluster, spelled, **access, **place)["changed"]
    assert apply(cluster, {IDLE: None, USER_TIMEOUT: None}, **access, **place)["changed"]
    assert cluster.query("SELECT setconfig FROM pg_db_role_setting") == []


@majors(13, 16, 18)
def test_a_creator_of_roles(cluster: Cluster, major: int) -> None:
    cluster.query("CREATE ROLE boss LOGIN CREATEROLE")
    cluster.query("CREATE ROLE other LOGIN SUPERUSER")
    cluster.query(f"CREATE ROLE {quoted(ODD)} LOGIN", user="boss")
    access = login(cluster, "boss")
    assert apply(cluster, {IDLE: "1min"}, role=ODD, **access)["changed"]
    assert in_force(cluster, IDLE, user=ODD) == ["60"]
    assert not apply(cluster, {IDLE: 60}, role=ODD, **access)["changed"]
    refuse(cluster, {IDLE: 60}, "server_refused", role="other", **access)
    # Everybody may set their own.
    assert apply(cluster, {USER_TIMEOUT: "75s"}, role=ODD, **login(cluster, ODD))["changed"]
    assert in_force(cluster, IDLE, USER_TIMEOUT, user=ODD) == ["60", "75000"]


@one_major
def test_scopes_are_kept_apart_and_the_narrowest_is_told_to_win(cluster: Cluster) -> None:
    cluster.query(f"CREATE ROLE {quoted(ODD)} LOGIN")
    cluster.query(f"CREATE DATABASE {quoted(ODD)}")
    places: list[dict[str, t.Any]] = [{"role": ODD, "database": ODD}, {"role": ODD}, {"database": ODD}, {}]
    for number, place in enumerate(places):
        result = apply(cluster, {IDLE: 61 + number}, **place)
        assert result["changed"]
        # Only what reaches sessions of that place before it does is in its way.
        shadows = [one["value"] for one in result["settings"][IDLE]["after"]["shadowed_by"]]
        assert sorted(shadows) == {0: [], 1: ["61"], 2: ["61", "62"], 3: ["61", "62", "63"]}[number]
    for place, number in zip(places, range(61, 65), strict=True):
        assert not apply(cluster, {IDLE: number}, **place)["changed"]
    assert in_force(cluster, IDLE, user=ODD, dbname=ODD) == ["61"]
    assert in_force(cluster, IDLE, user=ODD) == ["62"]
    assert in_force(cluster, IDLE, dbname=ODD) == ["63"]
    assert in_force(cluster, IDLE) == ["64"]
    assert apply(cluster, {IDLE: None}, role=ODD, database=ODD)["changed"]
    assert in_force(cluster, IDLE, user=ODD, dbname=ODD) == ["62"]


@one_major
def test_what_is_not_there(cluster: Cluster) -> None:
    assert ODD in refuse(cluster, {IDLE: 60}, "no_such_role", role=ODD)
    refuse(cluster, {IDLE: 60}, "no_such_role", role="POSTGRES")
    refuse(cluster, {IDLE: 60}, "no_such_database", database="Postgres")
    refuse(cluster, {"authentication_timeout": 50}, "not_settable", role="postgres")
    refuse(cluster, {"max_connections": 50}, "not_settable", database="postgres")
    refuse(cluster, {"server_encoding": "LATIN1"}, "not_settable")


@one_major
def test_a_standby(new_cluster: NewCluster, cluster: Cluster, major: int) -> None:
    standby = new_cluster(major, standby_of=cluster)
    wanted = {IDLE: 60, "authentication_timeout": 50}
    assert apply(standby, wanted)["changed"]
    assert in_force(standby, *wanted) == ["60", "50"]
    assert in_force(cluster, IDLE) == ["7200"]
    assert not apply(standby, wanted)["changed"]
    assert "primary" in refuse(standby, {IDLE: 60}, "standby", role="postgres")
    refuse(standby, {IDLE: 60}, "standby", database="postgres")


@pytest.mark.parametrize("major", [17, 18])
def test_alter_system_is_not_allowed_at_all(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf="allow_alter_system = off\n")
    assert "config_file" in refuse(cluster, {IDLE: 60}, "alter_system_disabled")
    options = {"apply_through": "config_file", "config_file": str(cluster.config_file)}
    assert apply(cluster, {IDLE: 60}, **options)["changed"]
    # There already: nothing is to be set, by whatever way.
    assert not apply(cluster, {IDLE: 60})["changed"]
    assert in_force(cluster, IDLE) == ["60"]
