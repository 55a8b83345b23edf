# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver, a pure room: the form of a driver's row, and how its values are turned and written."""

from __future__ import annotations

import dataclasses
import typing as t
from urllib.parse import quote

Values = t.Dict[str, t.Any]
#: reason, and what covers it instead
Why = t.Tuple[str, str]

#: Names of what `_plans.client` gives.
TIMES = ("keepalives_idle", "keepalives_interval", "keepalives_count")
SOCKET = ("keepalives", *TIMES, "tcp_user_timeout")
LIBPQ = (*SOCKET, "connect_timeout")
POOL = ("pool_max_idle", "pool_max_age", "pool_min_size")


class Row(t.NamedTuple):
    """*source* (of `_plans.client`) to a parameter; a dot in *name* is a dict in a dict."""

    name: str
    source: str
    turn: t.Callable[[int], t.Any] = int


def nothing(own: Values, pool: Values) -> str:
    """For drivers that have no such place."""
    return ""


def as_it_is(own: Values, pool: Values, wanted: t.Mapping[str, int]) -> dict[str, Why]:
    """For drivers without rules of their own."""
    return {}


@dataclasses.dataclass(frozen=True)
class Driver:
    """*adjust* keeps to rules of the driver in place, and gives what these leave out."""

    parameters: tuple[Row, ...] = ()
    pool: tuple[Row, ...] = ()
    #: what it does without a parameter of its own
    implied: tuple[str, ...] = ()
    #: the options of its socket without any parameter; what is not there is off, or the kernel's
    untouched: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    missing: t.Mapping[str, Why] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    url: t.Callable[[Values, Values], str] = nothing
    snippet: t.Callable[[Values, Values], str] = nothing
    adjust: t.Callable[[Values, Values, t.Mapping[str, int]], t.Mapping[str, Why]] = as_it_is
    proof: str = "rendered"

    @property
    def sources(self) -> set[str]:
        return {row.source for row in (*self.parameters, *self.pool)}.union(self.implied)


def fill(rows: t.Iterable[Row], wanted: t.Mapping[str, int]) -> Values:
    """The parameters that something is *wanted* for."""
    values: Values = {}
    for row in rows:
        if row.source in wanted:
            *outer, name = row.name.split(".")
            place = values
            for key in outer:
                place = place.setdefault(key, {})
            place[name] = row.turn(wanted[row.source])
    return values


def milliseconds(seconds: int) -> int:
    return seconds * 1000


def seconds_of(milliseconds_: int) -> int:
    """Rounded up: 0 would be off."""
    return -(-milliseconds_ // 1000)


def with_unit(seconds: int) -> str:
    """As Go's time.ParseDuration reads it."""
    return f"{seconds}s"


def lasting(seconds: int) -> int:
    """For pools that close at once what has no time to live: never is a year."""
    return seconds or 365 * 86_400


def year_or(seconds: int) -> str:
    """The same with a unit."""
    return with_unit(lasting(seconds))


def text(value: t.Any) -> str:
    """As properties, URLs and connection strings have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def pairs(values: Values, between: str, quoted: bool = False) -> str:
    """``name=value`` of all that are no dicts."""
    rows = [(name, text(value)) for name, value in values.items() if not isinstance(value, dict)]
    return between.join(f"{name}={quote(value, safe='') if quoted else value}" for name, value in rows)


def query(own: Values, pool: Values) -> str:
    """The parameters as they come after the ``?`` of a URL."""
    return pairs(own, "&", quoted=True)


def conninfo(own: Values, pool: Values) -> str:
    """The parameters as libpq's keyword/value string has them; numbers need no quotes."""
    return pairs(own, " ")


def lines(own: Values, pool: Values) -> str:
    """One a line, as in pg_service.conf and properties files."""
    return pairs(own, "\n")


def semicolons(own: Values, pool: Values) -> str:
    """Parameters and pool in one connection string, as .NET and ODBC have it."""
    return pairs({**own, **pool}, ";")


# What stands in for a setting that a driver does not have.

SYSCTLS = "the sysctls net.ipv4.tcp_keepalive_* of the client's host, which the role client sets"
SERVERS_KEEPALIVE = "the server's keepalive, which keeps devices on the path from forgetting the connection"
RETRIES = "net.ipv4.tcp_retries2 of the client's host: the kernel gives up after about 15 min"


def no_socket_options(driver: str, keepalive: bool) -> dict[str, Why]:
    """For a *driver* that sets no times; *keepalive* says whether SO_KEEPALIVE can be turned on."""
    missing = dict.fromkeys(TIMES, (f"{driver} leaves it to the kernel", SYSCTLS))
    if not keepalive:
        off = f"{driver} never turns SO_KEEPALIVE on"
        missing = dict.fromkeys(("keepalives", *TIMES), (off, SERVERS_KEEPALIVE))
    return {**missing, "tcp_user_timeout": (f"{driver} has no such setting", RETRIES)}
