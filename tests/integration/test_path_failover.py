# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in front of a real Patroni cluster and out of step with it: the report says so, and it is so."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import psycopg2
import pytest
import yaml
from _haproxy import NEEDED, Proxy
from _patronis import started
from support import run_playbook
from support.patronis import Patronis, wait_for

pytestmark = NEEDED
#: A section each, and its port. Who has vanished is down after fall x (inter + as long a wait); the next leader is
#: there after 20 s less 1 s at the soonest.
CONFIG = """\
global
    stats socket {directory}/admin.sock mode 600 level admin

defaults
    mode tcp
    timeout connect 2s
    timeout client 30s
    timeout server 30s

listen right
    bind 127.0.0.1:6432
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 500 fall 3 rise 2 on-marked-down shutdown-sessions
    server m0 127.0.0.1:5432 check addr 127.0.0.1 port 8008
    server m1 127.0.0.1:5433 check addr 127.0.0.2 port 8008

listen slow
    bind 127.0.0.1:6433
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 4s fall 3 rise 2 on-marked-down shutdown-sessions
    server m0 127.0.0.1:5432 check addr 127.0.0.1 port 8008
    server m1 127.0.0.1:5433 check addr 127.0.0.2 port 8008

listen blind
    bind 127.0.0.1:6434
    option pgsql-check user postgres
    default-server inter 500 fall 3 rise 2 on-marked-down shutdown-sessions
    server m0 127.0.0.1:5432 check
    server m1 127.0.0.1:5433 check

listen lenient
    bind 127.0.0.1:6435
    option httpchk OPTIONS /health
    default-server inter 500 fall 3 rise 2 on-marked-down shutdown-sessions
    server m0 127.0.0.1:5432 check addr 127.0.0.1 port 8008
    server m1 127.0.0.1:5433 check addr 127.0.0.2 port 8008

listen astray
    bind 127.0.0.1:6436
    option httpchk OPTIONS /primary
    default-server inter 500 fall 3 rise 2 on-marked-down shutdown-sessions
    server m0 127.0.0.1:5432 check
    server m1 127.0.0.1:5433 check
"""
#: The standby comes first.
SERVICES = """\
[single]
host=127.0.0.1
port=5432

[bare]
host=127.0.0.1,127.0.0.1
port=5433,5432
password=never-S3cret-Seen

[whole]
host=127.0.0.1,127.0.0.1
port=5433,5432
connect_timeout=5
target_session_attrs=read-write
"""
ROLE = "SELECT pg_is_in_recovery()"


@pytest.fixture(scope="module")
def pair() -> t.Iterator[Patronis]:
    with started(2) as patronis:
        yield patronis


def findings(pair: Patronis, directory: Path, *between: dict[str, str], **variables: t.Any) -> dict[str, set[str]]:
    """Where the playbook, which is to change nothing, finds what of failover, by the findings' ids."""
    hosts = {"box": {}, **{one.name: {"patroni_login_port": one.port} for one in pair.members}}
    variables |= {
        **dict.fromkeys(["patroni_become", "haproxy_become", "client_become"], False),
        "patroni_login_host": "127.0.0.1",
        "path_patroni": True,
        "path_report_only": True,
        "path_hops": [
            {"kind": "client", "group": "box", "driver": "psycopg2"},
            *between,
            {"kind": "server", "group": "members"},
        ],
    }
    inventory = directory / "hosts.yml"
    members = {"hosts": {one.name: {} for one in pair.members}}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}, "members": members}))
    result = run_playbook(pair.cluster, "pgharden.connection.path", inventory=inventory, cwd=directory)
    assert result.rc == 0, result.stdout
    assert result.stdout.count("changed=0") == len(hosts), result.stdout
    report = (directory / "reports" / "path.json").read_text()
    assert "never-S3cret-Seen" not in report + result.stdout
    found: dict[str, set[str]] = {}
    for row in json.loads(report)["findings"]:
        if "PGC411" <= row["id"] <= "PGC416":
            found.setdefault(row["id"], set()).add(row["where"].rpartition(" ")[2])
    return found


def reached(pair: Patronis, port: int) -> set[bool]:
    """Whether new connections get to standbys; nothing where one gets nowhere."""
    try:
        return {pair.cluster.query(ROLE, tcp=True, port=port)[0][0] for _turn in range(6)}
    except psycopg2.OperationalError:
        return set()


def test_health_checks(pair: Patronis, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Proxy(pair.cluster, tmp_path, CONFIG) as proxy:
        proxy.start()
        found = findings(
            pair, tmp_path, {"kind": "haproxy", "group": "box"}, haproxy_config_file=[str(proxy.config_file)]
        )
        assert found == {
            "PGC412": {"blind", "lenient", "astray"},
            "PGC413": {"slow"},
            "PGC414": {"right", "slow"},
        }
        # It is so: a check that cannot tell lets both in, or nobody.
        for port, standbys in ((6432, {False}), (6434, {False, True}), (6435, {False, True})):
            # On a busy machine a check of half a second may find somebody down for a while.
            wait_for(lambda port=port, standbys=standbys: reached(pair, port) == standbys, proxy.log)
        with pytest.raises(psycopg2.OperationalError, match="closed the connection"):
            pair.cluster.query(ROLE, tcp=True, port=6436)


def test_lists_of_hosts(pair: Patronis, tmp_path: Path) -> None:
    services = tmp_path / "pg_service.conf"
    services.write_text(SERVICES)
    found = findings(pair, tmp_path, client_service_file=str(services))
    assert found == {"PGC415": {"bare"}, "PGC416": {"bare"}}
    # It is so: without an attribute the first one that answers is taken.
    program = [str(pair.cluster.source.bindir / "psql"), "--no-psqlrc", "-Atc", ROLE]
    for service, standby in (("bare", "t"), ("whole", "f")):
        login = ["env", f"PGSERVICEFILE={services}", *program, f"service={service} user=postgres dbname=postgres"]
        assert pair.cluster.run(login, check=True).stdout.strip() == standby
