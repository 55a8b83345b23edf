# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill in full: every cell on the real timers of 60/10/6, before and after, on a throwaway PostgreSQL of its own.

It takes three minutes, most of them spent waiting for kernel timers. The report is kept in .cache/drill-full.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from support.modules import run_playbook
from support.servers import Cluster
from support.sources import find_source

from demo import MAJOR, ROOT, plain, say, write_inventory

REPORTS = ROOT / ".cache" / "drill-full"
#: 60 + 10 * 6 = 120 s, the user timeout that goes with it, and a look at the socket every 5 s.
SETTINGS = {
    "tcp_keepalives_idle": "60s",
    "tcp_keepalives_interval": "10s",
    "tcp_keepalives_count": "6",
    "tcp_user_timeout": "120s",
    "client_connection_check_interval": "5s",
    "authentication_timeout": "30s",
}
FAULTS = ["process_died", "peer_vanished", "short_outage", "slow_reader"]
PRIVILEGED = ["path_forgot_flow", "probes_dropped"]


def main() -> int:
    """Run it; the exit status is that of the first playbook that fails."""
    with tempfile.TemporaryDirectory(prefix="pgharden-drill-") as work:
        Path(work).chmod(0o755)
        tempfile.tempdir = os.environ["TMPDIR"] = work
        with Cluster.start(
            MAJOR, source=find_source(MAJOR, kind="wheel"), conf="log_line_prefix = '%m [%p] '"
        ) as cluster:
            inventory = write_inventory(cluster, Path(work))
            faults = ",".join(FAULTS + (PRIVILEGED if os.geteuid() == 0 else []))
            hardening = json.dumps({"harden_overrides": SETTINGS, "harden_layers": ["server"]})
            say(f"Linux {platform.release()}, PostgreSQL {MAJOR}")
            for title, playbook, arguments in (
                ("Before, watched for 20 s.", "drill", ["-e", f"drill_faults={faults} drill_patience=20s"]),
                ("Hardened.", "harden", ["-e", hardening]),
                ("After.", "drill", ["-e", f"drill_faults={faults} drill_patience=200s"]),
            ):
                say(title)
                done = run_playbook(
                    cluster,
                    f"pgharden.connection.{playbook}",
                    *arguments,
                    "-e",
                    f"drill_report_dir={REPORTS}",
                    inventory=inventory,
                    timeout=600,
                )
                print(plain(done.stdout), end="", flush=True)
                if done.rc:
                    print(done.stderr, file=sys.stderr)
                    return done.rc
    say(f"The report is in {REPORTS}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
