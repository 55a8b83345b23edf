# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems, their table, a pure room: what each operating system calls its keepalive settings, and how it counts.

What is said here of a kernel was read in its sources, `docs/systems.md` names the files; nothing was measured but on
Linux.
"""

from __future__ import annotations

import dataclasses
import math
import typing as t

from .._errors import Failure

_INT = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class System:
    """One operating system. Times in this table are seconds, *per_second* turns them into the units of its settings."""

    name: str
    label: str
    #: its settings for idle, interval and count; where the count is fixed there are two
    names: tuple[str, ...]
    per_second: int
    #: idle, interval and count without any setting
    defaults: tuple[int, int, int]
    #: the most that a socket takes of PostgreSQL's idle, interval and count, in PostgreSQL's units
    socket: tuple[int, int, int]
    #: the largest number of each setting of *names*
    largest: tuple[int, ...]
    #: Whether what arrives leaves a running timer alone, so that an interval above idle delays the first probe.
    timer_runs_on: bool = True
    #: Whether it has TCP_USER_TIMEOUT.
    user_timeout: bool = False
    #: Whether PostgreSQL can set the count of a socket.
    count_is_settable: bool = True
    #: What PostgreSQL puts in place of idle or interval where only the other is set; None: the system's own stays.
    together: tuple[int, int] | None = None
    #: Backoff of retransmissions in units of the first, each at most *longest*; none: not known.
    backoff: tuple[int, ...] = ()

    def settings(self, idle: int | None, interval: int | None, count: int | None) -> dict[str, int]:
        """Seconds, seconds and a number as this system's settings; what is None is left out."""
        times = [None if value is None else value * self.per_second for value in (idle, interval)]
        return {name: value for name, value in zip(self.names, (*times, count)) if value is not None}

    def read(self, values: t.Mapping[str, t.Any]) -> dict[str, int]:
        """The settings of *values* that are this system's: idle and interval in seconds, rounded up, and count."""
        found = {}
        for place, (part, name) in enumerate(zip(("idle", "interval", "count"), self.names)):
            value = values.get(name)
            if value is not None:
                found[part] = int(value) if place == 2 else math.ceil(int(value) / self.per_second)
        return found

    def check(self, name: str, number: int) -> None:
        """Raise Failure ``out_of_kernel_range`` for what the setting *name* of this system cannot be."""
        most = dict(zip(self.names, self.largest)).get(name)
        if most is not None and not 1 <= number <= most:
            raise Failure(
                "out_of_kernel_range",
                f"set {name} to {number}",
                f"{self.label} takes 1 to {most}",
                f"Choose a number from 1 to {most}.",
                key=name,
                minimum=1,
                maximum=most,
            )


_BSD_NAMES = ("net.inet.tcp.keepidle", "net.inet.tcp.keepintvl", "net.inet.tcp.keepcnt")
# sysctl_msec_to_ticks() takes an int of milliseconds; setsockopt() takes UINT_MAX ticks, of which a second has 1000.
_BSD_LARGEST = (_INT, _INT, _INT)
_BSD_SOCKET = (4294967, 4294967, _INT)

LINUX = System(
    "linux",
    "Linux",
    ("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes"),
    1,
    (7200, 75, 9),
    (32767, 32767, 127),
    (32767, 32767, 127),
    user_timeout=True,
)
FREEBSD = System(
    "freebsd",
    "FreeBSD",
    _BSD_NAMES,
    1000,
    (7200, 75, 8),
    _BSD_SOCKET,
    _BSD_LARGEST,
    backoff=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 512, 512, 512),
)
DARWIN = System(
    "darwin",
    "macOS",
    _BSD_NAMES,
    1000,
    (7200, 75, 8),
    _BSD_SOCKET,
    _BSD_LARGEST,
    timer_runs_on=False,
    backoff=(1, 2, 4, 8, 16, 32, 64, 64, 64, 64, 64, 64, 64),
)
WINDOWS = System(
    "windows",
    "Windows",
    ("KeepAliveTime", "KeepAliveInterval"),
    1000,
    (7200, 1, 10),
    # PostgreSQL multiplies an int by 1000.
    (_INT // 1000, _INT // 1000, 0),
    (0xFFFFFFFF, 0xFFFFFFFF),
    count_is_settable=False,
    together=(7200, 1),
)
SYSTEMS = {system.name: system for system in (LINUX, DARWIN, FREEBSD, WINDOWS)}

#: The first retransmission on a path of short round trips, and the longest distance of two (FreeBSD, macOS): seconds.
SHORTEST, SLOP, LONGEST = 0.03, 0.2, 64


def arithmetic(name: str) -> System:
    """The system by its *name*; one that is not known is taken to be as Linux is."""
    return SYSTEMS.get(name, LINUX)


def named(name: t.Any, asked: str) -> System:
    """The system by its *name*. Raises Failure ``unknown_system``."""
    if name not in SYSTEMS:
        raise Failure("unknown_system", asked, f"{name!r} is no system known here", f"Choose {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]


def longest_retransmissions(system: System) -> float:
    """Seconds that BSD's retransmissions take at most before a connection is given up, whatever the round trip is."""
    return float(LONGEST * len(system.backoff))


def shortest_retransmissions(system: System) -> float:
    """Seconds from the first sending to the last retransmission on the shortest round trips, where they go quickest."""
    return sum(min(LONGEST, SHORTEST * times + SLOP) for times in system.backoff[:-1])
