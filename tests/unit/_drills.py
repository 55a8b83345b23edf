# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of the module drill as a real server gives them, by the promises of its settings, for tests of the report."""

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils import _promises, _settings

Result = dict[str, t.Any]

DEFAULTS = {
    "tcp_keepalives_idle": 7200,
    "tcp_keepalives_interval": 75,
    "tcp_keepalives_count": 9,
    "tcp_user_timeout": 0,
    "client_connection_check_interval": 0,
}
HARDENED = {
    "tcp_keepalives_idle": 35,
    "tcp_keepalives_interval": 6,
    "tcp_keepalives_count": 6,
    "tcp_user_timeout": 71_000,
    "client_connection_check_interval": 5000,
}
LOG = "2026-11-23 10:00:00.123 UTC [123] app@db LOG:  could not receive data from client: Connection timed out"
PHASES = ("idle", "idle_unacknowledged", "executing", "sending", "idle_in_transaction", "authenticating")


def noticed(phase: str, fault: str, settings: dict[str, int], patience: float = 120, **more: t.Any) -> Result:
    """A cell that is to come to an end, with what happens when everything goes well."""
    promise = _promises.promise(phase, fault, _settings.Settings.of(settings))
    gone = promise.seconds is not None and promise.seconds * 1.03 < patience
    return {
        **promise._asdict(),
        "promised": promise.seconds,
        "lasted": None,
        "measured": t.cast(float, promise.seconds) * 1.03 + 0.02 if gone else None,
        "outcome": "gone" if gone else "still_there",
        "verdict": "kept" if gone else "beyond_patience",
        "reasons": [],
        "log": LOG if gone else None,
        "text": f"of {phase}",
        **more,
    }


def survived(phase: str, fault: str, promised: float | None, lasted: float, **more: t.Any) -> Result:
    """A cell that is to live on, and did."""
    return {
        "phase": phase,
        "fault": fault,
        "promised": promised,
        "bound": promised,
        "formula": "idle_outage",
        "lasted": lasted,
        "measured": None,
        "outcome": "survived",
        "verdict": "kept",
        "reasons": [],
        "log": None,
        "text": f"survived {lasted} s",
        **more,
    }


def cells(settings: dict[str, int]) -> list[Result]:
    timeout = settings["tcp_user_timeout"] / 1000 or None
    return [
        *(noticed(phase, fault, settings) for phase in PHASES for fault in ("process_died", "peer_vanished")),
        survived("idle", "short_outage", 25.0, 24.0),
        survived("sending", "slow_reader", timeout, 30.0),
    ]


def drilled(settings: dict[str, int] | None = None, some: list[Result] | None = None, **more: t.Any) -> Result:
    """A result; *some* are its cells, if not all of them."""
    settings = settings or HARDENED
    return {
        "changed": False,
        "side": "server",
        "method": "socket",
        "patience": 120.0,
        "tolerance": 1.0,
        "server": {
            "version": "15.8 (Debian 15.8-0+deb12u1)",
            "version_num": 150008,
            "host": "10.0.0.5",
            "port": 5432,
            "tls": True,
            "user": "drill",
            "local": True,
        },
        "client": {"kernel": "6.1.0-25-amd64", "host": "db1", "options": {}},
        "settings": settings,
        "cells": cells(settings) if some is None else some,
        "log": {"source": "/var/log/postgresql/postgresql-15-main.log", "reason": None},
        "notes": [],
        **more,
    }


def only_checked() -> Result:
    """What check mode gives: promises alone."""
    nothing = {"outcome": None, "verdict": None, "measured": None, "lasted": None, "log": None, "reasons": []}
    return drilled(HARDENED, [{**cell, **nothing} for cell in cells(HARDENED)])
