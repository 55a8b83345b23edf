# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_settings, apply_through config_file: files keep all else, whatever they are like and however a run ends."""

from __future__ import annotations

import os
import random
import signal
import time
import typing as t
from pathlib import Path

import pytest
from _settings import Running, apply, as_root, files, in_force, one_major, refuse, run, state
from support import Cluster, places

if t.TYPE_CHECKING:
    from conftest import NewCluster

IDLE, INTERVAL, COUNT = "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"
USER_TIMEOUT, CHECK = "tcp_user_timeout", "client_connection_check_interval"

TAIL = b"""
# caf\xe9, in Latin-1
#tcp_user_timeout = 0		# a sample, that is all
   Tcp_Keepalives_Idle\t=  30s   # first, and loses
include_if_exists 'later.conf'\r
tcp_keepalives_idle 45# last, and wins\r
tcp_keepalives_count='7'\r
log_statement_stats = off\r
work_mem = 4MB"""

EDITED = b"""
# caf\xe9, in Latin-1
#tcp_user_timeout = 0		# a sample, that is all
tcp_user_timeout = '75s'
   Tcp_Keepalives_Idle\t=  30s   # first, and loses
include_if_exists 'later.conf'\r
tcp_keepalives_idle 60# last, and wins\r
#tcp_keepalives_count='7'\r
log_statement_stats = off\r
work_mem = 4MB\r
log_statement = ddl\r
"""

WANTED = {IDLE: 60, USER_TIMEOUT: "75s", COUNT: None, "log_statement": "ddl"}


def through(path: Path) -> dict[str, t.Any]:
    return {"apply_through": "config_file", "config_file": str(path)}


@one_major
def test_everything_else_in_the_file_survives(cluster: Cluster) -> None:
    path = cluster.config_file
    # The server's own sample of log_statement must not be found: it goes to the end.
    head = path.read_bytes().replace(b"#log_statement = 'none'", b"")
    path.write_bytes(head + TAIL)
    path.chmod(0o640)
    if places.is_root():
        os.chown(path, path.stat().st_uid, 4)
    before = files(cluster)
    foreseen = apply(cluster, WANTED, check=True, **through(path))
    assert files(cluster) == before
    result = apply(cluster, WANTED, **through(path))
    assert result["diff"] == foreseen["diff"] != []
    edited = path.read_bytes()
    assert edited[len(head) :] == EDITED
    assert edited[: len(head)] == head
    after = files(cluster)
    assert after[str(path)][1:] == before[str(path)][1:]
    assert {key: value for key, value in after.items() if key != str(path)} == {
        key: value for key, value in before.items() if key != str(path)
    }
    assert in_force(cluster, IDLE, USER_TIMEOUT, COUNT, "log_statement", "work_mem") == [
        *("60", "75000", "9", "ddl", "4096")
    ]
    assert not apply(cluster, WANTED, **through(path))["changed"]
    assert path.read_bytes() == edited


@one_major
def test_a_link_stays_a_link(cluster: Cluster) -> None:
    real = cluster.directory / "kept-elsewhere.conf"
    cluster.config_file.rename(real)
    cluster.config_file.symlink_to(real)
    # By the name of the link, and by the file's own.
    assert apply(cluster, {IDLE: 60}, **through(cluster.config_file))["changed"]
    assert not apply(cluster, {IDLE: 60}, **through(real))["changed"]
    assert cluster.config_file.readlink() == real
    assert in_force(cluster, IDLE) == ["60"]


@one_major
def test_a_commented_out_setting_is_none(cluster: Cluster) -> None:
    """initdb's own line, which stays above the new one."""
    sample = next(
        line for line in cluster.config_file.read_bytes().splitlines() if line.startswith(b"#" + IDLE.encode())
    )
    result = apply(cluster, {IDLE: 60}, **through(cluster.config_file))
    assert result["diff"][0]["before"] == ""
    lines = cluster.config_file.read_bytes().splitlines()
    place = lines.index(b"tcp_keepalives_idle = 60")
    assert sample in lines[place - 2 : place]


@one_major
def test_drop_ins(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, layout="debian")
    conf_d = cluster.config_dir / "conf.d"
    path = conf_d / "connection.conf"
    foreseen = apply(cluster, {IDLE: 60}, check=True, **through(path))
    assert not path.exists()
    assert apply(cluster, {IDLE: 60}, **through(path))["diff"] == foreseen["diff"]
    assert path.read_text() == f"{IDLE} = 60\n"
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.stat().st_uid == conf_d.stat().st_uid
    assert in_force(cluster, IDLE) == ["60"]
    assert not apply(cluster, {IDLE: 60}, **through(path))["changed"]
    # The drop-in is put back with the rest when something is refused: here it goes away again.
    path.unlink()
    cluster.reload()
    before = state(cluster)
    refused = run(cluster, {IDLE: 60, "log_destination": "nowhere"}, **through(path))
    assert refused["failure"]["code"] == "not_in_force"
    assert refused["failure"]["put_back"]
    assert state(cluster) == before
    # What the server does not read.
    for other in (conf_d / "connection.cnf", conf_d / ".connection.conf", cluster.config_dir / "connection.conf"):
        message = refuse(cluster, {IDLE: 60}, "not_included", **through(other))
        assert str(cluster.config_file) in message
        assert not other.exists()
    # A line further down in the file that includes it.
    with cluster.config_file.open("a") as file:
        file.write(f"{IDLE} = 99\n")
    result = apply(cluster, {IDLE: 60}, **through(path))
    (shadow,) = result["settings"][IDLE]["after"]["shadowed_by"]
    assert (shadow["kind"], shadow["value"], shadow["sourcefile"]) == ("file", "99", str(cluster.config_file))
    assert not apply(cluster, {IDLE: 60}, **through(path))["changed"]


@one_major
def test_a_line_about_the_setting_that_the_server_cannot_read(cluster: Cluster) -> None:
    with cluster.config_file.open("a") as file:
        file.write(f"{IDLE} = 1.5min\n")  # a fraction with a unit needs quotes
    message = refuse(cluster, {IDLE: 60}, "bad_config_file", **through(cluster.config_file))
    assert IDLE in message


@one_major
def test_values_that_need_quotes(cluster: Cluster) -> None:
    prefix = "it's %m \\ #"
    for _turn in range(2):
        result = apply(cluster, {"log_line_prefix": prefix}, **through(cluster.config_file))
        assert in_force(cluster, "log_line_prefix") == [prefix]
    assert not result["changed"]
    message = refuse(cluster, {"log_line_prefix": "a\nb"}, "bad_value", **through(cluster.config_file))
    assert "line break" in message


@one_major
def test_the_server_is_down(cluster: Cluster) -> None:
    cluster.stop()
    path = cluster.config_file
    before = state(cluster)
    foreseen = apply(cluster, {IDLE: 60, COUNT: None}, check=True, **through(path))
    assert state(cluster) == before
    result = apply(cluster, {IDLE: 60, COUNT: None}, **through(path))
    assert result["server_down"] and result["changed"]
    assert result["diff"] == foreseen["diff"]
    assert not apply(cluster, {IDLE: 60, COUNT: None}, **through(path))["changed"]
    refuse(cluster, {IDLE: 60}, "login_failed")
    refuse(cluster, {IDLE: 60}, "server_down", role="postgres", **through(path))
    cluster.start_again()
    assert in_force(cluster, IDLE) == ["60"]
    assert not apply(cluster, {IDLE: 60, COUNT: None}, **through(path))["changed"]


@one_major
@pytest.mark.parametrize(
    "wrong",
    [
        # libpq words these as it does a server that is down; one of two addresses is dead.
        {"login_host": "localhost", "ssl_mode": "verify-full", "ca_cert": "/nowhere.pem"},
        {"login_host": "localhost", "ssl_mode": "require", "ssl_cert": "/nowhere.pem", "ssl_key": "/nowhere.key"},
        {"login_host": "127.0.0.9,127.0.0.1", "login_user": "nobody_here"},
    ],
)
def test_a_wrong_login_is_no_server_that_is_down(new_cluster: NewCluster, major: int, wrong: dict[str, t.Any]) -> None:
    cluster = new_cluster(major, conf="listen_addresses = '127.0.0.1'\n")
    refuse(cluster, {IDLE: 60}, "login_failed", **wrong, **through(cluster.config_file))


@one_major
def test_killed_at_any_moment_the_file_is_whole(cluster: Cluster) -> None:
    path = cluster.config_file
    old = path.read_bytes()
    started = time.monotonic()
    apply(cluster, {IDLE: 60}, **through(path))
    took = time.monotonic() - started
    new = path.read_bytes()
    moments = random.Random(1)
    seen = set()
    for _turn in range(10):
        path.write_bytes(old)
        running = Running(cluster, {IDLE: 60}, **through(path))
        # Most of the time goes into starting Python.
        time.sleep(took * moments.uniform(0.5, 1.1))
        os.killpg(running.process.pid, signal.SIGKILL)
        running.process.communicate()
        assert path.read_bytes() in (old, new)
        seen.add(path.read_bytes() == new)
        # Nothing is in the way of the next run, and it leaves nothing behind.
    apply(cluster, {IDLE: 60}, **through(path))
    assert path.read_bytes() == new
    assert not [one for one in cluster.config_dir.iterdir() if "pgharden" in one.name]
    assert seen, "one of the two, at least"


@as_root
@one_major
def test_a_file_that_may_not_be_written(cluster: Cluster) -> None:
    """As an OS user who may read it, but owns neither it nor its directory."""
    cluster.data_dir.chmod(0o755)
    cluster.config_file.chmod(0o644)
    before = files(cluster)
    result = run(cluster, {IDLE: 60}, as_user="nobody", **through(cluster.config_file))
    assert result["failure"]["code"] in ("file_not_writable", "cannot_keep_owner")
    assert result["failure"]["put_back"]
    assert files(cluster) == before
    cluster.data_dir.chmod(0o700)
