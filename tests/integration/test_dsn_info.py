# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dsn_info: what it says of a socket is what ss says of it, and no password comes out of it."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from _hardening import profile
from conftest import NewCluster
from support import Cluster, run_module

from ansible_collections.pgharden.connection.plugins.module_utils import _policy
from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers, _plans
from ansible_collections.pgharden.connection.plugins.plugin_utils import _dsn

ONE = pytest.mark.parametrize("major", [17])
POLICY = profile("web")
PLAN = _plans.client(_policy.parse(POLICY))
KEYWORDS = _drivers.parameters(PLAN, "libpq")["parameters"]


def look(cluster: Cluster, dsn: str, **options: t.Any) -> dict[str, t.Any]:
    env = options.pop("env", None)
    result = run_module(cluster, "dsn_info", {"policy": POLICY, "dsn": dsn, **options}, env=env)
    assert "exception" not in result, result
    return result


@ONE
@pytest.mark.parametrize(
    "dsn", ["host=127.0.0.1 user=postgres dbname=postgres", "postgresql://postgres@127.0.0.1/postgres"]
)
def test_a_merged_dsn_yields_the_socket_of_the_plan(cluster: Cluster, dsn: str) -> None:
    merged = _dsn.merge(dsn, KEYWORDS)
    result = look(cluster, merged, fail_on_difference=True)
    assert (result["rc"], result["differs"], result["through"]) == (0, [], []), result
    assert {key: result["socket"][key] for key in PLAN if key in result["socket"]} == {
        key: value for key, value in PLAN.items() if key != "connect_timeout"
    }
    assert 0 < result["socket"]["timer"]["seconds"] <= PLAN["keepalives_idle"] * 1.125 + 1


@ONE
def test_a_bare_dsn_differs_in_all_of_it(cluster: Cluster) -> None:
    dsn = "host=127.0.0.1 user=postgres dbname=postgres keepalives_count=5"
    result = look(cluster, dsn)
    assert result["rc"] == 0
    found = {row["setting"]: row["found"] for row in result["differs"]}
    times = [int(cluster.get_sysctl(f"net.ipv4.tcp_keepalive_{name}")) for name in ("time", "intvl")]
    assert [found["keepalives_idle"], found["keepalives_interval"]] == times
    assert (found["keepalives_count"], found["tcp_user_timeout"], found["connect_timeout"]) == (5, 0, 0)
    assert result["keywords"] == {"keepalives_count": "5"}
    assert found["timer"] > PLAN["keepalives_idle"] * 2
    failed = look(cluster, dsn, fail_on_difference=True)
    assert failed["failed"]
    assert failed["failure"]["code"] == "differs"
    assert {row["setting"] for row in failed["differs"]} == set(found)


@ONE
def test_the_variable_of_libpq_counts_as_for_the_application(cluster: Cluster) -> None:
    result = look(cluster, "host=127.0.0.1 user=postgres", env={"PGCONNECT_TIMEOUT": "7"})
    assert result["keywords"] == {"connect_timeout": "7"}
    assert "connect_timeout" not in {row["setting"] for row in result["differs"]}


@ONE
@pytest.mark.parametrize(
    ("dsn", "remedy"),
    [
        ("host=127.0.0.1 user=postgres keepalives_idle=0", "Leave out keepalives_idle"),
        ("host=127.0.0.1 user=postgres dbname=none", "Correct user or dbname."),
        ("host=127.0.0.1 user=postgres port=1", "correct host and port."),
        ("service=none", "Correct the DSN."),
    ],
)
def test_what_helps_is_said_in_words_of_a_dsn(cluster: Cluster, dsn: str, remedy: str) -> None:
    result = look(cluster, dsn, connect_retry="off")
    assert result["failure"]["code"] == "login_failed"
    assert remedy in result["failure"]["remedy"]
    assert "login_" not in result["failure"]["remedy"]


@ONE
def test_keepalive_that_is_off_is_found(cluster: Cluster) -> None:
    result = look(cluster, f"{_dsn.merge('host=127.0.0.1 user=postgres', KEYWORDS)} keepalives=0")
    assert {"setting": "keepalives", "wanted": 1, "found": 0} in result["differs"]
    assert result["socket"]["timer"]["kind"] == "none"


@ONE
def test_the_service_of_another_os_user(cluster: Cluster, tmp_path: Path) -> None:
    lines = "\n".join(f"{key}={value}" for key, value in KEYWORDS.items())
    service_file = cluster.directory / "services"
    service_file.write_text(f"[app]\nhost=127.0.0.1\nuser=postgres\ndbname=postgres\n{lines}\n")
    service_file.chmod(0o644)
    result = look(cluster, "service=app", login_os_user=cluster.os_user, env={"PGSERVICEFILE": str(service_file)})
    assert (result["rc"], result["differs"]) == (0, []), result
    assert result["keywords"] == {key: str(value) for key, value in KEYWORDS.items()}


@ONE
def test_over_a_unix_socket_there_is_nothing_to_compare(cluster: Cluster) -> None:
    result = look(cluster, f"host={cluster.socket_dir} user=postgres dbname=postgres connect_timeout=9")
    assert (result["socket"], result["differs"], result["through"]) == ({"unix_socket": True}, [], [])


@ONE
def test_no_password_comes_out(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, auth="scram")
    dsn = f"postgresql://postgres:{cluster.password}@127.0.0.1/postgres"
    result = look(cluster, dsn)
    assert result["rc"] == 0, result
    assert cluster.password not in json.dumps(result)
    for wrong in ("postgresql://postgres:Wr0ng-One@127.0.0.1/postgres", "Wr0ng-One", "password='Wr0ng-One"):
        refused = look(cluster, wrong)
        assert refused["failed"]
        assert "Wr0ng-One" not in json.dumps(refused)


@ONE
def test_what_ends_tcp_on_the_way_is_seen(cluster: Cluster) -> None:
    """A program that passes on bytes, on the server's host: the server's client is that, and not we."""
    forwarder = (
        "import socket, threading\n"
        "listener = socket.create_server(('127.0.0.1', 6543))\n"
        "print(flush=True)\n"
        "near = listener.accept()[0]\n"
        "far = socket.create_connection(('127.0.0.1', 5432))\n"
        "def pump(one, other):\n"
        "    while data := one.recv(65536): other.sendall(data)\n"
        "    other.shutdown(socket.SHUT_WR)\n"
        "threading.Thread(target=pump, args=(far, near)).start()\n"
        "pump(near, far)\n"
    )
    with subprocess.Popen(cluster.argv([sys.executable, "-c", forwarder]), stdout=subprocess.PIPE) as between:
        try:
            assert between.stdout
            between.stdout.readline()
            dsn = _dsn.merge("host=127.0.0.1 port=6543 user=postgres dbname=postgres sslmode=disable", KEYWORDS)
            result = look(cluster, f"{dsn} gssencmode=disable")
        finally:
            between.kill()
    assert result["differs"] == []
    assert [row["seen_in"] for row in result["through"]] == ["pg_stat_activity"]
