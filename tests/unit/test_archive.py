# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms in a zip archive, as AnsiballZ ships them to a host."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections/pgharden/connection"
ROOMS = f"{PACKAGE}/plugins/module_utils".replace("/", ".")

IMPORTING = f"""
import json, sys
compiled = []
sys.addaudithook(lambda event, args: event == "compile" and compiled.append(str(args[1])))
sys.path.insert(0, sys.argv[1])
from {ROOMS} import _info
from {ROOMS}._layers import _os
print(json.dumps([compiled, _os.__file__, _os.__spec__.origin, sys.modules["{ROOMS}._layers"].__file__]))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "payload.zip"
    with zipfile.ZipFile(path, "w") as payload:
        for part in ("ansible_collections", "ansible_collections/pgharden", PACKAGE, f"{PACKAGE}/plugins"):
            payload.writestr(f"{part}/__init__.py", "")
        for file in sorted((ROOT / "plugins" / "module_utils").rglob("*.py")):
            payload.write(file, f"{PACKAGE}/{file.relative_to(ROOT)}")
    return path


def test_each_room_is_compiled_once(archive: Path) -> None:
    command = [sys.executable, "-c", IMPORTING, str(archive)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=True)
    compiled, file, origin, package = json.loads(done.stdout)
    times = collections.Counter(one for one in compiled if one.startswith(str(archive)) and "module_utils/_" in one)
    assert len(times) > 20
    # Python looks up the package itself before it can say how.
    own = f"{archive}/{PACKAGE}/plugins/module_utils"
    assert {name: count for name, count in times.items() if count > 1 and name != f"{own}/__init__.py"} == {}
    assert file == origin == f"{own}/_layers/_os.py"
    assert package == f"{own}/_layers/__init__.py"


def test_error_in_a_room_shows_its_line(archive: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(archive)!r}); from {ROOMS} import _duration; _duration.parse('x', [])"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False)
    assert f'File "{archive}/{PACKAGE}/plugins/module_utils/_duration.py", line ' in done.stderr
    assert "raise Failure(" in done.stderr
