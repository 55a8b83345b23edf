# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network namespace (and a private /etc/sysctl.d) of its own for each server, held open by a process."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

from . import places

ENTER = Path(__file__).with_name("enter_main.py")

# The holder lives as long as its standard input is open, that is at most as long as the process that started it, even
# if that one is killed. Then it ends the server, thawing it if need be, and removes the directory of the cluster.
HOLDER = """
set -eu
ip link set lo up
[ ! -d /etc/sysctl.d ] || mount -t tmpfs -o mode=755 tmpfs /etc/sysctl.d
echo ready
exec 2>/dev/null  # nobody may be left to read it, and writing then would kill this shell
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) || pid=
# Neither a zombie nor another process that got the number.
alive() { readlink "/proc/$pid/exe" 2>/dev/null | grep -q '/postgres$'; }
if [ -n "$pid" ] && alive; then
    pkill -CONT -P "$pid" || :
    kill -QUIT "$pid" && kill -CONT "$pid" || :
    for _ in $(seq 500); do alive || break; sleep 0.01; done
    alive && kill -KILL "$pid" && sleep 0.1 || :
fi
for _ in $(seq 50); do rm -rf "$1" && break; sleep 0.1; done
"""


def enter(pid: int, argv: t.Sequence[str | Path], user: str = "") -> list[str]:
    """The command line that runs *argv* in the namespaces of the process *pid*."""
    return [sys.executable, "-ISB", str(ENTER), str(pid), user, *map(str, argv)]


class Namespace:
    """The namespaces of one cluster. *network_of* is a process (of a container) whose network is to be joined."""

    def __init__(self, directory: Path, network_of: int | None = None) -> None:
        if network_of is not None:
            isolate = ["nsenter", f"--net=/proc/{network_of}/ns/net", "unshare", "--mount"]
        elif places.is_root():
            isolate = ["unshare", "--net", "--mount"]
        else:
            isolate = ["unshare", "--user", "--map-current-user", "--keep-caps", "--net", "--mount"]
        self._holder = subprocess.Popen(
            [*isolate, "sh", "-c", HOLDER, "sh", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # an interrupt from the terminal must not take it away before the tests are done
        )
        assert self._holder.stdout and self._holder.stderr
        if self._holder.stdout.readline() != b"ready\n":
            problem = self._holder.stderr.read().decode(errors="replace").strip()
            self.close()
            raise RuntimeError(f"no network namespace of our own: {problem}")

    @property
    def pid(self) -> int:
        """A process that is inside, as long as the namespace is open."""
        return self._holder.pid

    def argv(self, argv: t.Sequence[str | Path], user: str = "") -> list[str]:
        """The command line that runs *argv* inside, as *user* or as whoever runs it."""
        return enter(self.pid, argv, user)

    def close(self) -> None:
        """Ends whatever still runs of the cluster, and removes its directory."""
        assert self._holder.stdin and self._holder.stdout and self._holder.stderr
        self._holder.stdin.close()
        self._holder.wait()
        self._holder.stdout.close()
        self._holder.stderr.close()
