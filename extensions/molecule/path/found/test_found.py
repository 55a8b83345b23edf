# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As found: who is lost is not noticed, who is not lost is cut."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lab
import pytest

#: Seconds that the test waits for somebody to notice: more than any promise of the hardened path.
PATIENCE = 15
#: The example's timeout of HAProxy, and what a busy machine may be late.
HAPROXY_TIMEOUT, MARGIN = 12, 2
#: Quiet phases: with data under way the kernel's retransmissions end it, after a quarter of an hour.
QUIET = ("idle", "executing", "idle_in_transaction")


class Series(t.NamedTuple):
    haproxy: list[lab.Outcome]
    pgbouncer: list[lab.Outcome]
    client: list[lab.Outcome]
    idle: dict[str, t.Any]
    report: dict[str, t.Any]


@pytest.fixture(scope="module", autouse=True)
def new_table() -> None:
    lab.ROWS.unlink(missing_ok=True)


def report(directory: Path) -> dict[str, t.Any]:
    """The report of a run that asks for nothing, and so is of what is in force."""
    profile = directory / "nothing.yml"
    profile.write_text("{}")
    variables = {
        "path_hops": [{"kind": name, "group": name} for name in lab.MACHINES],
        "path_profile": str(profile),
        "path_policy": {},
        "haproxy_overrides": dict.fromkeys(["timeout client", "timeout server", "timeout tunnel"]),
        "path_report_dir": str(directory),
    }
    command = ["ansible-playbook", "--inventory", os.environ["MOLECULE_INVENTORY_FILE"], "pgharden.connection.path"]
    command += ["--extra-vars", json.dumps(variables)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("changed=0") == len(lab.MACHINES), done.stdout
    return t.cast("dict[str, t.Any]", json.loads((directory / "path.json").read_text()))


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    with ThreadPoolExecutor(5) as pool:
        futures = [
            pool.submit(lab.lose, "haproxy", QUIET, PATIENCE),
            pool.submit(lab.lose, "pgbouncer", QUIET, PATIENCE),
            pool.submit(lab.lose, "client", ["executing"], PATIENCE),
            pool.submit(lab.left_alone, "idle", HAPROXY_TIMEOUT + MARGIN, PATIENCE),
            pool.submit(report, tmp_path_factory.mktemp("report")),
        ]
        return Series(*(future.result() for future in futures))


def test_each_machine_reaches_its_neighbours_only() -> None:
    ports = {"haproxy": 5432, "pgbouncer": 6432, "server": 5432}
    for at, name in enumerate(lab.MACHINES):
        for far, port in ports.items():
            if abs(lab.MACHINES.index(far) - at) > 1:
                address = lab.machine(far).check_output("hostname --all-ip-addresses").split()[0]
                assert lab.machine(name).run(f"timeout 2 bash -c ': >/dev/tcp/{address}/{port}'").rc != 0


@pytest.mark.parametrize("name", ["haproxy", "pgbouncer", "client"])
def test_backend_of_a_lost_session_stays(series: Series, name: str) -> None:
    for outcome in getattr(series, name):
        lab.note_times(name, "backend", outcome.phase, "found", [outcome.backend], PATIENCE)
        assert outcome.backend is None


def test_healthy_session_is_cut_because_it_is_idle(series: Series) -> None:
    assert series.idle["answer"] is None
    assert "closed the connection unexpectedly" in series.idle["error"]


def test_report_says_so(series: Series) -> None:
    findings = {(row["id"], row["where"]) for row in series.report["findings"]}
    for side in ("client side", "server side"):
        assert ("PGC402", f"haproxy, {side}") in findings  # an idle session is cut
        assert ("PGC407", f"haproxy, {side}") in findings  # its peers may vanish unnoticed
    rows = {(row["lost"], row["end"], row["phase"]): row for row in series.report["promises"]}
    for name in ("haproxy", "pgbouncer"):
        for phase in QUIET:
            bound = rows[name, "backend", phase]["bound"]
            assert bound is None or bound > 2 * 3600
