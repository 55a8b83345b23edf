# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has galaxy-importer read the tarball that tools/build.py made, as Galaxy does with an upload.

Off are ansible-lint and ansible-test, which are stages of their own here with all of their rules. What Galaxy's page
of the collection will say is compared with what is there: every plugin and role, and the README.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

import _tree

REQUIREMENTS = _tree.ROOT / "requirements" / "galaxy-importer.txt"
VENV = _tree.ROOT / ".cache" / "galaxy-importer"
PLUGINS = {"modules": "module", "filter": "filter", "callback": "callback", "action": "action"}


def environment() -> Path:
    """The interpreter that has galaxy-importer; made anew when its requirements or the checkout's place change."""
    python, stamp = VENV / "bin" / "python", VENV / ".setup"
    wanted = f"{VENV}\n{sys.version}\n{REQUIREMENTS.read_text(encoding='utf-8')}"
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == wanted):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", str(REQUIREMENTS)], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def expected() -> set[tuple[str, str]]:
    """Kind and name of what the checkout has for users."""
    found = {
        (kind, path.stem)
        for directory, kind in PLUGINS.items()
        for path in (_tree.ROOT / "plugins" / directory).glob("[!_]*.py")
    }
    return found | {("role", path.parent.parent.name) for path in _tree.ROOT.glob("roles/*/meta/argument_specs.yml")}


def problems(said: str, result: dict[str, t.Any]) -> list[str]:
    """A line for each complaint of the importer, and for what its result lacks."""
    found = [line for line in said.splitlines() if re.match(r"(WARNING|ERROR|CRITICAL): ", line)]
    shown = {(row["content_type"], row["name"]) for row in result["contents"]}
    found += [f"Galaxy would not show {kind} {name}" for kind, name in sorted(expected() - shown)]
    documented = {
        (row["content_type"], row["content_name"])
        for row in result["docs_blob"]["contents"]
        if row["doc_strings"] or row["readme_html"]
    }
    wanted = {row for row in expected() if row[0] != "action"}  # a module documents its action
    found += [f"Galaxy would show no documentation of {kind} {name}" for kind, name in sorted(wanted - documented)]
    readme = result["docs_blob"]["collection_readme"]["html"]
    if "```" in readme:
        found.append("Galaxy would not render a fenced block of README.md: its info string is more than a language")
    return found


def main() -> int:
    (tarball,) = _tree.ROOT.glob("pgharden-connection-*.tar.gz")
    python = environment()
    with tempfile.TemporaryDirectory(prefix="pgharden-importer-") as scratch:
        settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": scratch,
            "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false",
            "GALAXY_IMPORTER_RUN_ANSIBLE_TEST": "false",
        }
        command = [str(python), "-m", "galaxy_importer.main", str(tarball)]
        done = subprocess.run(command, cwd=scratch, env=settings, check=False, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        report = Path(scratch) / "importer_result.json"
        if done.returncode or not report.exists():
            print(f"galaxy-importer: status {done.returncode}")
            return 1
        result = json.loads(report.read_text(encoding="utf-8"))
    found = problems(done.stdout + done.stderr, result)
    print(*found, sep="\n")
    print(f"{len(expected())} passed, {len(found)} failed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
