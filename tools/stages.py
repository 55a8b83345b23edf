# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the stages of `make test`, stops at the first that fails and shows its output, and adds up what was tested.

A stage is a command. Its count is the last line of its output that reads like pytest's closing line
(`3 passed, 1 skipped`); a command that prints none counts as one. A line `note: ...` is shown beside the count.
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "ansible_collections.pgharden.connection"
PYTHON = sys.executable


class Stage(t.NamedTuple):
    name: str
    group: str
    command: list[str]
    limit: int = 900  # seconds, ample on a slow machine; a stage that hangs must still show what it printed


STAGES = [
    Stage("ruff", "lint", ["ruff", "check", "--quiet", "--output-format", "concise", "."]),
    Stage("format", "lint", ["ruff", "format", "--quiet", "--diff", "."]),
    Stage("mypy", "lint", ["mypy", "-p", f"{COLLECTION}.plugins"]),
    Stage("shellcheck", "lint", ["bash", "tools/shellcheck"]),
    Stage("workflows", "lint", ["bash", "tools/workflows"]),
    Stage("oldest-python", "lint", [PYTHON, "tools/oldest_python.py"]),
    Stage("unit", "unit", ["bash", "tools/unit"], limit=1800),
    Stage("ansible-lint", "lint", ["ansible-lint", "-q"]),
    Stage("sanity", "sanity", [PYTHON, "tools/sanity.py"], limit=1800),
    Stage("roles-doc", "docs", [PYTHON, "tools/roles_doc.py", "--check"]),
    Stage("ansible-doc", "docs", [PYTHON, "tools/render_docs.py"]),
    Stage("antsibull-docs", "docs", ["antsibull-docs", "lint-collection-docs", "--plugin-docs", "."]),
    Stage("changelog", "docs", ["antsibull-changelog", "lint"]),
    Stage("site", "docs", ["bash", "-c", f"{PYTHON} tools/site.py && {PYTHON} -m pytest tests/docs -q"]),
    Stage("build", "build", [PYTHON, "tools/build.py"]),
    Stage("galaxy-importer", "build", [PYTHON, "tools/galaxy_import.py"]),
    Stage(
        "integration",
        "integration",
        [PYTHON, "-m", "pytest", "tests/integration", "-q", "-n", "4", "--ignore-glob", "*/test_drill*.py"],
        limit=4500,
    ),
    # Beside the others it would be the machine that is measured, not the server.
    Stage(
        "drill",
        "integration",
        ["bash", "-c", f"{PYTHON} -m pytest tests/integration/test_drill*.py -q -n 3"],
        limit=1800,
    ),
    Stage(
        "molecule",
        "molecule",
        [PYTHON, "tools/scenarios.py", "path", "drill", "patroni", "matrix", "profiles", "default"],
        limit=3600,
    ),
    Stage("readme", "readme", [PYTHON, "tools/readme_commands.py"], limit=1800),
]

OUTCOMES = {"passed": "passed", "failed": "failed", "error": "failed", "errors": "failed", "skipped": "skipped"}
CLOSING_LINE = re.compile(r"^[= ]*((?:\d+ [a-z]+(?:, )?)+)(?: in [0-9.]+s.*)?[= ]*$")


class Result(t.NamedTuple):
    status: str  # empty when it passed
    output: str
    seconds: float


def counts(output: str, ok: bool) -> collections.Counter[str]:
    """What a stage tested, by its own closing line; a command that failed has at least one failure."""
    total: collections.Counter[str] = collections.Counter()
    for line in reversed(output.splitlines()):
        match = CLOSING_LINE.match(line.strip())
        if match and re.search(r"\d+ (passed|failed|errors?|skipped)\b", match.group(1)):
            for number, word in re.findall(r"(\d+) ([a-z]+)", match.group(1)):
                if word in OUTCOMES:
                    total[OUTCOMES[word]] += int(number)
            break
    else:
        total["passed"] = 1 if ok else 0
    if not ok and not total["failed"]:
        total["failed"] = 1
    return total


def environment() -> dict[str, str]:
    """The tools of .venv, this checkout as the only collection, and nothing left in the user's home."""
    return {
        **os.environ,
        "PATH": f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
        "ANSIBLE_HOME": str(ROOT / ".cache" / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "NO_COLOR": "1",
        "RUFF_CACHE_DIR": str(ROOT / ".cache" / "ruff"),
    }


def run(stage: Stage, log: Path, verbose: bool) -> Result:
    began = time.monotonic()
    text = ""
    # Into a file, not a pipe: a server that a broken test left behind would keep a pipe open for ever.
    with log.open("wb") as output, log.open(encoding="utf-8", errors="replace") as reader:
        process = subprocess.Popen(
            stage.command,
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all of the stage's processes can be ended at once
        )
        status = ""
        try:
            while True:
                code = process.poll()  # before reading, so that the last lines are not missed
                new = reader.read()
                text += new
                if verbose:
                    print(new, end="", flush=True)
                if code is not None:
                    break
                if not status and time.monotonic() - began > stage.limit:
                    status = f"ended after {stage.limit} s"
                    os.killpg(process.pid, signal.SIGKILL)
                time.sleep(0.05)
        except KeyboardInterrupt:
            os.killpg(process.pid, signal.SIGINT)  # pytest still tidies up
            process.wait()
            raise
    if code and not status:
        status = f"exit status {code}"
    return Result(status, text, time.monotonic() - began)


def chosen(names: list[str]) -> list[Stage]:
    """The stages with these names or of these groups, in the order in which they always run."""
    known = {stage.name for stage in STAGES} | {stage.group for stage in STAGES}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f"no such stage: {' '.join(unknown)} (there are: {' '.join(sorted(known))})")
    return [stage for stage in STAGES if not names or stage.name in names or stage.group in names]


def summary(total: collections.Counter[str]) -> str:
    return ", ".join(f"{total[word]} {word}" for word in ("passed", "failed", "skipped"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--verbose", action="store_true", help="show the output of stages that pass, too")
    parser.add_argument("stage", nargs="*", help="names or groups; 'list' shows them; all when none is given")
    options = parser.parse_args()
    if options.stage == ["list"]:
        for stage in STAGES:
            print(f"{stage.name:<16}{stage.group:<14}{' '.join(stage.command).replace(PYTHON, 'python')}")
        return 0

    logs = ROOT / ".cache" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    total: collections.Counter[str] = collections.Counter()
    for stage in chosen(options.stage):
        print(f"{stage.name:<16}", end="\n" if options.verbose else "", flush=True)
        result = run(stage, logs / f"{stage.name}.log", options.verbose)
        found = counts(result.output, ok=not result.status)
        total += found
        told = ", ".join(f"{found[word]} {word}" for word in ("passed", "failed", "skipped") if found[word])
        notes = re.findall(r"^note: (.*)$", result.output, re.MULTILINE)
        print(f"{result.seconds:7.1f} s  {'; '.join([told, *notes])}", flush=True)
        if result.status:
            if not options.verbose:
                print(result.output)
            print(f"{stage.name} failed: {result.status}. Again: make test STAGES={stage.name}")
            print(summary(total))
            return 1
    print(summary(total))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
