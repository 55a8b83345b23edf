# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy kernel room: what the kernel shows of its sockets on both legs, of a new connection and of open ones."""

from __future__ import annotations

import socket
import time
import typing as t

from .. import _hop_run, _kernel
from .._errors import Failure
from .._path._hops import Socket
from . import _haproxy_process, _haproxy_sections, _haproxy_settings
from ._haproxy_process import Instance
from ._haproxycfg import Section

_PATIENCE = 2.0
_POLL = 0.02
_BETWEEN_LOOKS = 0.2
_HERE = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}

Sockets = t.List[_kernel.TcpSocket]


def verify(instance: Instance, config: t.Sequence[Section], chosen: t.Sequence[Section]) -> list[str]:
    """Connect to each address of the *chosen* sections and look at both legs; gives notes on what could not be seen.

    Nothing is sent: PostgreSQL logs nothing of such a connection. Raises Failure ``not_in_force``.
    """
    if not _haproxy_process.same_network(instance.pid):
        return ["HAProxy has a network of its own, so its sockets were not looked at after the reload."]
    notes = []
    for section in chosen:
        for host, port in _addresses(section):
            try:
                connection = socket.create_connection((host, port), timeout=_PATIENCE)
            except OSError as error:
                raise Failure(
                    "not_in_force",
                    f"connecting to {section.label} at {host}:{port}",
                    f"it failed after the reload: {error}",
                    "See the log of HAProxy.",
                ) from error
            with connection:
                notes += _both_legs(instance, config, section, connection)
    return notes


def _both_legs(
    instance: Instance, config: t.Sequence[Section], section: Section, connection: socket.socket
) -> list[str]:
    host, port = connection.getpeername()[:2]
    client = connection.getsockname()[:2]
    own = {one for other in config for one in _haproxy_sections.bind_ports(other)}
    targets = _haproxy_sections.targets(config, section)
    legs: list[tuple[str, Socket | None, t.Callable[[_kernel.TcpSocket], bool]]] = [
        (
            f"the client's side of {section.label} ({host}:{port})",
            _haproxy_sections.client_side(config, [section]),
            lambda one: one.local[1] == port and one.remote == client,
        )
    ]
    for target in targets:
        ports = _haproxy_sections.server_ports(target) or {port}
        legs.append(
            (
                f"the servers' side of {target.label}",
                _haproxy_sections.server_side([target]),
                lambda one, ports=ports: one.remote[1] in ports and one.local[1] not in own,  # type: ignore[misc]
            )
        )
    notes = []
    for name, wanted, is_it in legs:
        seen, wrong = _settled(instance, wanted, is_it)
        if wrong:
            raise Failure(
                "not_in_force",
                f"the keepalive of {name}",
                f"the kernel shows of a new connection: {wrong[0]['detail']}",
                "See the log of HAProxy.",
            )
        if not seen:
            notes.append(f"The kernel showed no connection on {name}, so what is in force there was not seen.")
    return notes


def _settled(
    instance: Instance, wanted: Socket | None, is_it: t.Callable[[_kernel.TcpSocket], bool]
) -> tuple[Sockets, list[dict[str, t.Any]]]:
    """The sockets of a leg, and what is wrong with them: a new one needs a moment until it has all of its options."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        seen = [one for pid in instance.listening for one in _kernel.of_process(pid) if is_it(one)]
        wrong = _hop_run.stale(seen, wanted) if wanted else []
        if (seen and not wrong) or time.monotonic() > deadline:
            return seen, wrong
        time.sleep(_POLL)


def _addresses(section: Section) -> list[tuple[str, int]]:
    """Where *section* can be reached from here; one port of a range."""
    found = []
    for line in _haproxy_settings.tcp_lines(section, "bind") if _haproxy_settings.has_clients(section) else ():
        for address in line.text(1).split(","):
            family, _at, place = address.rpartition("@")
            host, _colon, port = place.rpartition(":")
            host, port = host.strip("[]"), port.partition("-")[0]
            if family == "ipv6" and host in ("", "*"):
                host = "::"
            if port.isdigit() and not line.words[1].variable:
                found.append((_HERE.get(host, host), int(port)))
    return found


def stale_sockets(
    instance: Instance, config: t.Sequence[Section], chosen: t.Sequence[Section]
) -> list[dict[str, t.Any]]:
    """The connections of *chosen* sections that run on older options, or are held by processes from before a reload.

    A connection that comes at this moment has not got its options yet, so only what two looks show counts.
    """
    first = _stale_now(instance, config, chosen)
    if not first:
        return []
    time.sleep(_BETWEEN_LOOKS)
    ends = {(row["local"], row["remote"]) for row in first}
    return [row for row in _stale_now(instance, config, chosen) if (row["local"], row["remote"]) in ends]


def _stale_now(instance: Instance, config: t.Sequence[Section], chosen: t.Sequence[Section]) -> list[dict[str, t.Any]]:
    own = {one for section in config for one in _haproxy_sections.bind_ports(section)}
    legs: list[tuple[Socket | None, t.Callable[[_kernel.TcpSocket], bool]]] = []
    for section in chosen:
        ports = _haproxy_sections.bind_ports(section)
        servers = _haproxy_sections.server_ports(section)
        legs += [
            (
                _haproxy_sections.client_side(config, [section]),
                lambda one, ports=ports: one.local[1] in ports,  # type: ignore[misc]
            ),
            (
                _haproxy_sections.server_side([section]),
                lambda one, ports=servers: one.remote[1] in ports and one.local[1] not in own,  # type: ignore[misc]
            ),
        ]
    found = []
    for one in _haproxy_process.instances(instance.files):
        for pid in sorted(one.family):
            sockets = _kernel.of_process(pid)
            for wanted, is_it in legs:
                mine = [each for each in sockets if is_it(each)]
                if wanted and pid in one.listening:
                    found += _hop_run.stale(mine, wanted)
                elif wanted:
                    detail = f"process {pid} holds it, which is from before a reload"
                    found += [_hop_run.row(each, detail) for each in mine]
    return found
