# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the managed hosts compiles with Python 3.8, and the pure rooms can be imported there.

ansible-test's own matrix begins with a later Python. Without a Python 3.8 on this machine it is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".ansible" / "collections"

# Runs on the old Python.
CHECK = """\
import importlib, sys
pure, others = sys.argv[1].split(), sys.argv[2].split()
bad = 0
for path in pure + others:
    try:
        with open(path, encoding="utf-8") as file:
            compile(file.read(), path, "exec")
        if path in pure:
            importlib.import_module("ansible_collections.pgharden.connection." + path[: -len(".py")].replace("/", "."))
    except Exception as error:
        bad += 1
        print(path + ": " + type(error).__name__ + ": " + str(error))
print("%d passed, %d failed" % (len(pure + others) - bad, bad))
sys.exit(bad != 0)
"""


def python38() -> str | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    # pyenv's shims exist also for what is not selected, so its versions come first.
    places = [*(str(place) for place in pyenv.glob("versions/3.8.*/bin")), os.environ["PATH"]]
    return shutil.which("python3.8", path=os.pathsep.join(places))


def main() -> int:
    python = python38()
    if not python:
        print("0 passed, 0 failed, 1 skipped")
        return 0
    pure = (ROOT / "tools" / "pure-rooms").read_text(encoding="utf-8").split()
    remote = [
        str(path.relative_to(ROOT))
        for part in ("modules", "module_utils")
        for path in (ROOT / "plugins" / part).rglob("*.py")
    ]
    others = sorted(set(remote) - set(pure))
    environment = {**os.environ, "PYTHONPATH": str(COLLECTIONS), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-c", CHECK, " ".join(pure), " ".join(others)]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
