# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the README's commands in a fresh copy of the checkout.

Run are the blocks of shell below a line `<!-- run -->`. A line is a command, unless a backslash continues it; the
commands of a block share one shell, which starts at the copy's root.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import _tree

BLOCK = re.compile(r"^<!-- run -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_HERE = {"make test"}  # this is a part of it


def commands(block: str) -> list[str]:
    lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def environment(home: Path) -> dict[str, str]:
    """A reader's: without the tools of .venv, and nothing that a previous stage told Ansible."""
    venv = str(_tree.ROOT / ".venv" / "bin")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MAKE", "MFLAGS"))}
    kept.pop("VIRTUAL_ENV", None)
    kept["PATH"] = os.pathsep.join(place for place in os.environ["PATH"].split(os.pathsep) if place != venv)
    kept["ANSIBLE_HOME"] = str(home)
    return kept


def main() -> int:
    passed = failed = skipped = 0
    blocks = BLOCK.findall((_tree.ROOT / "README.md").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="pgharden-readme-") as directory:
        clone = _tree.copy(Path(directory) / "connection")
        for block in blocks:
            script = ["set -eu -o pipefail"]
            for command in commands(block):
                if command in NOT_HERE:
                    skipped += 1
                else:
                    script += [f"echo {shlex.quote('$ ' + command)}", command, "echo ok"]
            process = subprocess.run(
                ["bash", "-c", "\n".join(script)],
                cwd=clone,
                env=environment(Path(directory) / "ansible-home"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            print(process.stdout, end="", flush=True)
            passed += process.stdout.splitlines().count("ok")
            if process.returncode:
                failed += 1
                print(f"status {process.returncode}: the README's last command above")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
