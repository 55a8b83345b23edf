# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fault lab provokes what its labels say, says so when it does not, and leaves nothing behind."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab import CASES, Evidence, LabError, Skipped, run
from lab.capture import matching
from lab.evidence import risen
from lab.hosts import wait
from lab.lab import Lab, Setup
from support import places

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._causes import CAUSES

pytestmark = pytest.mark.skipif(not places.is_root(), reason="routers and captures need root")

TESTS = Path(__file__).resolve().parent.parent
PLAYED = [
    "client_exited-tls",
    "client_vanished-idle",
    "middlebox_reset-nat",
    "server_crash",
    "connect_refused",
    "pooler_closed-server_idle_timeout",
    "healthy",
]


def test_every_cause_is_provoked() -> None:
    assert {case.label for case in CASES.values()} == set(CAUSES)


def test_cases_leave_what_a_diagnosis_may_be_given(tmp_path: Path) -> None:
    """One test, because they are played side by side: they mostly wait."""
    with concurrent.futures.ThreadPoolExecutor(len(PLAYED)) as pool:
        evidence = pool.map(lambda name: run(CASES[name], tmp_path), PLAYED)
        found = dict(zip(PLAYED, evidence, strict=True))
    for name, one in found.items():
        check(one, tmp_path, without={"client"} if name == "client_vanished-idle" else set())

    def log(name: str) -> str:
        return "".join((tmp_path / path).read_text() for path in found[name].log_files)

    assert "could not receive data from client: Connection reset by peer" in log("client_exited-tls")
    assert "could not receive data from client: Connection timed out" in log("client_vanished-idle")
    assert "could not receive data from client: Connection reset by peer" in log("middlebox_reset-nat")
    assert "was terminated by signal 9" in log("server_crash")
    assert not any(word in log("healthy") for word in ("could not", "FATAL", "ERROR"))
    assert risen(*found["client_exited-tls"].statistics, "sessions_abandoned") == 1
    assert risen(*found["client_vanished-idle"].statistics, "TCPAbortOnTimeout") == 1
    assert risen(*found["healthy"].statistics, "sessions_abandoned") == 0
    assert [len(found[name].losses) for name in PLAYED] == [1, 1, 1, 3, 1, 1, 0]


def check(evidence: Evidence, directory: Path, without: set[str]) -> None:
    """Files and facts are those of the losses: times in order, their packets in every capture."""
    assert evidence.label == CASES[evidence.case].label
    assert {entry.cause for entry in evidence.losses} <= {evidence.label}
    assert {capture["side"] for capture in evidence.captures} == {"client", "router", "server"} - without
    assert "".join((directory / path).read_text() for path in evidence.log_files).count("connection received") >= 2
    first, second = evidence.statistics
    assert evidence.began < first["at"] < evidence.fault < second["at"] < evidence.ended
    for capture in evidence.captures:
        for lost in evidence.losses:
            # A proxy has a connection of its own to the server.
            seen = f"tcp and (port {lost.port} or port {lost.client[1]})"
            assert matching(directory / capture["path"], seen), (evidence.case, capture)


def test_a_label_that_is_wrong_is_an_error(tmp_path: Path) -> None:
    honest = CASES["backend_terminated-idle"]
    with pytest.raises(LabError, match="a rise of sessions_abandoned"):
        run(dataclasses.replace(honest, rises=("sessions_abandoned",)), tmp_path / "counter")
    with pytest.raises(LabError, match="'administrator command' is in the log"):
        run(dataclasses.replace(honest, never="administrator command"), tmp_path / "log")


def test_a_case_that_lacks_a_program_is_skipped_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(Skipped, match="no such-program here"):
        run(dataclasses.replace(CASES["normal_close"], programs=("such-program",)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_set_and_adds_to_it(tmp_path: Path) -> None:
    def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lab", "--out", str(tmp_path), *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=TESTS,
            timeout=120,
        )

    assert lab("connect_refused", "not_postgresql-h*").returncode == 0
    second = lab("--log", "json", "backend_terminated-idle")
    assert "1 made, 0 failed, 0 skipped" in second.stdout
    labels = {entry["case"]: entry for entry in json.loads((tmp_path / "labels.json").read_text())}
    assert set(labels) == {"connect_refused", "not_postgresql-http", "backend_terminated-idle"}
    assert labels["backend_terminated-idle"]["log_format"] == "json"
    for entry in labels.values():
        for path in [*entry["log_files"], *(capture["path"] for capture in entry["captures"])]:
            assert (tmp_path / path).stat().st_size
    unknown = lab("no_such_case")
    assert unknown.returncode == 1
    assert "no such case" in unknown.stderr


def processes(namespaces: set[int]) -> set[tuple[int, str]]:
    """The processes in these network namespaces, each with the time of its start: numbers are used again."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "ns" / "net").stat().st_ino in namespaces:
                found.add((int(path.name), (path / "stat").read_text().rpartition(")")[2].split()[19]))
    return found


def children(parent: int) -> set[int]:
    """The processes that this one has started."""
    found = set()
    for path in Path(f"/proc/{parent}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has just ended
            found |= {int(pid) for pid in path.read_text().split()}
    return found


def directories(owner: int) -> list[Path]:
    """What the process *owner* has made for its servers and namespaces."""
    return sorted(path for path in places.clusters().iterdir() if f"-{owner}-" in path.name)


@pytest.mark.parametrize("end", ["done", "failed", "vanished"])
def test_a_lab_leaves_nothing_behind(tmp_path: Path, end: str) -> None:
    before, directories_before = children(os.getpid()), directories(os.getpid())
    expected = pytest.raises(LabError, match="of the test") if end == "failed" else contextlib.nullcontext()
    with expected, Lab(Setup(), tmp_path) as lab:
        lab.connect().send("SELECT pg_sleep(60)")
        if end == "vanished":
            lab.client_vanishes()
            lab.server_vanishes()
        hosts = (lab.network.client, lab.network.router, lab.network.server)
        namespaces = {Path(f"/proc/{host.namespace.pid}/ns/net").stat().st_ino for host in hosts}
        inside = processes(namespaces)
        assert len(namespaces) == 3
        assert len(inside) > 10  # three holders, four captures, a server of several
        assert children(os.getpid()) > before
        assert len(directories(os.getpid())) > len(directories_before)
        if end == "failed":
            raise LabError("of the test")
    assert children(os.getpid()) <= before
    assert not inside & processes(namespaces)
    assert set(directories(os.getpid())) <= set(directories_before)


def test_a_lab_whose_process_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lab", "--out", str(tmp_path), "client_vanished-executing"]
    lab = subprocess.Popen(command, cwd=TESTS, stdout=subprocess.DEVNULL)
    try:
        wait("a capture", lambda: list(tmp_path.glob("*/server.pcap")), 30)
        namespaces = set()
        for pid in children(lab.pid):
            with contextlib.suppress(OSError):  # it has just ended
                namespaces.add(Path(f"/proc/{pid}/ns/net").stat().st_ino)
        namespaces.discard(Path("/proc/self/ns/net").stat().st_ino)
        inside = processes(namespaces)
        assert len(namespaces) == 3
    finally:
        lab.kill()
        lab.wait()
    # Its namespaces are held by processes that end the server first, and wait up to 5 s for that.
    wait("the end of the processes", lambda: not inside & processes(namespaces), 20)
    wait("the removal of the directories", lambda: not directories(lab.pid), 20)
