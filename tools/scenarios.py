# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs `molecule test` for the scenarios named, two at a time, and adds up their tests: scenarios.py NAME ..."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCENARIOS = ROOT / "extensions" / "molecule"
LOGS = ROOT / ".cache" / "logs"
_running: set[subprocess.Popen[bytes]] = set()

sys.path.insert(0, str(ROOT / "tests" / "images"))
import build  # noqa: E402


class Result(t.NamedTuple):
    name: str
    code: int
    passed: int
    failed: int
    seconds: float


def run(name: str) -> Result:
    began = time.monotonic()
    log = LOGS / f"molecule-{name}.log"
    with log.open("wb") as output:
        process = _molecule("test", name, output)
        _running.add(process)
        code = process.wait()
        _running.discard(process)
    # One closing line of pytest for each `verify`; a step of another kind that failed counts as one failure.
    text = log.read_text("utf-8", "replace")
    closing = [line for line in text.splitlines() if re.fullmatch(r"=+ .*\d+ (passed|failed|error).* in .*=+", line)]
    passed, failed = (
        sum(int(number) for line in closing for number in re.findall(rf"(\d+) {word}", line))
        for word in ("passed", "(?:failed|error)")
    )
    return Result(name, code, passed, max(failed, int(code != 0)), time.monotonic() - began)


def _molecule(command: str, name: str, output: t.BinaryIO | int) -> subprocess.Popen[bytes]:
    argv = ["molecule", command, "--scenario-name", name]
    return subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
    )


def end(names: list[str]) -> None:
    """After Ctrl-C: nothing of these may go on running."""
    for process in list(_running):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for name in names:
        _molecule("destroy", name, subprocess.DEVNULL).wait()


def main() -> int:
    known = sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml"))
    names = sys.argv[1:]
    if not names or set(names) - set(known):
        print(f"usage: scenarios.py NAME ... (there are: {' '.join(known)})", file=sys.stderr)
        return 2
    if problem := build.missing():
        # As for the other tests: what a user's machine lacks is skipped and counted, in CI nothing may be lacking.
        required = bool(os.environ.get("PGHARDEN_REQUIRE_MAJORS"))
        print(f"note: {problem}\n{len(names)} {'failed' if required else 'skipped'}")
        return int(required)

    LOGS.mkdir(parents=True, exist_ok=True)
    results = []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, name) for name in names]
        try:
            for done in concurrent.futures.as_completed(runs):
                results.append(done.result())
                print(f"note: {results[-1].name} {results[-1].passed} in {results[-1].seconds:.0f} s", flush=True)
                if results[-1].code:
                    print((LOGS / f"molecule-{results[-1].name}.log").read_text("utf-8", "replace"), flush=True)
        except KeyboardInterrupt:
            for one in runs:
                one.cancel()
            end(names)
            raise
    passed, failed = sum(one.passed for one in results), sum(one.failed for one in results)
    print(f"{passed} passed, {failed} failed")
    return int(any(one.code for one in results))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
