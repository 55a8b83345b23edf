# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgbouncer: a real PgBouncer in front of a real server has what was planned, on both legs; nothing else changes."""

from __future__ import annotations

import json
import os
import tempfile
import typing as t
from pathlib import Path

import pytest
from _hardening import profile, wait_for
from _pgbouncers import WEB, Pooler
from support import Cluster, places, run_playbook
from support.pgbouncers import ADMIN_PASSWORD, SERVER_PASSWORD

pytestmark = [
    pytest.mark.parametrize("major", [15]),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of another user's PgBouncer"),
]
#: Keepalive every 35 s, and what the kernel has by itself.
HARDENED, KERNEL = 35, 7200


@pytest.fixture
def pooler(cluster: Cluster, tmp_path: Path) -> t.Iterator[Pooler]:
    one = Pooler(cluster, tmp_path)
    yield one
    one.pgbouncer.stop()


def test_what_is_planned_is_in_force_on_both_legs(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    before = pooler.state()
    result = pooler.harden()
    assert result["changed"]
    in_force = pooler.pgbouncer.config_in_force()
    assert {name: in_force[name] for name in WEB} == WEB
    assert {name: in_force[name] for name in result["plan"]["settings"]} == result["plan"]["settings"]
    with pooler.pgbouncer.session() as client:
        assert client.execute("SELECT 1") == [(1,)]
        for leg, seconds in pooler.timers().items():
            assert [HARDENED - 30 < one <= HARDENED + 1 for one in seconds] == [True], leg
    # Everything else is as it was.
    after = pooler.state()
    untouched = {name: value for name, value in before["in force"].items() if name not in result["plan"]["settings"]}
    assert untouched == {name: after["in force"][name] for name in untouched}
    name = pooler.pgbouncer.config_file.name
    (old, *attributes), (new, *same_attributes) = before["files"].pop(name), after["files"].pop(name)
    assert attributes == same_attributes
    assert before["files"] == after["files"]
    added = [line for line in new.splitlines() if line not in old.splitlines()]
    assert sorted(added) == sorted(f"{key} = {value}".encode() for key, value in result["plan"]["settings"].items())
    assert [line for line in new.splitlines() if line not in added] == old.splitlines()


def test_a_second_run_changes_nothing(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    pooler.harden()
    before, reloads = pooler.state(), pooler.pgbouncer.log().count("RELOAD")
    result = pooler.harden()
    assert (result["changed"], result["diff"], result["stale_sockets"]) == (False, [], [])
    assert (pooler.state(), pooler.pgbouncer.log().count("RELOAD")) == (before, reloads)


@pytest.mark.parametrize("name", ["web", "pooled", "cloud_nat"])
def test_check_mode_says_what_the_real_run_does_and_changes_nothing(pooler: Pooler, name: str) -> None:
    pooler.pgbouncer.start()
    before = pooler.state()
    foreseen = pooler.harden(profile(name), check=True)
    assert pooler.state() == before
    real = pooler.harden(profile(name))
    assert foreseen["changed"]
    for key in ("diff", "changes", "hop", "unsupported", "plan", "shadowed", "legs"):
        assert foreseen[key] == real[key], key


def test_the_hop_is_what_pgbouncer_says(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    overrides = {"server_lifetime": 1800, "client_idle_timeout": 5.5, "pool_mode": "transaction", "tcp_keepcnt": None}
    hop = pooler.harden(overrides=overrides)["hop"]
    in_force = pooler.pgbouncer.config_in_force()
    assert [in_force[name] for name in ("server_lifetime", "client_idle_timeout", "pool_mode", "tcp_keepcnt")] == [
        *("1800", "5.5", "transaction", "0")
    ]
    assert (hop["max_age"], hop["pool_mode"], hop["version"]) == (1_800_000, "transaction", "1.18.0")
    assert hop["client_side"] == {**hop["server_side"], "idle_timeout": 5500}
    assert [hop["server_side"][key] for key in ("keepalive", "idle", "count")] == [True, HARDENED, 0]


def test_a_value_that_somebody_set_at_the_console_is_put_right(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    pooler.harden()
    pooler.pgbouncer.console("SET tcp_keepidle = 99")
    result = pooler.harden()
    assert result["changed"]
    assert list(result["changes"]) == ["pgbouncer: in force"]
    assert pooler.pgbouncer.config_in_force()["tcp_keepidle"] == "35"


def test_without_reload_only_the_file_changes(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    before = pooler.state()
    result = pooler.harden(reload=False)
    assert pooler.state()["in force"] == before["in force"]
    assert result["hop"]["client_side"]["idle"] == 0
    assert b"tcp_keepidle = 35\n" in pooler.pgbouncer.config_file.read_bytes()
    assert not pooler.harden(reload=False)["changed"]


# ---- other files


def test_an_included_file_is_outranked_and_left_alone(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    pgbouncer.write("fleet.ini", "tcp_keepidle = 500\ntcp_keepcnt = 3\n")
    pgbouncer.write(pgbouncer.config_file.name, pgbouncer.config("tcp_keepidle = 35\n%include fleet.ini\n; the end\n"))
    pgbouncer.start(cwd=pgbouncer.directory)
    assert pgbouncer.config_in_force()["tcp_keepidle"] == "500"
    included = (pgbouncer.directory / "fleet.ini").read_bytes()
    assert pooler.harden()["changed"]
    assert {name: pgbouncer.config_in_force()[name] for name in WEB} == WEB
    assert (pgbouncer.directory / "fleet.ini").read_bytes() == included
    assert not pooler.harden()["changed"]


def test_the_console_is_found_where_an_included_file_says(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    place = f"unix_socket_dir = {pgbouncer.directory}\n"
    pgbouncer.write("place.ini", place)
    content = pgbouncer.config().replace(place, "%include place.ini\n")
    pgbouncer.write(pgbouncer.config_file.name, content)
    pgbouncer.start(cwd=pgbouncer.directory)
    result = pooler.harden()
    assert (result["notes"], result["idle_backends"]) == ([], [])
    assert {name: pgbouncer.config_in_force()[name] for name in WEB} == WEB


def test_an_included_file_that_nothing_can_outrank_is_named(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    path = pgbouncer.write("last.ini", "[pgbouncer]\nlisten_port = 6432\ntcp_keepidle = 500\n[users]\n")
    pgbouncer.write(pgbouncer.config_file.name, f"{pgbouncer.config()}\n%include {path}\n")
    before = pooler.state()
    result = pooler.harden(overrides={"tcp_keepalive": None})
    assert result["failure"]["code"] == "outranked"
    assert (result["failure"]["file"], result["failure"]["line"]) == (str(path), 3)
    assert pooler.state() == before


def test_a_link_stays_a_link(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    real = pgbouncer.config_file.rename(pgbouncer.directory / "real.ini")
    pgbouncer.config_file.symlink_to(real)
    pgbouncer.start()
    assert pooler.harden()["changed"]
    assert pgbouncer.config_file.is_symlink()
    assert b"tcp_keepidle = 35\n" in real.read_bytes()


# ---- overrides, legs, idle connections


def test_overrides_of_databases_and_users_are_seen_and_left_alone(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    databases = (
        f"small = host=127.0.0.1 password='{SERVER_PASSWORD}' pool_size=3 pool_mode=transaction\nunix = dbname=x"
    )
    pgbouncer.write(
        pgbouncer.config_file.name, pgbouncer.config(databases=databases, others="[users]\nbatch = pool_mode=statement")
    )
    pgbouncer.start()
    result = pooler.harden()
    rows = {(row["section"], row["name"], row["setting"], row["value"]) for row in result["shadowed"]}
    assert rows == {
        ("databases", "small", "default_pool_size", "3"),
        ("databases", "small", "pool_mode", "transaction"),
        ("users", "batch", "pool_mode", "statement"),
    }
    lines = pgbouncer.config_file.read_text().splitlines()
    assert {lines[row["line"] - 1].partition(" ")[0] for row in result["shadowed"]} == {"small", "batch"}
    assert {leg["database"]: leg["unix_socket"] for leg in result["legs"]} == {
        "app": False,
        "small": False,
        "unix": True,
    }
    assert {str(row[0]): row[5] for row in pgbouncer.console("SHOW DATABASES")}["small"] == 3


def test_idle_backends_are_counted_with_their_memory(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    pgbouncer.start()
    clients = [pgbouncer.session() for _number in range(3)]
    for client in clients:
        client.execute("SELECT 1")
    for client in clients[:2]:
        client.close()
    query = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND client_addr IS NOT NULL"
    pids = [row[0] for row in pooler.cluster.query(query)]
    assert len(pids) == 3
    # A released connection counts as idle; two seconds make a difference that whole seconds show.
    wait_for(lambda: [row["longest_idle"] >= 2 for row in pooler.harden(check=True)["idle_backends"]] == [True])
    (row,) = pooler.harden(check=True)["idle_backends"]
    assert (row["database"], row["user"], row["idle"]) == ("app", "postgres", 2)
    # The sum of two of the three, which have about the same; each has between 0.5 and 50 MB for itself.
    assert 2 * 500 < row["memory_kb"] < 2 * 50_000


def test_sockets_with_old_options_are_listed_until_they_are_replaced(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    pgbouncer.start()
    client = pgbouncer.session()
    client.execute("SELECT 1")
    result = pooler.harden()
    assert sorted(row["leg"] for row in result["stale_sockets"]) == ["client", "server"]
    for row in result["stale_sockets"]:
        assert row["timer"] == "keepalive"
        assert KERNEL - 60 < row["seconds"] <= KERNEL
    ports = {row["leg"]: row["remote"].rpartition(":")[2] for row in result["stale_sockets"]}
    assert ports == {"client": str(client.local_port), "server": str(pooler.cluster.port)}
    # A session keeps its server connection, so RECONNECT has to wait for the client.
    result = pooler.harden(reconnect=True)
    assert (result["reconnected"], len(result["stale_sockets"])) == (True, 2)
    client.close()
    wait_for(lambda: pooler.harden(check=True)["stale_sockets"] == [])


def test_a_connection_that_is_never_replaced_is_used_again(pooler: Pooler) -> None:
    """With server_lifetime = 0 PgBouncer uses each of them once."""
    pgbouncer = pooler.pgbouncer

    def backends() -> int:
        found = set()
        for _again in range(2):
            with pgbouncer.session() as client:
                found |= set(client.execute("SELECT pg_backend_pid()"))
            # It is closed, or unused, when PgBouncer has got our goodbye.
            wait_for(lambda: all(row["state"] != "active" for row in servers()))
        return len(found)

    def servers() -> list[dict[str, t.Any]]:
        return [
            dict(zip(("type", "user", "database", "state"), row, strict=False))
            for row in pgbouncer.console("SHOW SERVERS")
        ]

    pgbouncer.write(pgbouncer.config_file.name, pgbouncer.config("server_lifetime = 0\n"))
    pgbouncer.start()
    assert backends() == 2
    assert pooler.harden({}, check=True)["hop"]["max_age"] == 1
    assert pooler.harden({"replace_pooled_connection_after": "off"})["changed"]
    assert backends() == 1


def test_reconnect_replaces_idle_server_connections(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    pgbouncer.start()
    with pgbouncer.session() as client:
        client.execute("SELECT 1")
    wait_for(lambda: pooler.timers()["client"] == [])
    assert [seconds > HARDENED + 1 for seconds in pooler.timers()["server"]] == [True]
    result = pooler.harden(reconnect=True)
    assert (result["reconnected"], result["stale_sockets"]) == (True, [])
    assert pooler.timers()["server"] == []
    result = pooler.harden(reconnect=True)
    assert (result["changed"], result["reconnected"]) == (False, False)


# ---- where it runs


def test_a_pgbouncer_that_is_down_has_its_file_looked_after(pooler: Pooler) -> None:
    result = pooler.harden()
    assert (result["changed"], result["pgbouncer_down"], result["version"]) == (True, True, "1.18.0")
    assert any("is down" in note for note in result["notes"])
    assert not pooler.harden()["changed"]
    pooler.pgbouncer.start()
    assert {name: pooler.pgbouncer.config_in_force()[name] for name in WEB} == WEB
    assert not pooler.harden()["changed"]


def test_the_configuration_file_is_that_of_the_process(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    result = pooler.harden(config_file=None)
    assert result["config_file"] == str(pooler.pgbouncer.config_file)
    assert pooler.pgbouncer.config_in_force()["tcp_keepidle"] == "35"


def test_a_process_that_root_of_a_container_may_not_look_at_is_named(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    pid, before = pooler.pgbouncer.pid, pooler.state()
    for more in ({}, {"config_file": None}, {"reload_through": "signal"}):
        failure = pooler.harden(without="sys_ptrace", **more)["failure"]
        assert failure["code"] == "forbidden", failure
        # Without its file it may be one of the tests that run beside this one.
        assert f"(process {pid})" in failure["found"] or "config_file" in more, failure
        assert "SYS_PTRACE" in failure["remedy"]
        assert "config_file" in failure["remedy"]
    login = {"login_host": "127.0.0.1", "login_user": "postgres", "login_password": ADMIN_PASSWORD}
    # A login that is wrong is not a PgBouncer that is down.
    wrong = pooler.harden(without="sys_ptrace", **{**login, "login_port": 1})
    assert wrong["failure"]["code"] == "login_failed", wrong
    assert pooler.state() == before
    done = pooler.harden(without="sys_ptrace", **login)
    assert (done["changed"], done["pgbouncer_down"]) == (True, False), done
    assert any(f"(process {pid})" in note and "SYS_PTRACE" in note for note in done["notes"])
    in_force = pooler.pgbouncer.config_in_force()
    assert {name: in_force[name] for name in WEB} == WEB
    # One that reads another file is no reason not to look after this one.
    other = pooler.pgbouncer.write("other.ini", pooler.pgbouncer.config(f"unix_socket_dir = {places.clusters()}"))
    assert pooler.harden(without="sys_ptrace", config_file=str(other))["pgbouncer_down"]


def test_the_user_of_pgbouncer_can_do_it_alone(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    pooler.revert_file.parent.chmod(0o777)
    for parent in pooler.revert_file.parents[1:]:
        if parent == Path(tempfile.gettempdir()):
            break
        parent.chmod(parent.stat().st_mode | 0o011)
    result = pooler.harden(as_user=pooler.pgbouncer.user)
    assert result.get("changed"), result
    assert pooler.pgbouncer.config_in_force()["tcp_keepidle"] == "35"


# ---- the way back


def test_the_way_back_is_byte_for_byte(pooler: Pooler) -> None:
    pooler.pgbouncer.start()
    before = pooler.state()
    pooler.harden()
    pooler.harden(profile("pooled"))
    assert pooler.revert_file.stat().st_mode & 0o777 == 0o600
    foreseen = pooler.revert(check=True)
    real = pooler.revert()
    assert foreseen["diff"] == real["diff"]
    assert real["notes"] == []
    assert pooler.state() == before  # it has waited for what SIGHUP does some time later


def test_what_does_not_come_into_force_again_is_no_way_back(pooler: Pooler) -> None:
    """PgBouncer stops reading at what somebody has written into its file since."""
    pgbouncer = pooler.pgbouncer
    pgbouncer.write(pgbouncer.config_file.name, pgbouncer.config("tcp_keepidle = 77\n"))
    pgbouncer.start()
    pooler.harden()
    broken = pgbouncer.config_file.read_text().replace("tcp_keepidle", "server_login_retry = soon\ntcp_keepidle")
    pgbouncer.config_file.write_text(broken)
    result = pooler.revert()
    assert result["failure"]["code"] == "not_restored", result
    assert "tcp_keepidle" in result["failure"]["found"]
    assert pgbouncer.config_file.read_text() == broken
    assert pooler.revert_file.exists()


def test_where_nobody_can_ask_what_is_in_force_again_a_note_says_so(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    pgbouncer.write(pgbouncer.config_file.name, pgbouncer.config("unix_socket_dir =\n"))
    pgbouncer.start()
    before = pooler.state()
    pooler.harden()
    (note,) = pooler.revert()["notes"]
    assert "could not be asked" in note
    wait_for(lambda: pooler.state() == before)
    # Nor one that may not be looked at: it is not even told.
    pooler.harden(login_host="127.0.0.1", login_user="postgres", login_password=ADMIN_PASSWORD)
    hardened = pgbouncer.config_in_force()
    (note,) = pooler.revert(without="sys_ptrace")["notes"]
    assert f"(process {pgbouncer.pid}) has not read its file again" in note
    assert pgbouncer.config_in_force() == hardened


def test_what_others_edited_since_stays(pooler: Pooler) -> None:
    pgbouncer = pooler.pgbouncer
    pgbouncer.write(pgbouncer.config_file.name, pgbouncer.config("tcp_keepidle = 77\n"))
    pgbouncer.start()
    pooler.harden()
    content = pgbouncer.config_file.read_bytes() + b"max_client_conn = 50\n"
    pgbouncer.config_file.write_bytes(content)
    assert pooler.revert()["changed"]
    wait_for(lambda: pgbouncer.config_in_force()["max_client_conn"] == "50")
    in_force = pgbouncer.config_in_force()
    assert [in_force[name] for name in WEB] == ["77", "0", "0", "0"]
    assert b"max_client_conn = 50\n" in pgbouncer.config_file.read_bytes()


def test_the_record_has_no_more_than_it_needs(pooler: Pooler) -> None:
    """The file's old content is in it, passwords and all; so the console's login must not be."""
    pooler.pgbouncer.start()
    login = {"login_host": "127.0.0.1", "login_user": "postgres", "login_password": "admin-S3cret-Of-The-Test"}
    assert pooler.harden(**login)["changed"]
    (entry,) = json.loads(pooler.revert_file.read_text())["layers"]
    assert set(entry["options"]) == {"names"}
    assert "admin-S3cret-Of-The-Test" not in pooler.revert_file.read_text()


def test_the_roles_do_it_with_the_policy_of_the_servers(pooler: Pooler, tmp_path: Path) -> None:
    pooler.pgbouncer.start()
    before = pooler.state()
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "harden_policy": {"detect_dead_peer_within": "60s"},
            "pgbouncer_config_file": str(pooler.pgbouncer.config_file),
            "pgbouncer_revert_file": str(pooler.revert_file),
            "pgbouncer_become": False,
            "revert_revert_file": str(pooler.revert_file),
            "revert_become": False,
        },
    }
    for role in ("pgbouncer", "revert"):
        playbook = tmp_path / f"{role}.yml"
        playbook.write_text(json.dumps([{**play, "roles": [f"pgharden.connection.{role}"]}]))
        for arguments, changed in ((["--check", "--diff"], 1), (["--diff"], 1), (["--diff"], 0)):
            done = run_playbook(pooler.cluster, playbook, *arguments)
            assert done.rc == 0, done.stdout + done.stderr
            assert f"changed={changed}" in done.stdout, done.stdout
            assert SERVER_PASSWORD not in done.stdout
            assert ("+tcp_keepcnt" in done.stdout) == (role == "pgbouncer" and changed == 1)
        if role == "pgbouncer":
            # Sixty seconds less the slack of the kernel, in six probes and a first silence.
            idle, interval, count = (int(pooler.pgbouncer.config_in_force()[name]) for name in list(WEB)[:3])
            assert idle + interval * count <= 60
            assert 0 < idle < HARDENED
    wait_for(lambda: pooler.state() == before)
