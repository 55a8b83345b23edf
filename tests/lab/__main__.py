# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the labelled set, or some cases of it: python -m lab --out DIR [CASE ...]"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import fnmatch
import json
import shutil
import sys
import time
import traceback
import typing as t
from pathlib import Path

from . import CASES, Case, Evidence, Skipped, run
from .evidence import LOGS


def chosen(patterns: list[str]) -> list[Case]:
    """The cases that match one of the patterns; all when there is none."""
    for pattern in patterns:
        if not fnmatch.filter(CASES, pattern):
            sys.exit(f"no such case: {pattern} (--list shows them)")
    return [case for name, case in CASES.items() if not patterns or any(fnmatch.fnmatch(name, p) for p in patterns)]


@contextlib.contextmanager
def cancelling(pool: concurrent.futures.Executor) -> t.Iterator[None]:
    """Interrupted, end what runs and begin nothing more."""
    try:
        yield
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the set goes; what is there is replaced")
    parser.add_argument("--jobs", type=int, default=10, help="how many side by side (they mostly wait)")
    parser.add_argument("--log", choices=LOGS, help="how all servers log; otherwise every way has its turn")
    parser.add_argument("--snaplen", type=int, help="how many bytes of a packet all captures keep; 66: no payload")
    parser.add_argument("--list", action="store_true", help="show the cases and end")
    parser.add_argument("case", nargs="*", help="names, with * and ?; all when none is given")
    options = parser.parse_args()
    cases = chosen(options.case)
    if options.list or not options.out:
        print(*(case.name for case in cases), sep="\n")
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    setup = {name: value for name in ("log", "snaplen") if (value := getattr(options, name))}
    made: dict[str, Evidence] = {}
    failed, skipped, began = 0, 0, time.monotonic()

    def play(case: Case) -> tuple[Evidence, float]:
        shutil.rmtree(options.out / case.name, ignore_errors=True)
        start = time.monotonic()
        return run(case, options.out, **setup), time.monotonic() - start

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool, cancelling(pool):
        futures = {pool.submit(play, case): case for case in cases}
        for future in concurrent.futures.as_completed(futures):
            name = futures[future].name
            try:
                made[name], seconds = future.result()
                print(f"{seconds:6.1f} s  {name}", flush=True)
            except Skipped as reason:
                skipped += 1
                print(f"skipped   {reason}", flush=True)
            except Exception as problem:
                failed += 1
                print(f"FAILED    {name}: {''.join(traceback.format_exception(problem, limit=-3))}", flush=True)
    known = options.out / "labels.json"
    labels = {entry["case"]: entry for entry in json.loads(known.read_text())} if known.exists() else {}
    labels |= {name: dataclasses.asdict(evidence) for name, evidence in made.items()}
    known.write_text(json.dumps([labels[name] for name in CASES if name in labels], indent=1) + "\n")
    print(f"{len(made)} made, {failed} failed, {skipped} skipped in {time.monotonic() - began:.0f} s: {known}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
