# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback progress: what a user sees of a run over many hosts."""

from __future__ import annotations

import re
from pathlib import Path

from support import run_playbook

PLAY = """
- hosts: all
  gather_facts: false
  serial: 8
  tasks:
    - name: Look at a host
      ansible.builtin.command: "{{ 'false' if inventory_hostname == 'h03' else 'sleep 0.2' }}"
    - name: Quick
      ansible.builtin.debug:
"""


def play(directory: Path, interval: str) -> list[str]:
    (directory / "site.yml").write_text(PLAY)
    (directory / "hosts").write_text("".join(f"h{number:02} ansible_connection=local\n" for number in range(12)))
    environment = {
        "ANSIBLE_CALLBACKS_ENABLED": "pgharden.connection.progress",
        "PGHARDEN_PROGRESS_INTERVAL": interval,
        "ANSIBLE_FORKS": "2",
    }
    result = run_playbook(None, directory / "site.yml", inventory=directory / "hosts", env=environment)
    assert "Traceback" not in result.stdout + result.stderr
    return re.findall(r"^(?:Look at a host|Quick): .*$", result.stdout, re.MULTILINE)


def test_it_says_how_far_a_task_has_come(tmp_path: Path) -> None:
    lines = play(tmp_path, "0")
    first = [line for line in lines if line.startswith("Look")]
    # the first batch of eight, then that of the other four
    counts = [tuple(map(int, re.search(r"(\d+) of (\d+) hosts", line).groups())) for line in first]  # type: ignore[union-attr]
    assert counts == [*((done, 8) for done in range(1, 9)), *((done, 4) for done in range(1, 5))]
    assert first[7].split(",")[1] == " 1 failed"
    assert "failed" not in first[-1]


def test_it_is_silent_about_what_is_done_soon(tmp_path: Path) -> None:
    assert play(tmp_path, "600") == []
