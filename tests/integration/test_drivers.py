# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real drivers connect over TCP with what was rendered for them; the kernel is asked what their sockets have.

What a driver is said not to have must really not be there, and the same driver without anything shows the difference.
"""

from __future__ import annotations

import contextlib
import re
import time
import typing as t

import pytest
from support import Cluster, available_majors, drivers, places
from support.drivers import Json, Options
from support.toolchains import Missing, required

from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers

# No value is a default of the kernel, of a driver or of a pool.
WANTED = {
    "keepalives": 1,
    "keepalives_idle": 41,
    "keepalives_interval": 7,
    "keepalives_count": 5,
    "tcp_user_timeout": 76_000,
    "connect_timeout": 9,
    "pool_max_idle": 111,
    "pool_max_age": 1234,
    "pool_min_size": 2,
}
KERNEL = Options(keepalives=0, keepalives_idle=7200, keepalives_interval=75, keepalives_count=9, tcp_user_timeout=0)
#: What differs in the release that runs here: pgx 4 has a dialer of its own, pgx 5 leaves it to Go.
OF_THIS_RELEASE = {"pgx": {"keepalives_idle": 300}}
#: What the release that runs here (HikariCP 2.7.9 of Debian) does not have yet.
LACKING = {"hikaricp": {"keepaliveTime"}}

pytestmark = pytest.mark.skipif(not places.is_root(), reason="reading another process' sockets needs root")


def newest() -> int:
    """Of the majors that run on this host itself: the processes of others are not its own."""
    majors = [major for major, source in available_majors().items() if source.kind == "host"]
    return max(majors) if majors else pytest.skip("no PostgreSQL of this host itself")


@pytest.fixture(scope="module")
def server() -> t.Iterator[Cluster]:
    with Cluster.start(newest()) as cluster:
        yield cluster


def address(server: Cluster) -> Json:
    return {"host": server.host, "port": server.port, "user": server.superuser, "dbname": "postgres"}


def command(name: str, *arguments: t.Any) -> drivers.Command:
    """As `drivers.command`; what this machine has not is skipped, unless PGHARDEN_REQUIRE_DRIVERS names it."""
    try:
        return drivers.command(name, *arguments)
    except Missing as problem:
        if required(problem):
            pytest.fail(str(problem), pytrace=False)
        pytest.skip(str(problem))


def connected(server: Cluster, name: str, rendered: Json, by_url: bool = False) -> tuple[Json, list[Options]]:
    """What the driver's pool says, and the options of all of its sockets; they also agree with the armed timers."""
    with drivers.Program(server, command(name, address(server), rendered, by_url)) as program:
        said = program.said()
        found = options_of(server, program)
        agree_with_timers(server, found, program.began)
    assert found
    return said, list(found.values())


def options_of(server: Cluster, program: drivers.Program) -> dict[int, Options]:
    """Of all sockets; a pool may be opening one more, which has its options a moment after it is connected."""
    deadline = time.monotonic() + 10
    while True:
        found = drivers.client_sockets(program.pid, server.port)
        if len(set(found.values())) == 1 or time.monotonic() > deadline:
            return found


def agree_with_timers(server: Cluster, found: dict[int, Options], began: float) -> None:
    """A keepalive timer runs on the sockets that have it on, and on no other: it counts down from the idle time.

    They were opened after *began*.
    """
    for port, options in found.items():
        deadline = time.monotonic() + 10
        while True:  # right after a statement it may be the timer of an acknowledgement
            (row,) = (row for row in server.sockets() if row.local_port == port and row.peer_port == server.port)
            if row.timer == ("keepalive" if options.keepalives else None) or time.monotonic() > deadline:
                break
        assert row.timer == ("keepalive" if options.keepalives else None)
        if row.seconds is not None:
            unit = 1 if row.seconds < 600 else 60  # ss shows whole seconds, or minutes
            soonest = options.keepalives_idle - (time.monotonic() - began)
            assert soonest - unit <= row.seconds <= options.keepalives_idle


def expected(name: str, rendered: Json) -> Options:
    """By what the room of the drivers says of this one: untouched, or where *rendered* covers it."""
    untouched = {**_drivers.DRIVERS[name].untouched, **OF_THIS_RELEASE.get(name, {})}
    options = {**untouched, **{key: WANTED[key] for key in rendered.get("covers", []) if key in Options._fields}}
    return KERNEL._replace(**options) if options.get("keepalives") else KERNEL


@pytest.mark.parametrize("name", drivers.CLIENTS)
def test_the_kernel_has_what_was_rendered(server: Cluster, name: str) -> None:
    rendered = _drivers.parameters(WANTED, name)
    said, sockets = connected(server, name, rendered)
    wanted = expected(name, rendered)
    assert set(sockets) == {wanted}
    # What is not there is said to be missing, and nothing else is.
    absent = {key for key in Options._fields if getattr(wanted, key) != WANTED[key]}
    assert absent == {row["setting"] for row in rendered["missing"]} & set(Options._fields)
    lacking = LACKING.get(name, set())
    assert set(said.get("unknown", "").split()) == lacking
    for key in rendered["pool"].keys() - lacking:
        value = rendered["pool"][key]
        assert said[key] == (float(value[:-1]) if isinstance(value, str) and value.endswith("s") else value), key


@pytest.mark.parametrize("name", [name for name in drivers.CLIENTS if _drivers.parameters(WANTED, name)["url"]])
def test_the_same_through_its_url(server: Cluster, name: str) -> None:
    rendered = _drivers.parameters(WANTED, name)
    _said, sockets = connected(server, name, rendered, by_url=True)
    assert set(sockets) == {expected(name, rendered)}


@pytest.mark.parametrize("name", drivers.CLIENTS)
def test_a_driver_that_nothing_was_said_to(server: Cluster, name: str) -> None:
    _said, sockets = connected(server, name, {})
    assert set(sockets) == {expected(name, {})}


def test_connecting_ends_in_time(server: Cluster) -> None:
    """Where nobody answers: the kernel gives up after 2 min, asyncpg by itself after 1, pgjdbc alone after 10 s."""
    server.run(["ip", "route", "replace", "192.0.2.0/24", "dev", "lo"], check=True)  # and there nobody has it
    nowhere = {**address(server), "host": "192.0.2.1"}
    wanted = {**WANTED, "connect_timeout": 2}
    rendered = {name: _drivers.parameters(wanted, name) for name in drivers.CLIENTS}
    commands = {}
    for name in drivers.CLIENTS:
        with contextlib.suppress(Missing):
            commands[name] = drivers.command(name, nowhere, rendered[name])
    first: dict[str, float] = {}
    took: dict[str, float] = {}  # each by a clock of its own, since a busy machine starts some of them late
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(drivers.Program(server, one)) for name, one in commands.items()}
        bounded = {name for name in running if "connect_timeout" in rendered[name]["covers"]}
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and any(running[name].process.poll() is None for name in bounded):
            pids, now = connecting(server), time.monotonic()
            for name, program in running.items():
                if program.pid in pids:
                    took[name] = now - first.setdefault(name, now)
            time.sleep(0.1)
        still = {name for name, program in running.items() if program.process.poll() is None}
    long = {name for name, seconds in took.items() if seconds > 40}
    assert not bounded & (still | long)
    assert set(running) - bounded <= still | long
    assert len(bounded) > 10


def connecting(server: Cluster) -> set[int]:
    """The processes that wait for the answer to a SYN."""
    told = server.run(["ss", "-Htnp", "state", "syn-sent"], check=True).stdout
    return {int(pid) for pid in re.findall(r"pid=(\d+)", told)}


# ---- connections that a server opens; here it opens them to itself


def sockets_of_backend(server: Cluster, sql: str, began: float) -> list[Options]:
    """Of the process whose number *sql* gives, as soon as there is one with such a socket, opened after *began*."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for (pid,) in server.query(sql):
            found = {}
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has just ended; the next one comes
                found = drivers.client_sockets(pid, server.port) if pid else {}
            if found:
                agree_with_timers(server, found, began)
                return list(found.values())
        time.sleep(0.1)
    raise AssertionError(f"no such connection in 30 s:\n{server.log()[-2000:]}")


def with_address(server: Cluster, snippet: str, quoted: str) -> str:
    """The snippet with host and so on before its first parameter, as they are in what a user has already."""
    pairs = " ".join(f"{name}={value}" for name, value in address(server).items())
    return snippet.replace(quoted, f"{quoted}{pairs} ", 1)


@pytest.mark.parametrize("hardened", [True, False])
def test_postgres_fdw(server: Cluster, hardened: bool) -> None:
    rendered = _drivers.parameters(WANTED, "postgres_fdw") if hardened else {}
    with server.session(tcp=False) as session:
        session.execute("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
        session.execute("DROP SERVER IF EXISTS self CASCADE")
        session.execute(f"CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{server.host}')")
        if hardened:
            session.execute(f"ALTER SERVER self {rendered['snippet']}")
        session.execute("CREATE USER MAPPING FOR CURRENT_USER SERVER self OPTIONS (user 'postgres')")
        options = "OPTIONS (schema_name 'pg_catalog', table_name 'pg_database')"
        session.execute(f"CREATE FOREIGN TABLE there (datname name) SERVER self {options}")
        began = time.monotonic()
        session.execute("SELECT count(*) FROM there")
        ((pid,),) = session.execute("SELECT pg_backend_pid()")
        assert sockets_of_backend(server, f"SELECT {pid}", began) == [expected("postgres_fdw", rendered)]


@pytest.mark.parametrize("hardened", [True, False])
def test_a_subscription(hardened: bool) -> None:
    rendered = _drivers.parameters(WANTED, "subscription") if hardened else {}
    with Cluster.start(newest(), conf="wal_level = logical\n") as server:
        connection = with_address(server, rendered.get("snippet", "CONNECTION ''"), "'")
        server.query("CREATE PUBLICATION all_of_it FOR ALL TABLES")
        server.query("SELECT pg_create_logical_replication_slot('self', 'pgoutput')")  # else creating waits for itself
        began = time.monotonic()
        with server.session(tcp=False) as session:
            session.execute(f"CREATE SUBSCRIPTION self {connection} PUBLICATION all_of_it WITH (create_slot = false)")
        found = sockets_of_backend(server, "SELECT pid FROM pg_stat_subscription", began)
        assert found == [expected("subscription", rendered)]


@pytest.mark.parametrize("hardened", [True, False])
def test_a_standby(hardened: bool) -> None:
    rendered = _drivers.parameters(WANTED, "primary_conninfo") if hardened else {}
    with Cluster.start(newest(), conf="wal_retrieve_retry_interval = 200ms\n") as server:
        line = with_address(server, rendered.get("snippet", "primary_conninfo = ''"), "'")
        server.stop()
        with server.config_file.open("a") as config:
            config.write(f"{line}\n")
        (server.data_dir / "standby.signal").touch()
        began = time.monotonic()
        server.start_again()  # as a standby that follows itself
        found = sockets_of_backend(server, "SELECT pid FROM pg_stat_wal_receiver", began)
        assert found == [expected("primary_conninfo", rendered)]
