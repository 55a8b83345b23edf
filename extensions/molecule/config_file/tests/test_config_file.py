# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings come from the file that was named, and nothing else in it moved."""

from __future__ import annotations

import datetime
import typing as t

from support import machine

SET = ["tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"]


def test_settings_come_from_that_file(session: machine.Session, variables: dict[str, t.Any]) -> None:
    assert {session.settings[name]["sourcefile"] for name in SET} == {variables["harden_config_file"]}


def test_alter_system_was_not_used(host: t.Any, session: machine.Session) -> None:
    data = session.settings["data_directory"]["setting"]
    assert "tcp_" not in host.file(f"{data}/postgresql.auto.conf").content_string


def test_other_settings_are_as_they_were(host: t.Any, session: machine.Session) -> None:
    first = machine.found_first(host)["settings"]
    ours = {*SET, "client_connection_check_interval", "authentication_timeout", "idle_in_transaction_session_timeout"}
    now = {name: row["setting"] for name, row in session.settings.items() if name not in ours}
    assert now == {name: row["setting"] for name, row in first.items() if name not in ours}


def test_owner_and_mode_are_those_that_servers_expect(host: t.Any, variables: dict[str, t.Any]) -> None:
    path = variables["harden_config_file"]
    before = machine.found_first(host)["files"].get(path)
    status = host.file(path)
    assert (status.user, status.group) == ("postgres", "postgres")
    if before:
        assert status.mode == int(before["mode"], 8) & 0o7777


def test_a_server_that_was_down_came_up_with_them(
    host: t.Any, session: machine.Session, variables: dict[str, t.Any]
) -> None:
    if "stopped" in variables:
        written = host.file(variables["harden_config_file"]).mtime.timestamp()
        assert datetime.datetime.fromisoformat(session.started).timestamp() > written
