# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one module: run_module_main.py COLLECTIONS MODULE USER (USER may be empty); arguments as JSON on stdin."""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path

from ansible.module_utils.testing import patch_module_args
from enter_main import become

_PROFILES = "ansible.module_utils._internal._json._profiles"
#: What modules import late, when the user may no longer read the interpreter's library or this checkout.
_LATE = (
    "encodings.idna",
    "psycopg2.extras",
    f"{_PROFILES}._module_legacy_c2m",
    f"{_PROFILES}._module_legacy_m2c",
)


def main() -> None:
    """Import, become the user, run."""
    collections, name, user = sys.argv[1:4]
    # Not through sys.path: an ansible_collections package among the installed ones would come first.
    package = types.ModuleType("ansible_collections")
    package.__path__ = [f"{collections}/ansible_collections"]
    sys.modules["ansible_collections"] = package
    plugins = "ansible_collections.pgharden.connection.plugins"
    module = importlib.import_module(f"{plugins}.modules.{name}")
    arguments = json.load(sys.stdin)
    if user:
        rooms = Path(collections, *plugins.split("."), "module_utils")
        own = (".".join(room.relative_to(rooms).with_suffix("").parts) for room in rooms.rglob("_[!_]*.py"))
        for late in (*_LATE, *(f"{plugins}.module_utils.{room}" for room in own)):
            importlib.import_module(late)
        become(user)
    with patch_module_args(arguments):
        module.main()


if __name__ == "__main__":
    main()
