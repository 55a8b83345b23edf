# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of .NET, a pure room; units as in the source and documentation of Npgsql 9."""

from __future__ import annotations

import typing as t

from ._driver import RETRIES, SYSCTLS, Driver, Row, Values, Why, lasting, semicolons


def _npgsql(own: Values, pool: Values, wanted: t.Mapping[str, int]) -> dict[str, Why]:
    """Npgsql refuses a longer Timeout, and an idle lifetime below the interval of its pruning (PoolingDataSource).

    It keeps a number for each such interval of that time, so never, which is a year, gets longer ones.
    """
    if "Timeout" in own:
        own["Timeout"] = min(1024, own["Timeout"])
    idle = pool.get("Connection Idle Lifetime")
    if idle == 0:
        pool.update({"Connection Idle Lifetime": lasting(0), "Connection Pruning Interval": 3600})
    elif idle is not None and idle < 10:
        pool["Connection Pruning Interval"] = idle
    return {}


DRIVERS = {
    "npgsql": Driver(
        (
            Row("Tcp Keepalive", "keepalives", bool),
            Row("Tcp Keepalive Time", "keepalives_idle"),
            Row("Tcp Keepalive Interval", "keepalives_interval"),
            Row("Timeout", "connect_timeout"),
        ),
        (
            Row("Connection Idle Lifetime", "pool_max_idle"),
            Row("Connection Lifetime", "pool_max_age"),
            Row("Minimum Pool Size", "pool_min_size"),
        ),
        missing={
            "keepalives_count": ("Npgsql has no such setting", SYSCTLS),
            "tcp_user_timeout": ("Npgsql has no such setting", RETRIES),
        },
        notes=("Before Npgsql 5.0 Tcp Keepalive Time and Interval are milliseconds.",),
        url=semicolons,
        snippet=semicolons,
        adjust=_npgsql,
    ),
}
