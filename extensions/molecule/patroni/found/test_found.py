# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As found: a trial run says what would change and what HAProxy lacks, and changes nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lab
import pytest
from support import machine

CONFIG = json.loads(lab.machine(lab.NODES[0]).check_output("cat /root/config.json"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A run that asks for nothing, and so reports what is in force, and a trial run of the real one."""
    lab.ROWS.unlink(missing_ok=True)
    directory = tmp_path_factory.mktemp("report")
    profile = directory / "nothing.yml"
    profile.write_text("{}")
    nothing = {
        "path_profile": str(profile),
        "path_policy": {},
        "haproxy_overrides": dict.fromkeys(["timeout client", "timeout server", "timeout tunnel"]),
        "path_report_dir": str(directory),
    }
    with ThreadPoolExecutor(2) as pool:
        report = pool.submit(lab.playbook, "path", **nothing)
        trial = pool.submit(lab.playbook, "patroni", "--check", "--diff", patroni_hosts="nodes", **lab.POLICY)
        told = report.result()
        assert told.count("changed=0") == 1 + len(lab.NODES), told
        return {"report": str(directory), "trial": trial.result()}


def test_a_trial_run_says_what_would_change(runs: dict[str, str]) -> None:
    told = runs["trial"]
    assert "+tcp_keepalives_idle = 4s" in told, told
    # each says what the first one would do for all
    assert told.count("changed=2") == len(lab.NODES), told


@pytest.mark.parametrize("name", lab.NODES)
@pytest.mark.usefixtures("runs")
def test_nothing_has_changed(name: str) -> None:
    assert lab.config(name) == CONFIG
    assert machine.session(lab.machine(name)).timers() == (*machine.KERNEL_DEFAULTS, 0)


def test_report_says_what_the_proxy_lacks(runs: dict[str, str]) -> None:
    findings = {row["id"]: row for row in lab.report(Path(runs["report"]))["findings"]}
    assert findings["PGC411"]["where"] == "haproxy proxies, listen postgres"
    assert "PGC413" not in findings  # 6 s are less than ttl less loop_wait
    figure = f"another one after {lab.FAILOVER} s"
    assert figure in findings["PGC414"]["evidence"]
    assert f"used {lab.RISE * lab.INTER} s later" in findings["PGC414"]["evidence"]
