# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the retries has the snippets as they are, and the tests run all of them."""

from __future__ import annotations

import subprocess
import sys

from support import places, snippets

PAGE = places.REPOSITORY / "docs" / "retry.md"


def test_the_page_has_the_files_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for file in (places.REPOSITORY / "docs" / "snippets").iterdir():
        assert f"\n{file.read_text(encoding='utf-8')}```\n" in text, file.name


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, str(places.REPOSITORY / "tools" / "retry_doc.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_snippet_is_run() -> None:
    files = {file.name for file in (places.REPOSITORY / "docs" / "snippets").iterdir()}
    assert files == set(snippets.SNIPPETS)
