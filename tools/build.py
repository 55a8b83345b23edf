# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the collection's tarball and proves it: installed into an empty path, it is whole and documented."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import _tree
import tarball as tarball_of

CACHE = _tree.ROOT / ".cache" / "build"


def main() -> int:
    shutil.rmtree(CACHE, ignore_errors=True)
    installed = CACHE / "collections"
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(installed)}

    # Behind the installed one, whose name is the same: the collections of which a role uses a module if they are there.
    others = f"{installed}{os.pathsep}{_tree.ROOT / '.ansible' / 'collections'}"

    def run(*command: str, **more: str) -> None:
        print("$", *command, flush=True)
        subprocess.run(command, cwd=_tree.ROOT, env={**environment, **more}, check=True)

    tarball = tarball_of.build(CACHE)
    with tarfile.open(tarball) as archive:
        members = archive.getmembers()
    links = [member.name for member in members if member.issym() or member.islnk()]
    if links:
        print(f"links in the tarball do not survive every way of installing: {links}")
        return 1
    run("ansible-galaxy", "collection", "install", str(tarball), "--collections-path", str(installed), "--offline")
    run("ansible-galaxy", "collection", "verify", "--offline", "pgharden.connection")
    run(sys.executable, str(_tree.ROOT / "tools" / "render_docs.py"))
    for playbook in sorted((_tree.ROOT / "playbooks").glob("*.yml")):
        check = ["ansible-playbook", "--syntax-check", "-i", "localhost,", f"pgharden.connection.{playbook.stem}"]
        run(*check, ANSIBLE_COLLECTIONS_PATH=others)
    final = Path(shutil.copy2(tarball, _tree.ROOT))
    digest = hashlib.sha256(final.read_bytes()).hexdigest()
    print(f"note: {final.name}, {len(members)} entries, {final.stat().st_size / 1024:.0f} KiB, sha256 {digest[:12]}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"status {error.returncode}: {' '.join(error.cmd)}")
