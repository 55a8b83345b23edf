# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers, a pure room: what a client asks for, as each driver and its pool spell it, and what they do not have.

`_driver.py` has what drivers have in common; `_drivers_libpq.py`, and a room for each language, have one row for each.
"""

from __future__ import annotations

import difflib
import typing as t

from .._errors import Failure
from . import (
    _drivers_dotnet,
    _drivers_go,
    _drivers_java,
    _drivers_libpq,
    _drivers_node,
    _drivers_python,
    _drivers_rust,
)
from ._driver import Driver, fill
from ._hops import Socket

DRIVERS: dict[str, Driver] = {
    **_drivers_libpq.DRIVERS,
    **_drivers_python.DRIVERS,
    **_drivers_java.DRIVERS,
    **_drivers_dotnet.DRIVERS,
    **_drivers_go.DRIVERS,
    **_drivers_node.DRIVERS,
    **_drivers_rust.DRIVERS,
}

_LIBPQS = ("libpq", "pg_service", "psycopg2", "psycopg", "psycopg_pool", "ruby_pg", "pdo_pgsql", "psqlodbc")
#: Drivers that read a pg_service.conf as libpq does, since they are libpq.
READ_SERVICES = tuple(name for name in DRIVERS if name in _LIBPQS or name.startswith("sqlalchemy+psycopg"))


def parameters(wanted: t.Mapping[str, int], name: str) -> dict[str, t.Any]:
    """What `_plans.client` gave, as driver *name* takes it.

    Gives ``driver``; ``parameters`` and ``pool`` with the driver's own names, units and types (a dict in a dict where
    it has one); ``url`` as it is appended to its URL or connection string, and ``snippet`` as it is written where it
    belongs, both "" where there is no such place; ``covers`` and ``missing`` (``setting``, ``reason``, ``covered_by``)
    under the names of *wanted*; ``notes``; ``proof``, which is ``run`` where a test connects with these parameters and
    asks the kernel, else ``rendered``. Raises Failure ``unknown_driver``.
    """
    driver = _known(name)
    own, pool = fill(driver.parameters, wanted), fill(driver.pool, wanted)
    # A 0 asks for nothing that a driver would have to have.
    reasons = {key: why for key, why in driver.missing.items() if wanted.get(key)}
    reasons.update(driver.adjust(own, pool, wanted))
    covers = [key for key in wanted if key in driver.sources and key not in reasons]
    return {
        "driver": name,
        "parameters": own,
        "pool": pool,
        "url": driver.url(own, pool),
        "snippet": driver.snippet(own, pool),
        "covers": covers,
        "missing": [
            {"setting": key, "reason": reasons[key][0], "covered_by": reasons[key][1]}
            for key in wanted
            if key in reasons
        ],
        "notes": list(driver.notes),
        "proof": driver.proof,
    }


def socket(wanted: t.Mapping[str, int], name: str) -> Socket:
    """The options of a socket that driver *name* opens with the parameters of *wanted*; of none, with {}."""
    covers = parameters(wanted, name)["covers"]
    options = {**_known(name).untouched, **{key: wanted[key] for key in covers}}
    return Socket(
        keepalive=bool(options.get("keepalives")),
        idle=options.get("keepalives_idle", 0),
        interval=options.get("keepalives_interval", 0),
        count=options.get("keepalives_count", 0),
        user_timeout=options.get("tcp_user_timeout", 0),
    )


def _known(name: str) -> Driver:
    driver = DRIVERS.get(name)
    if driver is None:
        close = difflib.get_close_matches(name, DRIVERS, n=1)
        found = "there is no such driver" + (f" (did you mean {close[0]}?)" if close else "")
        raise Failure("unknown_driver", f"driver {name}", found, f"The drivers are {', '.join(DRIVERS)}.")
    return driver
