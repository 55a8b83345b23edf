# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the module haproxy share: a real HAProxy to harden, and the options of its sockets."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from _hardening import profile
from support import run_module
from support.drivers import client_sockets
from support.haproxies import PROGRAM, HAProxy

NEEDED = pytest.mark.skipif(PROGRAM is None, reason="there is no haproxy")
ONE = pytest.mark.parametrize("major", [15])
Result = dict[str, t.Any]
#: What the profile web comes to: keepalive, idle, interval, count, user timeout (milliseconds).
WEB = (1, 35, 6, 6, 71_000)
#: The lines that a bare section gets.
ADDED = [
    *("\toption clitcpka", "\tclitcpka-idle 35s", "\tclitcpka-intvl 6s", "\tclitcpka-cnt 6"),
    *("\ttimeout client-fin 90s", "\toption srvtcpka", "\tsrvtcpka-idle 35s", "\tsrvtcpka-intvl 6s"),
    *("\tsrvtcpka-cnt 6", "\ttimeout connect 30s", "\ttimeout server 1d", "\ttimeout server-fin 90s"),
]


class Proxy(HAProxy):
    """With the module to harden it."""

    @property
    def revert_file(self) -> Path:
        return self.directory / "revert.json"

    def harden(self, *, check: bool = False, **options: t.Any) -> Result:
        """Run the module; without ``config_file`` in *options* it is told which one."""
        args = {
            "policy": profile("web"),
            "config_file": [str(self.config_file)],
            "revert_file": str(self.revert_file),
            **options,
        }
        given = {key: value for key, value in args.items() if value is not None}
        return run_module(self.cluster, "haproxy", given, check=check)

    def revert(self, *, check: bool = False) -> Result:
        return run_module(self.cluster, "revert", {"revert_file": str(self.revert_file)}, check=check)

    def legs(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The options of the sockets of a new session, towards the client and towards the server."""
        (worker,) = self.listening()
        with self.session() as session:
            assert session.local_port
            (client,) = client_sockets(worker, session.local_port).values()
            # By its port, because checks come and go beside it.
            ((port,),) = session.execute("SELECT inet_client_port()")
            server = client_sockets(worker, self.cluster.port)[port]
        return tuple(client), tuple(server)
