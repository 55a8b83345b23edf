# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rooms; docs/architecture.md says which is which.

On a host they come out of AnsiballZ's zip archive, where Python compiles each module twice: zipimport.get_filename()
does it, too, only to say what the file is called. What follows saves that, for this package alone.
"""

from __future__ import annotations

import os
import sys
import zipimport


class _Importer(zipimport.zipimporter):
    def get_filename(self, fullname: str) -> str:
        name = fullname.rpartition(".")[2]
        file = os.path.join(name, "__init__") if self.is_package(fullname) else name
        return os.path.join(self.archive, self.prefix, f"{file}.py")


def _hook(path: str) -> _Importer:
    if path.startswith(__path__[0]):
        return _Importer(path)
    raise ImportError(path)


if not os.path.isdir(__path__[0]):  # but inside an archive
    sys.path_hooks.insert(0, _hook)
