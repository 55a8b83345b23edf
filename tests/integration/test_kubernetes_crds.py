# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests of every profile against the schemas of the operators and of Kubernetes, unknown fields included."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import typing as t
from pathlib import Path

import kubernetes_validate
import pytest
from support import crds, places

from ansible_collections.pgharden.connection.plugins.module_utils._kubernetes import _manifests, _targets
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters

Json = dict[str, t.Any]
PROFILES = sorted(path.stem for path in Path(places.REPOSITORY, "plugins", "plugin_utils", "profiles").glob("*.yml"))
OPERATED = sorted(crds.fields())
WORKLOADS = sorted(set(_targets.TARGETS) - set(OPERATED))
#: As much of a policy as there is.
MUCH = {
    "close_transaction_after": "2h",
    "close_idle_session_after": "8h",
    "detect_dead_standby_within": "60s",
    "replace_pooled_connection_after": "30min",
    "spare_pooled_connections": 2,
}
#: The least that a user's manifest has.
SPECS: dict[str, Json] = {
    "cloudnativepg": {"instances": 3, "storage": {"size": "1Gi"}, "postgresql": {"parameters": {"work_mem": "8MB"}}},
    "cloudnativepg_pooler": {"cluster": {"name": "db"}, "pgbouncer": {"poolMode": "transaction"}},
    "zalando": {
        "teamId": "a",
        "numberOfInstances": 2,
        "volume": {"size": "1Gi"},
        "postgresql": {"version": "16", "parameters": {"work_mem": "8MB"}},
    },
    "crunchy": {
        "postgresVersion": 16,
        "instances": [
            {
                "dataVolumeClaimSpec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                }
            }
        ],
        "backups": {"pgbackrest": {"repos": [{"name": "repo1", "volume": {"volumeClaimSpec": {}}}]}},
    },
}
SPECS["crunchy"]["backups"]["pgbackrest"]["repos"][0]["volume"]["volumeClaimSpec"] = SPECS["crunchy"]["instances"][0][
    "dataVolumeClaimSpec"
]
SPECS["crunchy_pooler"] = {**SPECS["crunchy"], "proxy": {"pgBouncer": {}}}
POD = {"containers": [{"name": "app", "image": "app"}], "restartPolicy": "Never"}


def made(profile: str, target: str, version: str = "", there_is: Json | None = None, **policy: t.Any) -> Json:
    operator = crds.numbers(version) if version else ()
    wish = _manifests.Wish(target, name="db", operator_version=operator)
    return _manifests.make(_filters.plan(policy, profile=profile), wish, there_is)


def written(target: str) -> Json:
    """A manifest as a user has it."""
    known = _targets.TARGETS[target]
    manifest = {"apiVersion": known.api_version, "kind": known.kind, "metadata": {"name": "db"}}
    return {**manifest, "spec": copy.deepcopy(SPECS[target])}


def with_at(manifest: Json, path: t.Iterable[str], values: Json) -> Json:
    """A copy that has *values*, too, at a path."""
    changed = copy.deepcopy(manifest)
    inner = changed
    for key in path:
        inner = inner[key]
    inner.update(values)
    return changed


def broken(patch: Json) -> list[Json]:
    """The patch with an unknown field at each level of it, and with values of wrong types."""
    found = [with_at(patch, ["spec"], {"unknown": "1"})]
    path = ["spec"]
    while isinstance(inner := _at(patch, path), dict) and all(isinstance(value, dict) for value in inner.values()):
        found.append(with_at(patch, path, {"unknown": {"1": "2"}}))
        path.append(next(iter(inner)))
    if isinstance(inner, dict):
        found += [with_at(patch, path, {name: wrong}) for name in inner for wrong in ({"a": "b"}, ["a"])]
    return found


def _at(manifest: t.Any, path: t.Iterable[str]) -> t.Any:
    for key in path:
        manifest = manifest[key]
    return manifest


@pytest.mark.parametrize("target", OPERATED)
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("version", ["", "old"])
def test_fields_and_types(profile: str, target: str, version: str) -> None:
    """The newest operator, and one that has none of the fields that came later."""
    since = [field["since"] for field in crds.fields()[target].values() if "since" in field]
    before = f"{since[0].split('.')[0]}.{int(since[0].split('.')[1]) - 1}" if since else "0"
    version = before if version == "old" else ""
    patch = made(profile, target, version, **MUCH)["patch"]
    assert crds.problems(crds.own_schema(target, version or "9"), patch) == []


@pytest.mark.parametrize("target", OPERATED)
def test_what_no_operator_takes_is_refused(target: str) -> None:
    """Else the tests beside this one could not fail."""
    patch = made("web", target)["patch"]
    schema = crds.own_schema(target)
    assert crds.problems(schema, patch) == []
    wrong = broken(patch)
    assert len(wrong) > 4
    assert all(crds.problems(schema, one) for one in wrong)


def test_a_field_that_came_later_is_refused() -> None:
    patch = made("web", "cloudnativepg")["patch"]
    assert crds.problems(crds.own_schema("cloudnativepg", "1.27"), patch)
    assert crds.problems(crds.own_schema("crunchy", "5.7"), made("web", "crunchy")["patch"])


# ---- the operators' own definitions

RELEASES = crds.releases()
definitions = pytest.mark.skipif(not RELEASES, reason="PGHARDEN_CRDS names no directory: see tests/crds/README.md")
by_release = pytest.mark.parametrize("release", RELEASES, ids=lambda one: one.directory.name)


def targets_of(release: crds.Release) -> list[str]:
    return [target for target in OPERATED if target.split("_")[0] == release.operator]


def schema_of(release: crds.Release, target: str) -> crds.Schema:
    known = _targets.TARGETS[target]
    return crds.definition(release, known.api_version, known.kind)


@definitions
@by_release
def test_the_operators_take_every_profile(release: crds.Release) -> None:
    for target in targets_of(release):
        schema = schema_of(release, target)
        assert crds.problems(schema, written(target)) == []
        for profile in PROFILES:
            result = made(profile, target, release.version, written(target), **MUCH)
            assert crds.problems(schema, result["manifest"]) == []
            assert crds.problems(schema, result["patch"], patch=True) == []


@definitions
@by_release
def test_the_operators_refuse_what_is_wrong(release: crds.Release) -> None:
    for target in targets_of(release):
        schema = schema_of(release, target)
        patch = made("web", target, release.version)["patch"]
        schemaless = "dynamicConfiguration" in str(patch)
        for wrong in broken(patch)[: 3 if schemaless else None]:
            assert crds.problems(schema, wrong, patch=True), wrong


@definitions
@by_release
def test_fields_yml_says_what_the_definitions_say(release: crds.Release) -> None:
    for target in targets_of(release):
        for path, field in crds.fields()[target].items():
            there = crds.type_at(schema_of(release, target), path)
            since = crds.numbers(field.get("since", "0"))
            assert there == (crds.type_named(field["type"]) if since <= crds.numbers(release.version) else None), path


@definitions
@by_release
def test_no_rule_in_cel_is_about_our_parameters(release: crds.Release) -> None:
    ours = {name for profile in PROFILES for part in ("server", "pgbouncer") for name in _plan_of(profile)[part]}
    for target in targets_of(release):
        for place in _targets.TARGETS[target].places:
            schema = schema_of(release, target)
            for key in place.path:
                schema = schema.get("properties", {}).get(key, {})
                assert not ours & crds.words(" ".join(crds.rules(schema)))


def _plan_of(profile: str) -> Json:
    return _filters.plan(MUCH, profile=profile)


# ---- Kubernetes' own kinds


def workload(target: str) -> Json:
    known = _targets.TARGETS[target]
    template = {"metadata": {"labels": {"app": "a"}}, "spec": POD}
    spec: Json = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    if known.kind == "StatefulSet":
        spec["serviceName"] = "app"
    if known.kind == "Job":
        spec = {"template": template}
    if known.kind == "CronJob":
        spec = {"schedule": "0 4 * * *", "jobTemplate": {"spec": {"template": template}}}
    if known.kind == "Pod":
        spec = POD
    manifest = {"apiVersion": known.api_version, "kind": known.kind, "metadata": {"name": "db"}, "spec": spec}
    return copy.deepcopy(manifest)


@pytest.mark.parametrize("target", WORKLOADS)
@pytest.mark.parametrize("kubernetes", ["1.29", kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_pods(target: str, kubernetes: str) -> None:
    manifest = made("web", target, there_is=workload(target))["manifest"]
    kubernetes_validate.validate(manifest, kubernetes, strict=True)
    (place,) = _targets.TARGETS[target].places
    sysctls = _at(manifest, place.path)["sysctls"]
    for wrong in ([{**sysctls[0], "value": 35}], [{"name": "net.ipv4.tcp_keepalive_time"}], [{**sysctls[0], "a": "b"}]):
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(with_at(manifest, place.path, {"sysctls": wrong}), kubernetes, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(with_at(manifest, place.path, {"sysctl": sysctls}), kubernetes, strict=True)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here (Debian: kubernetes-client)")
@pytest.mark.parametrize(
    ("target", "kind"), [("cloudnativepg", "merge"), ("deployment", "merge"), ("deployment", "strategic")]
)
def test_kubectl_makes_the_manifest_of_the_patch(target: str, kind: str, tmp_path: Path) -> None:
    """With sysctls of the user's own in it, which a list that is one value would lose."""
    there_is = workload(target) if target in WORKLOADS else written(target)
    (place,) = (place for place in _targets.TARGETS[target].places if place.part == "os")
    theirs = {"name": "net.core.somaxconn", "value": "1024"}
    inner = there_is
    for key in place.path:
        inner = inner.setdefault(key, {})
    inner["sysctls"] = [theirs]
    result = made("web", target, there_is=there_is)
    (tmp_path / "there_is.json").write_text(json.dumps(there_is))
    argv = ["kubectl", "patch", "--local", "-f", str(tmp_path / "there_is.json"), "--type", kind, "-o", "json"]
    done = subprocess.run([*argv, "-p", json.dumps(result["patch"])], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    patched = json.loads(done.stdout)
    assert {key: patched[key] for key in result["manifest"]} == result["manifest"]
    assert theirs in _at(patched, place.path)["sysctls"]
