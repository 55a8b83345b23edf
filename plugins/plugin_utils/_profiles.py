# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles, on the controller: a name or a file to the policy it holds."""

from __future__ import annotations

import typing as t
from pathlib import Path

import yaml
from ansible.module_utils.common.yaml import yaml_load

from ..module_utils._errors import Failure

DIRECTORY = Path(__file__).resolve().parent / "profiles"


def names() -> list[str]:
    """The profiles of the collection."""
    return sorted(path.stem for path in DIRECTORY.glob("*.yml"))


def load(name: str, find: t.Callable[[str], str]) -> dict[str, t.Any]:
    """The policy of profile *name*; a name with a slash or an ending is a file, for which *find* gives the path."""
    path = Path(find(name)) if "/" in name or name.endswith((".yml", ".yaml")) else DIRECTORY / f"{name}.yml"
    try:
        content = yaml_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = f"The profiles are {', '.join(names())}; a file of your own has to end in .yml."
        raise Failure("unknown_profile", f"profile {name}", f"there is no {path}", remedy) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())  # that of a YAML parser has several lines
        raise Failure("bad_profile", f"profile {name}", f"{path} cannot be read: {problem}", "Correct it.") from error
    if not isinstance(content, dict):
        raise Failure("bad_profile", f"profile {name}", f"{path} is no mapping", "Write one key: value a line.")
    return content
