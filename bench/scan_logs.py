# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast server logs are scanned, beside grep with the same patterns on the same warm file, in one run.

.venv/bin/python bench/scan_logs.py [--megabytes 1024] [--rounds 5] [--directory /var/tmp]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".ansible" / "collections"))

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _messages, _scan  # noqa: E402

STATEMENTS = (
    "duration: {ms:.3f} ms  statement: SELECT id, name, price FROM products WHERE category = {n} AND connection_id = 1",
    "duration: {ms:.3f} ms  execute S_{n}: UPDATE accounts SET balance = balance + $1\n\tWHERE id = $2\n\tRETURNING id",
    "checkpoint complete: wrote {n} buffers (2.1%); 0 WAL file(s) added, 1 removed, 0 recycled; write=0.001 s",
)
LOSS = "could not receive data from client: Connection reset by peer"


CONNECTION = (
    "connection received: host=10.0.{a}.{b} port={port}",
    'connection authenticated: identity="app" method=scram-sha-256 (/etc/postgresql/17/main/pg_hba.conf:97)',
    "connection authorized: user=app database=shop SSL enabled "
    "(protocol=TLSv1.3, cipher=TLS_AES_256_GCM_SHA384, bits=256)",
    "disconnection: session time: 0:00:00.{b:03} user=app database=shop host=10.0.{a}.{b} port={port}",
)


def line(form: str, number: int, connections: bool = False) -> str:
    """A busy server's line: one in a thousand tells of a lost connection, or all of connections that come and go."""
    second, pid = number // 20, random.randrange(1000, 30000)
    lost = number % 1000 == 0
    message = LOSS if lost else random.choice(STATEMENTS).format(ms=random.random() * 10, n=number)
    if connections:
        session = number // 4
        second, pid, lost = number // 400, 1000 + session % 30_000, False
        message = CONNECTION[number % 4].format(a=session % 7, b=session % 250, port=20_000 + session % 40_000)
    stamp = f"2026-11-22 {second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}.{number % 1000:03} UTC"
    state = "08006" if lost else "00000"
    if form == "stderr":
        return f"{stamp} [{pid}] app@shop LOG:  {message}\n"
    message = message.replace("\n\t", "\n")
    if form == "csvlog":
        message = message.replace('"', '""')
        return (
            f'{stamp},"app","shop",{pid},"10.0.0.1:4711",6921abcd.3039,17,"SELECT",2026-11-22 11:00:00 UTC,3/17,0,LOG,'
            f'{state},"{message}",,,,,,,,,"shop","client backend",,0\n'
        )
    record = {"timestamp": stamp, "user": "app", "dbname": "shop", "pid": pid, "remote_host": "10.0.0.1"}
    record |= {"remote_port": 4711, "session_id": "6921abcd.3039", "line_num": 17, "ps": "SELECT", "vxid": "3/17"}
    record |= {"error_severity": "LOG", "state_code": state, "message": message, "backend_type": "client backend"}
    return json.dumps(record, separators=(",", ":")) + "\n"


def write(path: Path, form: str, size: int, connections: bool = False) -> None:
    block = "".join(line(form, number, connections) for number in range(50_000)).encode()
    with path.open("wb") as log:
        for _turn in range(size // len(block) + 1):
            log.write(block)


def child(path: str) -> None:
    """One scan; prints how many events there were and the peak of memory in MiB."""
    events, problems = _scan.scan([path])
    found = sum(1 for _event in events)
    assert not problems, problems
    # Not ru_maxrss, which a process inherits from the one that started it.
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert peak
    print(found, int(peak[1]) // 1024)


def timed(command: list[str]) -> tuple[float, float, str]:
    """Wall and processor seconds of a command, and what it printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", default="/var/tmp")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    patterns = "|".join(
        ["FATAL", *(re.sub(r"([().*])", r"\\\1", begins) for kind, begins, _rest in _messages._SAID if kind)]
    )
    print("| format | MB | scan MB/s wall | grep MB/s wall | ratio of wall | ratio of processor | events | peak MiB |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for form in ("stderr", "csvlog", "jsonlog"):
            path = Path(directory) / form
            write(path, form, options.megabytes << 20)
            ours, greps = [], []
            subprocess.run(["cat", path], check=True, stdout=subprocess.DEVNULL)  # warm
            for _turn in range(options.rounds):
                ours.append(timed([sys.executable, __file__, "--child", str(path)]))
                greps.append(timed(["grep", "-cE", patterns, str(path)]))
            megabytes = path.stat().st_size / 1e6
            walls, processors = (
                statistics.median(our[which] / grep[which] for our, grep in zip(ours, greps, strict=True))
                for which in (0, 1)
            )
            speeds = (megabytes / statistics.median(run[0] for run in runs) for runs in (ours, greps))
            events, peak = ours[0][2].split()
            assert events == greps[0][2], (events, greps[0][2])  # they found the same lines
            print(f"| {form} | {megabytes:.0f} |", *(f"{speed:.0f} |" for speed in speeds), end=" ")
            print(f"{walls:.2f} | {processors:.2f} | {events} | {peak} |", flush=True)
            path.unlink()
        print("\n| nothing but connections | MB | scan MB/s wall | microseconds an event | events | peak MiB |")
        print("|---|---|---|---|---|---|")
        for form in ("stderr", "csvlog", "jsonlog"):
            path = Path(directory) / form
            write(path, form, options.megabytes << 18, connections=True)
            runs = [timed([sys.executable, __file__, "--child", str(path)]) for _turn in range(options.rounds)]
            megabytes, wall = path.stat().st_size / 1e6, statistics.median(run[0] for run in runs)
            events, peak = runs[0][2].split()
            print(f"| {form} | {megabytes:.0f} | {megabytes / wall:.0f} | {wall / int(events) * 1e6:.1f} |", end=" ")
            print(f"{events} | {peak} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
