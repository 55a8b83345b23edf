# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Namespace, a drill's way that needs root: each client in a network of its own, whose link to this host is cut.

Host and client are the two ends of a pair of virtual interfaces with addresses of TEST-NET-1 (RFC 5737). The client's
network has no name: it goes with the client. The host's end is deleted by name, since a socket that nobody answers can
keep the network of a dead client, and with it the pair, alive for minutes.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import subprocess
import typing as t

from .._errors import Failure

_CLONE_NEWNET = 0x40000000
_NAME = re.compile("pgd([0-9a-f]{8})[0-9a-f]{2}")
_MOST = 64  # networks of four addresses in TEST-NET-1


class Link(t.NamedTuple):
    """A pair of interfaces: *host* stays on this host, *client* goes to the client's network."""

    host: str
    client: str
    host_address: str
    client_address: str

    def connect(self, pid: int) -> None:
        """On the host: make the pair, and give process *pid* its end."""
        _ip("link", "add", self.host, "type", "veth", "peer", "name", self.client, "netns", str(pid))
        _ip("address", "add", f"{self.host_address}/30", "dev", self.host)
        _ip("link", "set", self.host, "up")

    def enter(self) -> None:
        """In the client: use its end."""
        _ip("address", "add", f"{self.client_address}/30", "dev", self.client)
        self.up()

    def up(self) -> None:
        _ip("link", "set", self.client, "up")

    def down(self) -> None:
        """In the client: cut it, as a cable is. The host's own end has to stay up, or its packets take another way."""
        _ip("link", "set", self.client, "down")


def link(number: int, index: int) -> Link:
    """The pair of client *index* of the drill *number*."""
    if index >= _MOST:
        raise Failure("too_many_cells", f"{index + 1} cells", f"there is room for {_MOST}", "Drill fewer at once.")
    name = f"pgd{number & 0xFFFFFFFF:08x}{index:02x}"
    return Link(name, f"{name}c", f"192.0.2.{4 * index + 1}", f"192.0.2.{4 * index + 2}")


def leave() -> None:
    """Put this process into a network of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
    _ip("link", "set", "lo", "up")


def only_one() -> socket.socket:
    """Keep other drills with namespaces off this host until what is returned is closed, or this process ends."""
    guard = socket.socket(socket.AF_UNIX)
    try:
        guard.bind("\0pgharden.connection drill")
    except OSError:
        guard.close()
        raise Failure(
            "another_drill",
            "a drill with method namespace",
            "another one is under way on this host, and the addresses are the same",
            "Wait until it has ended, or use method socket.",
        ) from None
    return guard


def remove(names: t.Iterable[str]) -> None:
    """Delete the host's ends of these pairs, unless the kernel has been faster."""
    for name in names:
        try:
            _ip("link", "delete", name)
        except Failure:
            if name in present():
                raise


def present() -> list[str]:
    """The names of the pairs there are: of this drill, or, under `only_one`, left behind by one that was killed."""
    found = json.loads(_ip("-json", "link", "show", "type", "veth") or "[]")
    return [row["ifname"] for row in found if _NAME.fullmatch(row.get("ifname", ""))]


def _ip(*arguments: str) -> str:
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
            ["ip", *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise Failure(
            "missing_program",
            "a drill with method namespace",
            "the program ip is not there",
            "Install iproute2, or use method socket.",
        ) from None
    if done.returncode:
        raise Failure(
            "no_namespace",
            f"ip {' '.join(arguments)}",
            " ".join(done.stderr.split()) or f"it ended with {done.returncode}",
            "Use method socket, which needs nothing of this.",
        )
    return done.stdout
