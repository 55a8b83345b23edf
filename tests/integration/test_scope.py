# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden where ALTER SYSTEM is not allowed, as on a managed service: databases and roles, on real servers.

The logins are no superusers, may read no file of the server and own what is theirs; the server, its catalogs and the
kernel are asked what came of it.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from _hardening import Host, NewCluster, Result, answers, finish, milliseconds, profile, wait_for
from _settings import over_tcp, refuse
from support import Cluster, Session, run_module

from ansible_collections.pgharden.connection.plugins.module_utils import _database, _policy
from ansible_collections.pgharden.connection.plugins.plugin_utils import _audit_data, _summary

OLD_AND_NEW = pytest.mark.parametrize("major", [13, 18])
ONE = pytest.mark.parametrize("major", [17])
#: Parameters of the profile that no database can have.
OF_THE_SERVER = {"authentication_timeout", "wal_sender_timeout", "wal_receiver_timeout"}
WEB = profile("web", detect_dead_standby_within="2min")

#: What a login like the first user of RDS can do, and what the provider keeps for itself.
MANAGED = (
    "CREATE ROLE rds_superuser CREATEDB CREATEROLE",
    "GRANT pg_monitor, pg_signal_backend TO rds_superuser",
    "CREATE ROLE master LOGIN CREATEDB CREATEROLE IN ROLE rds_superuser",
    "CREATE ROLE app LOGIN",
    "GRANT app TO master",
    "CREATE DATABASE reports OWNER app",
    "CREATE DATABASE shop OWNER master",
    "CREATE DATABASE rdsadmin",
    "REVOKE CONNECT ON DATABASE rdsadmin FROM public",
)


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Host:
    for statement in MANAGED:
        cluster.query(statement)
    return Host(cluster, tmp_path)


def harden(host: Host, policy: t.Mapping[str, t.Any] = WEB, **options: t.Any) -> Result:
    """As that first user, the kernel left alone."""
    return host.harden(policy, **{"layers": ["server"], "login_user": "master", **options})


def done(result: Result) -> Result:
    assert not result.get("failed"), result
    return result


def overrides(host: Host) -> dict[tuple[str | None, str | None], set[str]]:
    """The names that are set, by database and role, as the catalog has them."""
    rows = host.cluster.query(
        "SELECT datname, rolname, setconfig FROM pg_db_role_setting"
        " LEFT JOIN pg_database d ON d.oid = setdatabase LEFT JOIN pg_roles r ON r.oid = setrole"
    )
    return {(database, role): {line.partition("=")[0] for line in config} for database, role, config in rows}


@OLD_AND_NEW
def test_the_owner_of_databases_hardens_these(host: Host) -> None:
    before = host.state()
    foreseen = done(harden(host, check=True))
    assert host.state() == before
    result = done(harden(host))
    assert result == foreseen
    planned = result["plan"]["server"]
    assert result["scope"]["covers"] == "databases"
    assert result["scope"]["databases"] == ["reports", "shop"]
    assert "master" in result["scope"]["reason"] and "ALTER SYSTEM" in result["scope"]["reason"]
    assert set(overrides(host)) == {("reports", None), ("shop", None)}
    assert all(names == set(planned) for names in overrides(host).values())
    for conn in ({"dbname": "shop"}, {"dbname": "shop", "user": "app"}, {"dbname": "reports", "user": "app"}):
        assert not host.wrong(planned, **conn)
    # Nobody else has any of it, and no file was written.
    assert len(host.wrong(planned)) == len(host.wrong(planned, dbname="rdsadmin")) == len(planned)
    assert (host.files(), host.kernel()) == (before["files"], before["kernel"])
    idle = milliseconds(planned["tcp_keepalives_idle"]) / 1000
    with host.cluster.session(dbname="shop") as one, host.cluster.session() as other:
        assert 0 < host.keepalive_seconds(one) <= idle * 1.125 + 1
        assert host.keepalive_seconds(other) > 3600
    # What cannot be had is told with its reason and its remedy, and what that breaks.
    rows = {row["setting"]: row for row in result["unsupported"] if row["setting"] in OF_THE_SERVER}
    assert set(rows) == OF_THE_SERVER
    assert all("managed_parameters" in row["reason"] for row in rows.values())
    assert rows["authentication_timeout"]["key"] == "connect_within"
    assert {row["key"] for row in result["not_kept"]} >= {"connect_within"}
    assert "detect_dead_peer_within" not in {row["key"] for row in result["not_kept"]}
    after = {(row["phase"], row["fault"]): row["bound"] for row in result["promises"]["after"]}
    assert after["idle", "peer_vanished"] * 1000 <= (_policy.parse(WEB).detect_dead_peer_within or 0)
    # Again, nothing; after CREATE DATABASE, that one.
    state = host.state()
    again = done(harden(host, login_db="shop"))
    assert (again["changed"], again["diff"], again["scope"]) == (False, [], result["scope"])
    assert again["promises"]["after"] == result["promises"]["after"]
    assert host.state() == state
    host.cluster.query("CREATE DATABASE later OWNER master")
    assert set(done(harden(host))["changes"]) == {"server: database later"}
    assert not host.wrong(planned, dbname="later")
    host.cluster.query("DROP DATABASE later")
    assert "later" in done(host.revert(login_user="master"))["skipped_entries"][0]
    assert host.state() == before


@OLD_AND_NEW
def test_physical_replication_reads_no_settings_of_roles_and_databases(host: Host) -> None:
    """Why wal_sender_timeout is not among what a database is given."""
    host.cluster.query("CREATE ROLE standby LOGIN REPLICATION")
    for place in ("ROLE standby", "DATABASE shop"):
        host.cluster.query(f"ALTER {place} SET wal_sender_timeout = '33s'")
    for kind, expected in (("true", "1min"), ("database", "33s")):
        conninfo = f"host=127.0.0.1 port=5432 user=standby dbname=shop replication={kind}"
        shown = host.cluster.run(["psql", "-XAtc", "SHOW wal_sender_timeout", conninfo], check=True)
        assert shown.stdout.strip() == expected


@OLD_AND_NEW
def test_a_login_that_owns_nothing_hardens_itself(host: Host) -> None:
    host.cluster.query("CREATE ROLE plain LOGIN")
    before = host.state()
    result = done(harden(host, login_user="plain"))
    planned = result["plan"]["server"]
    assert (result["scope"]["covers"], result["scope"]["roles"]) == ("roles", ["plain"])
    assert set(overrides(host)) == {(None, "plain")}
    assert not host.wrong(planned, user="plain", dbname="shop")
    assert len(host.wrong(planned, user="app")) == len(planned)
    assert "plain" in "\n".join(_summary.lines({"db": result}))
    assert not done(harden(host, login_user="plain"))["changed"]
    # It owns no database, and asked for that it says so.
    refused = harden(host, login_user="plain", scope="databases")
    assert refused["failure"]["code"] == "no_database"
    done(host.revert(login_user="plain"))
    assert host.state() == before


@OLD_AND_NEW
def test_databases_and_roles_that_are_named(host: Host) -> None:
    host.cluster.query("CREATE ROLE crawler LOGIN", user="master")
    result = done(harden(host, databases=["shop"], roles=["crawler"]))
    planned = result["plan"]["server"]
    assert set(overrides(host)) == {("shop", None), (None, "crawler")}
    assert not host.wrong(planned, dbname="shop")
    assert not host.wrong(planned, user="crawler")
    assert len(host.wrong(planned, user="app", dbname="reports")) == len(planned)
    # A superuser is asked for the whole server, unless he says otherwise.
    assert done(host.harden(WEB, layers=["server"], databases=["shop"], check=True))["scope"]["covers"] == "server"
    done(host.harden(WEB, layers=["server"], scope="databases", databases=["rdsadmin"]))
    assert set(overrides(host)) == {("shop", None), (None, "crawler"), ("rdsadmin", None)}


@ONE
def test_places_that_are_not_to_be_had_are_told_before_anything_is_set(host: Host) -> None:
    before = host.state()
    for options, code in (
        ({"databases": ["shop", "rdsadmin"]}, "not_allowed"),
        ({"databases": ["shop", "nowhere"], "check": True}, "no_such_database"),
        ({"databases": ["template1"]}, "template_database"),
        ({"roles": ["nobody_here"]}, "no_such_role"),
        ({"scope": "roles", "roles": ["postgres"]}, "server_refused"),
        ({"scope": "server", "check": True}, "not_allowed"),
    ):
        refused = harden(host, **options)
        assert (refused["rc"], refused["failure"]["code"]) == (1, code), options
    assert host.state() == before


@ONE
def test_slow_readers_are_roles_also_there(host: Host) -> None:
    host.cluster.query("CREATE ROLE slow LOGIN", user="master")
    policy = {**WEB, "slow_reader_grace": "10min", "slow_reader_roles": ["slow"]}
    result = done(harden(host, policy))
    assert host.settings(user="slow", dbname="shop")["tcp_user_timeout"] == "601000"
    assert host.settings(user="app", dbname="shop")["tcp_user_timeout"] != "601000"
    rows = {(row["phase"], row["fault"]): row for row in result["promises"]["roles"]["slow"]}
    assert rows["sending", "peer_vanished"]["seconds"] == 601.2
    assert result["shadowed"] == {}
    # One that is itself all that the login can set gets both.
    result = done(harden(host, policy, login_user="slow", revert_file=f"{host.revert_file}.slow"))
    assert host.settings(user="slow")["tcp_user_timeout"] == "601000"
    assert not host.wrong({**result["plan"]["server"], "tcp_user_timeout": "601s"}, user="slow")


@ONE
def test_what_the_whole_server_has_is_not_repeated(host: Host) -> None:
    """A provider's parameter group sets some of it; the databases get the rest."""
    planned = done(harden(host, check=True))["plan"]["server"]
    group = {**dict(list(planned.items())[:3]), "authentication_timeout": "8s"}
    for name, value in group.items():
        host.cluster.query(f"ALTER SYSTEM SET {name} = '{value}'")
    host.cluster.reload()
    result = done(harden(host, {**WEB, "connect_within": "19s"}))
    assert "authentication_timeout" not in {row["setting"] for row in result["unsupported"]}
    assert overrides(host)["shop", None] == set(planned) - set(group)
    assert not host.wrong(planned, dbname="shop")
    assert "connect_within" not in {row["key"] for row in result["not_kept"]}
    assert not done(harden(host, {**WEB, "connect_within": "19s"}))["changed"]
    # With all of it there, no database is touched.
    host.revert(login_user="master")
    for name, value in planned.items():
        host.cluster.query(f"ALTER SYSTEM SET {name} = '{value}'")
    host.cluster.reload()
    result = done(harden(host))
    assert (result["changed"], overrides(host), result["scope"]["covers"]) == (False, {}, "server")


@pytest.mark.parametrize("major", [17])
def test_a_server_without_alter_system(new_cluster: NewCluster, major: int, tmp_path: Path) -> None:
    """As CloudNativePG runs it: nobody may ALTER SYSTEM, superusers neither."""
    host = Host(new_cluster(major, conf="allow_alter_system = off\n"), tmp_path)
    host.cluster.query("CREATE DATABASE shop")
    before = host.state()
    result = done(host.harden(layers=["server"]))
    assert result["scope"]["databases"] == ["postgres", "shop"]
    assert "allow_alter_system" in result["scope"]["reason"]
    assert not host.wrong(result["plan"]["server"])
    assert not host.wrong(result["plan"]["server"], dbname="shop")
    assert not done(host.harden(layers=["server"]))["changed"]
    assert host.harden(layers=["server"], scope="server")["failure"]["code"] == "alter_system_disabled"
    done(host.revert())
    assert host.state() == before


@ONE
def test_what_a_role_has_of_its_own_is_told(host: Host) -> None:
    host.cluster.query("ALTER ROLE app SET tcp_user_timeout = '9s'")
    host.cluster.query("ALTER DATABASE reports SET idle_session_timeout = '2h'")
    result = done(harden(host, {**WEB, "close_idle_session_after": "3h"}, overrides={"log_duration": True}))
    (row,) = result["shadowed"]["tcp_user_timeout"]
    assert (row["role"], row["value"]) == ("app", "9s")
    # The one database had a value, the other none; the promise is that of the worse.
    before = {(row["phase"], row["fault"]): row["seconds"] for row in result["promises"]["before"]}
    assert before["idle", "peer_vanished"] == 7875
    assert host.settings(dbname="reports")["idle_session_timeout"] == "10800000"
    # An ordinary role may not set this one, and cannot be given it by its database.
    (row,) = [row for row in result["unsupported"] if row["setting"] == "log_duration"]
    assert row["key"] == "overrides"
    host.cluster.query("GRANT SET ON PARAMETER log_duration TO master")
    assert done(harden(host, overrides={"log_duration": True}))["changed"]
    assert host.settings(dbname="shop", user="app")["log_duration"] == "on"
    done(host.revert(login_user="master"))
    assert overrides(host) == {("reports", None): {"idle_session_timeout"}, (None, "app"): {"tcp_user_timeout"}}


def locked(session: Session, database: str) -> None:
    """Have whoever changes the settings of that database wait; it has some."""
    session.execute("BEGIN")
    session.execute(f"ALTER DATABASE {database} SET work_mem = '6MB'")


@pytest.mark.parametrize("accident", ["ALTER DATABASE shop OWNER TO postgres", "DROP DATABASE shop"])
@ONE
def test_what_fails_half_way_is_put_back(host: Host, accident: str) -> None:
    """The last database is lost after everything was rehearsed and the first one was set."""
    for name in ("reports", "shop"):
        host.cluster.query(f"ALTER DATABASE {name} SET work_mem = '5MB'")
    with host.cluster.session() as gate, host.cluster.session() as first, host.cluster.session() as last:
        waits = "SELECT query FROM pg_stat_activity WHERE application_name = 'pgharden.connection' AND "
        gate.execute("SELECT pg_advisory_lock(%s)", (_database._LOCK_KEY,))
        process = host.start(policy=WEB, layers=["server"], login_user="master")
        wait_for(lambda: gate.execute(f"{waits} query LIKE '%%try_advisory%%'"), process)
        locked(last, "shop")
        gate.execute("SELECT pg_advisory_unlock_all()")
        wait_for(lambda: gate.execute(f"{waits} wait_event_type = 'Lock' AND query LIKE '%%shop%%'"), process)
        locked(first, "reports")
        last.execute("ROLLBACK")
        wait_for(lambda: gate.execute(f"{waits} wait_event_type = 'Lock' AND query LIKE '%%reports%%COMMIT'"), process)
        gate.execute(accident)
        first.execute("ROLLBACK")
        result = finish(process)
    assert result["failure"]["code"] == "server_refused"
    assert "everything was put back" in result["msg"]
    assert result["failure"]["put_back"] is True
    assert overrides(host)["reports", None] == {"work_mem"}
    assert overrides(host).get(("shop", None), {"work_mem"}) == {"work_mem"}
    assert not host.revert_file.exists()


@OLD_AND_NEW
def test_open_sessions_of_a_database_keep_what_they_began_with(host: Host) -> None:
    with host.cluster.session(dbname="shop", user="app") as one, host.cluster.session(user="app") as other:
        result = done(harden(host))
        assert [row["pid"] for row in result["stale_sessions"]] == [one.pid]
        assert answers(one) and answers(other)
        ended = done(harden(host, profile("analytics"), terminate_stale_sessions=True))["terminated"]
        assert ended == [one.pid]
        assert answers(other)
        assert not answers(one)
    # A superuser's session is none of this login's to end, and no failure.
    with host.cluster.session(dbname="shop") as one:
        result = done(harden(host, WEB, terminate_stale_sessions=True))
        assert result["terminated"] == []
        assert answers(one)


def audit(host: Host, user: str) -> dict[str, t.Any]:
    options = {**host.login(), "login_user": user, "revert_file": str(host.revert_file)}
    found = run_module(host.cluster, "connection_info", options)
    assert not found.get("failed"), found
    return _audit_data.of_host(found, _audit_data.Asked(_policy.parse(WEB), []))


def ids(report: dict[str, t.Any]) -> set[str]:
    return {row["id"] for row in report["findings"]}


@ONE
def test_an_audit_judges_what_was_hardened(host: Host) -> None:
    assert ids(audit(host, "master")) >= {"PGC120", "PGC124", "PGC140"}
    result = done(harden(host))
    for user in ("master", "postgres"):
        report = audit(host, user)
        assert report["drift"]["settings"] == []
        # Not even that databases have values of their own: that is how it was hardened.
        assert not ids(report) & {"PGC102", "PGC103", "PGC110", "PGC111", "PGC120", "PGC124", "PGC130", "PGC140"}
        # What no database can have is told as such.
        assert "connect_within" in {row["where"] for row in report["findings"] if row["id"] == "PGC141"}
    # Somebody takes one away.
    host.cluster.query("ALTER DATABASE shop RESET tcp_user_timeout")
    report = audit(host, "master")
    (row,) = report["drift"]["settings"]
    assert row == {
        "name": "tcp_user_timeout",
        "wanted": result["plan"]["server"]["tcp_user_timeout"],
        "found": "0",
        "where": "database shop",
    }
    assert "PGC124" in ids(report)
    host.cluster.query("ALTER DATABASE shop SET tcp_user_timeout = 0")
    assert "PGC124" in ids(audit(host, "postgres"))
    done(harden(host))
    assert audit(host, "master")["drift"]["settings"] == []


@ONE
def test_what_a_role_gets_later_does_not_make_the_server_forgotten(host: Host) -> None:
    done(host.harden(WEB, layers=["server"]))
    done(host.harden(_short(), layers=["server"], scope="roles", roles=["app"]))
    host.cluster.query("ALTER SYSTEM SET tcp_user_timeout = 0")
    host.cluster.reload()
    report = audit(host, "postgres")
    assert [(row["name"], row["found"]) for row in report["drift"]["settings"]] == [("tcp_user_timeout", "0")]
    assert "PGC124" in ids(report)


@ONE
def test_a_session_of_that_database_keeps_the_promise(host: Host) -> None:
    """Cut off for real, with timers that are short: the one is noticed, the other stays."""
    policy = _short()
    result = done(harden(host, policy, layers=["server"]))
    bounds = {(row["phase"], row["fault"]): row["bound"] for row in result["promises"]["after"]}
    with host.cluster.session(dbname="shop") as one, host.cluster.session() as other:
        for session in (one, other):
            host.keepalive_seconds(session)  # its last reply is acknowledged
        ports = f"{{ {one.local_port}, {other.local_port} }}"
        chain = "add table inet cut; add chain inet cut input { type filter hook input priority 0; }; "
        rule = f"add rule inet cut input tcp dport {ports} drop; add rule inet cut input tcp sport {ports} drop"
        host.cluster.run(["nft", f"{chain}{rule}"], check=True)
        start = host.cluster.query("SELECT extract(epoch FROM clock_timestamp())")[0][0]
        alive = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) ORDER BY 1"
        both = [one.pid, other.pid]
        wait_for(lambda: host.cluster.query(alive, (both,)) == [(other.pid,)])
        took = float(host.cluster.query("SELECT extract(epoch FROM clock_timestamp())")[0][0] - start)
        host.cluster.run(["nft", "delete table inet cut"], check=True)
    assert took <= bounds["idle", "peer_vanished"] + 5  # for a busy machine to look


def _short() -> dict[str, t.Any]:
    return {"detect_dead_peer_within": "9s", "survive_lost_probes": 2}


@ONE
def test_the_remedy_names_what_the_login_can_do(host: Host) -> None:
    """server_settings without a database or role is about the whole server, and stays so."""
    message = refuse(
        host.cluster, {"tcp_user_timeout": "1min"}, "not_allowed", **over_tcp(host.cluster), login_user="master"
    )
    assert "database or role" in message


@ONE
def test_a_server_that_patroni_manages_is_left_to_it(host: Host) -> None:
    """Its sessions give it away; tests/integration/test_scope_patroni.py has the real one."""
    file = {"apply_through": "config_file", "config_file": str(host.cluster.config_file)}
    with host.cluster.session(application_name="Patroni heartbeat"):
        before = host.state()
        for options in ({"check": True}, {"scope": "server"}, file):
            refused = host.harden(WEB, layers=["server"], **options)
            assert refused["failure"]["code"] == "managed_by_patroni", options
            assert "pgharden.connection.patroni" in refused["msg"]
        refuse(host.cluster, {"tcp_user_timeout": "1min"}, "managed_by_patroni", **over_tcp(host.cluster))
        assert host.state() == before
        # The kernel, roles and databases are not Patroni's.
        assert done(host.harden(WEB, layers=["os"]))["changed"]
        result = done(harden(host))
        assert result["scope"]["covers"] == "databases"
        assert any("Patroni" in note for note in result["notes"])
    assert done(host.harden(WEB, layers=["server"], login_user="postgres"))["changed"]
    with host.cluster.session(application_name="Patroni"):
        # What was set behind its back can be taken away.
        assert done(host.revert())["changed"]
        assert host.settings()["tcp_user_timeout"] == "0"
