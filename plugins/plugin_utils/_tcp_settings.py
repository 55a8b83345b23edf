# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan's policy to the kernel settings of any system, and to a file of that system; for the filters tcp_settings*."""

from __future__ import annotations

import typing as t

from ..module_utils import _plan, _policy
from ..module_utils._errors import Failure
from ..module_utils._systems import _files, _table


def settings(plan: t.Any, system: t.Any) -> dict[str, int]:
    """The settings of *system* that keep the policy of *plan*, in its own names and units. Raises Failure."""
    asked = f"the TCP settings of {system}"
    wanted = _table.named(system, asked)
    policy = plan.get("policy") if isinstance(plan, t.Mapping) else None
    if not isinstance(policy, t.Mapping):
        remedy = "Give it what the filter pgharden.connection.plan returns: policy | pgharden.connection.plan."
        raise Failure("bad_plan", asked, "this is no plan, it has no policy", remedy)
    # Not the plan's own part os: that is the server's, with the count that the server's system can have.
    return _plan.make(_policy.parse(policy), _plan.Facts(_plan.NEWEST, wanted.name), ["os"]).os


def file(plan: t.Any, system: t.Any, format: str | None = None) -> str:
    """The same as text of a file. Raises Failure, also where there is nothing to set."""
    found = settings(plan, system)
    if not found:
        raise Failure(
            "nothing_to_set",
            f"a file with the TCP settings of {system}",
            "the policy asks nothing of the kernel",
            "State detect_dead_peer_within, path_idle_limit or tolerate_outage_of.",
        )
    return _files.render(_table.named(system, "a file"), found, format)
