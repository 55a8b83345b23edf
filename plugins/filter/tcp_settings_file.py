# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters, _tcp_settings


class FilterModule:
    """See tcp_settings_file.yml."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"tcp_settings_file": _filters.one_error(_tcp_settings.file)}
