# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the collections that `molecule test` and the role windows use beside this one, out of the wheel `ansible`.

No server but PyPI is asked. The wheel itself is not installed: it would bring a hundred collections, and this one must
not come to depend on any.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "collections.txt"
PATH = ROOT / ".ansible" / "collections"
# The second is what the first depends on; the others are what roles use: windows, and managed_service where it is asked
# to apply.
NEEDED = [
    "ansible_collections/community/docker/",
    "ansible_collections/community/library_inventory_filtering_v1/",
    "ansible_collections/ansible/windows/",
    "ansible_collections/amazon/aws/",
]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="pgharden-collections-") as scratch:
        subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"),
                *("--no-deps", "--only-binary=:all:", f"--dest={scratch}", f"--requirement={REQUIREMENTS}"),
            ],
            check=True,
        )
        (wheel,) = Path(scratch).glob("ansible-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(tuple(NEEDED))]
            for directory in NEEDED:
                shutil.rmtree(PATH / directory, ignore_errors=True)  # an older release may have had more files
                if not any(name.startswith(directory) for name in members):
                    print(f"{wheel.name} has no {directory}", file=sys.stderr)
                    return 1
            archive.extractall(PATH, members)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
