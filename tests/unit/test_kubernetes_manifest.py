# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter kubernetes_manifest: where settings go, what is kept of a manifest, and that nothing gets lost on the way."""

from __future__ import annotations

import copy
import typing as t
from pathlib import Path

import pytest
import yaml
from _policies import policies
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.filter import kubernetes_manifest
from ansible_collections.pgharden.connection.plugins.filter import plan as plan_filter
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._kubernetes import _manifests, _targets
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters

ROOT = Path(__file__).resolve().parents[2]
plan: t.Any = plan_filter.FilterModule().filters()["plan"]
manifest: t.Any = kubernetes_manifest.FilterModule().filters()["kubernetes_manifest"]
KEEPALIVE = {
    "net.ipv4.tcp_keepalive_time": "35",
    "net.ipv4.tcp_keepalive_intvl": "6",
    "net.ipv4.tcp_keepalive_probes": "6",
}


def at(found: t.Any, path: str) -> t.Any:
    for key in path.split("."):
        found = found[key]
    return found


def sysctls(context: t.Any) -> dict[str, str]:
    return {row["name"]: row["value"] for row in context["sysctls"]}


def settings_in(found: t.Any) -> set[str]:
    """Every name in a manifest that has a value, and every sysctl."""
    if isinstance(found, list):
        return {row["name"] for row in found}
    inner = {key: settings_in(value) if isinstance(value, (dict, list)) else {key} for key, value in found.items()}
    return set().union(*inner.values())


@pytest.mark.parametrize(
    ("target", "version", "path", "part"),
    [
        ("cloudnativepg", None, "spec.postgresql.parameters", "server"),
        ("cloudnativepg", "1.24", "spec.postgresql.parameters", "server"),
        ("cloudnativepg_pooler", None, "spec.pgbouncer.parameters", "pgbouncer"),
        ("zalando", None, "spec.postgresql.parameters", "server"),
        ("crunchy", None, "spec.config.parameters", "server"),
        ("crunchy", "5.8", "spec.config.parameters", "server"),
        ("crunchy", "5.7.9", "spec.patroni.dynamicConfiguration.postgresql.parameters", "server"),
        ("crunchy_pooler", None, "spec.proxy.pgBouncer.config.global", "pgbouncer"),
    ],
)
def test_parameters_are_where_the_operator_reads_them(target: str, version: str | None, path: str, part: str) -> None:
    web = plan({})
    made = manifest(web, target, name="db", namespace="data", operator_version=version)
    assert at(made["manifest"], path) == web[part]
    assert made["manifest"] == made["patch"]
    assert made["manifest"]["metadata"] == {"name": "db", "namespace": "data"}
    assert made["manifest"]["apiVersion"] == _targets.TARGETS[target].api_version


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("cloudnativepg", "spec.podSecurityContext"),
        ("pod", "spec.securityContext"),
        ("deployment", "spec.template.spec.securityContext"),
        ("cronjob", "spec.jobTemplate.spec.template.spec.securityContext"),
    ],
)
def test_sysctls_are_in_the_security_context_of_the_pod(target: str, path: str) -> None:
    made = manifest(plan({}), target, name="db")
    assert sysctls(at(made["manifest"], path)) == KEEPALIVE
    assert not [row for row in made["unsupported"] if row["setting"] in KEEPALIVE]


def test_what_cloudnativepg_makes_itself_is_not_lost_by_a_context_of_our_own() -> None:
    context = manifest(plan({}), "cloudnativepg", name="db")["manifest"]["spec"]["podSecurityContext"]
    assert (context["fsGroup"], context["runAsNonRoot"]) == (26, True)
    there_is = cluster(postgresGID=70)
    context = manifest(plan({}), "cloudnativepg", merge=there_is)["manifest"]["spec"]["podSecurityContext"]
    assert context["fsGroup"] == 70


def test_tcp_retries2_is_said_to_be_refused() -> None:
    rows = manifest(plan({}), "deployment", name="app")["unsupported"]
    assert [row["setting"] for row in rows] == ["net.ipv4.tcp_retries2"]
    assert "tcp_user_timeout" in rows[0]["instead"] and rows[0]["key"] == "detect_dead_peer_within"
    assert not manifest({**plan({}), "os": {}}, "deployment", name="app")["unsupported"]


@pytest.mark.parametrize(
    ("target", "options", "reason"),
    [
        ("deployment", {"kubernetes_version": "1.28.9"}, "safe sysctl since Kubernetes 1.29, the cluster has 1.28.9"),
        ("cloudnativepg", {"kubernetes_version": "1.28"}, "safe sysctl since Kubernetes 1.29, the cluster has 1.28"),
        ("cloudnativepg", {"operator_version": "1.27"}, "takes it since 1.28, the operator has 1.27"),
        ("zalando", {}, "takes no sysctls"),
        ("crunchy", {}, "takes no sysctls"),
    ],
)
def test_pods_that_take_no_sysctls(target: str, options: dict[str, str], reason: str) -> None:
    made = manifest(plan({}), target, name="db", **options)
    rows = [row for row in made["unsupported"] if row["setting"] in KEEPALIVE]
    assert len(rows) == 3 and all(reason in row["reason"] and row["instead"] for row in rows)
    assert "sysctls" not in str(made["manifest"])


def test_the_network_of_the_node_has_the_sysctls_of_the_node() -> None:
    there_is = {**workload(), "spec": {"template": {"spec": {"hostNetwork": True}}}}
    rows = manifest(plan({}), "deployment", merge=there_is)["unsupported"]
    assert [row["instead"] for row in rows if row["setting"] in KEEPALIVE] == ["the module tcp_sysctl on the nodes"] * 3


def test_a_pooler_that_refuses_a_parameter() -> None:
    made = manifest(plan({"close_transaction_after": "1h"}), "cloudnativepg_pooler", name="db")
    assert [(row["setting"], row["key"]) for row in made["unsupported"]] == [
        ("transaction_timeout", "close_transaction_after")
    ]
    assert "transaction_timeout" not in made["manifest"]["spec"]["pgbouncer"]["parameters"]


def test_roles_are_for_the_database() -> None:
    policy = {"slow_reader_grace": "10min", "slow_reader_roles": ['od"d']}
    for target in ("cloudnativepg", "zalando", "crunchy"):
        assert manifest(plan(policy), target, name="db")["sql"] == [
            'ALTER ROLE "od""d" SET tcp_user_timeout = \'601s\''
        ]
    assert manifest(plan(policy), "deployment", name="db")["sql"] == []


@given(
    policies(),
    st.sampled_from(sorted(_targets.TARGETS)),
    st.sampled_from(["1.20", "1.28", "5.7", "6.0"]),
    st.sampled_from(["1.28", "1.29"]),
)
def test_every_planned_setting_is_somewhere(policy: t.Any, target: str, version: str, kubernetes: str) -> None:
    parts = _targets.TARGETS[target].parts
    try:
        found = _filters.plan(policy.as_dict())
    except Failure:
        return  # durations that exclude each other
    made = manifest(found, target, name="db", operator_version=version, kubernetes_version=kubernetes)
    lacking = [row["setting"] for row in made["unsupported"]]
    there = settings_in(made["manifest"].get("spec", {}))
    for part in parts:
        for name in found[part]:
            assert (name in there) != (name in lacking), name
    assert all(row["reason"] and row["key"] in found["policy"] for row in made["unsupported"])


# ---- merging


def cluster(**spec: t.Any) -> dict[str, t.Any]:
    """A cluster of CloudNativePG as somebody wrote it."""
    return {
        "apiVersion": "postgresql.cnpg.io/v1",
        "kind": "Cluster",
        "metadata": {"name": "db", "labels": {"team": "a"}},
        "spec": {
            "instances": 3,
            "postgresql": {"parameters": {"work_mem": "8MB", "tcp_user_timeout": "1h"}, "pg_hba": ["host all all"]},
            **spec,
        },
    }


def workload() -> dict[str, t.Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": None}


def test_all_else_of_a_manifest_is_kept() -> None:
    others = [{"name": "net.core.somaxconn", "value": "1024"}, {"name": "net.ipv4.tcp_keepalive_time", "value": "7200"}]
    there_is = cluster(podSecurityContext={"fsGroup": 1000, "sysctls": others})
    before = copy.deepcopy(there_is)
    made = manifest(plan({}), "cloudnativepg", merge=there_is)
    found = made["manifest"]
    assert there_is == before
    assert manifest(plan({}), "cloudnativepg", merge=found)["manifest"] == found
    assert found["metadata"] == before["metadata"]
    spec = found["spec"]
    assert spec["postgresql"].pop("parameters") == {"work_mem": "8MB", **plan({})["server"]}
    context = spec.pop("podSecurityContext")
    assert sysctls(context) == {"net.core.somaxconn": "1024", **KEEPALIVE}
    assert {**context, "sysctls": 0} == {"fsGroup": 1000, "sysctls": 0}
    assert spec == {"instances": 3, "postgresql": {"pg_hba": ["host all all"]}}
    # The patch has our settings alone, but the whole list, which is one value for Kubernetes.
    assert "work_mem" not in str(made["patch"]) and "net.core.somaxconn" in str(made["patch"])


def test_keys_with_nothing_behind_them() -> None:
    made = manifest(plan({}), "deployment", merge=workload())
    assert sysctls(at(made["manifest"], "spec.template.spec.securityContext")) == KEEPALIVE
    made = manifest(plan({}), "zalando", merge={"apiVersion": "acid.zalan.do/v1", "kind": "postgresql"}, name="db")
    assert made["manifest"]["metadata"] == {"name": "db"}


def test_another_version_of_the_same_group_stays() -> None:
    there_is = {"apiVersion": "postgres-operator.crunchydata.com/v1", "kind": "PostgresCluster"}
    assert manifest(plan({}), "crunchy", merge=there_is, name="db")["manifest"]["apiVersion"] == there_is["apiVersion"]


def test_a_plan_with_nothing_for_the_object() -> None:
    empty = {**plan({}), "pgbouncer": {}}
    assert "spec" not in manifest(empty, "crunchy_pooler", name="db")["manifest"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: manifest(plan({}), "openshift", name="db"), "no such kind of object is known.*cloudnativepg"),
        (lambda: manifest(plan({}), "pod"), "it has no name"),
        (lambda: manifest({"server": {}}, "pod", name="db"), "this is no plan that has roles"),
        (lambda: manifest("web", "pod", name="db"), "this is no plan that has server"),
        (lambda: manifest(plan({}), "pod", name="db", kubernetes_version=1.3), "no version in quotes"),
        (lambda: manifest(plan({}), "zalando", name="db", operator_version="new"), "no version in quotes"),
        (lambda: manifest(plan({}), "pod", merge="file.yml"), "it is no mapping"),
        (lambda: manifest(plan({}), "deployment", merge=cluster()), "it is a Cluster of .*, not a Deployment of apps"),
        (lambda: manifest(plan({}), "pod", merge=cluster()), "not a Pod of v1"),
        (lambda: manifest(plan({}), "cloudnativepg", merge=cluster(), name="other"), "its name is db, not other"),
        (lambda: manifest(plan({}), "cloudnativepg", merge=cluster(postgresql=[])), "postgresql is no mapping"),
        (
            lambda: manifest(plan({}), "cloudnativepg", merge=cluster(podSecurityContext={"sysctls": {"a": "b"}})),
            "sysctls is no list",
        ),
        (
            lambda: manifest(plan({}), "cloudnativepg", merge=cluster(podSecurityContext={"sysctls": ["a=b"]})),
            "sysctls is no list",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(call: t.Callable[[], t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        call()


def test_the_documented_targets_are_those_there_are() -> None:
    documented = yaml.safe_load((ROOT / "plugins/filter/kubernetes_manifest.yml").read_text("utf-8"))["DOCUMENTATION"]
    assert documented["options"]["target"]["choices"] == sorted(_targets.TARGETS)
    newest = {target.operator: ".".join(map(str, target.newest)) for target in _targets.TARGETS.values()}
    told = " ".join(documented["options"]["operator_version"]["description"])
    assert all(f"{name} {version}" in told for name, version in newest.items() if name != "Kubernetes")
    kubernetes = documented["options"]["kubernetes_version"]["default"]
    assert kubernetes == newest["Kubernetes"] == ".".join(map(str, _manifests.Wish("pod").kubernetes_version))
