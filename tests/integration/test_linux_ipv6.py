# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux: IPv6 alone, on the server, on both legs of PgBouncer and HAProxy, and an address with a zone."""

from __future__ import annotations

from pathlib import Path

import pytest
from _haproxy import WEB as WEB_OF_HAPROXY
from _haproxy import Proxy
from _hardening import IS_ROOT, Host, NewCluster, profile
from _linux import MAJOR
from _pgbouncers import Pooler
from support import Cluster, run_module
from support.drivers import client_sockets
from support.haproxies import PROGRAM as HAPROXY
from support.pgbouncers import PROGRAM as PGBOUNCER

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="sockets of programs in namespaces")
ONLY = "listen_addresses = '::1'\n"
#: Keepalive of the profile web, seconds.
IDLE = 35


def refuses_ipv4(cluster: Cluster) -> bool:
    """Whether nothing listens on 127.0.0.1."""
    told = cluster.run(["ss", "-Hltn4"], check=True).stdout
    return "127.0.0.1" not in told and "0.0.0.0" not in told


def test_a_server_that_listens_on_ipv6_only(new_cluster: NewCluster, tmp_path: Path) -> None:
    host = Host(new_cluster(MAJOR, conf=ONLY), tmp_path)
    cluster = host.cluster
    assert refuses_ipv4(cluster)
    with cluster.session(host="::1") as old:
        done = host.harden(login_host="::1")
        assert (done["rc"], done["changed"]) == (0, True), done
        # Its keepalive timer betrays the session that was there before.
        assert [(row["pid"], row["client_addr"]) for row in done["stale_sessions"]] == [(old.pid, "::1")]
        assert "keepalive timer" in done["stale_sessions"][0]["evidence"]
    assert host.wrong(done["plan"]["server"], host="::1") == {}
    with cluster.session(host="::1") as session:
        assert IDLE - 30 < host.keepalive_seconds(session) <= IDLE + 1
    assert host.harden(login_host="::1")["changed"] is False
    assert host.harden(way="unix")["changed"] is False
    for login in ({"login_host": "::1"}, {}):
        told = run_module(cluster, "connection_info", {**host.login("unix" if not login else "tcp"), **login})
        assert told["effective"]["host"] == "::1", told
        assert told["effective"]["settings"]["tcp_keepalives_idle"] == str(IDLE)
        assert 0 < told["effective"]["kernel"]["seconds"] <= IDLE + 1
        assert told["kernel"]["of_server"] is True
    assert host.revert(login_host="::1")["changed"] is True
    assert host.settings(host="::1")["tcp_keepalives_idle"] == "7200"


@pytest.mark.skipif(PGBOUNCER is None, reason="there is no pgbouncer")
def test_pgbouncer_with_ipv6_on_both_legs(new_cluster: NewCluster, tmp_path: Path) -> None:
    cluster = new_cluster(MAJOR, conf=ONLY)
    pooler = Pooler(cluster, tmp_path)
    pgbouncer = pooler.pgbouncer
    text = pgbouncer.config_file.read_text()
    pgbouncer.write(pgbouncer.config_file.name, text.replace("127.0.0.1", "::1"))
    pgbouncer.start()
    conn = {**pgbouncer.conninfo(), "host": "::1"}
    try:
        assert refuses_ipv4(cluster)
        login = {"login_host": "::1", "login_user": "postgres", "login_password": conn["password"]}
        with cluster.session(**conn) as old:
            assert old.execute("SELECT 1") == [(1,)]
            done = pooler.harden(reload_through="console", **login)
            assert (done["rc"], done["changed"]) == (0, True), done
            assert {row["leg"] for row in done["stale_sockets"]} == {"client", "server"}
        done = pooler.harden(reconnect=True, **login)
        assert [row for row in done["stale_sockets"] if row["leg"] == "server"] == []
        with cluster.session(**conn) as session:
            assert session.execute("SELECT 1") == [(1,)]
            for leg, seconds in pooler.timers().items():
                assert [IDLE - 30 < one <= IDLE + 1 for one in seconds] == [True], leg
        # Without options it finds the console by itself, over its Unix socket.
        assert pooler.harden()["changed"] is False
    finally:
        pgbouncer.stop()


@pytest.mark.skipif(HAPROXY is None, reason="there is no haproxy")
@pytest.mark.parametrize("bind", ["[::1]:{port}", "ipv6@:{port} v6only", ":::{port} v6only"])
def test_haproxy_with_ipv6_on_both_legs(new_cluster: NewCluster, tmp_path: Path, bind: str) -> None:
    tmp_path.chmod(0o755)
    cluster = new_cluster(MAJOR, conf=ONLY)
    config = f"""\
global
    stats socket {{directory}}/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
listen pg
    bind {bind}
    server one [::1]:{{server}}
"""
    with Proxy(cluster, tmp_path, config) as proxy:
        proxy.start()
        assert refuses_ipv4(cluster)
        done = proxy.harden()
        assert (done["rc"], done["changed"], done["unsupported"]) == (0, True, []), done
        (worker,) = proxy.listening()
        with cluster.session(port=proxy.port, host="::1") as session:
            assert session.execute("SELECT 1") == [(1,)]
            assert session.local_port
            (client,) = client_sockets(worker, session.local_port).values()
            (server,) = client_sockets(worker, cluster.port).values()
        assert (tuple(client), tuple(server)) == (WEB_OF_HAPROXY, WEB_OF_HAPROXY)
        assert proxy.harden()["changed"] is False


def test_an_address_with_a_zone(new_cluster: NewCluster, tmp_path: Path) -> None:
    """Link-local addresses name their interface (fe80::1%e0); PostgreSQL and the kernel's table leave that out."""
    host = Host(new_cluster(MAJOR, conf="listen_addresses = '127.0.0.1'\n"), tmp_path)
    cluster = host.cluster
    cluster.query("ALTER SYSTEM SET listen_addresses = 'fe80::1%e0'")
    for words in (
        "link add e0 type veth peer name e1",
        "link set e0 up",
        "link set e1 up",
        "address add fe80::1/64 dev e0 nodad",
    ):
        cluster.run(["ip", *words.split()], check=True)
    cluster.stop()
    cluster.hba_file.write_text(cluster.hba_file.read_text() + "host all all fe80::/10 trust\n")
    cluster.start_again()
    address = "fe80::1%e0"
    assert (address, cluster.port, "LISTEN") in {(one.local, one.local_port, one.state) for one in cluster.sockets()}
    done = host.harden(login_host=address)
    assert done.get("changed") is True, done
    assert [row for row in done["unsupported"] if row["layer"] == "os"] == []
    told = run_module(cluster, "connection_info", host.login("unix"))
    assert (told["effective"]["through"], told["effective"]["host"]) == ("new_session", address), told
    told = run_module(cluster, "connection_info", {**host.login(), "login_host": address})
    assert (told["effective"]["host"], told["kernel"]["of_server"]) == (address, True), told
    assert 0 < told["effective"]["kernel"]["seconds"] <= IDLE + 1
    for dsn in (f"host={address} user=postgres dbname=postgres", "postgresql://postgres@[fe80::1%25e0]:5432/postgres"):
        looked = run_module(cluster, "dsn_info", {"policy": profile("web"), "dsn": dsn})
        assert looked["rc"] == 0, looked
        assert looked["socket"]["remote"][0].startswith("fe80::1")
        assert looked["socket"]["timer"]["kind"] == "keepalive", looked


def test_a_dsn_with_brackets(new_cluster: NewCluster, tmp_path: Path) -> None:
    cluster = new_cluster(MAJOR, conf=ONLY)
    looked = run_module(cluster, "dsn_info", {"policy": profile("web"), "dsn": "postgresql://postgres@[::1]/postgres"})
    assert (looked["rc"], looked["through"]) == (0, []), looked
    assert looked["socket"]["remote"] == ["::1", cluster.port]
    assert 0 < looked["socket"]["timer"]["seconds"] <= 7200
