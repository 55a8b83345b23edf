# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the documentation site into .cache/site/html: docs as they are, and what antsibull-docs makes of plugins.

Every warning is an error, and nothing is downloaded. The pages lie as in the checkout, so that a relative link means
the same file on the site, on GitHub and in an editor; whether it does is checked before, by tools/_links.py.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import _links
import _tree

SITE = _tree.ROOT / ".cache" / "site"
SOURCE, COLLECTION, HTML = SITE / "source", SITE / "source" / "collection", SITE / "html"
PICTURES = ("docs/*.svg", "docs/*.png")


def environment() -> dict[str, str]:
    """The tools beside this interpreter, and this checkout as the collection."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(_tree.ROOT / ".ansible" / "collections"),
        "ANSIBLE_HOME": str(_tree.ROOT / ".cache" / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "PGHARDEN_ROOT": str(_tree.ROOT),
    }


def put(source: Path, target: Path) -> None:
    """Copy a file that differs, so that Sphinx reads only what changed."""
    if not (target.exists() and filecmp.cmp(source, target, shallow=False)):
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def forget_other_settings() -> None:
    """Sphinx keeps the pages that it has read, also when its settings would have it read them otherwise."""
    settings, kept = _tree.ROOT / "docs" / "site" / "conf.py", SITE / "conf.py"
    if not (kept.exists() and filecmp.cmp(settings, kept, shallow=False)):
        shutil.rmtree(SITE, ignore_errors=True)
        put(settings, kept)


def sources() -> None:
    """The source directory of Sphinx: no page in it that the checkout has no longer."""
    wanted = {SOURCE / "index.md": _tree.ROOT / "docs" / "site" / "index.md"}
    for pattern in (*_links.GUIDES, *PICTURES):
        wanted |= {SOURCE / path.relative_to(_tree.ROOT): path for path in _tree.ROOT.glob(pattern)}
    for target, source in wanted.items():
        put(source, target)
    for path in [*SOURCE.glob("*.*"), *SOURCE.glob("docs/**/*.*")]:
        if path not in wanted:
            path.unlink()


def reference() -> None:
    """The pages of modules, roles, filters and callbacks."""
    COLLECTION.mkdir(parents=True, exist_ok=True)
    for directory in (SITE, SOURCE, COLLECTION):
        directory.chmod(0o755)  # antsibull-docs wants it writable by nobody else
    options = ["--config-file", "docs/site/antsibull-docs.cfg", "collection", "--use-current", "--squash-hierarchy"]
    options += ["--cleanup", "everything", "--fail-on-error", "--dest-dir", str(COLLECTION)]
    subprocess.run(["antsibull-docs", *options, "pgharden.connection"], cwd=_tree.ROOT, env=environment(), check=True)


def main() -> int:
    broken = _links.broken()
    print(*broken, sep="\n", end="\n" if broken else "")
    if broken:
        return 1
    forget_other_settings()
    sources()
    reference()
    flags = [
        "-b",
        "html",
        "-c",
        "docs/site",
        "-d",
        str(SITE / "doctrees"),
        "-W",
        "--keep-going",
        "-n",
        "-q",
        "-j",
        "auto",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *flags, str(SOURCE), str(HTML)],
        cwd=_tree.ROOT,
        env=environment(),
        check=False,
    )
    if done.returncode:
        return done.returncode
    print(f"note: {len(list(HTML.rglob('*.html')))} pages, {HTML / 'index.html'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"status {error.returncode}: {' '.join(error.cmd)}")
