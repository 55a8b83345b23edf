# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of server_settings share: running it, and all that it could have changed."""

from __future__ import annotations

import json
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from support import Cluster, places, run_module
from support.modules import module_argv, module_input

from ansible_collections.pgharden.connection.plugins.module_utils import _database

LOCK_KEY = _database._LOCK_KEY

as_root = pytest.mark.skipif(not places.is_root(), reason="another OS user needs root")

#: Where the subject does not depend on the version.
one_major = pytest.mark.parametrize("major", [15])


def majors(*wanted: int) -> pytest.MarkDecorator:
    """Instead of each supported major, for the fixture `cluster` and its like."""
    return pytest.mark.parametrize("major", wanted)


Result = dict[str, t.Any]


def over_socket(cluster: Cluster) -> dict[str, t.Any]:
    return {"login_unix_socket": str(cluster.socket_dir), "login_port": cluster.port}


def over_tcp(cluster: Cluster) -> dict[str, t.Any]:
    return {"login_host": cluster.host, "login_port": cluster.port}


def apply(cluster: Cluster, settings: dict[str, t.Any], *, check: bool = False, **options: t.Any) -> Result:
    """Run the module, over the Unix socket unless told otherwise; it must succeed."""
    result = run(cluster, settings, check=check, **options)
    assert not result.get("failed"), result["msg"]
    return result


def refuse(cluster: Cluster, settings: dict[str, t.Any], code: str, **options: t.Any) -> str:
    """Run the module, which must refuse with *code*, in check mode, too, and change nothing; gives its message."""
    before = state(cluster)
    foreseen = run(cluster, settings, check=True, **options)
    result = run(cluster, settings, **options)
    for one in (foreseen, result):
        assert one.get("failed"), one
        assert one["failure"]["code"] == code, one["msg"]
        assert one["rc"] == 1
    assert state(cluster) == before
    return str(result["msg"])


def run(
    cluster: Cluster, settings: dict[str, t.Any], *, check: bool = False, as_user: str | None = None, **options: t.Any
) -> Result:
    """Run the module; whatever comes of it, there is no traceback."""
    result = run_module(
        cluster, "server_settings", _arguments(cluster, settings, options), check=check, as_user=as_user
    )
    assert "exception" not in result, result
    assert "Traceback" not in json.dumps(result)
    return result


class Running:
    """A run of the module that goes on beside the test."""

    def __init__(self, cluster: Cluster, settings: dict[str, t.Any], **options: t.Any) -> None:
        self.process = subprocess.Popen(
            module_argv(cluster, "server_settings"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdin
        self.process.stdin.write(module_input(_arguments(cluster, settings, options)))
        self.process.stdin.close()
        self.process.stdin = None

    def result(self) -> Result:
        output, errors = self.process.communicate(timeout=60)
        assert output, errors
        result: Result = json.loads(output)
        assert "exception" not in result, result
        return result

    def children(self) -> list[int]:
        found = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout
        return [int(pid) for pid in found.split()]


def _arguments(cluster: Cluster, settings: dict[str, t.Any], options: dict[str, t.Any]) -> dict[str, t.Any]:
    login = {} if options.keys() & {"login_host", "login_unix_socket"} else over_socket(cluster)
    return {**login, "settings": settings, **options}


def files(cluster: Cluster) -> dict[str, tuple[bytes, int, int, int]]:
    """Every configuration file: content, mode, owner, group."""
    found = {}
    for directory in dict.fromkeys((cluster.config_dir, cluster.config_dir / "conf.d", cluster.data_dir)):
        for path in directory.glob("*.conf"):
            status = path.stat()
            found[str(path)] = (path.read_bytes(), status.st_mode, status.st_uid, status.st_gid)
    return found


def state(cluster: Cluster) -> list[t.Any]:
    """All that the module could have changed."""
    if not cluster.running:
        return [files(cluster)]
    overrides = "SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"
    # What runs: reset_val is not what a Unix socket's show hook makes of it.
    values = (
        "SELECT name, reset_val, source, sourcefile, sourceline, pending_restart FROM pg_settings"
        " WHERE name !~ '^transaction_(isolation|read|deferrable)' ORDER BY 1"
    )
    return [files(cluster), cluster.query(overrides), cluster.query(values)]


def in_force(cluster: Cluster, *names: str, **conn: t.Any) -> list[str]:
    """What a new session over TCP gets, as the kernel has it for the tcp_ parameters."""
    with cluster.session(**conn) as session:
        return [
            str(session.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,))[0][0]) for name in names
        ]


def wait_until(condition: t.Callable[[], t.Any], seconds: float = 60) -> None:
    """Generous: a limit for what hangs, not a measure of what is fast."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """A zombie, whose parent is not us, is as good as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
