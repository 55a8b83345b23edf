# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: what is known of one, a pure room. The services themselves are in `_catalogue`."""

from __future__ import annotations

import dataclasses
import typing as t

IMMEDIATE, REBOOT = "immediate", "pending-reboot"
#: PostgreSQL's base units of everything that a plan sets on a server, in which these services take plain numbers.
#: There is no server to ask: the parameters are to be written before anybody may log in.
UNITS = {
    "tcp_keepalives_idle": "s",
    "tcp_keepalives_interval": "s",
    "tcp_keepalives_count": "",
    "tcp_user_timeout": "ms",
    "client_connection_check_interval": "ms",
    "idle_session_timeout": "ms",
    "idle_in_transaction_session_timeout": "ms",
    "transaction_timeout": "ms",
    "authentication_timeout": "s",
    "wal_sender_timeout": "ms",
    "wal_receiver_timeout": "ms",
}
#: The others may be set by the owner of a database or role (context ``user`` in pg_settings).
SERVER_WIDE = ("authentication_timeout", "wal_receiver_timeout")


class Exposed(t.NamedTuple):
    """A parameter that the service lets its users set: the documented range, and whether its documentation was read.

    0 is allowed below *low* too where PostgreSQL takes it for off.
    """

    low: int = 0
    high: int = 2_147_483_647
    apply: str = IMMEDIATE
    confirmed: bool = True


@dataclasses.dataclass(frozen=True)
class Service:
    """A managed service. Values are in PostgreSQL's base units."""

    title: str
    #: what its users call the group or the instance that has the parameters
    holder: str
    #: the database that a new instance has
    database: str
    exposed: t.Mapping[str, Exposed]
    #: the service's own values where they are documented; PostgreSQL's are taken for the others
    defaults: t.Mapping[str, int]
    #: what is shown but cannot be set there, nor by SQL as far as is known: the reason
    read_only: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: an alternative that is better there than the general one
    instead: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: how the service shows what it really takes
    check: str = ""
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    #: whether its API takes whole numbers, text in base units, or text with a unit
    value: str = "text"

    def spell(self, value: int, unit: str) -> int | str:
        """*value* as the API of the service takes it."""
        if self.value == "number":
            return value
        return f"{value}{unit}" if self.value == "unit" and value else str(value)
