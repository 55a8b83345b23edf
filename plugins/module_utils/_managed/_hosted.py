# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: Cloud SQL, AlloyDB, Aiven, Supabase, a pure room. Commands, request bodies and Terraform.

The list of flags of Cloud SQL and AlloyDB is replaced as a whole ("The value given for this argument *replaces* the
existing list", gcloud's help), so that a file for them has to have the flags that are to stay as well.
"""

from __future__ import annotations

import shlex

from .._errors import Failure
from . import _hcl
from ._job import HEAD, Job, Rows, as_json

_REPLACES = "# This replaces the whole list of flags: add those that the instance has already."
_MERGE = "# Put this into the resource that you have. It replaces the flags that are not named."


def gcloud_sql(rows: Rows, job: Job) -> list[str]:
    """``gcloud sql instances patch``."""
    command = ["gcloud", "sql", "instances", "patch", job.name, *_project(job), f"--database-flags={_flags(rows)}"]
    return ["\n".join([HEAD, _REPLACES, shlex.join(command), ""])]


def cloudsql_json(rows: Rows, job: Job) -> list[str]:
    """The body of ``PATCH https://sqladmin.googleapis.com/v1/projects/PROJECT/instances/NAME``."""
    flags = [{"name": row["name"], "value": row["value"]} for row in rows]
    return [as_json({"settings": {"databaseFlags": flags}})]


def cloudsql_terraform(rows: Rows, job: Job) -> list[str]:
    """The instance as far as its flags go."""
    head = {"name": job.name, "database_version": f"POSTGRES_{job.version}", "region": job.argument("region")}
    flags = [_hcl.Block("database_flags", [{"name": row["name"], "value": row["value"]}]) for row in rows]
    settings = _hcl.Block("settings", [{"tier": job.argument("tier")}, *flags])
    return [f"{HEAD}\n{_MERGE}\n{_hcl.resource('google_sql_database_instance', job.name, [head, settings])}"]


def gcloud_alloydb(rows: Rows, job: Job) -> list[str]:
    """``gcloud alloydb instances update``."""
    command = ["gcloud", "alloydb", "instances", "update", job.name, *_project(job)]
    command += [f"--cluster={job.option('cluster')}", f"--region={job.option('region')}"]
    return ["\n".join([HEAD, _REPLACES, shlex.join([*command, f"--database-flags={_flags(rows)}"]), ""])]


def alloydb_json(rows: Rows, job: Job) -> list[str]:
    """The body of ``PATCH https://alloydb.googleapis.com/v1/…/instances/NAME?updateMask=databaseFlags``."""
    return [as_json({"databaseFlags": {row["name"]: row["value"] for row in rows}})]


def alloydb_terraform(rows: Rows, job: Job) -> list[str]:
    """The instance as far as its flags go."""
    head = {"cluster": job.argument("cluster"), "instance_id": job.name, "instance_type": job.argument("instance_type")}
    flags = {"database_flags": {row["name"]: row["value"] for row in rows}}
    return [f"{HEAD}\n{_MERGE}\n{_hcl.resource('google_alloydb_instance', job.name, [head, flags])}"]


def avn(rows: Rows, job: Job) -> list[str]:
    """``avn service update``."""
    settings = [part for row in rows for part in ("-c", f"pg.{row['name']}={row['value']}")]
    return ["\n".join([HEAD, shlex.join(["avn", "service", "update", *_project(job), *settings, job.name]), ""])]


def aiven_json(rows: Rows, job: Job) -> list[str]:
    """The body of ``PUT https://api.aiven.io/v1/project/PROJECT/service/NAME``."""
    return [as_json({"user_config": {"pg": {row["name"]: row["value"] for row in rows}}})]


def aiven_terraform(rows: Rows, job: Job) -> list[str]:
    """The service as far as its configuration goes."""
    head = {"project": job.argument("project"), "service_name": job.name, "plan": job.argument("plan")}
    pg = _hcl.Block("pg", [{row["name"]: row["value"] for row in rows}])
    body: list[_hcl.Section] = [head, _hcl.Block("pg_user_config", [pg])]
    return [f"{HEAD}\n# Put this into the resource that you have.\n{_hcl.resource('aiven_pg', job.name, body)}"]


def supabase(rows: Rows, job: Job) -> list[str]:
    """``supabase postgres-config update``, which splits at every equals sign and takes no more than one."""
    command = ["supabase", "--experimental", "--project-ref", job.name, "postgres-config", "update"]
    for row in rows:
        if "=" in row["value"]:
            remedy = "Leave it out of the extra parameters."
            raise Failure("bad_value", f"{row['name']} = {row['value']}", "the CLI takes no equals sign", remedy)
        command += ["--config", f"{row['name']}={row['value']}"]
    return ["\n".join([HEAD, shlex.join(command), ""])]


def _project(job: Job) -> list[str]:
    return [f"--project={job.options['project']}"] if job.options.get("project") else []


def _flags(rows: Rows) -> str:
    """gcloud's list; where a value has a comma, another character separates (``gcloud topic escaping``)."""
    flags = [f"{row['name']}={row['value']}" for row in rows]
    if not any("," in flag for flag in flags):
        return ",".join(flags)
    free = next((mark for mark in "|:;~#@" if not any(mark in flag for flag in flags)), None)
    if free is None:
        remedy = "Leave one of those with commas out of the extra parameters."
        raise Failure(
            "bad_value", "a list of flags for gcloud", "no character is left that could separate them", remedy
        )
    return f"^{free}^{free.join(flags)}"
