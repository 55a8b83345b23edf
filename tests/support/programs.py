# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that a scenario of molecule runs on its machines: orders in, answers out, a line of JSON each."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import subprocess
import threading
import typing as t
from pathlib import Path

import testinfra


@functools.cache
def machine(name: str) -> t.Any:
    """A machine of the scenario that runs, as testinfra has it."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=os.environ["MOLECULE_INVENTORY_FILE"])


class Program(contextlib.AbstractContextManager["Program"]):
    """Python *source* on a machine, as *user*; it ends when its input does, even if this process is killed."""

    def __init__(self, name: str, user: str, source: Path) -> None:
        self.name = name
        container = machine(name).ansible.get_variables()["ansible_host"]
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", f"--user={user}", container, "python3", "-c", source.read_text()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, limit: float = 120, /, **order: t.Any) -> t.Any:
        """Give an order, and wait up to *limit* seconds for its answer."""
        assert self._process.stdin
        print(json.dumps(order), file=self._process.stdin, flush=True)
        line = self._answers.get(timeout=limit)
        assert line, f"{self.name} ended early; its last words are above"
        return json.loads(line)

    def __exit__(self, *_exception: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
