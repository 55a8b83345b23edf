# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times playbooks side by side against throwaway servers and prints a table for each number of hosts.

In a round every column runs once, one after the other, so that a machine whose speed drifts slows all of them alike;
ratios are medians over the rounds. A column that changes things runs twice from a state that was reset: "first", with
everything to change, and "converged", with nothing left to change.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import psycopg2

HERE = Path(__file__).resolve().parent
FLOORS = ("ping", "one_task", "two_tasks")
OURS = ("harden", "audit")
#: What each of ours is compared with: the generic modules that give the same.
PEERS_OF = {"harden": ("postgresql_set", "postgresql_alter_system"), "audit": ("postgresql_info",)}
PEERS = tuple(peer for peers in PEERS_OF.values() for peer in peers)
#: These change nothing, so that there is no first run to tell from the others.
READING = (*FLOORS, "audit", "postgresql_info")
#: The generic modules take minutes at 100 hosts: with so many host-runs they have had their rounds.
PEER_HOST_RUNS = 20
SYSCTLS = {"tcp_keepalive_time": "7200", "tcp_keepalive_intvl": "75", "tcp_keepalive_probes": "9"}
PROC = Path("/proc/sys/net/ipv4")
RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=\d+\s+failed=\d+", re.MULTILINE)


class Run(t.NamedTuple):
    """One run of a playbook; *changed* counts hosts."""

    wall: float
    processor: float
    changed: int


#: column and phase to a run of each round, None where the column sat out
Figures = dict[tuple[str, str], list[Run | None]]


class Bench:
    """The servers, the kernel and the hosts' directories that all runs share."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._ports = [int(port) for port in args.ports.split(",")]
        # A user namespace that is not ours alone, or a read-only /proc/sys: no column touches the kernel then.
        self.with_sysctl = all(os.access(PROC / name, os.W_OK) for name in SYSCTLS)

    def figures(self, hosts: int) -> Figures:
        """All rounds with so many hosts."""
        found: Figures = {}
        peer_rounds = max(1, PEER_HOST_RUNS // hosts)
        with self._inventory(hosts) as path:
            for number in range(self._args.rounds):
                for column in self._args.columns:
                    sits_out = column in PEERS and number >= peer_rounds
                    if not sits_out:
                        self._reset(hosts)
                    for phase in phases(column):
                        figure = None if sits_out else self._play(column, path)
                        found.setdefault((column, phase), []).append(figure)
            self._reset(hosts)
        return found

    def memory(self) -> dict[tuple[str, str], int]:
        """Column and phase to the peak memory of its largest module process on one host, in KiB."""
        found = {}
        with self._inventory(1) as path, tempfile.NamedTemporaryFile("r", encoding="ascii") as notes:
            environment = {"PEAK_RSS_PYTHON": sys.executable, "PEAK_RSS_FILE": notes.name}
            for column in self._args.columns:
                self._reset(1)
                for phase in phases(column):
                    self._play(column, path, "-e", f"ansible_python_interpreter={HERE / 'peak_rss.py'}", **environment)
                    found[column, phase] = max(int(line) for line in notes)
            self._reset(1)
        return found

    @contextlib.contextmanager
    def _inventory(self, hosts: int) -> t.Iterator[str]:
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "bench_login_host": "127.0.0.1",
            "bench_with_sysctl": self.with_sysctl,
            # for playbooks/harden.yml: the parameters of plays/vars.yml, and authentication_timeout
            "harden_become": False,
            "harden_profile": "web",
            "harden_policy": {"close_idle_session_after": "1h"},
            "harden_layers": ["os", "server"] if self.with_sysctl else ["server"],
            "harden_login_host": "{{ bench_login_host }}",
            "harden_login_port": "{{ bench_port }}",
            "harden_sysctl_file": "{{ bench_host_dir }}/sysctl.conf",
            "harden_revert_file": "{{ bench_host_dir }}/revert.json",
            "audit_become": False,
            "audit_login_host": "{{ bench_login_host }}",
            "audit_login_port": "{{ bench_port }}",
            "audit_report_dir": f"{self._args.work}/reports",
        }
        # A directory of its own for each host, as hosts that share no file system have.
        names = {
            name: {"bench_port": port, "bench_host_dir": f"{self._args.work}/hosts/{name}"}
            for name, port in zip(self._names(hosts), itertools.cycle(self._ports), strict=False)
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as handle:
            json.dump({"all": {"hosts": names, "vars": variables}}, handle)
            handle.flush()
            yield handle.name

    def _reset(self, hosts: int) -> None:
        """Servers, kernel and files as before any hardening."""
        for port in self._ports:
            with contextlib.closing(psycopg2.connect(host="127.0.0.1", port=port, user="postgres")) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("ALTER SYSTEM RESET ALL")
                    cursor.execute("SELECT pg_reload_conf()")
        if self.with_sysctl:
            for name, value in SYSCTLS.items():
                (PROC / name).write_text(value)
        directory = Path(self._args.work, "hosts")
        shutil.rmtree(directory, ignore_errors=True)
        for name in self._names(hosts):
            (directory / name).mkdir(parents=True)

    @staticmethod
    def _names(hosts: int) -> list[str]:
        return [f"h{number:04d}" for number in range(hosts)]

    def _play(self, column: str, inventory_path: str, *arguments: str, **environment: str) -> Run:
        playbook = HERE / (f"../playbooks/{column}.yml" if column in OURS else f"plays/{column}.yml")
        command = [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory_path, playbook, *arguments]
        command += ["--forks", str(self._args.forks)]
        pipelining = {"ANSIBLE_PIPELINING": str(self._args.pipelining == "on")}
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            command,
            cwd=HERE,
            env={**os.environ, **pipelining, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        recap = RECAP.findall(done.stdout)
        if done.returncode or not recap:
            sys.exit(f"{done.stdout}\n{playbook} ended with {done.returncode}")
        processor = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        print(f"  {column}: {wall:.2f} s, processor {processor:.2f} s", file=sys.stderr)
        return Run(wall, processor, sum(int(changed) > 0 for _host, changed in recap))


def phases(column: str) -> tuple[str, ...]:
    """The runs of a column."""
    return ("any",) if column in READING else ("first", "converged")


def ratio(figures: Figures, one: tuple[str, str], other: tuple[str, str], field: str) -> float | None:
    """How many times more of *field* *one* took than *other*, the median of the rounds that have both."""
    rounds = zip(figures.get(one, []), figures.get(other, []), strict=False)
    found = [getattr(a, field) / getattr(b, field) for a, b in rounds if a and b]
    return statistics.median(found) if found else None


def table(hosts: int, figures: Figures) -> t.Iterator[str]:
    """Lines of Markdown. Ratios are two, of wall and of processor seconds: the latter mind a busy machine less."""
    yield "| column | run | rounds | wall s (min to max) | processor s | ÷ one_task | generic ÷ it | changed |"
    yield "|---|---|---|---|---|---|---|---|"
    for (column, phase), runs in figures.items():
        done = [run for run in runs if run]
        walls = [run.wall for run in done]
        spread = f"{statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"
        processor = statistics.median(run.processor for run in done)
        to_floor, to_peers = [], []
        for field in ("wall", "processor"):
            to_floor.append(ratio(figures, (column, phase), ("one_task", "any"), field))
            found = [ratio(figures, (peer, phase), (column, phase), field) for peer in PEERS_OF.get(column, ())]
            to_peers.append(min((one for one in found if one), default=None))
        yield (
            f"| {column} | {phase} | {len(done)} | {spread} | {processor:.2f}"
            f" | {shown(to_floor)} | {shown(to_peers)} | {done[-1].changed}/{hosts} |"
        )


def shown(numbers: t.Iterable[float | None]) -> str:
    return ", ".join(f"{number:.2f}" for number in numbers if number is not None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.sh", description=__doc__)
    parser.add_argument("--hosts", default="1,10,100", help="numbers of hosts, a table for each (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s; the generic modules run in fewer)")
    parser.add_argument("--columns", default=",".join((*FLOORS, *OURS, *PEERS)), help="plays (%(default)s)")
    parser.add_argument("--forks", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--pipelining", choices=("on", "off"), default="on", help="(%(default)s)")
    parser.add_argument("--ports", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--work", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.columns = args.columns.split(",")
    # as an exception, so that the playbook that runs is ended too
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    bench = Bench(args)
    if not bench.with_sysctl:
        print("note: the kernel's settings cannot be written here and are left out of every column")
    print("\n| column | run | peak memory of a module |\n|---|---|---|")
    for (column, phase), kib in bench.memory().items():
        print(f"| {column} | {phase} | {kib / 1024:.1f} MiB |")
    for hosts in (int(number) for number in args.hosts.split(",")):
        print(f"\n{hosts} host(s), forks {args.forks}, pipelining {args.pipelining}\n", flush=True)
        for line in table(hosts, bench.figures(hosts)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
