# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hardened machine keeps the policy that its inventory states: by its server, its kernel, its files and systemd."""

from __future__ import annotations

import typing as t

from support import machine

SYSCTL_FILE = "/etc/sysctl.d/90-pgharden-connection.conf"


def test_no_setting_is_left_at_its_default(session: machine.Session) -> None:
    names = [f"tcp_keepalives_{part}" for part in ("idle", "interval", "count")]
    names += ["tcp_user_timeout", "authentication_timeout"]
    left = {name: row["source"] for name in names if (row := session.settings[name])["source"] == "default"}
    assert not left


def test_path_stays_open(session: machine.Session, policy: dict[str, t.Any]) -> None:
    idle, interval, _count, _user_timeout = session.timers()
    silence = max(idle, interval) + policy.get("survive_lost_probes", 1) * interval
    assert silence * machine.SLACK < policy["path_idle_limit"]


def test_dead_peer_is_noticed_in_time_but_not_too_soon(session: machine.Session, policy: dict[str, t.Any]) -> None:
    soonest, latest = machine.silent_peer(*session.timers())
    assert latest <= policy["detect_dead_peer_within"]
    assert soonest >= policy["tolerate_outage_of"]


def test_peer_that_stops_reading_is_cut_in_time_but_not_too_soon(
    session: machine.Session, policy: dict[str, t.Any]
) -> None:
    user_timeout = session.timers()[3]
    assert max(policy["slow_reader_grace"], policy["tolerate_outage_of"]) <= user_timeout
    assert user_timeout * machine.SLACK <= policy["detect_dead_peer_within"]


def test_orphaned_query_is_stopped_in_time(session: machine.Session, policy: dict[str, t.Any]) -> None:
    if "client_connection_check_interval" not in session.settings:
        assert session.settings["server_version_num"]["setting"].startswith("13")
        return
    check = session.value("client_connection_check_interval") / 1000
    assert check > 0
    assert machine.silent_peer(*session.timers())[1] + check * machine.SLACK <= policy["stop_orphaned_query_within"]


def test_idle_in_transaction_is_closed_as_asked(session: machine.Session, policy: dict[str, t.Any]) -> None:
    asked = policy.get("close_idle_in_transaction_after", 0)
    assert session.value("idle_in_transaction_session_timeout") / 1000 == asked


def test_the_kernel_counts_down_on_this_very_socket(session: machine.Session) -> None:
    idle = session.timers()[0]
    assert session.socket.timer == "keepalive"
    assert session.socket.seconds is not None
    # it began with the session or later, and is told in whole seconds
    assert idle - session.lasted - 1 < session.socket.seconds <= idle * machine.SLACK + 1


def test_kernel_settings_are_live(session: machine.Session) -> None:
    live = [int(session.sysctls[f"net.ipv4.tcp_keepalive_{part}"]) for part in ("time", "intvl", "probes")]
    assert live == list(session.timers()[:3])
    assert live != machine.KERNEL_DEFAULTS


def test_kernel_settings_outlive_a_boot(host: t.Any, session: machine.Session) -> None:
    booted = machine.boot_values(host)
    assert booted == list(session.timers()[:3])
    assert booted != machine.KERNEL_DEFAULTS


def test_sysctl_file_is_readable_for_all_and_writable_for_root(host: t.Any) -> None:
    file = host.file(SYSCTL_FILE)
    assert (file.is_file, file.user, file.group, file.mode) == (True, "root", "root", 0o644)


def test_what_is_noted_is_for_root_only(host: t.Any) -> None:
    assert host.file("/var/lib/pgharden-connection").mode & 0o077 == 0
    found = host.check_output("find /var/lib/pgharden-connection -type f -printf '%u %m %f\\n' | sort")
    # the revert file, and what was put in force
    assert found.split("\n") == ["root 600 local-5432.hardened.json", "root 600 local-5432.json"]


def test_server_was_never_restarted(host: t.Any, session: machine.Session, variables: dict[str, t.Any]) -> None:
    if "stopped" in variables:
        return  # the scenario did, and started it again for these tests
    assert session.started == machine.found_first(host)["started"]


def test_systemd_is_content(host: t.Any) -> None:
    assert host.check_output("systemctl --failed --no-legend --plain") == ""
    assert host.check_output("systemctl list-units --no-legend --plain --state=active 'postgresql*' | wc -l") != "0"
