# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: Amazon RDS and Aurora, a pure room. Requests, tasks and Terraform of a parameter group."""

from __future__ import annotations

import json
import typing as t

from . import _hcl
from ._job import DESCRIPTION, HEAD, Job, Rows, as_json
from ._service import IMMEDIATE, REBOOT

#: ModifyDBParameterGroup: "A maximum of 20 parameters can be modified in a single request."
_MOST = 20
_KEYS = {"rds": "DBParameterGroupName", "aurora": "DBClusterParameterGroupName"}
_FAMILIES = {"rds": "postgres", "aurora": "aurora-postgresql"}
_METHODS = (IMMEDIATE, REBOOT)
_MODULES = {"rds": "amazon.aws.rds_instance_param_group", "aurora": "amazon.aws.rds_cluster_param_group"}
_RESOURCES = {"rds": "aws_db_parameter_group", "aurora": "aws_rds_cluster_parameter_group"}


def cli_json(rows: Rows, job: Job) -> list[str]:
    """Input of ``aws rds modify-db-parameter-group --cli-input-json`` or of the same for clusters, 20 at a time."""
    parameters = [
        {"ParameterName": row["name"], "ParameterValue": row["value"], "ApplyMethod": row["apply"]} for row in rows
    ]
    parts = [parameters[start : start + _MOST] for start in range(0, len(parameters), _MOST)]
    return [as_json({_KEYS[job.service]: job.name, "Parameters": part}) for part in parts]


def terraform(rows: Rows, job: Job) -> list[str]:
    """The group with these parameters: what else was set in it by hand, Terraform does not know."""
    head = {"name": job.name, "family": _family(job), "description": _description(job)}
    blocks = [
        _hcl.Block("parameter", [{"name": row["name"], "value": row["value"], "apply_method": row["apply"]}])
        for row in rows
    ]
    return [f"{HEAD}\n{_hcl.resource(_RESOURCES[job.service], job.name, [head, *blocks])}"]


def ansible(rows: Rows, job: Job) -> list[str]:
    """Tasks for amazon.aws. The module for instances takes one time of applying for all that it sets."""
    lines = ["---"]
    for arguments in _arguments(rows, job):
        lines.append(f"- name: {json.dumps(f'Set the connection parameters of {job.name}')}")
        lines.append(f"  {_MODULES[job.service]}:")
        lines += _yaml(arguments, "    ")
    return ["\n".join([*lines, ""])]


def _arguments(rows: Rows, job: Job) -> list[dict[str, t.Any]]:
    """The arguments of the module, for one task each."""
    common = {"state": "present", "name": job.name, "description": _description(job)}
    if job.service == "aurora":
        parameters = [
            {"parameter_name": row["name"], "parameter_value": row["value"], "apply_method": row["apply"]}
            for row in rows
        ]
        return [{**common, "db_parameter_group_family": _family(job), "parameters": parameters}]
    groups = {method: {row["name"]: row["value"] for row in rows if row["apply"] == method} for method in _METHODS}
    return [
        {**common, "engine": _family(job), "immediate": method == IMMEDIATE, "params": params}
        for method, params in groups.items()
        if params
    ]


def _family(job: Job) -> str:
    """The family of a parameter group for a major version."""
    return f"{_FAMILIES[job.service]}{job.version}"


def _description(job: Job) -> str:
    return job.options.get("description") or DESCRIPTION


def _yaml(arguments: t.Mapping[str, t.Any], indent: str) -> t.Iterator[str]:
    """Scalars as JSON has them, which YAML reads alike."""
    for key, value in arguments.items():
        if isinstance(value, dict):
            yield f"{indent}{key}:"
            yield from _yaml(value, f"{indent}  ")
        elif isinstance(value, list):
            yield f"{indent}{key}:"
            for row in value:
                first, *others = _yaml(row, f"{indent}    ")
                yield f"{indent}  - {first.lstrip()}"
                yield from others
        else:
            yield f"{indent}{key}: {json.dumps(value)}"
