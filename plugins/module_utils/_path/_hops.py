# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Path, what is on it, a pure room: hops (programs that end TCP) and the legs between them, client first, server last.

Each leg is a TCP connection of its own with keepalive of its own at either end; devices that only forward packets
(NAT, firewalls, network load balancers) are no hops but limits of a leg.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .. import _duration
from .._errors import Failure
from .._settings import OsValues, Settings

KINDS = ("client", "haproxy", "pgbouncer", "server")
#: Where a client of libpq names its servers, and what decides which of several it gets to, and when it tries the next.
HOSTS = ("host", "hostaddr")
CHOICE = (*HOSTS, "connect_timeout", "target_session_attrs")


@dataclasses.dataclass(frozen=True)
class Socket:
    """The options in force on one side of a hop. 0: the kernel's own value, and no timeout.

    *idle* and *interval* are seconds, *user_timeout* and *idle_timeout* milliseconds. A program closes a connection on
    which no payload moved for *idle_timeout*; keepalive probes carry none.
    """

    keepalive: bool = True
    idle: int = 0
    interval: int = 0
    count: int = 0
    user_timeout: int = 0
    idle_timeout: int = 0

    def settings(self) -> Settings:
        """The same as promises take it."""
        return Settings(self.idle, self.interval, self.count, self.user_timeout)


@dataclasses.dataclass(frozen=True)
class Checks:
    """How a proxy finds out which of the servers of one section it may use; times in milliseconds.

    *kind* is ``none``, ``tcp`` (it accepts), ``pgsql`` (it answers as PostgreSQL does), ``http``, or ``other`` (a
    program or script decides, of which nothing is known); *uri* and *ports* are what ``http`` asks. Of servers that
    differ the slowest counts.
    """

    section: str
    servers: int = 1
    kind: str = "none"
    uri: str = ""
    ports: tuple[int, ...] = ()
    interval: int = 2000
    fall: int = 3
    rise: int = 2
    #: for how long one check of a server that answers nothing at all goes on
    patience: int = 2000
    #: whether sessions end when their server is marked down
    ends_sessions: bool = False

    @property
    def down_after(self) -> int:
        """Until a server that has vanished is marked down: each check is begun, and waited for."""
        return self.fall * (self.interval + self.patience)

    @property
    def demoted_after(self) -> int:
        """The same for one that answers, but not as a leader."""
        return self.fall * self.interval

    @property
    def up_after(self) -> int:
        """Until a server that answers as it should is used."""
        return self.rise * self.interval


#: For how long (milliseconds) Patroni's candidates wait for an answer of the member that has vanished.
_IN_VAIN = 2000


@dataclasses.dataclass(frozen=True)
class Failover:
    """What makes another server the leader when the leader vanishes, and how soon; times in milliseconds.

    *manager* is its name (Patroni). The leader holds a lock for *ttl* and renews it every *loop_wait*; *api_port* is
    where a health check may ask who it is, 0 where that is not known.
    """

    manager: str = "Patroni"
    ttl: int = 30_000
    loop_wait: int = 10_000
    api_port: int = 0

    @property
    def soonest(self) -> int:
        """From the leader's end to the next leader: it had just been about to renew its lock."""
        return max(0, self.ttl - self.loop_wait)

    @property
    def latest(self) -> int:
        """The same at worst: it had just renewed its lock, the others look once in a loop, and ask it in vain."""
        return self.ttl + self.loop_wait + _IN_VAIN


@dataclasses.dataclass(frozen=True)
class Hop:
    """One program on the path, with what is in force there; *name* is a host or a group of the inventory.

    The side of a hop that is not there (a client has no clients) is None. *max_age* (milliseconds, 0 for none) is the
    age at which it replaces connections to its servers, *pooled_idle* the time after which it closes unused ones.
    """

    kind: str
    name: str = ""
    version: str = ""
    #: client: the driver, and its connection parameters, secrets aside, as far as they are known
    driver: str = ""
    parameters: dict[str, str] = dataclasses.field(default_factory=dict)
    #: client: of each service that names several hosts what `CHOICE` has
    services: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    #: pgbouncer: session, transaction or statement
    pool_mode: str = "session"
    max_age: int = 0
    pooled_idle: int = 0
    client_side: Socket | None = None
    server_side: Socket | None = None
    #: haproxy: a section each that has servers
    checks: tuple[Checks, ...] = ()
    #: server: who makes another one the leader, where somebody does
    failover: Failover | None = None
    #: server: the settings that promises depend on
    settings: Settings | None = None
    os: OsValues = dataclasses.field(default_factory=OsValues)

    @classmethod
    def of(cls, values: t.Mapping[str, t.Any]) -> Hop:
        """From what `as_dict` gave, perhaps through JSON. Raises Failure ``bad_path``."""
        kind = values.get("kind")
        if kind not in KINDS:
            raise Failure(
                "bad_path", f"a hop of kind {kind}", "there is no such kind", f"Kinds are {', '.join(KINDS)}."
            )
        parts: dict[str, t.Any] = {}
        for key, kind_of in _PARTS.items():
            if values.get(key) is not None:
                parts[key] = _fill(kind_of, values[key], f"{kind}.{key}")
        if values.get("checks"):
            rows = [{**row, "ports": tuple(row.get("ports", ()))} for row in values["checks"]]
            parts["checks"] = tuple(_fill(Checks, row, f"{kind}.checks") for row in rows)
        plain = {key: value for key, value in values.items() if key not in (*_PARTS, "checks")}
        return t.cast(Hop, _fill(cls, {**plain, **parts}, str(kind)))

    def as_dict(self) -> dict[str, t.Any]:
        """Plain JSON, without what is not there."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}

    @property
    def known(self) -> bool:
        """Whether anything that is in force there is known; of hosts that failed nothing is but their kind."""
        return bool(self.client_side or self.server_side or self.settings)

    @property
    def label(self) -> str:
        """What a reader knows it by; a host that is called as its kind needs to be named but once."""
        return self.kind if self.name == self.kind else f"{self.kind} {self.name}".strip()


_PARTS: dict[str, t.Any] = {
    "client_side": Socket,
    "server_side": Socket,
    "failover": Failover,
    "settings": Settings,
    "os": OsValues,
}


def _fill(kind: t.Any, values: t.Mapping[str, t.Any], where: str) -> t.Any:
    names = [field.name for field in dataclasses.fields(kind)]
    unknown = [key for key in values if key not in names]
    if unknown:
        remedy = f"It may have {', '.join(names)}."
        raise Failure("bad_path", f"{where}: {', '.join(unknown)}", "there is no such key", remedy)
    return kind(**values)


@dataclasses.dataclass(frozen=True)
class Leg:
    """What is between two hops, limits in milliseconds (0: none known).

    *path_idle_limit*: the smallest idle timeout of a device in between. *age_limit*: a device ends every connection at
    this age. *unix_socket*: both hops are on one host, without TCP.
    """

    path_idle_limit: int = 0
    age_limit: int = 0
    unix_socket: bool = False


@dataclasses.dataclass(frozen=True)
class Path:
    """*legs* has one entry fewer than *hops*: legs[i] is between hops[i] and hops[i + 1]."""

    hops: tuple[Hop, ...]
    legs: tuple[Leg, ...]

    def side(self, index: int, towards_client: bool) -> Socket:
        """The socket of hop *index* on the leg before it (towards the client) or after it."""
        hop = self.hops[index]
        return (hop.client_side if towards_client else hop.server_side) or Socket()


#: Keys of a described hop that belong to the leg after it.
_LEG_KEYS = ("path_idle_limit", "age_limit", "unix_socket")


def describe(rows: t.Any) -> list[dict[str, t.Any]]:
    """The path as an operator describes it, checked: a list of mappings, client first, server last.

    Each has ``kind`` and ``group`` (a group or host of the inventory), and where it applies ``driver`` and, for the leg
    to the next hop, ``path_idle_limit`` and ``age_limit`` (durations) and ``unix_socket``. Raises Failure ``bad_path``.
    """
    allowed = ("kind", "group", "driver", *_LEG_KEYS)
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, t.Mapping) for row in rows):
        raise _bad("the path", "it is no list of hops", "Write one '- kind: ...' for each hop, client first.")
    for row in rows:
        unknown = [str(key) for key in row if key not in allowed]
        if unknown:
            raise _bad(f"hop {row.get('kind')}: {', '.join(unknown)}", "there is no such key", f"Write {allowed}.")
        if row.get("kind") not in KINDS:
            raise _bad(f"a hop of kind {row.get('kind')}", "there is no such kind", f"Kinds are {', '.join(KINDS)}.")
        for key in _LEG_KEYS[:2]:
            if row.get(key) is not None:
                _duration.parse(key, row[key])
    kinds = [row["kind"] for row in rows]
    between = kinds[1:-1]
    if len(kinds) < 2 or kinds[0] != "client" or kinds[-1] != "server" or {"client", "server"} & set(between):
        found = " -> ".join(kinds) or "nothing"
        raise _bad("the path", f"it reads {found}", "Begin with one client, end with one server.")
    return [dict(row) for row in rows]


def legs(rows: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Leg, ...]:
    """The legs of a path that `describe` has checked."""
    found = []
    for row in rows[:-1]:
        limits = {key: _duration.parse(key, row[key]) for key in _LEG_KEYS[:2] if row.get(key) is not None}
        found.append(Leg(**limits, unix_socket=bool(row.get("unix_socket"))))
    return tuple(found)


def idle_limit(rows: t.Sequence[t.Mapping[str, t.Any]], kinds: t.Container[str]) -> int:
    """The smallest idle limit (milliseconds, 0 for none) of the legs that hops of these *kinds* have an end of."""
    limits = []
    for index, leg in enumerate(legs(rows)):
        if leg.path_idle_limit and (rows[index]["kind"] in kinds or rows[index + 1]["kind"] in kinds):
            limits.append(leg.path_idle_limit)
    return min(limits, default=0)


def _bad(asked: str, found: str, remedy: str) -> Failure:
    return Failure("bad_path", asked, found, remedy)
