# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a case leaves: the files that somebody would send, and the truth about them."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import typing as t
from pathlib import Path

from support import Cluster

from .hosts import Host

#: How a server may log; the prefixes are those of this lab, of Debian, of a hosted service and of pgBadger's manual.
LOGS = {
    "full": {"log_line_prefix": "'%m [%p] %r %e '"},
    "epoch": {"log_line_prefix": "'%n %p %c %h %u@%d/%a %e: '"},
    "debian": {"log_line_prefix": "'%m [%p] %q%u@%d '"},
    "hosted": {"log_line_prefix": "'%t:%r:%u@%d:[%p]:'"},
    "pgbadger": {"log_line_prefix": "'%t [%p]: user=%u,db=%d,app=%a,client=%h '"},
    "csv": {"logging_collector": "on", "log_destination": "csvlog"},
    "json": {"logging_collector": "on", "log_destination": "jsonlog"},
}
STATISTICS = "SELECT json_object_agg(datname, to_json(d)) FROM pg_stat_database d WHERE datname IS NOT NULL"


@dataclasses.dataclass
class Lost:
    """What became of a connection: *address* and *port* are the client's as the server has them, *client* its own."""

    cause: str
    address: str | None
    port: int | None
    pid: int | None
    client: tuple[str, int]
    time: float


@dataclasses.dataclass
class Evidence:
    """What labels.json has of a case; all paths are relative to the directory of the set.

    *label* is the id of the cause, *log_tells* whether the server's log alone gives it away. *other_logs* are those of
    a proxy or a pooler, by its name. *losses* are all connections that have a cause, *harmless* some to which nothing
    happened, or that only looked. *server* is where clients went. *hosts* are looks at the clients' hosts. Times are
    seconds since the epoch.
    """

    case: str
    label: str
    log_tells: bool
    log_format: str
    log_line_prefix: str
    log_files: list[str]
    captures: list[dict[str, str]]
    other_logs: dict[str, str]
    statistics: list[dict[str, t.Any]]
    server: tuple[str, int]
    losses: list[Lost]
    harmless: list[Lost]
    hosts: list[dict[str, t.Any]]
    began: float
    fault: float
    ended: float


def sample(cluster: Cluster, host: Host, *, ask_server: bool = True) -> dict[str, t.Any]:
    """The counters of this moment, as the module diagnosis_info takes them: the server's own and the kernel's."""
    counters = json.loads(host.run(["nstat", "--json", "-asz", "Tcp*"]))["kernel"]
    return {
        "at": time.time(),
        "databases": cluster.query(STATISTICS)[0][0] if ask_server and cluster.running else {},
        "kernel": {re.sub("^Tcp(Ext)?", "", name): value for name, value in counters.items()},
    }


def risen(before: dict[str, t.Any], after: dict[str, t.Any], name: str) -> float:
    """By how much a counter of the server (sessions_...) or of the kernel rose."""
    if not name.startswith("sessions"):
        return float(after["kernel"][name] - before["kernel"][name])
    return float(sum(after["databases"][key][name] - row[name] for key, row in before["databases"].items()))


def log_files(cluster: Cluster) -> list[Path]:
    """The files that the server has logged to."""
    collected = [path for path in (cluster.data_dir / "log").glob("*.*") if path.suffix in (".csv", ".json")]
    return sorted(collected) or [cluster.log_file]
