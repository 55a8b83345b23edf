# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snippets of docs/snippets under load: programs of tests/drivers that do idempotent work through them."""

from __future__ import annotations

import json
import typing as t

from . import toolchains
from .drivers import Command, Json, conninfo, uri

#: the server, the program's name in the table `done`, and for how many seconds its snippet tries again
Start = t.Callable[[Json, str, float], Command]


def _python(snippet: str) -> Start:
    return lambda server, name, patience: Command(
        toolchains.python("retry_python.py", snippet), _given(server, name, patience)
    )


def _given(server: Json, name: str, patience: float, **more: str) -> str:
    return json.dumps({"server": server, "name": name, "patience": patience, **more})


def _java(server: Json, name: str, patience: float) -> Command:
    url = f"jdbc:postgresql://{server['host']}:{server['port']}/{server['dbname']}"
    given = {"url": url, "user": server["user"], "name": name, "patience": patience}
    return Command([*toolchains.java(), "retry"], "\t".join(f"{key}={value}" for key, value in given.items()))


def _go(server: Json, name: str, patience: float) -> Command:
    return Command([*toolchains.go(), "retry"], _given(server, name, patience, url=uri(server, "pool_max_conns=4")))


def _node(server: Json, name: str, patience: float) -> Command:
    argv, environment = toolchains.node("retry_node_postgres.js")
    snippet = {"SNIPPET": str(toolchains.SNIPPETS / "retry_node_postgres.js")}
    return Command(argv, _given(server, name, patience), {**environment, **snippet})


def _rust(server: Json, name: str, patience: float) -> Command:
    return Command([*toolchains.rust(), "retry"], _given(server, name, patience, conninfo=conninfo(server)))


def _interpreted(tool: str, package: str, program: str) -> Start:
    return lambda server, name, patience: Command(
        toolchains.interpreted(tool, package, program), _given(server, name, patience)
    )


#: a file of docs/snippets to what runs it
SNIPPETS: dict[str, Start] = {
    "retry_psycopg2.py": _python("retry_psycopg2"),
    "retry_psycopg.py": _python("retry_psycopg"),
    "retry_sqlalchemy.py": _python("retry_sqlalchemy"),
    "retry_asyncpg.py": _python("retry_asyncpg"),
    "Retry.java": _java,
    "retry_node_postgres.js": _node,
    "retry_pgx.go": _go,
    "retry_tokio_postgres.rs": _rust,
    "retry_pg.rb": _interpreted("ruby", "ruby-pg", "retry_pg.rb"),
    "retry_pdo.php": _interpreted("php", "php-cli and php-pgsql", "retry_pdo.php"),
}
