# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snippets, a pure room: the parameters of a driver as files that an application reads."""

from __future__ import annotations

import json
import re
import typing as t

from .._errors import Failure
from . import _drivers
from ._driver import text

#: whose snippet is a properties file
_OWN_PROPERTIES = ("hikaricp", "pgjdbc")
_READ_PGCONNECT_TIMEOUT = (
    "libpq",
    "lib/pq",
    "pgx",
    "psqlodbc",
    "psycopg",
    "psycopg2",
    "psycopg_pool",
    "ruby_pg",
    "sqlalchemy+psycopg",
    "sqlalchemy+psycopg2",
)
FORMATS = ("env", "properties", "json", "yaml")
_HEAD = "# Written by pgharden.connection: what is edited here is lost.\n"


def render(wanted: t.Mapping[str, int], driver: str, form: str, prefix: str = "") -> bytes:
    """The file of one snippet. *prefix* begins the variables of an ``env`` file.

    libpq itself reads but one variable of these, PGCONNECT_TIMEOUT. Raises Failure ``no_prefix`` where there is none
    for variables that the application alone can read, ``unknown_driver``.
    """
    found = _drivers.parameters(wanted, driver)
    values = {"parameters": found["parameters"], "pool": found["pool"]}
    if form == "json":
        return (json.dumps(values, indent=2) + "\n").encode()
    if form == "yaml":
        return (_HEAD + "\n".join(_yaml(values, "")) + "\n").encode()
    if form == "properties":
        rows = found["snippet"].split("\n") if driver in _OWN_PROPERTIES else _flat(values)
        return (_HEAD + "\n".join(rows) + "\n").encode()
    return (_HEAD + "\n".join(_env(found, prefix)) + "\n").encode()


def _env(found: t.Mapping[str, t.Any], prefix: str) -> list[str]:
    own = found["parameters"]
    if not prefix:
        if "connect_timeout" not in own or found["driver"] not in _READ_PGCONNECT_TIMEOUT:
            raise Failure(
                "no_prefix",
                f"an env file for {found['driver']}",
                "of all these parameters PGCONNECT_TIMEOUT alone is a variable, which libpq reads and few others",
                "Give a prefix for variables that the application reads itself, such as APP_DB_.",
            )
        return [f"PGCONNECT_TIMEOUT={own['connect_timeout']}"]
    rows = (row.partition("=") for row in _flat({"": own, "pool": found["pool"]}))
    return [f"{prefix}{_variable(name)}={_quoted(value)}" for name, _equals, value in rows]


def _variable(name: str) -> str:
    """keepAliveInitialDelayMillis and Tcp Keepalive as KEEP_ALIVE_INITIAL_DELAY_MILLIS and TCP_KEEPALIVE."""
    return re.sub(r"[^A-Z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()).strip("_")


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[\w.:-]*", value) else f'"{value}"'


def _flat(values: t.Mapping[str, t.Any], before: str = "") -> list[str]:
    rows = []
    for name, value in values.items():
        whole = f"{before}.{name}".strip(".")
        if isinstance(value, dict):
            rows += _flat(value, whole)
        else:
            rows.append(f"{whole}={text(value)}")
    return rows


def _yaml(values: t.Mapping[str, t.Any], indent: str) -> list[str]:
    """Scalars as JSON has them, which YAML reads alike."""
    rows = []
    for name, value in values.items():
        key = indent + (name if re.fullmatch(r"[A-Za-z_]\w*", name) else json.dumps(name))
        if isinstance(value, dict) and value:
            rows += [f"{key}:", *_yaml(value, indent + "  ")]
        else:
            rows.append(f"{key}: {json.dumps(value)}")
    return rows
