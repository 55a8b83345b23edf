# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs that real servers write, in every format, read while connections to them are broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

import psycopg2.errors
import pytest
from conftest import NewCluster
from support import Cluster
from support.sessions import Session

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _scan
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import LogEvent

SECRET = "hunter2-Planted"
COLLECT = """
logging_collector = on
log_file_mode = 0644
log_filename = 'server.log'
log_connections = on
log_disconnections = on
log_statement = all
log_timezone = 'Asia/Shanghai'
"""
#: CST: of Shanghai, not of Chicago.
ZONE = "Asia/Shanghai"


def kill(session: Session) -> None:
    """Kill a client before it sees that its channel is closed, which makes it say goodbye."""
    session.process.kill()
    session.kill()


def broken(cluster: Cluster, english: bool = True) -> dict[str, Session]:
    """Break connections, say which by the kind of event, and stop the server."""
    with cluster.session() as doomed, cluster.session() as other, cluster.session() as waiting:
        doomed.execute("BEGIN")
        doomed.execute("SELECT %s", (SECRET,))
        kill(doomed)
        cluster.query("SELECT pg_terminate_backend(%s)", (other.pid,))
        waiting.execute("SET statement_timeout = '50ms'")
        waiting.send(f"SELECT pg_sleep(9), '{SECRET}\n LOG:  connection to client lost'")
        with pytest.raises(psycopg2.errors.QueryCanceled) as failed:
            waiting.receive()
        assert ("statement timeout" in str(failed.value)) == english
        deadline = time.monotonic() + 60
        while cluster.query("SELECT 1 FROM pg_stat_activity WHERE pid IN (%s, %s)", (doomed.pid, other.pid)):
            assert time.monotonic() < deadline
    cluster.stop()
    return {"eof_in_transaction": doomed, "admin_command": other, "statement_timeout": waiting}


def of_session(events: list[LogEvent], kind: str, session: Session) -> LogEvent:
    """Its own: a shutdown may come to a session that has said goodbye before the goodbye does, and end it, too."""
    (found,) = (one for one in events if (one.kind, one.pid) == (kind, session.pid))
    return found


def told(events: list[LogEvent]) -> set[tuple[t.Any, ...]]:
    return {(one.kind, one.pid, one.port, one.user, one.database, one.number, one.sqlstate) for one in events}


def read(path: Path, prefix: str | None = None) -> list[LogEvent]:
    """What a log has; the logger writes for a moment after the server has ended."""
    deadline = time.monotonic() + 60
    while True:
        events, problems = _scan.scan([str(path)], prefix=prefix, timezone=ZONE)
        found = list(events)
        if any(one.kind == "shut_down" for one in found):
            assert not problems
            assert SECRET not in repr(found)
            return found
        assert time.monotonic() < deadline, problems
        time.sleep(0.1)


@pytest.mark.parametrize("prefix", ["%m [%p] %e %r %q%u@%d ", "%n|%-8p|%e|%10u|%-12d|%r|"])
def test_the_same_in_every_format(major: int, new_cluster: NewCluster, prefix: str) -> None:
    formats = "stderr,csvlog" + (",jsonlog" if major >= 15 else "")
    cluster = new_cluster(major, conf=f"{COLLECT}log_destination = '{formats}'\nlog_line_prefix = '{prefix}'\n")
    before = time.time()
    seen = broken(cluster)
    after = time.time()
    found = {}
    for suffix in ["log", "csv", *(["json"] if major >= 15 else [])]:
        path = cluster.data_dir / "log" / f"server.{suffix}"
        found[suffix] = read(path, prefix)
        kinds = {one.kind for one in found[suffix]}
        assert {"started", "connection_received", "authenticated", "disconnected", "shutdown_request"} <= kinds
        assert "connection_lost" not in kinds  # a statement only talked of it
        for kind, session in seen.items():
            one = of_session(found[suffix], kind, session)
            assert one.port == session.local_port
            assert (one.address, one.user, one.database) == ("127.0.0.1", "postgres", "postgres")
            assert one.time
            assert before - 1 < one.time < after + 1
            assert one.text in path.read_text().splitlines()[one.line - 1]
    assert told(found["log"]) == told(found["csv"])
    if major >= 15:
        assert told(found["json"]) == told(found["csv"])
    # In a directory each is read once.
    events, problems = _scan.scan([str(cluster.data_dir / "log")], timezone=ZONE)
    assert told(list(events)) == told(found["csv"])
    assert not problems


@pytest.mark.parametrize(
    ("language", "locale"), [("de", "de_DE"), ("fr", "fr_FR"), ("ru", "ru_RU"), ("ja", "ja_JP"), ("zh_CN", "zh_CN")]
)
def test_translated(
    new_cluster: NewCluster,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    locale: str,
) -> None:
    if not shutil.which("localedef") or not Path(f"/usr/share/i18n/locales/{locale}").exists():
        pytest.skip("no localedef here, or no sources of locales: install locales")
    if not Path(f"/usr/share/locale/{language}/LC_MESSAGES/postgres-15.mo").exists():
        pytest.skip("no translations of the server here: install postgresql-15")
    locales = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(locales))
    locales.chmod(0o755)  # the server's user has to read it, which pytest's own directories do not let others
    subprocess.run(["localedef", "-i", locale, "-f", "UTF-8", locales / f"{locale}.UTF-8"], check=False)
    monkeypatch.setenv("LOCPATH", str(locales))
    prefix = "%m [%p] %e %r %q%u@%d "
    conf = f"{COLLECT}log_destination = 'stderr,csvlog'\nlog_line_prefix = '{prefix}'\nlc_messages = '{locale}.UTF-8'\n"
    cluster = new_cluster(15, conf=conf)
    seen = broken(cluster, english=False)
    for suffix in ("log", "csv"):
        events = read(cluster.data_dir / "log" / f"server.{suffix}", prefix)
        kinds = {one.kind for one in events}
        assert kinds >= {"connection_received", "authenticated", "disconnected", "shutdown_request", "started"}
        for kind, session in seen.items():
            assert of_session(events, kind, session).port == session.local_port


def test_the_journal(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What journalctl prints is replayed here; that it is asked for the unit and the time, too."""
    prefix = "%m [%p] %q%u@%d "
    with cluster.session() as session:
        session.execute("BEGIN")
        kill(session)
    deadline = time.monotonic() + 60
    while not any(f"[{session.pid}]" in line and "open transaction" in line for line in cluster.log().splitlines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    entries = [
        json.dumps({"__REALTIME_TIMESTAMP": str(int(time.time() * 1e6)), "MESSAGE": line})
        for line in cluster.log().splitlines()
    ]
    (tmp_path / "entries").write_text("\n".join(entries) + "\n")
    program = tmp_path / "journalctl"
    program.write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncat {tmp_path}/entries\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    events, problems = _scan.journal("postgresql@15-main", since=1000.0, prefix=prefix)
    # The log of a server that is used again has those of earlier tests, too.
    found = [one for one in events if one.kind == "eof_in_transaction" and one.pid == session.pid][-1]
    assert not problems
    assert found.time and time.time() - 600 < found.time <= time.time()
    asked = (tmp_path / "asked").read_text().split()
    assert {"--unit=postgresql@15-main", "--since=@1000"} <= set(asked)
