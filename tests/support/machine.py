# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine of a molecule scenario, asked through testinfra: nothing here knows what the collection answered."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing as t
from pathlib import Path

import yaml

from . import sockets

ROOT = Path(__file__).resolve().parents[2]
MAIN = Path(__file__).with_name("machine_main.py")
#: What prepare noted there before the first hardening.
FOUND = "/root/found.json"
#: A timer of the kernel may fire this much late.
SLACK = 1.125
#: Idle, interval, count, where nobody says otherwise; a server that is told nothing has these on its sockets too.
KERNEL_DEFAULTS = [7200, 75, 9]
_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


@dataclasses.dataclass(frozen=True)
class Session:
    """A fresh session over TCP: its settings in their base units, and the server's side of its very socket."""

    settings: dict[str, dict[str, t.Any]]
    socket: sockets.Socket
    lasted: float  # seconds, at most, until its socket was looked at
    sysctls: dict[str, str]
    started: str

    def value(self, name: str) -> int:
        """A number of pg_settings; 0 where this server has no such setting, which it then behaves like."""
        return int(self.settings[name]["setting"]) if name in self.settings else 0

    def timers(self) -> tuple[int, int, int, float]:
        """Idle, interval, count and user timeout (seconds) of the socket, as the server reads them back from it."""
        idle, interval, count = (self.value(f"tcp_keepalives_{part}") for part in ("idle", "interval", "count"))
        return idle, interval, count, self.value("tcp_user_timeout") / 1000


def session(host: t.Any) -> Session:
    """Log in over TCP, and look at it from both sides."""
    told = _ask(host, "session")
    (socket,) = (
        one
        for one in sockets.parse(told["sockets"])
        if one.state == "ESTAB" and one.local_port == 5432
        if (one.peer, one.peer_port) == ("127.0.0.1", told["client_port"])
    )
    return Session(told["settings"], socket, told["lasted"], told["sysctls"], told["started"])


def found_now(host: t.Any) -> dict[str, t.Any]:
    """All that hardening could touch, as it is now."""
    return _ask(host, "found")


def found_first(host: t.Any) -> dict[str, t.Any]:
    """The same, before anything was done."""
    return t.cast("dict[str, t.Any]", json.loads(host.check_output(f"cat {FOUND}")))


def result(host: t.Any) -> dict[str, t.Any]:
    """What the collection answered in the last run, for tests that compare it with what is found on the machine."""
    return t.cast("dict[str, t.Any]", json.loads(host.check_output("cat /var/tmp/result.json")))


def policy(variables: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """What was asked for on a host with these inventory variables: durations in seconds, the rest as it is."""
    name = variables.get("harden_profile", "web")
    profile = yaml.safe_load((ROOT / "plugins" / "plugin_utils" / "profiles" / f"{name}.yml").read_text())
    return {key: _seconds(value) for key, value in {**profile, **variables.get("harden_policy", {})}.items()}


def silent_peer(idle: int, interval: int, count: int, user_timeout: float) -> tuple[float, float]:
    """Soonest and latest that Linux gives up a peer which has vanished while nothing was under way."""
    probes = max(1, math.ceil((user_timeout - idle) / interval)) if user_timeout else count
    return probes * interval, (idle + probes * interval) * SLACK


def boot_values(host: t.Any) -> list[int]:
    """Idle, interval and count that this machine would boot with: a new network namespace, then the files."""
    names = [f"net.ipv4.tcp_keepalive_{part}" for part in ("time", "intvl", "probes")]
    boot = "/lib/systemd/systemd-sysctl --prefix=/net/ipv4"
    told = host.check_output(f"unshare --net sh -c '{boot}; sysctl --values {' '.join(names)}'")
    return [int(value) for value in told.split()]


def _ask(host: t.Any, what: str) -> dict[str, t.Any]:
    told = host.run("python3 -c %s %s", MAIN.read_text(), what)
    assert told.rc == 0, told.stderr
    return t.cast("dict[str, t.Any]", json.loads(told.stdout))


def _seconds(value: t.Any) -> t.Any:
    match = re.fullmatch(r"([\d.]+)(ms|s|min|h|d)", str(value))
    if match:
        return float(match[1]) * _UNITS[match[2]]
    return 0 if value == "off" else value
