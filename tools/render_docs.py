# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-doc renders every module, plugin and role of the collection that the environment points to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

COLLECTION = "pgharden.connection"
ROOT = Path(__file__).resolve().parent.parent
# Where the files lie, and what ansible-doc calls them.
KINDS = {"modules": "module", "callback": "callback", "filter": "filter", "lookup": "lookup", "test": "test"}

# ansible-core warns about a collection inside itself whenever it looks at roles.
ANSIBLE_ITSELF = "_protomatter"


def ansible_doc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ansible-doc", *arguments], check=False, capture_output=True, text=True)


def expected() -> list[tuple[str, str]]:
    """What must be there, from the checkout itself: (kind, full name)."""
    found = []
    for directory, kind in KINDS.items():
        for path in sorted((ROOT / "plugins" / directory).glob("[!_]*.py")):
            found.append((kind, f"{COLLECTION}.{path.stem}"))
    found += [
        ("role", f"{COLLECTION}.{path.parent.parent.name}") for path in sorted(ROOT.glob("roles/*/meta/main.yml"))
    ]
    return found


def main() -> int:
    failed = 0
    listed = {}
    wanted = expected()
    for kind, name in wanted:
        if kind not in listed:
            listed[kind] = json.loads(ansible_doc("-t", kind, "--list", "--json", COLLECTION).stdout or "{}")
        result = ansible_doc("-t", kind, name)
        complaints = [line for line in result.stderr.splitlines() if line.strip() and ANSIBLE_ITSELF not in line]
        # A role without argument specs is rendered as nothing, a broken plugin as a warning: both with status 0.
        good = name in listed[kind] and result.returncode == 0 and result.stdout.strip() and not complaints
        if not good:
            failed += 1
            print(f"ansible-doc -t {kind} {name}: status {result.returncode}\n{result.stdout[:500]}{result.stderr}")
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return 1 if failed or not wanted else 0


if __name__ == "__main__":
    sys.exit(main())
