# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter hop_policy: a policy, with the idle limits that the description of a path has for a host of it."""

from __future__ import annotations

import typing as t

from ..module_utils import _duration
from ..module_utils._errors import Failure
from ..module_utils._path import _hops
from ..plugin_utils import _filters, _profiles


def hop_policy(policy: t.Any, hops: t.Any, kinds: t.Any, profile: str = "web") -> dict[str, t.Any]:
    """See hop_policy.yml."""
    if not isinstance(policy, t.Mapping):
        raise Failure("bad_policy", f"policy: {policy}", "it is no mapping", "Write one key: value a line.")
    limit = _hops.idle_limit(_hops.describe(hops), [kinds] if isinstance(kinds, str) else kinds)
    stated = {**_profiles.load(profile, _filters.beside), **policy}.get("path_idle_limit")
    known = _duration.parse("path_idle_limit", stated) if stated is not None else 0
    if limit and (not known or limit < known):
        return {**policy, "path_idle_limit": _duration.spell(limit)}
    return dict(policy)


class FilterModule:
    """What Ansible asks for."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The one filter of this file."""
        return {"hop_policy": _filters.one_error(hop_policy)}
