# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._managed import _snippets
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters


def _managed_snippet(
    parameters: t.Any, format: t.Any, name: t.Any, version: int = 18, options: t.Any = None
) -> list[dict[str, str]]:
    if not isinstance(options or {}, t.Mapping):
        raise Failure("bad_value", f"options: {options}", "it is no mapping", "Write one key: value a line.")
    if format == "all":
        files = _snippets.render_all(parameters, name, version, options)
    else:
        forms = format if isinstance(format, (list, tuple)) else [format]
        files = [file for form in forms for file in _snippets.render(parameters, form, name, version, options)]
    return [file._asdict() for file in files]


class FilterModule:
    """See managed_snippet.yml."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"managed_snippet": _filters.one_error(_managed_snippet)}
