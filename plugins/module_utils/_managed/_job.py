# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: what every renderer of a snippet is given, a pure room."""

from __future__ import annotations

import json
import typing as t

from .._errors import Failure
from . import _hcl

Rows = t.Sequence[t.Mapping[str, t.Any]]
HEAD = "# Made by pgharden.connection."
#: What only the user knows.
OPTIONS = (
    "cluster",
    "description",
    "instance_type",
    "plan",
    "project",
    "region",
    "resource_group",
    "server_id",
    "tier",
)
DESCRIPTION = "PostgreSQL connections, by pgharden.connection"


class Job(t.NamedTuple):
    """The service, the name of what has its parameters, the major version, and what only the user knows."""

    service: str
    name: str
    version: int
    options: t.Mapping[str, str]

    def option(self, key: str) -> str:
        """What has to be there. Raises Failure ``missing_option``."""
        if not self.options.get(key):
            remedy = f"Give options: {{{key}: ...}}."
            raise Failure("missing_option", f"a snippet for {self.service}", f"it needs the option {key}", remedy)
        return str(self.options[key])

    def argument(self, key: str) -> str:
        """An argument of a Terraform resource: what is given, or a variable of the user's."""
        return str(self.options[key]) if self.options.get(key) else _hcl.Raw(f"var.{key}")


def as_json(value: t.Any) -> str:
    return json.dumps(value, indent=2) + "\n"
