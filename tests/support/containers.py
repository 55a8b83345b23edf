# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that does nothing: it lends the file system of an image, and its network, to a server."""

from __future__ import annotations

import functools
import subprocess

from . import places


class Container:
    """Lives as long as its standard input is open: at most as long as this process, even if that is killed."""

    def __init__(self, image: str, name: str) -> None:
        _sweep()
        self.name = f"{places.PREFIX}{name}"
        mounts = [f"{places.base()}:{places.base()}"]
        # Peer authentication compares names: container and host have to agree on them.
        mounts += [f"{path}:{path}:ro" for path in ("/etc/passwd", "/etc/group")]
        self._client = subprocess.Popen(
            [
                *("docker", "run", "--rm", "--interactive", "--network=none", "--pid=host", "--name", self.name),
                *(f"--volume={mount}" for mount in mounts),
                *(image, "sh", "-c", "echo $$; exec cat >/dev/null"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._client.stdout and self._client.stderr
        first = self._client.stdout.readline()
        if not first.strip().isdigit():
            problem = self._client.stderr.read().decode(errors="replace").strip()
            self.close()
            raise RuntimeError(f"docker run {image}: {problem}")
        self.pid = int(first)

    def close(self) -> None:
        """Ends everything inside, and removes it."""
        assert self._client.stdin and self._client.stdout and self._client.stderr
        self._client.stdin.close()
        self._client.wait()
        self._client.stdout.close()
        self._client.stderr.close()


@functools.cache
def _sweep() -> None:
    """Remove what an earlier run left when the machine or the Docker Engine went down under it."""
    left = subprocess.run(
        ["docker", "ps", "--all", "--quiet", f"--filter=name=^{places.PREFIX}"]
        + [f"--filter=status={status}" for status in ("exited", "dead")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    if left:
        subprocess.run(["docker", "rm", "--force", *left], check=False, capture_output=True)
