# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What manifests say, given to real servers, real PgBouncers and a real kernel as operators and kubelets would."""

from __future__ import annotations

import os
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from _hardening import milliseconds
from support import Cluster, Unavailable, crds, places, run_playbook
from support.pgbouncers import PgBouncer
from support.sources import find_source

from ansible_collections.pgharden.connection.plugins.module_utils._kubernetes import _manifests, _targets
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters

Json = dict[str, t.Any]
SERVERS = {"cloudnativepg": "1.30", "zalando": "2.0", "crunchy": "5.7"}
POOLERS = ("cloudnativepg_pooler", "crunchy_pooler")
ROLE = "re\"por'ting"
MUCH = {
    "close_transaction_after": "2h",
    "close_idle_session_after": "8h",
    "detect_dead_standby_within": "60s",
    "replace_pooled_connection_after": "30min",
    "spare_pooled_connections": 2,
    "slow_reader_grace": "10min",
    "slow_reader_roles": [ROLE],
}
UNITS = {"s": 1000, "ms": 1, None: 1}


def made(target: str, operator_version: str, **versions: t.Any) -> Json:
    """As it comes out of a file of YAML."""
    wish = _manifests.Wish(target, name="db", operator_version=crds.numbers(operator_version))
    result = _manifests.make(_filters.plan(MUCH, **versions), wish)
    return t.cast(Json, yaml.safe_load(yaml.safe_dump(result)))


def parameters(found: Json, part: str, operator_version: str) -> dict[str, str]:
    """What a manifest has in the newest place for a part that such an operator knows."""
    for target in _targets.TARGETS.values():
        if (target.api_version, target.kind) == (found["apiVersion"], found["kind"]):
            for place in reversed(target.places):
                if place.part == part and place.since <= crds.numbers(operator_version):
                    for key in place.path:
                        found = found[key]
                    return t.cast(dict[str, str], found)
    raise KeyError(part)


def test_parameters_and_statements_are_in_force_on_a_server(cluster: Cluster) -> None:
    """Parameters as CloudNativePG and Patroni write them: each value as a quoted string."""
    results = {target: made(target, version, version=cluster.major) for target, version in SERVERS.items()}
    wanted, *others = (
        parameters(results[target]["manifest"], "server", version) for target, version in SERVERS.items()
    )
    assert len(wanted) > 6 and others == [wanted, wanted]
    with cluster.config_file.open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in wanted.items())
    errors = "SELECT name, error FROM pg_file_settings WHERE error IS NOT NULL"
    assert cluster.query(errors) == []
    cluster.reload()
    in_force = "SELECT name, reset_val, unit FROM pg_settings WHERE name = ANY (%s)"
    assert {name: int(value) * UNITS[unit] for name, value, unit in cluster.query(in_force, (list(wanted),))} == {
        name: milliseconds(value) for name, value in wanted.items()
    }
    with cluster.session() as session:
        session.execute('CREATE ROLE "re""por\'ting" LOGIN')
        for statement in results["zalando"]["sql"]:
            session.execute(statement)
    assert cluster.query(in_force, (["tcp_user_timeout"],), user=ROLE) == [("tcp_user_timeout", "601000", "ms")]
    # And what is checked here can fail.
    with cluster.config_file.open("a") as file:
        file.write("tcp_user_timeout = '71 parsecs'\n")
    assert cluster.query(errors)


@pytest.mark.parametrize("target", POOLERS)
@pytest.mark.parametrize(("major", "kind"), [(17, None), (18, "image")])
def test_parameters_are_in_force_in_a_pgbouncer(target: str, major: int, kind: t.Any, new_cluster: t.Any) -> None:
    try:
        cluster = new_cluster(major, **({"source": find_source(major, kind=kind)} if kind else {}))
        pgbouncer = PgBouncer(cluster)
    except Unavailable as problem:
        pytest.skip(str(problem))
    pgbouncer.start()
    version = pgbouncer.version()
    pgbouncer.stop()
    wanted = parameters(made(target, "9", pgbouncer_version=version)["manifest"], "pgbouncer", "9")
    assert len(wanted) > 10
    lines = "\n".join(f"{name} = {value}" for name, value in wanted.items())
    pgbouncer.write("pgbouncer.ini", pgbouncer.config(lines))
    before = pgbouncer.log()
    pgbouncer.log_file.unlink()
    pgbouncer.start()
    try:
        assert before  # the log that is looked at now is a new one
        assert "unknown parameter" not in pgbouncer.log() and "invalid value" not in pgbouncer.log()
        in_force = pgbouncer.config_in_force()
        assert {name: in_force[name] for name in wanted} == wanted
    finally:
        pgbouncer.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="sysctls of a namespace are for root")
@pytest.mark.parametrize("major", [17])
def test_sysctls_time_a_socket_of_the_pod_and_nobody_elses(cluster: Cluster) -> None:
    """A pod is a network namespace, and its sysctls are written into it before it starts."""
    rows = made("pod", "9")["manifest"]["spec"]["securityContext"]["sysctls"]
    outside = {row["name"]: Path("/proc/sys", *row["name"].split(".")).read_text() for row in rows}
    for row in rows:
        cluster.set_sysctl(row["name"], row["value"])
    with cluster.session(tcp=True, keepalives=1) as session:
        session.execute("SELECT 1")
        timers = [one for one in cluster.sockets() if one.peer_port == cluster.port and one.timer == "keepalive"]
        assert len(timers) == 1 and timers[0].seconds is not None
        assert timers[0].seconds <= int(rows[0]["value"]) < 7200
    assert outside == {name: Path("/proc/sys", *name.split(".")).read_text() for name in outside}


# ---- the playbook of the documentation

FILES: dict[str, Json] = {
    "cluster.yml": {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "db"},
        "spec": {"instances": 3, "postgresql": {"parameters": {"work_mem": "8MB"}}},
    },
    "pooler.yml": {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Pooler",
        "metadata": {"name": "db-rw"},
        "spec": {"cluster": {"name": "db"}, "pgbouncer": {"poolMode": "session"}},
    },
    "app.yml": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app"},
        "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "app"}]}}},
    },
}


def test_the_playbook_of_the_documentation(tmp_path: Path) -> None:
    page = (places.REPOSITORY / "docs/kubernetes.md").read_text("utf-8")
    (playbook,) = re.findall(r"```yaml\n(- name: One policy.*?)```", page, re.DOTALL)
    (tmp_path / "manifests.yml").write_text(playbook)
    for name, manifest in FILES.items():
        (tmp_path / name).write_text(yaml.safe_dump(manifest))

    first = run_playbook(None, tmp_path / "manifests.yml", cwd=tmp_path)
    assert first.rc == 0, first.stdout + first.stderr
    assert "net.ipv4.tcp_retries2" in first.stdout
    written = {name: yaml.safe_load((tmp_path / name).read_text()) for name in FILES}
    plan = yaml.safe_load(playbook)[0]["vars"]["policy"]
    whole = _filters.plan(plan, profile="cloud_nat", version=17)
    assert written["cluster.yml"]["spec"]["postgresql"]["parameters"] == {"work_mem": "8MB", **whole["server"]}
    assert written["pooler.yml"]["spec"]["cluster"] == {"name": "db"}
    for name, target in (("cluster.yml", "cloudnativepg"), ("pooler.yml", "cloudnativepg_pooler")):
        theirs = crds.own_schema(target)
        theirs["properties"]["spec"]["properties"] |= {"instances": {}, "cluster": {}}
        theirs["properties"]["spec"]["properties"].get("pgbouncer", {"properties": {}})["properties"]["poolMode"] = {}
        assert crds.problems(theirs, written[name]) == []
    spec = written["app.yml"]["spec"]["template"]["spec"]
    assert spec["containers"] == FILES["app.yml"]["spec"]["template"]["spec"]["containers"]
    assert {row["name"]: row["value"] for row in spec["securityContext"]["sysctls"]} == {
        name: str(value) for name, value in whole["os"].items()
    }

    again = run_playbook(None, tmp_path / "manifests.yml", cwd=tmp_path)
    assert again.rc == 0 and re.search(r"changed=0 ", again.stdout), again.stdout
