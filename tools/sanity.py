# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test sanity, all of its tests, on a copy that lies where ansible-test wants a collection to lie."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import _tree

# ansible-test downloads a script that installs pip. For an offline machine, one that has a package index but cannot
# reach ansible-test's file host, this does the same with the pip that Python itself brings.
STAND_IN = """\
import ensurepip, glob, os, sys
sys.path.insert(0, glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))[0])
from pip._internal.cli.main import main
sys.exit(main(["install"] + [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel")]))
"""
WANTS_DOWNLOAD = re.compile(r"can be manually downloaded and saved to: (.+)$", re.MULTILINE)


def search_path() -> str:
    """The interpreters themselves instead of a version manager's shims, which exist also for what is not installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [place for place in os.environ["PATH"].split(os.pathsep) if Path(place) != pyenv / "shims"]
    return os.pathsep.join([*places, *(str(place) for place in sorted(pyenv.glob("versions/*/bin")))])


def ansible_test(collection: Path) -> tuple[int, str]:
    process = subprocess.Popen(
        ["ansible-test", "sanity", "--local", "--requirements", "--color", "no"],
        cwd=collection,
        env={**os.environ, "PATH": search_path()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        print(line, end="", flush=True)
    return process.wait(), "".join(lines)


def main() -> int:
    place = Path(".cache/sanity/ansible_collections/pgharden/connection").resolve()
    collection = _tree.copy(place)
    ignores = [str(path.relative_to(collection)) for path in collection.glob("tests/sanity/ignore*")]
    if ignores:
        print(f"Sanity findings are mended, not ignored: {', '.join(ignores)}")
        return 1
    code, output = ansible_test(collection)
    wanted = WANTS_DOWNLOAD.search(output)
    if code and wanted:
        print("The file host cannot be reached; using the pip that Python brings.", flush=True)
        stand_in = Path(wanted.group(1))
        stand_in.write_text(STAND_IN, encoding="utf-8")
        try:
            code, output = ansible_test(collection)
        finally:
            stand_in.unlink()
    ran = len(re.findall(r"^Running sanity test ", output, re.MULTILINE))
    failed = re.search(r"^FATAL: The (\d+) sanity test\(s\) listed below", output, re.MULTILINE)
    failures = int(failed.group(1)) if failed else int(code != 0)
    skipped = len(set(re.findall(r"^WARNING: Skipping sanity test .*$", output, re.MULTILINE)))  # it says so twice
    print(f"{ran - failures} passed, {failures} failed, {skipped} skipped")
    return code or int(ran == 0)


if __name__ == "__main__":
    sys.exit(main())
