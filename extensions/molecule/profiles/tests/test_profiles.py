# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each profile's settings by name, and its promises: worked out here from what the server and its socket say."""

from __future__ import annotations

import typing as t

import pytest
from support import machine

#: In the base units of pg_settings: seconds for keepalives and authentication, else milliseconds.
COLUMNS = [
    *("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"),
    *("client_connection_check_interval", "authentication_timeout", "idle_in_transaction_session_timeout"),
    *("idle_session_timeout", "wal_sender_timeout", "wal_receiver_timeout"),
]
SETTINGS = {
    "analytics": [160, 30, 6, 340_000, 30_000, 26, 3_600_000, 0, 60_000, 60_000],
    "cloud_nat": [45, 8, 6, 93_000, 10_000, 26, 300_000, 0, 60_000, 60_000],
    "interactive": [115, 20, 6, 235_000, 30_000, 26, 1_800_000, 43_200_000, 60_000, 60_000],
    "pooled": [20, 3, 6, 38_000, 5_000, 13, 120_000, 0, 60_000, 60_000],
    "replication": [20, 4, 6, 44_000, 5_000, 13, 0, 0, 53_000, 53_000],
    "web": [35, 6, 6, 71_000, 5_000, 26, 300_000, 0, 60_000, 60_000],
}


def test_settings(session: machine.Session, variables: dict[str, t.Any]) -> None:
    assert [session.value(name) for name in COLUMNS] == SETTINGS[variables["harden_profile"]]


def test_promises_are_those_of_the_socket(host: t.Any, session: machine.Session) -> None:
    promised = {
        (row["phase"], row["fault"]): (row["seconds"], row["bound"])
        for row in machine.result(host)["promises"]["after"]
    }
    latest = machine.silent_peer(*session.timers())[1]
    seconds = latest / machine.SLACK
    check = session.value("client_connection_check_interval") / 1000
    assert promised["idle", "peer_vanished"] == pytest.approx((seconds, latest))
    assert promised["executing", "process_died"] == pytest.approx((check, check * machine.SLACK))
    assert promised["lock_wait", "peer_vanished"] == pytest.approx((seconds + check, latest + check * machine.SLACK))


def test_nothing_was_impossible(host: t.Any) -> None:
    assert machine.result(host)["unsupported"] == []
    assert machine.result(host)["not_kept"] == []
