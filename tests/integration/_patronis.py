# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the module patroni share: clusters to harden, and what they say without the module."""

from __future__ import annotations

import contextlib
import json
import typing as t
from pathlib import Path

import pytest
from _hardening import Result, profile
from support import Cluster, Unavailable, run_module
from support.patronis import API_PASSWORD, SERVER_PASSWORD, Patroni, Patronis, some_major

#: What profile web comes to, as pg_settings has it; a second witness beside the plan.
WEB = {
    "authentication_timeout": "26",
    "client_connection_check_interval": "5000",
    "idle_in_transaction_session_timeout": "300000",
    "tcp_keepalives_count": "6",
    "tcp_keepalives_idle": "35",
    "tcp_keepalives_interval": "6",
    "tcp_user_timeout": "71000",
}


@contextlib.contextmanager
def started(members: int, *, tls: bool = False) -> t.Iterator[Patronis]:
    """A cluster of Patroni; a machine that has none is skipped."""
    try:
        cluster = Cluster.start(some_major())
        with contextlib.closing(cluster), contextlib.closing(Patronis(cluster, members, tls=tls)) as patronis:
            yield patronis
    except Unavailable as problem:
        pytest.skip(str(problem))


class Runs:
    """The modules, on the host of a member; no result has a secret, and none is a traceback."""

    def __init__(self, patronis: Patronis, directory: Path) -> None:
        self.patronis, self._directory = patronis, directory

    def revert_file(self, member: Patroni) -> Path:
        return self._directory / f"{member.name}.json"

    def notes(self, member: Patroni) -> list[str]:
        """The files that are kept about a member."""
        return sorted(path.name for path in self._directory.glob(f"{member.name}.*"))

    def harden(self, member: Patroni, policy: t.Any = None, *, check: bool = False, **options: t.Any) -> Result:
        policy = profile("web") if policy is None else policy
        return self._run("patroni", member, {"policy": policy, **options}, check)

    def revert(self, member: Patroni, *, check: bool = False) -> Result:
        return self._run("revert", member, {}, check)

    def run(self, name: str, member: Patroni, **options: t.Any) -> Result:
        return self._run(name, member, options, False)

    def _run(self, name: str, member: Patroni, options: dict[str, t.Any], check: bool) -> Result:
        args = {"login_host": "127.0.0.1", "login_port": member.port, "revert_file": str(self.revert_file(member))}
        result = run_module(self.patronis.cluster, name, {**args, **options}, check=check)
        text = json.dumps({key: value for key, value in result.items() if key != "invocation"})
        assert "exception" not in result, result
        assert API_PASSWORD not in text
        assert SERVER_PASSWORD not in text
        return result


def config(patronis: Patronis) -> str:
    """The dynamic configuration, byte by byte; asked so that the member looks into etcd first."""
    patronis.leader.request("GET", "/cluster")
    return patronis.leader.request("GET", "/config")[1]


def in_force(member: Patroni, names: t.Iterable[str]) -> dict[str, str]:
    """What a fresh session over TCP has: for the tcp_ parameters what its socket has."""
    sql = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
    return {row[0]: row[1] for row in member.query(sql, (list(names),))}


def file_lines(member: Patroni, name: str) -> list[tuple[str, bool]]:
    """What the files of a member say of a parameter: the value, and whether that line counts."""
    sql = "SELECT setting, applied FROM pg_file_settings WHERE name = %s ORDER BY seqno"
    return [(row[0], row[1]) for row in member.query(sql, (name,))]


def auto_conf(member: Patroni) -> str:
    """What ALTER SYSTEM has left, without its comment."""
    lines = (member.data_dir / "postgresql.auto.conf").read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))
