# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reverted: the cluster's configuration is as it was found, and every member has that in force."""

from __future__ import annotations

import json

import lab
import pytest
from support import machine

CONFIG = json.loads(lab.machine(lab.NODES[0]).check_output("cat /root/config.json"))


@pytest.mark.parametrize("name", lab.NODES)
def test_every_member_is_as_found(name: str) -> None:
    host = lab.machine(name)
    lab.wait(lambda: lab.config(name) == CONFIG, f"the configuration of {name}: {lab.config(name)}")
    lab.wait(lambda: machine.session(host).timers() == (*machine.KERNEL_DEFAULTS, 0), f"sessions of {name}")
    now, found = machine.found_now(host), machine.found_first(host)
    assert now["sysctls"] == found["sysctls"]
    assert _without_lines(now["settings"]) == _without_lines(found["settings"])
    ours = [path for path in now["files"] if path not in found["files"]]
    assert [path for path in ours if path.startswith(("/etc/", "/var/lib/pgharden-connection/"))] == []


def _without_lines(settings: dict[str, dict[str, object]]) -> dict[str, object]:
    """What is configured; where it is written, and who the primary is, differs between a leader and a standby."""
    of_role = ("primary_conninfo", "primary_slot_name", "in_hot_standby", "transaction_read_only")
    varying = (*of_role, "recovery_target_timeline", "restore_command", "synchronous_standby_names")
    return {name: row["reset_val"] for name, row in settings.items() if name not in varying}
