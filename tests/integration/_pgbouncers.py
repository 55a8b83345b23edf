# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the module pgbouncer share: one to harden, and what it says of itself without the module."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from _hardening import Result, profile, wait_for
from support import Cluster, run_module, sockets
from support.pgbouncers import ADMIN_PASSWORD, SERVER_PASSWORD, PgBouncer

#: What profile web comes to; a second witness beside the plan.
WEB = {"tcp_keepidle": "35", "tcp_keepintvl": "6", "tcp_keepcnt": "6", "tcp_user_timeout": "71000"}


class Pooler:
    """A PgBouncer and what modules are to do with it."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.pgbouncer = PgBouncer(cluster)
        self.revert_file = directory / "revert.json"

    def harden(
        self, policy: t.Any = None, *, check: bool = False, as_user: str | None = None, without: str = "", **more: t.Any
    ) -> Result:
        """Run the module on the PgBouncer; no result of any run has a secret, and none is a traceback.

        *without* is a capability that is given up before.
        """
        args = {"config_file": str(self.pgbouncer.config_file), "revert_file": str(self.revert_file), **more}
        args = {key: value for key, value in args.items() if value is not None}
        args["policy"] = profile("web") if policy is None else policy
        return self._run("pgbouncer", args, check, as_user, without)

    def revert(self, *, check: bool = False, without: str = "") -> Result:
        return self._run("revert", {"revert_file": str(self.revert_file)}, check, None, without)

    def _run(self, name: str, args: dict[str, t.Any], check: bool, as_user: str | None, without: str = "") -> Result:
        prefix = ["setpriv", f"--bounding-set=-{without}"] if without else []
        result = run_module(self.cluster, name, args, check=check, as_user=as_user, prefix=prefix)
        assert "exception" not in result, result
        text = json.dumps({key: value for key, value in result.items() if key != "invocation"})
        assert SERVER_PASSWORD not in text
        assert ADMIN_PASSWORD not in text
        return result

    def state(self) -> dict[str, t.Any]:
        """Everything that the module could change."""
        pgbouncer = self.pgbouncer
        files = {}
        for path in pgbouncer.directory.iterdir():
            if path.suffix in (".ini", ".txt"):
                status = path.lstat()
                files[path.name] = (path.read_bytes(), status.st_mode, status.st_uid, status.st_gid)
        in_force = pgbouncer.config_in_force() if pgbouncer.running else {}
        return {"files": files, "in force": in_force, "record": self.revert_file.exists()}

    def timers(self) -> dict[str, list[float]]:
        """Seconds on the keepalive timers of PgBouncer's established sockets, as ss says, by leg.

        None of them may wait for an acknowledgement, for then it has another timer; that takes 0.2 s at most.
        """

        def settled() -> dict[str, list[float]] | None:
            found: dict[str, list[float]] = {"client": [], "server": []}
            for one in sockets.parse(self.cluster.run([*sockets.COMMAND, "--processes"], check=True).stdout):
                if one.state != "ESTAB" or '"pgbouncer"' not in one.info:
                    continue
                if one.timer not in ("keepalive", None):
                    return None
                leg = "client" if one.local_port == self.pgbouncer.port else "server"
                found[leg].append(-1 if one.seconds is None else one.seconds)
            return found

        return t.cast("dict[str, list[float]]", wait_for(settled))
