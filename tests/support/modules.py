# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs this collection's modules and playbooks as Ansible does, on the host of a throwaway server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

from . import places
from .servers import Cluster

MAIN = Path(__file__).with_name("run_module_main.py")


def module_argv(
    cluster: Cluster | None, module_name: str, *, as_user: str | None = None, prefix: t.Sequence[str] = ()
) -> list[str]:
    """The command line of a module, after *prefix*; it reads its arguments, by `module_input`, from standard input."""
    argv = [*prefix, sys.executable, str(MAIN), str(places.COLLECTIONS), module_name, as_user or ""]
    return cluster.argv(argv) if cluster else argv


def module_input(args: dict[str, t.Any], *, check: bool = False, diff: bool = True) -> str:
    """What a module's process reads from standard input."""
    return json.dumps({**args, "_ansible_check_mode": check, "_ansible_diff": diff})


def run_module(
    cluster: Cluster | None,
    module_name: str,
    args: dict[str, t.Any],
    *,
    check: bool = False,
    diff: bool = True,
    as_user: str | None = None,
    env: dict[str, str] | None = None,
    timeout: float = 120,
    prefix: t.Sequence[str] = (),
) -> dict[str, t.Any]:
    """Run plugins/modules/*module_name*.py in a process of its own; its result, and its exit code as ``rc``."""
    done = subprocess.run(
        module_argv(cluster, module_name, as_user=as_user, prefix=prefix),
        input=module_input(args, check=check, diff=diff),
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **(env or {})},
    )
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(
            f"{module_name} ended with {done.returncode} and no result\n{done.stdout}\n{done.stderr}"
        ) from None
    return {**result, "rc": done.returncode}


class PlaybookResult(t.NamedTuple):
    """What ansible-playbook said."""

    rc: int
    stdout: str
    stderr: str


def run_playbook(
    cluster: Cluster | None,
    playbook: str | Path,
    *arguments: str,
    inventory: str | Path = "localhost,",
    env: dict[str, str] | None = None,
    cwd: str | Path | None = None,
    timeout: float = 300,
) -> PlaybookResult:
    """Run ansible-playbook, with connections of the kind local unless the inventory says otherwise."""
    argv = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(playbook), *arguments]
    with tempfile.TemporaryDirectory(prefix=places.PREFIX) as home:
        done = subprocess.run(
            cluster.argv(argv) if cluster else argv,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env={
                **os.environ,
                "ANSIBLE_COLLECTIONS_PATH": str(places.COLLECTIONS),
                "ANSIBLE_HOME": home,
                "ANSIBLE_REMOTE_TEMP": home,
                "ANSIBLE_TRANSPORT": "local",
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_RETRY_FILES_ENABLED": "0",
                **(env or {}),
            },
        )
    return PlaybookResult(done.returncode, done.stdout, done.stderr)
