# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of Rust, a pure room; units as in the source and documentation of tokio-postgres 0.7 and sqlx 0.8."""

from __future__ import annotations

import typing as t

from ._driver import (
    Driver,
    Row,
    Values,
    Why,
    no_socket_options,
    pairs,
    query,
    seconds_of,
    text,
    with_unit,
    year_or,
)


def _rust_pool(own: Values, pool: Values) -> str:
    calls = [f"    .{name}({_rust(value)})" for name, value in pool.items()]
    return "\n".join(["PgPoolOptions::new()", *calls])


def _rust(value: t.Any) -> str:
    return f"Duration::from_secs({value[:-1]})" if isinstance(value, str) else text(value)


def _tested(own: Values, pool: Values, wanted: t.Mapping[str, int]) -> dict[str, Why]:
    pool["test_before_acquire"] = True
    return {}


DRIVERS = {
    "tokio-postgres": Driver(
        (
            Row("keepalives", "keepalives"),
            Row("keepalives_idle", "keepalives_idle"),
            Row("keepalives_interval", "keepalives_interval"),
            Row("keepalives_retries", "keepalives_count"),
            Row("tcp_user_timeout", "tcp_user_timeout", seconds_of),
            Row("connect_timeout", "connect_timeout"),
        ),
        untouched={"keepalives": 1, "keepalives_idle": 7200},
        notes=("tcp_user_timeout is seconds here, where libpq has milliseconds.",),
        url=query,
        snippet=lambda own, pool: pairs(own, " "),
        proof="run",
    ),
    "sqlx": Driver(
        (),
        (
            Row("acquire_timeout", "connect_timeout", with_unit),
            Row("idle_timeout", "pool_max_idle", year_or),
            Row("max_lifetime", "pool_max_age", year_or),
            Row("min_connections", "pool_min_size"),
        ),
        missing=no_socket_options("sqlx", keepalive=False),
        notes=("It warns of keywords of libpq in its URL, and does nothing with them.",),
        snippet=_rust_pool,
        adjust=_tested,
    ),
}
