# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snippets of docs/retry.md under load, while the server is restarted and crashes: the table says what was done.

All of them run at once against one server, each twice: as it is, and without patience, which is the same program
without its retries.
"""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

import pytest
from support import Cluster, available_majors, snippets
from support.drivers import Json, Program
from support.toolchains import Missing, required

PATIENCE = 120.0  # far more than two restarts take on a busy machine
WORK = """
CREATE TABLE done (program text, key text PRIMARY KEY, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION do_once(program text, key text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO done (program, key) VALUES ($1, $2) ON CONFLICT DO NOTHING;
    PERFORM pg_sleep(0.3);  -- so that nearly always some work is under way
END $$;
"""


def address(server: Cluster, **other: str) -> Json:
    return {"host": server.host, "port": server.port, "user": server.superuser, "dbname": "postgres", **other}


def commands(server: Json, ways: dict[str, float]) -> dict[str, t.Any]:
    """Each snippet with each patience, under a name that ends as *ways* says; what this machine has not is left out."""
    found = {}
    for file, start in snippets.SNIPPETS.items():
        for way, patience in ways.items():
            try:
                found[file + way] = start(server, file + way, patience)
            except Missing as problem:
                if required(problem):
                    pytest.fail(str(problem), pytrace=False)
    return found


def wait_for_work(server: Cluster, programs: t.Iterable[str]) -> None:
    """Until each of them has done something new."""
    missing = set(programs)
    ((begin,),) = server.query("SELECT now()")
    deadline = time.monotonic() + PATIENCE
    while missing:
        rows = server.query("SELECT program FROM done WHERE at > %s GROUP BY program HAVING count(*) >= 2", (begin,))
        missing -= {program for (program,) in rows}
        assert time.monotonic() < deadline, f"nothing new of {missing}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server() -> t.Iterator[Cluster]:
    majors = [major for major, source in available_majors().items() if source.kind == "host"]
    with Cluster.start(max(majors or available_majors()), conf="max_connections = 200\n") as cluster:
        cluster.query(WORK)
        yield cluster


def ended(running: dict[str, Program]) -> dict[str, t.Any]:
    """What each of them says at the end of its input; those that still try something do not get there."""
    for program in running.values():
        program.end()
    return {name: json.loads(program.process.communicate(timeout=PATIENCE)[0]) for name, program in running.items()}


def test_under_load_while_the_server_restarts_and_crashes(server: Cluster) -> None:
    with contextlib.ExitStack() as stack:
        waiting = commands(address(server), {" with retry": PATIENCE, " without": 0.0})
        running = {name: stack.enter_context(Program(server, command)) for name, command in waiting.items()}
        wait_for_work(server, running)
        for mode in ("fast", "immediate"):
            server.stop(mode)
            time.sleep(0.5)
            server.start_again()
            wait_for_work(server, running)
        said = ended(running)
    rows = dict(server.query("SELECT program, count(*)::int FROM done GROUP BY 1"))
    assert len(said) >= 8  # those for Python alone
    for name, one in said.items():
        if name.endswith(" with retry"):
            assert not one["failures"], name
            assert rows[name] == one["done"] > 0, name  # each request once, and none but those
        else:
            assert sum(one["failures"].values()) > 0, name
            assert rows[name] >= one["done"] > 0, name


def started(server: Cluster, stack: contextlib.ExitStack, **other: str) -> dict[str, Program]:
    """Each snippet, with the patience of an hour."""
    waiting = commands(address(server, **other), {"": 3600.0})
    return {name: stack.enter_context(Program(server, command)) for name, command in waiting.items()}


def test_a_mistake_in_the_program_is_not_tried_again(server: Cluster) -> None:
    with contextlib.ExitStack() as stack:
        running = started(server, stack, dbname="template1")  # where there is no do_once: 42883
        for name, one in ended(running).items():
            assert one["done"] == 0, name
            assert one["failures"], name


def test_a_login_that_is_refused_is_not_tried_again(server: Cluster) -> None:
    server.query("CREATE ROLE app LOGIN; GRANT INSERT ON done TO app")
    with contextlib.ExitStack() as stack:
        running = started(server, stack, user="app")
        wait_for_work(server, running)
        server.query("ALTER ROLE app NOLOGIN")  # 28000 from now on
        server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        time.sleep(15)  # until all of them have tried; those that go on trying will not stop at the end of their input
        for name, one in ended(running).items():
            assert one["failures"], name
