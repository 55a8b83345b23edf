# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings, a pure room: the values that promises are made from, PostgreSQL's and the kernel's; what a socket gets."""

from __future__ import annotations

import dataclasses
import typing as t

from ._systems import _table

#: Linux's kernel timers fire up to 1/8 late, never early.
SLACK = 1.125
_KEEPALIVE = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
#: What Linux refuses to put on a socket above these, PostgreSQL accepts all the same (only a LOG line says so).
KERNEL_LIMITS = dict(zip(_KEEPALIVE, _table.LINUX.socket))
#: Policy keys that are one timeout of the server.
CLOSING = {
    "close_idle_session_after": "idle_session_timeout",
    "close_idle_in_transaction_after": "idle_in_transaction_session_timeout",
    "close_transaction_after": "transaction_timeout",
}


@dataclasses.dataclass(frozen=True)
class OsValues:
    """The kernel's own values, in force wherever PostgreSQL's are 0: seconds, seconds, number, number.

    The names are Linux's; *system* is whose they are, and whose formulas count. Linux alone has tcp_retries2. The type
    of *system* is left open for those who give the numbers as a mapping.
    """

    tcp_keepalive_time: int = 7200
    tcp_keepalive_intvl: int = 75
    tcp_keepalive_probes: int = 9
    tcp_retries2: int = 15
    system: t.Any = "linux"

    @classmethod
    def of_system(cls, name: str, settings: t.Mapping[str, t.Any] | None = None) -> OsValues:
        """A system's defaults, with what *settings* of its own names and units say instead."""
        system = _table.arithmetic(name)
        read = system.read(settings or {})
        idle, interval, count = system.defaults
        own = read.get("idle", idle), read.get("interval", interval), read.get("count", count)
        return cls(*own, system=name)


#: A host that nobody has set anything on.
LINUX = OsValues()


@dataclasses.dataclass(frozen=True)
class Settings:
    """Values of a session in PostgreSQL's base units: seconds for keepalives and authentication, else milliseconds."""

    tcp_keepalives_idle: int = 0
    tcp_keepalives_interval: int = 0
    tcp_keepalives_count: int = 0
    tcp_user_timeout: int = 0
    client_connection_check_interval: int = 0
    idle_session_timeout: int = 0
    idle_in_transaction_session_timeout: int = 0
    transaction_timeout: int = 0
    authentication_timeout: int = 60
    wal_sender_timeout: int = 60_000

    @classmethod
    def of(cls, values: t.Mapping[str, int | None]) -> Settings:
        """From a mapping that may have other names too, or lack those which an old server does not know."""
        return cls(**{name: value for name in SETTINGS if (value := values.get(name)) is not None})


SETTINGS = tuple(field.name for field in dataclasses.fields(Settings))


def effective_keepalive(settings: Settings, os: OsValues) -> tuple[int, int, int]:
    """Idle, interval and count in force on a socket: 0, or more than the kernel takes, leaves the kernel's own value.

    On Windows PostgreSQL sets idle and interval together, or neither, and never the count.
    """
    system = _table.arithmetic(os.system)
    own = (os.tcp_keepalive_time, os.tcp_keepalive_intvl)
    if system.together and (settings.tcp_keepalives_idle or settings.tcp_keepalives_interval):
        own = system.together
    fallbacks = (*own, os.tcp_keepalive_probes)
    wishes = [t.cast(int, getattr(settings, name)) for name in _KEEPALIVE]
    idle, interval, count = (
        wanted if 0 < wanted <= most else fallback for wanted, most, fallback in zip(wishes, system.socket, fallbacks)
    )
    return idle, interval, count


def user_timeout(settings: Settings, os: OsValues) -> int:
    """Milliseconds of tcp_user_timeout in force on a socket; PostgreSQL only logs that a system does not have it."""
    return settings.tcp_user_timeout if _table.arithmetic(os.system).user_timeout else 0
