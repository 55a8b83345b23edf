# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of Java, a pure room; units as in the source and documentation of pgjdbc 42.7 and HikariCP 6."""

from __future__ import annotations

import typing as t

from ._driver import SYSCTLS, Driver, Row, Values, Why, milliseconds, no_socket_options, pairs, query, text

_PGJDBC = (
    Row("tcpKeepAlive", "keepalives", bool),
    Row("connectTimeout", "connect_timeout"),
    Row("loginTimeout", "connect_timeout"),
    Row("cancelSignalTimeout", "connect_timeout"),
)
_PGJDBC_NOTE = "socketTimeout is left alone: it ends every statement that takes longer, healthy or not."

#: HikariCP, milliseconds: it takes its defaults instead of less, or says so in its log (HikariConfig.validateNumerics).
_LEAST = {"keepaliveTime": 30_000, "maxLifetime": 30_000, "idleTimeout": 10_000}


def _hikari(own: Values, pool: Values, wanted: t.Mapping[str, int]) -> dict[str, Why]:
    left_out: dict[str, Why] = {}
    for name, least in _LEAST.items():
        if pool.get(name):
            pool[name] = max(least, pool[name])
    if pool.get("keepaliveTime", 0) >= pool.get("maxLifetime", 0) > 0:
        del pool["keepaliveTime"]  # Hikari would take it for off; a connection does not get that old
    if pool.get("idleTimeout"):
        # It counts only for connections above the minimum, which is the maximum unless something is said.
        pool.setdefault("minimumIdle", 0)
        if pool["idleTimeout"] + 1000 > pool.get("maxLifetime", 0) > 0:
            del pool["idleTimeout"]
            left_out["pool_max_idle"] = ("idleTimeout has to be a second below maxLifetime", "maxLifetime")
    if "connectionTimeout" in pool:
        pool["validationTimeout"] = min(5000, pool["connectionTimeout"] // 2)
    return left_out


def _hikari_lines(own: Values, pool: Values) -> str:
    rows = [f"{name}={text(value)}" for name, value in pool.items()]
    return "\n".join([*rows, *(f"dataSource.{name}={text(value)}" for name, value in own.items())])


DRIVERS = {
    "pgjdbc": Driver(
        _PGJDBC,
        missing=no_socket_options("pgjdbc", keepalive=True),
        notes=(_PGJDBC_NOTE,),
        url=query,
        snippet=lambda own, pool: pairs(own, "\n"),
        proof="run",
    ),
    "hikaricp": Driver(
        _PGJDBC,
        (
            Row("keepaliveTime", "keepalives_idle", milliseconds),
            Row("maxLifetime", "pool_max_age", milliseconds),
            Row("idleTimeout", "pool_max_idle", milliseconds),
            Row("minimumIdle", "pool_min_size"),
            Row("connectionTimeout", "connect_timeout", milliseconds),
        ),
        missing={
            **no_socket_options("pgjdbc", keepalive=True),
            "keepalives_idle": ("pgjdbc leaves it to the kernel", f"keepaliveTime, a query of its own; {SYSCTLS}"),
        },
        notes=(_PGJDBC_NOTE, "keepaliveTime is a query on connections that idle in the pool, 30 s at least."),
        url=query,
        snippet=_hikari_lines,
        adjust=_hikari,
        proof="run",
    ),
}
