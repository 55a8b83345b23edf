# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schemas of custom resources: tests/crds/fields.yml, and the operators' own definitions where they are at hand."""

from __future__ import annotations

import functools
import os
import re
import typing as t
from pathlib import Path

import jsonschema
import yaml

from . import places

Schema = dict[str, t.Any]
Version = tuple[int, ...]
#: One directory for each version of an operator; see tests/crds/README.md.
DEFINITIONS = os.environ.get("PGHARDEN_CRDS", "")

_STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_SYSCTL: Schema = {
    "type": "object",
    "required": ["name", "value"],
    "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
}
_TYPES: dict[str, Schema] = {
    "strings": _STRINGS,
    "strings or integers": {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
    "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer"},
    "sysctls": {"type": "array", "items": _SYSCTL},
}


class Release(t.NamedTuple):
    """A directory with the definitions of one version of an operator."""

    operator: str
    version: str
    directory: Path


@functools.cache
def fields() -> dict[str, dict[str, dict[str, str]]]:
    """Target to path to type and version of the operator, as tests/crds/fields.yml has it."""
    found: t.Any = yaml.safe_load((places.REPOSITORY / "tests/crds/fields.yml").read_text("utf-8"))
    return t.cast(dict[str, dict[str, dict[str, str]]], found)


def numbers(version: str) -> Version:
    return tuple(map(int, version.split(".")))


def own_schema(target: str, version: str = "9") -> Schema:
    """The fields of fields.yml that this version has, as the schema of a custom resource."""
    root: Schema = {"type": "object", "properties": {}}
    for path, field in fields()[target].items():
        if numbers(field.get("since", "0")) <= numbers(version):
            *outer, last = path.split(".")
            inner = root
            for key in outer:
                inner = inner["properties"].setdefault(key, {"type": "object", "properties": {}})
            inner["properties"][last] = _TYPES[field["type"]]
    return root


def releases() -> list[Release]:
    """What lies under DEFINITIONS."""
    found = sorted(Path(DEFINITIONS).iterdir()) if DEFINITIONS else []
    return [Release(*one.name.split("-", 1), one) for one in found]


@functools.cache
def definition(release: Release, api_version: str, kind: str) -> Schema:
    """The schema that the release has for a kind; KeyError where it has none."""
    group, _slash, version = api_version.partition("/")
    for path in sorted(release.directory.glob("*.y*ml")):
        for document in yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader):
            spec = (document or {}).get("spec", {})
            if (spec.get("group"), spec.get("names", {}).get("kind")) == (group, kind):
                schemas = {one["name"]: one["schema"]["openAPIV3Schema"] for one in spec["versions"]}
                return t.cast(Schema, schemas[version])
    raise KeyError(f"{release.directory} defines no {kind} of {api_version}")


def type_at(schema: Schema, path: str) -> Schema | None:
    """What a definition says of a field, without its texts; None where it has no such field."""
    for key in path.split("."):
        if key not in schema.get("properties", {}):
            return None
        schema = schema["properties"][key]
    return _bare(schema)


def type_named(name: str) -> Schema:
    return _TYPES[name]


def _bare(schema: Schema) -> Schema:
    """The keywords by which fields.yml tells its types apart."""
    kept = {key: value for key, value in schema.items() if key in ("type", "required")}
    for key in ("x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"):
        if schema.get(key):
            kept[key] = True
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            kept[key] = _bare(schema[key])
    if "properties" in schema:
        kept["properties"] = {key: _bare(value) for key, value in schema["properties"].items()}
    return kept


def problems(schema: Schema, manifest: t.Any, patch: bool = False) -> list[str]:
    """What an API server would refuse of a custom resource, or drop because the schema does not know it.

    Of a *patch* nothing is required. Rules in CEL (``x-kubernetes-validations``) are not evaluated.
    """
    root = _closed(schema, patch)
    own = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    root["properties"] = {**root.get("properties", {}), **own}
    found = jsonschema.Draft4Validator(root).iter_errors(manifest)
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in found]


def _closed(schema: Schema, patch: bool) -> Schema:
    """As JSON schema: objects have the properties that they are said to have, and no others."""
    made = {
        key: value
        for key, value in schema.items()
        if not key.startswith("x-kubernetes-") and key not in ("properties", "items", "additionalProperties", "format")
    }
    if patch:
        made.pop("required", None)
    if schema.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if schema.get("nullable"):
        made["type"] = [*([made["type"]] if isinstance(made["type"], str) else made["type"]), "null"]
    if "properties" in schema:
        made["properties"] = {key: _closed(value, patch) for key, value in schema["properties"].items()}
    if "items" in schema:
        made["items"] = _closed(schema["items"], patch)
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        made["additionalProperties"] = _closed(extra, patch)
    elif made.get("type") == "object" and extra is not True:
        made["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return made


def rules(schema: t.Any) -> list[str]:
    """The text of every rule in CEL at one place of a schema."""
    return [str(one.get("rule", "")) for one in schema.get("x-kubernetes-validations", [])]


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z_]+", text))
