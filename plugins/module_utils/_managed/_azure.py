# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: Azure Flexible Server, a pure room. Commands, templates and Terraform of server parameters.

The service does one change at a time and refuses a second one with ServerIsBusy, so that a template must not set two
at once; the az command waits, and Terraform's provider locks the server.
"""

from __future__ import annotations

import shlex
import typing as t

from . import _hcl
from ._job import HEAD, Job, Rows, as_json

_SERVER = "Microsoft.DBforPostgreSQL/flexibleServers"
_CONFIGURATION = f"{_SERVER}/configurations"
_API = "2024-08-01"


def cli(rows: Rows, job: Job) -> list[str]:
    """One command for each parameter."""
    start = ["az", "postgres", "flexible-server", "parameter", "set", "--resource-group", job.option("resource_group")]
    commands = [
        shlex.join([*start, "--server-name", job.name, "--name", row["name"], f"--value={row['value']}"])
        for row in rows
    ]
    return ["\n".join([HEAD, *commands, ""])]


def arm(rows: Rows, job: Job) -> list[str]:
    """A template for a resource group; each parameter waits for the one before it."""
    resources: list[dict[str, t.Any]] = []
    for row in rows:
        before = []
        if resources:
            server, name = map(_expression, (job.name, resources[-1]["name"].partition("/")[2]))
            before = [f"[resourceId('{_CONFIGURATION}', {server}, {name})]"]
        resources.append(
            {
                "type": _CONFIGURATION,
                "apiVersion": _API,
                "name": f"{job.name}/{row['name']}",
                "dependsOn": before,
                "properties": {"value": _literal(row["value"]), "source": "user-override"},
            }
        )
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": resources,
    }
    return [as_json(template)]


def bicep(rows: Rows, job: Job) -> list[str]:
    """The same in Bicep, one at a time."""
    values = [f"  {{ name: {_bicep(row['name'])}, value: {_bicep(row['value'])} }}" for row in rows]
    lines = [
        "// Made by pgharden.connection.",
        f"resource server '{_SERVER}@{_API}' existing = {{",
        f"  name: {_bicep(job.name)}",
        "}",
        "",
        "var parameters = [",
        *values,
        "]",
        "",
        "@batchSize(1)",
        f"resource configurations '{_CONFIGURATION}@{_API}' = [for parameter in parameters: {{",
        "  parent: server",
        "  name: parameter.name",
        "  properties: {",
        "    value: parameter.value",
        "    source: 'user-override'",
        "  }",
        "}]",
    ]
    return ["\n".join([*lines, ""])]


def terraform(rows: Rows, job: Job) -> list[str]:
    """One resource for each parameter."""
    resources = [
        _hcl.resource(
            "azurerm_postgresql_flexible_server_configuration",
            f"{job.name}_{row['name']}",
            [{"name": row["name"], "server_id": job.argument("server_id"), "value": row["value"]}],
        )
        for row in rows
    ]
    return ["\n".join([HEAD, "\n".join(resources)])]


def _literal(text: str) -> str:
    """What begins with a bracket would be an expression."""
    return f"[{text}" if text.startswith("[") else text


def _expression(text: str) -> str:
    return "'{}'".format(text.replace("'", "''"))


def _bicep(text: str) -> str:
    for plain, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("${", "\\${")):
        text = text.replace(plain, escaped)
    return f"'{text}'"
