# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: snippets, a pure room. Parameters as files for the tools that a provider's users have."""

from __future__ import annotations

import re
import typing as t

from .._errors import Failure
from . import _amazon, _azure, _hosted
from ._job import OPTIONS, Job, Rows

Render = t.Callable[[Rows, Job], t.List[str]]
_SQL = "sql"

#: What each service has, with the ending of the file. Terraform's and Bicep's are the whole or a part of a resource.
RENDERERS: dict[str, dict[str, tuple[str, Render]]] = {
    "rds": {
        "cli-json": ("json", _amazon.cli_json),
        "ansible": ("yml", _amazon.ansible),
        "terraform": ("tf", _amazon.terraform),
    },
    "aurora": {
        "cli-json": ("json", _amazon.cli_json),
        "ansible": ("yml", _amazon.ansible),
        "terraform": ("tf", _amazon.terraform),
    },
    "azure": {
        "cli": ("sh", _azure.cli),
        "arm": ("json", _azure.arm),
        "bicep": ("bicep", _azure.bicep),
        "terraform": ("tf", _azure.terraform),
    },
    "cloudsql": {
        "cli": ("sh", _hosted.gcloud_sql),
        "api-json": ("json", _hosted.cloudsql_json),
        "terraform": ("tf", _hosted.cloudsql_terraform),
    },
    "alloydb": {
        "cli": ("sh", _hosted.gcloud_alloydb),
        "api-json": ("json", _hosted.alloydb_json),
        "terraform": ("tf", _hosted.alloydb_terraform),
    },
    "aiven": {
        "cli": ("sh", _hosted.avn),
        "api-json": ("json", _hosted.aiven_json),
        "terraform": ("tf", _hosted.aiven_terraform),
    },
    "neon": {},
    "supabase": {"cli": ("sh", _hosted.supabase)},
}
FORMATS = {service: (*found, _SQL) for service, found in RENDERERS.items()}


class File(t.NamedTuple):
    """A file: its name, which has no directory, and its text."""

    file: str
    content: str


def render(
    parameters: t.Any,
    form: str,
    name: str,
    version: int = 18,
    options: t.Mapping[str, str] | None = None,
) -> list[File]:
    """The files of one format for what `_parameters.parameters` returns; none where there is nothing to set that way.

    *name* is that of the parameter group, the server, instance, service or project. Raises Failure ``bad_parameters``,
    ``unknown_format``, ``bad_value``, ``missing_option``.
    """
    service = _service(parameters)
    if form not in FORMATS[service]:
        remedy = f"For {service} there are {', '.join(FORMATS[service])}."
        raise Failure("unknown_format", f"format {form}", f"{service} has no such format", remedy)
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise Failure("bad_value", f"name: {name!r}", "this is no name", "Write the one that the provider knows.")
    if not str(version).isdecimal():
        raise Failure("bad_value", f"version: {version}", "this is no major version of PostgreSQL", "Write one as 17.")
    for key in options or {}:
        if key not in OPTIONS:
            raise Failure("bad_value", f"option {key}", "there is none", f"The options are {', '.join(OPTIONS)}.")
    job = Job(service, name, int(version), dict(options or {}))
    if form == _SQL:
        texts = ["".join(f"{line}\n" for line in parameters["statements"])] if parameters["statements"] else []
        ending = "sql"
    else:
        ending, renderer = RENDERERS[service][form]
        texts = renderer(parameters["parameters"], job) if parameters["parameters"] else []
    stem = f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}-{form}"
    numbers = [""] if len(texts) == 1 else [f"-{number}" for number in range(1, len(texts) + 1)]
    return [File(f"{stem}{number}.{ending}", text) for number, text in zip(numbers, texts)]


def render_all(parameters: t.Any, *arguments: t.Any) -> list[File]:
    """The files of every format that the service has, but for those that need an option which was not given."""
    files = []
    for form in FORMATS[_service(parameters)]:
        try:
            files += render(parameters, form, *arguments)
        except Failure as failure:
            if failure.code != "missing_option":
                raise
    return files


def _service(parameters: t.Any) -> str:
    service = parameters.get("service") if isinstance(parameters, t.Mapping) else None
    if service not in RENDERERS:
        remedy = "Give it what the filter pgharden.connection.managed_parameters returns."
        raise Failure("bad_parameters", "a snippet", "these are no parameters of a managed service", remedy)
    return str(service)
