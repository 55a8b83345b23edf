# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagnosis against the fault lab's labels: every cause provoked for real, judged with more and less evidence."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from lab.stretch import stretch
from support import places

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _run
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._causes import CAUSES, IDLE_LIMITS
from ansible_collections.pgharden.connection.plugins.module_utils._login import Login

pytestmark = pytest.mark.skipif(not places.is_root(), reason="namespaces, firewalls and captures need root")

Row = dict[str, t.Any]
Evidence = t.Literal["all", "log", "server", "client"]
#: Seconds for the whole set, against what hangs; an idle machine takes 70.
LIMIT = 1800


class Judged(t.NamedTuple):
    """A labelled loss, and the row of the result that is about the same connection."""

    case: str
    label: Row
    row: Row | None
    log_tells: bool

    @property
    def first(self) -> bool:
        return bool(self.row) and self.row["cause"] == self.label["cause"]  # type: ignore[index]

    @property
    def named(self) -> bool:
        return self.first or (bool(self.row) and self.label["cause"] in self.others)

    @property
    def others(self) -> list[str]:
        return [one["cause"] for one in (self.row or {}).get("alternatives", [])]


class Set(t.NamedTuple):
    """The labelled set in *directory*."""

    directory: Path
    labels: list[Row]

    def __hash__(self) -> int:
        return hash(self.directory)

    @functools.lru_cache(maxsize=8)  # noqa: B019 - as long as the tests run
    def judged(self, evidence: Evidence) -> tuple[list[Judged], list[Judged]]:
        """Losses and harmless connections, with *evidence*: everything, only the log, only one side's capture."""
        losses: list[Judged] = []
        harmless: list[Judged] = []
        for label in self.labels:
            rows = self.result(label, evidence)["losses"]
            for found, labelled in ((losses, label["losses"]), (harmless, label["harmless"])):
                found += [Judged(label["case"], one, _about(one, rows), label["log_tells"]) for one in labelled]
        return losses, harmless

    def result(self, label: Row, evidence: Evidence) -> Row:
        """What the module returns."""
        logs = [str(self.directory / name) for name in label["log_files"]] if evidence in ("all", "log") else []
        others = label["other_logs"].values() if evidence == "all" else []
        poolers = [str(self.directory / name) for name in others]
        captures = [
            {"path": str(self.directory / one["path"]), "side": one["side"]}
            for one in label["captures"]
            if evidence in ("all", one["side"])
        ]
        return _run.run(
            Login(),
            {
                "log_files": logs,
                "log_prefix": label["log_line_prefix"] or None,
                "log_timezone": None,
                "pooler_logs": poolers,
                "captures": captures,
                "statistics": [],
                "client_hosts": label["hosts"] if evidence == "all" else [],
                "server_port": label["server"][1],
                "since": None,
                "until": None,
                "live": False,
                "watch": "0s",
            },
        )


def _about(label: Row, rows: list[Row]) -> Row | None:
    """The row with that port, as the server or the client's own host has it, or with that process."""
    ports = {label["port"], label["client"][1]} - {None}
    by_port = [row for row in rows if row["port"] in ports]
    by_pid = [row for row in rows if label["pid"] and row["pid"] == label["pid"]]
    return next(iter(by_pid + by_port), None)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Set:
    """The whole set, made once for all of pytest's workers."""
    own = tmp_path_factory.getbasetemp()
    directory = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "labelled"
    with open(f"{directory}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "labels.json").exists():
            _make(directory)
    return Set(directory, json.loads((directory / "labels.json").read_text()))


def _make(directory: Path) -> None:
    said = _play(directory)
    # A loaded machine may spoil some cases, and the lab says so: what did not happen as labelled is no evidence of it.
    spoiled = re.findall(r"^FAILED +([^ :]+):", said, re.MULTILINE)
    if spoiled:
        said += _play(directory, "--jobs=2", *spoiled)
    # of most there must be something to judge
    made = len(json.loads((directory / "labels.json").read_text()))
    assert made > 75, f"{made} cases were made:\n{said[-3000:]}"


def _play(directory: Path, *arguments: str) -> str:
    tests = Path(__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", "lab", "--out", str(directory), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=tests,
        env={**os.environ, "PYTHONPATH": str(tests)},
        timeout=LIMIT,
    ).stdout


def table(judged: t.Iterable[Judged]) -> str:
    """One line for each that went wrong."""
    lines = []
    for one in judged:
        row = one.row or {"cause": "nothing", "confidence": 0.0}
        wrong = (
            f"{one.label['cause']:28} called {row['cause']} {row['confidence']:.2f}, or {', '.join(one.others) or '-'}"
        )
        lines.append(f"{one.case:44} {wrong}")
    return "\n".join(["", *lines])


def share(judged: t.Sequence[Judged], right: t.Callable[[Judged], bool], least: float) -> None:
    wrong = [one for one in judged if not right(one)]
    found = 1 - len(wrong) / len(judged)
    assert found >= least, f"{found:.1%} of {len(judged)}, not {least:.0%}:{table(wrong)}"


def test_with_all_evidence_the_right_cause_comes_first(labelled: Set) -> None:
    losses, _harmless = labelled.judged("all")
    assert len({one.label["cause"] for one in losses}) > 25
    share(losses, lambda one: one.first, 0.95)


def test_the_log_alone_tells_where_it_can(labelled: Set) -> None:
    losses, _harmless = labelled.judged("log")
    share([one for one in losses if one.log_tells], lambda one: one.first, 0.85)


def test_where_the_log_cannot_tell_it_says_what_would(labelled: Set) -> None:
    losses, _harmless = labelled.judged("log")
    seen = [one for one in losses if not one.log_tells and one.row]
    assert len(seen) > 10
    share(seen, lambda one: one.named or bool(one.row and one.row["missing_evidence"]), 0.9)
    sure = [one for one in seen if not one.named and one.row and one.row["confidence"] > 0.9]
    share(seen, lambda one: one not in sure, 0.85)


def test_of_what_leaves_no_line_the_result_says_so(labelled: Set) -> None:
    losses, _harmless = labelled.judged("log")
    results = {label["case"]: labelled.result(label, "log")["missing_evidence"] for label in labelled.labels}
    unseen = [one for one in losses if not one.row]
    assert len({one.label["cause"] for one in unseen}) > 8
    share(unseen, lambda one: one.label["cause"] in " ".join(results[one.case]), 1.0)
    assert not any(labelled.result(label, "all")["missing_evidence"] for label in labelled.labels[:3])


@pytest.mark.parametrize("side", ["server", "client"])
def test_one_sides_capture_alone_has_the_cause_among_the_likely(labelled: Set, side: Evidence) -> None:
    losses, _harmless = labelled.judged(side)
    seen = [one for one in losses if one.row]
    assert len(seen) > 40
    share(seen, lambda one: one.named, 0.9)


@pytest.mark.parametrize("evidence", ["all", "log", "server", "client"])
def test_what_is_harmless_is_never_called_harmful(labelled: Set, evidence: Evidence) -> None:
    _losses, harmless = labelled.judged(evidence)
    assert len(harmless) > 75
    # On a loaded machine a visit may run into a timeout of its case, whatever its label says; and one side may not see
    # that it was a pooler which ended, whose client had said goodbye long before.
    share(harmless, lambda one: one.row is None or CAUSES[one.row["cause"]].harmless, 0.98)


def test_a_server_process_that_the_kernel_killed_was_killed_for_want_of_memory(labelled: Set) -> None:
    label = next((one for one in labelled.labels if one["case"] == "server_crash-out_of_memory"), None)
    if label is None:
        pytest.skip("no control groups here")
    losses = [row for row in labelled.result(label, "log")["losses"] if row["cause"] == "server_crash"]
    assert {row["pid"] for row in losses} == {one["pid"] for one in label["losses"]}
    for row in losses:
        assert any("the kernel killed it for want of memory" in text for text in row["evidence_for"])
    (other,) = [one for one in labelled.labels if one["case"] == "server_crash"]
    for row in labelled.result(other, "log")["losses"]:
        assert any("the kernel's log" in text for text in row["missing_evidence"])


@pytest.mark.parametrize("cause", ["survived_outage", "healthy", "normal_close"])
def test_with_a_capture_what_is_harmless_is_called_what_it_is(labelled: Set, cause: str) -> None:
    _losses, harmless = labelled.judged("all")
    labels = [one for one in harmless if one.label["cause"] == cause]
    assert labels
    share(labels, lambda one: one.first, 0.95)


@pytest.mark.parametrize("case", ["healthy", "healthy-tls", "healthy-open", "normal_close"])
def test_nothing_is_wrong_with_a_healthy_server(labelled: Set, case: str) -> None:
    (label,) = [one for one in labelled.labels if one["case"] == case]
    for evidence in t.get_args(Evidence):
        result = labelled.result(label, evidence)
        assert (result["healthy"], result["problems"]) == (True, []), result["causes"]


def stretched(labelled: Set, case: str, seconds: float, directory: Path) -> tuple[Row, Row]:
    """The result for a case whose idle time was so long, and its label."""
    (label,) = [one for one in labelled.labels if one["case"] == case]
    stretch(labelled.directory, label, directory, seconds)
    return Set(directory, [label]).result(label, "all"), label


FORGETFUL = ("middlebox_forgot_flow-client_asks", "middlebox_reset-client_asks", "middlebox_reset-both")


@pytest.mark.parametrize("case", FORGETFUL)
@pytest.mark.parametrize(("limit", "device"), IDLE_LIMITS)
def test_a_device_is_named_by_how_long_its_flow_was_idle(
    labelled: Set, case: str, limit: int, device: str, tmp_path: Path
) -> None:
    result, label = stretched(labelled, case, limit * 1.02, tmp_path)
    (lost,) = label["losses"]
    row = _about(lost, result["losses"])
    assert row is not None
    assert row["cause"] == lost["cause"]
    (cause,) = [one for one in result["causes"] if one["cause"] == lost["cause"]]
    assert cause["devices"] == [f"{device} ({limit} s)"]
    assert result["problems"] == []


@pytest.mark.parametrize("case", FORGETFUL)
@pytest.mark.parametrize("seconds", [100, 500, 7200])
def test_no_device_is_named_where_none_has_such_a_limit(
    labelled: Set, case: str, seconds: float, tmp_path: Path
) -> None:
    result, _label = stretched(labelled, case, seconds, tmp_path)
    assert [one["devices"] for one in result["causes"] if not one["harmless"]] == [[]]
