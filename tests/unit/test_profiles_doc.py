# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the profiles says what the code does today."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _policy, _promises, _settings

ROOT = Path(__file__).resolve().parents[2]
PROFILES = ROOT / "docs" / "profiles.md"


def test_the_tables_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "profiles_doc.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_key_is_explained() -> None:
    keys = PROFILES.read_text(encoding="utf-8").split("## Keys")[1].split("## How")[0]
    assert set(re.findall(r"^\| `(\w+)`", keys, re.MULTILINE)) == set(_policy.KEYS)


@pytest.mark.parametrize("user_timeout", [0, 75_000])
@pytest.mark.parametrize("check", [0, 5000])
def test_every_formula_is_explained(user_timeout: int, check: int) -> None:
    text = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
    for timeouts in (0, 1000):
        settings = _settings.Settings(60, 5, 3, user_timeout, check, timeouts, timeouts, timeouts, 60, timeouts)
        for promise in _promises.promises(settings, path_idle_limit=350_000):
            for name in promise.formula.split("+"):
                assert f"`{name}`" in text
