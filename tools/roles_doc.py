# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes roles/*/README.md from meta/argument_specs.yml; with --check it only says whether they are up to date."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import _tree
import yaml


def readme(role: Path) -> str:
    """The page of one role."""
    spec = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]
    lines = [
        f"# pgharden.connection.{role.name}",
        "",
        f"{spec['short_description']}. {' '.join(spec['description'])}",
        "",
        "| variable | type | default | |",
        "|---|---|---|---|",
    ]
    for name, option in spec["options"].items():
        default = f"`{yaml.safe_dump(option.get('default'), default_flow_style=True).splitlines()[0]}`"
        choices = f" ({', '.join(f'`{choice}`' for choice in option['choices'])})" if "choices" in option else ""
        text = re.sub(r"\s+", " ", option["description"]).strip()
        lines.append(f"| `{name}` | {option['type']} | {default if 'default' in option else ''} | {text}{choices} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    stale = 0
    for role in sorted((_tree.ROOT / "roles").iterdir()):
        path, text = role / "README.md", readme(role)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale += 1
            if check:
                print(f"{path.relative_to(_tree.ROOT)} is out of date: run tools/roles_doc.py")
            else:
                path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
