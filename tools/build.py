# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the collection's tarball and proves it: installed into an empty path, it is whole and documented."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import _tree

CACHE = _tree.ROOT / ".cache" / "build"


def main() -> int:
    shutil.rmtree(CACHE, ignore_errors=True)
    installed = CACHE / "collections"
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed)}

    def run(*command: str, cwd: Path = _tree.ROOT) -> None:
        print("$", *command, flush=True)
        subprocess.run(command, cwd=cwd, env=environment, check=True)

    # From a copy, so that nothing that merely lies about in the checkout gets into the tarball.
    source = _tree.copy(CACHE / "source")
    run("ansible-galaxy", "collection", "build", "--output-path", str(CACHE), cwd=source)
    tarball = next(CACHE.glob("*.tar.gz"))
    with tarfile.open(tarball) as archive:
        links = [member.name for member in archive if member.issym() or member.islnk()]
    if links:
        print(f"links in the tarball do not survive every way of installing: {links}")
        return 1
    run("ansible-galaxy", "collection", "install", str(tarball), "--collections-path", str(installed), "--offline")
    run("ansible-galaxy", "collection", "verify", "--offline", "pgharden.connection")
    run(sys.executable, str(_tree.ROOT / "tools" / "render_docs.py"))
    for playbook in sorted((source / "playbooks").glob("*.yml")):
        run("ansible-playbook", "--syntax-check", "-i", "localhost,", f"pgharden.connection.{playbook.stem}")
    final = Path(shutil.copy2(tarball, _tree.ROOT))
    print(f"note: {final.name}, {final.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"status {error.returncode}: {' '.join(error.cmd)}")
