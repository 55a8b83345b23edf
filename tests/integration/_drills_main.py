# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many drills in one process: _drills_main.py, with a JSON object on standard input; prints one JSON list.

Each plan is what is wished for, and maybe a signal (TERM or KILL) and the seconds after which it comes. A drill that is
to be killed runs in a fork. Whatever a drill leaves without a parent becomes a child of this process.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
import time
import types
import typing as t
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
#: Seconds that orphans may take to end by themselves on a busy machine.
ORPHANS = 20.0


def main() -> None:
    """Run the plans one after the other."""
    order = json.load(sys.stdin)
    package = types.ModuleType("ansible_collections")
    package.__path__ = [f"{order['collections']}/ansible_collections"]
    sys.modules["ansible_collections"] = package
    from ansible_collections.pgharden.connection.plugins.module_utils import _login
    from ansible_collections.pgharden.connection.plugins.module_utils._drill import _connections, _run, _wish
    from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

    if "spare_seconds" in order:
        _connections._SPARE_SECONDS = order["spare_seconds"]
    login = _login.Login(**order["login"])

    def drill(plan: dict[str, t.Any]) -> t.Any:
        try:
            try:
                if plan.get("signal") == "TERM":
                    signal.setitimer(signal.ITIMER_REAL, plan["after"])
                result = _run.run(login, _wish.Wish(**plan["wish"]), False)
            finally:  # where the signal may come, too
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Failure as failure:
            return "interrupted" if failure.code == "interrupted" else str(failure)
        except Interrupted:
            return "interrupted"
        return [{key: row[key] for key in ("phase", "fault", "verdict", "text")} for row in result["cells"]]

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, lambda *_arguments: os.kill(os.getpid(), signal.SIGTERM))
    signal.signal(signal.SIGTERM, interrupt)
    before, outcomes = handles(), []
    for plan in order["plans"]:
        outcomes.append(killed(drill, plan) if plan.get("signal") == "KILL" else drill(plan))
        deadline = time.monotonic() + ORPHANS
        while children():
            if time.monotonic() > deadline:
                sys.exit(f"{plan} left processes behind: {children()}")
            time.sleep(0.01)
    gc.collect()  # a signal in the middle of a login leaves an error and its connection to each other
    if handles() != before:
        sys.exit(f"open before: {before}, afterwards: {handles()}")
    json.dump(outcomes, sys.stdout)


class Interrupted(Exception):
    """The signal came when the drill had not begun yet, or was over."""


def interrupt(*_arguments: t.Any) -> t.NoReturn:
    raise Interrupted


def killed(drill: t.Callable[[t.Any], t.Any], plan: dict[str, t.Any]) -> str:
    """A drill in a fork, which is killed."""
    pid = os.fork()
    if pid == 0:
        drill({**plan, "signal": None})
        os._exit(0)
    time.sleep(plan["after"])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "killed"


def children() -> list[int]:
    """The processes that are left, after those which have ended were seen off."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return []
    return [int(pid) for pid in Path("/proc/self/task", str(os.getpid()), "children").read_text().split()]


def handles() -> list[str]:
    """What is open."""
    found = []
    for handle in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{handle}"))
        except OSError:
            continue  # that of the directory itself
    return sorted(found)


if __name__ == "__main__":
    main()
