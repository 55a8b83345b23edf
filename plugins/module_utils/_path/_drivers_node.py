# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of Node.js, a pure room; units as in the source and documentation of node-postgres 8 and postgres.js 3."""

from __future__ import annotations

from ._driver import RETRIES, Driver, Row, Why, milliseconds, query

#: libuv sets these two by itself (uv__tcp_keepalive), the delay alone is the application's.
_LIBUV: dict[str, Why] = {
    "keepalives_interval": ("Node.js has 1 s", "10 probes 1 s apart notice a dead peer 10 s after the idle time"),
    "keepalives_count": ("Node.js has 10", "10 probes 1 s apart notice a dead peer 10 s after the idle time"),
    "tcp_user_timeout": ("Node.js has no such setting", RETRIES),
}

_LIBUV_FIXED = {"keepalives_interval": 1, "keepalives_count": 10}

DRIVERS = {
    "node-postgres": Driver(
        (
            Row("keepAlive", "keepalives", bool),
            Row("keepAliveInitialDelayMillis", "keepalives_idle", milliseconds),
            Row("connectionTimeoutMillis", "connect_timeout", milliseconds),
        ),
        (
            Row("idleTimeoutMillis", "pool_max_idle", milliseconds),
            Row("maxLifetimeSeconds", "pool_max_age"),
            Row("min", "pool_min_size"),
        ),
        untouched=_LIBUV_FIXED,
        missing=_LIBUV,
        notes=("min came with pg-pool 3.8.", "In a URL it does not see them: they belong beside connectionString."),
        proof="run",
    ),
    "postgres.js": Driver(
        (
            Row("keep_alive", "keepalives_idle"),
            Row("connect_timeout", "connect_timeout"),
        ),
        (
            Row("idle_timeout", "pool_max_idle"),
            Row("max_lifetime", "pool_max_age"),
        ),
        missing={
            **_LIBUV,
            "pool_min_size": ("its pool keeps no minimum", "it opens connections as they are needed"),
        },
        implied=("keepalives",),  # keep_alive is both, switch and time
        untouched={"keepalives": 1, "keepalives_idle": 60, **_LIBUV_FIXED},
        url=lambda own, pool: query({**own, **pool}, {}),
    ),
}
