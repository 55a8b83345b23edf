# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of the kernel (PGC2xx), a pure room: TCP sysctls of the server's network namespace, and its counters."""

from __future__ import annotations

import typing as t

from .. import _duration
from .._layers._sysctlconf import number
from ._host import KERNEL_VALUE, Facts, Host, number_of
from ._rule import Found, in_room, kernel, rule

#: What Linux starts with, in every new network namespace too.
_DEFAULTS = {
    "tcp_keepalive_time": 7200,
    "tcp_keepalive_intvl": 75,
    "tcp_keepalive_probes": 9,
    "tcp_retries2": 15,
    "tcp_syn_retries": 6,
    "tcp_fin_timeout": 60,
    "tcp_orphan_retries": 0,
}
_HARDEN = "Run pgharden.connection.harden with layer os, or module tcp_sysctl"
_OUTSIDE = "Set it where the container is made (docker run --sysctl, securityContext.sysctls of a pod)"
#: RFC 1122: a connection is not to be given up before 100 s, which are 8 retransmissions.
_FEW_RETRIES = 8
_MANY_ABORTS = 10


def _live(host: Host) -> t.Iterator[tuple[str, int, dict[str, t.Any]]]:
    """Each sysctl that was read: the last part of its name, its value, and what files say of it."""
    for key in _DEFAULTS:
        row = host.sysctl(key)
        value = number_of(row.get("value"))
        if value is not None:
            yield key, value, row


def _line(row: Facts) -> str:
    return f"{row.get('file')}:{row.get('line')}"


def _in_container(host: Host) -> bool:
    return host.part("kernel").get("namespace") == "other"


@rule("PGC201", "info", "A sysctl cannot be read", kernel)
def absent(host: Host) -> t.Iterator[Found]:
    for key in _DEFAULTS:
        row = host.sysctl(key)
        if row and row.get("value") is None:
            yield Found(
                f"net.ipv4.{key}",
                f"{row.get('reason')}: Linux's default is taken for it, {_DEFAULTS[key]}",
                "Nothing, if the kernel lacks it (absent); else see who may read /proc/sys.",
            )


@rule("PGC202", "warning", "A sysctl is lost at the next boot", kernel)
def not_persistent(host: Host) -> t.Iterator[Found]:
    for key, value, row in _live(host):
        if value != _DEFAULTS[key] and not row.get("persistent") and not _in_container(host):
            yield Found(
                f"net.ipv4.{key}",
                f"{value} is in force, and no file sets it: after a boot it is {_DEFAULTS[key]}",
                f"{_HARDEN}: both write a file in /etc/sysctl.d.",
            )


@rule("PGC203", "warning", "A sysctl is not what the files say", kernel)
def differs_from_file(host: Host) -> t.Iterator[Found]:
    for key, value, row in _live(host):
        line = row.get("persistent") or {}
        wanted = number(line.get("value"))
        if wanted not in (None, value) and not _in_container(host):
            yield Found(
                f"net.ipv4.{key}",
                f"{value} is in force, and {_line(line)} says {wanted}: it changes at the next boot",
                f"{_HARDEN}, or run sysctl --system.",
            )


@rule("PGC204", "warning", "A sysctl file of this machine loses to another one", kernel)
def other_file_wins(host: Host) -> t.Iterator[Found]:
    for key in _DEFAULTS:
        row = host.sysctl(key)
        winner = row.get("persistent") or {}
        losers = [
            f"{_line(line)} ({line.get('value')})"
            for line in row.get("overridden") or ()
            if str(line.get("file")).startswith("/etc/") and number(line.get("value")) != number(winner.get("value"))
        ]
        if losers:
            yield Found(
                f"net.ipv4.{key}",
                f"{', '.join(losers)}: {_line(winner)} ({winner.get('value')}) is read later",
                "Keep one of the lines.",
            )


@rule("PGC205", "warning", "tcp_retries2 gives connections up too soon", kernel)
def few_retries(host: Host) -> t.Iterator[Found]:
    retries = number_of(host.sysctl("tcp_retries2").get("value"))
    if retries is not None and retries < _FEW_RETRIES:
        yield Found(
            "net.ipv4.tcp_retries2",
            f"{retries}: every connection of this host is given up after so many retransmissions, the database's and "
            "all others",
            "Leave it at 15, and bound the server's own connections by tcp_user_timeout (detect_dead_peer_within).",
        )


@rule("PGC206", "info", "The kernel's own keepalive begins after an hour or later", kernel)
def late_keepalive(host: Host) -> t.Iterator[Found]:
    seconds = number_of(host.sysctl("tcp_keepalive_time").get("value"))
    if seconds is not None and seconds >= 3600:
        yield Found(
            "net.ipv4.tcp_keepalive_time",
            f"{_duration.human(seconds)}, for IPv6 as well: that is what programs get that turn keepalive on and "
            "set no times, such as drivers, poolers and proxies",
            f"{_HARDEN}.",
        )


@rule("PGC207", "warning", "The machine's sysctls do not reach this container", kernel)
def container(host: Host) -> t.Iterator[Found]:
    keys = [key for name, key in KERNEL_VALUE.items() if host.value(name) == 0]
    values = {key: value for key, value, _row in _live(host) if key in keys}
    if host.over_tcp and _in_container(host) and values and all(values[key] == _DEFAULTS[key] for key in values):
        shown = ", ".join(f"{key} = {value}" for key, value in values.items())
        yield Found(
            "network namespace",
            f"the server leaves its keepalive to the kernel, and its network namespace has Linux's defaults ({shown}): "
            "a new namespace inherits nothing",
            f"{_OUTSIDE}, or run {host.hardening}: the server then has values of its own for each socket.",
        )


@rule("PGC208", "warning", "Nothing applies the sysctl files of a container", kernel)
def file_in_container(host: Host) -> t.Iterator[Found]:
    for key, value, row in _live(host):
        line = row.get("persistent") or {}
        wanted = number(line.get("value"))
        if wanted not in (None, value) and _in_container(host):
            yield Found(
                f"net.ipv4.{key}",
                f"{_line(line)} says {wanted}, {value} is in force, and a container has no boot",
                f"{_OUTSIDE}.",
            )


@rule("PGC209", "info", "The kernel has given up connections whose peer did not answer", kernel)
def aborted(host: Host) -> t.Iterator[Found]:
    count = number_of(host.part("kernel", "counters").get("TCPAbortOnTimeout")) or 0
    if count >= _MANY_ABORTS:
        yield Found(
            "TCPAbortOnTimeout",
            f"{count} connections since this network namespace was made, those of other programs among them",
            "Run pgharden.connection.diagnose to see which, and when.",
        )


@rule("PGC210", "warning", "The kernel has turned logins away", kernel)
def overflowed(host: Host) -> t.Iterator[Found]:
    count = number_of(host.part("kernel", "counters").get("ListenOverflows")) or 0
    if count and host.server:
        yield Found(
            "ListenOverflows",
            f"{count} connections found a program's accept queue full since this network namespace was made",
            "Pool connections (profile pooled). ss -lnt shows whose queue is full, in Recv-Q.",
        )


RULES = in_room(globals())
