# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: hardens a throwaway PostgreSQL of its own, shows before and after, puts it back, and drills what it said.

Everything happens in a temporary directory and in a private network namespace, so neither the servers nor the kernel
settings of this machine are touched.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.modules import run_playbook  # noqa: E402 - tests is not on the path before
from support.servers import Cluster  # noqa: E402
from support.sources import find_source  # noqa: E402

MAJOR = 18
SYSCTL_FILE = "/etc/sysctl.d/90-pgharden-connection.conf"  # a private /etc/sysctl.d, as the namespace is
#: The drill waits for real timers; those of the profile are divided by this, so that nobody has to wait for long.
SCALE = 12
DRILL = ["-e", "drill_phases=idle,executing,sending", "-e", "drill_faults=peer_vanished"]


def main() -> int:
    """Run the demo; the exit status is that of the first playbook that fails."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pgharden-demo-") as work:
        Path(work).chmod(0o755)  # the server's OS user has to get through, and root's own would be 0700
        # The support package would take memory that it keeps for the next test.
        tempfile.tempdir = os.environ["TMPDIR"] = work
        code = show(Path(work))
    if code == 0:
        say(f"Done in {time.monotonic() - began:.0f} s; nothing of it is left on this machine.")
    return code


def show(work: Path) -> int:
    """Everything between the start of the server and its end, with all files below *work*."""
    say("A throwaway PostgreSQL is started, in a network of its own ...")
    try:
        cluster = Cluster.start(MAJOR, source=find_source(MAJOR, kind="wheel"))
    except (OSError, RuntimeError) as error:
        print(f"The demo needs network namespaces (unshare of util-linux, ip of iproute2): {error}", file=sys.stderr)
        return 1
    with cluster:
        inventory = write_inventory(cluster, work)
        show_kernel(cluster, "Before")
        scaled = ["-e", f"harden_profile={write_scaled_profile(work)}"]
        for title, playbook, arguments in (
            ("What would change?", "harden", ["--check"]),
            ("Harden it.", "harden", []),
            ("Once more: nothing is left to change.", "harden", []),
            ("And back, as it was found.", "revert", []),
            (
                "Is that true? Connections are cut, and the server is watched, for 4 s: it notices nothing.",
                "drill",
                [*DRILL, "-e", "drill_patience=4s"],
            ),
            (f"Harden it again, scaled down: all durations of the profile are divided by {SCALE}.", "harden", scaled),
            (
                f"Connections are cut again. (Scaled: with the profile itself it takes {SCALE} times as long.)",
                "drill",
                DRILL,
            ),
        ):
            command = " ".join(["ansible-playbook -i inventory", f"pgharden.connection.{playbook}", *arguments])
            say(f"{title}\n$ {command.replace(str(work), '.')}")
            done = run_playbook(
                cluster,
                f"pgharden.connection.{playbook}",
                *arguments,
                inventory=inventory,
                env={"ANSIBLE_NOCOLOR": ""},
                cwd=work,
            )
            print(plain(done.stdout).replace(str(work), "."), end="")
            if done.rc:
                print(done.stderr, file=sys.stderr)
                return done.rc
            if not arguments:
                show_kernel(cluster, "Now")
    return 0


def write_scaled_profile(work: Path) -> Path:
    """The profile web, faster."""

    def faster(duration: re.Match[str]) -> str:
        milliseconds = float(duration[2]) * {"s": 1000, "min": 60_000}[duration[3]]
        return f"{duration[1]}{milliseconds / SCALE:.0f}ms"

    text = (ROOT / "plugins" / "plugin_utils" / "profiles" / "web.yml").read_text(encoding="utf-8")
    profile = work / "scaled.yml"
    profile.write_text(re.sub(r"^(\w+: *)([0-9.]+)(s|min)$", faster, text, flags=re.MULTILINE), encoding="utf-8")
    return profile


def write_inventory(cluster: Cluster, work: Path) -> Path:
    """One host, with the role's variables for a server that is only reached over its Unix socket."""
    lines = ["demo ansible_connection=local"]
    for role in ("harden", "revert", "drill", "audit"):
        lines.append(
            f"{role}_become=false {role}_login_unix_socket={cluster.socket_dir} {role}_login_port={cluster.port}"
            f" {role}_revert_file={work}/revert.json"
        )
    inventory = work / "inventory"
    inventory.write_text(" ".join(lines) + f" harden_sysctl_file={SYSCTL_FILE}\n", encoding="utf-8")
    return inventory


def show_kernel(cluster: Cluster, when: str) -> None:
    """The kernel's own word: the timer on the server's side of a session that has just been opened."""
    session = cluster.session(tcp=True)
    try:
        timers: list[float | None] = []
        while not timers:  # until the last reply is acknowledged, the retransmission timer has its place
            timers = [
                one.seconds
                for one in cluster.sockets()
                if one.local_port == cluster.port and one.peer_port == session.local_port and one.timer == "keepalive"
            ]
    finally:
        session.close()
    say(f"{when}, says the kernel (ss), the first keepalive probe goes out after {timers[0]:.0f} s of silence.")


def plain(text: str) -> str:
    """What ansible-playbook prints, without the lines that say nothing here."""
    noise = ("PLAY ", "TASK ", "ok: [", "changed: [", "skipping: [", "demo  ")
    lines = [line for line in text.splitlines() if not line.startswith(noise)]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return "\n".join(lines) + "\n"


def say(text: str) -> None:
    """A line of the demo's own, set off from what the commands print."""
    bold, normal = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{normal}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (subprocess.SubprocessError, KeyboardInterrupt) as error:
        sys.exit(f"The demo was interrupted: {error!r}")
