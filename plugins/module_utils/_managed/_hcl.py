# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: Terraform's language (HCL), a pure room. Written as ``terraform fmt`` would write it."""

from __future__ import annotations

import re
import typing as t

#: Arguments that stand on lines of their own, one below the other, or a block with such.
Section = t.Union[t.Mapping[str, t.Any], "Block"]


class Raw(str):
    """An expression, which is not quoted: ``var.tier``."""


class Block(t.NamedTuple):
    """A nested block."""

    name: str
    body: t.Sequence[Section]


def resource(kind: str, name: str, body: t.Sequence[Section]) -> str:
    """A resource, whose label is made of *name*."""
    label = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    label = label if re.match(r"[A-Za-z_]", label) else f"_{label}"
    return "\n".join([f'resource "{kind}" "{label}" {{', *_body(body, "  "), "}", ""])


def quoted(text: str) -> str:
    """A string as HCL reads it, without templates in it."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("${", "$${"), ("%{", "%%{")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def _body(sections: t.Sequence[Section], indent: str) -> list[str]:
    lines: list[str] = []
    for section in sections:
        lines += [""] if lines else []
        if isinstance(section, Block):
            lines += [f"{indent}{section.name} {{", *_body(section.body, f"{indent}  "), f"{indent}}}"]
        else:
            lines += _arguments(section, indent)
    return lines


def _arguments(arguments: t.Mapping[str, t.Any], indent: str) -> list[str]:
    width = max(map(len, arguments))
    lines = []
    for name, value in arguments.items():
        head = f"{indent}{name.ljust(width)} ="
        if isinstance(value, dict):
            rows = {quoted(key): one for key, one in value.items()}
            lines += [f"{head} {{", *_arguments(rows, f"{indent}  "), f"{indent}}}"]
        else:
            plain = isinstance(value, (Raw, int, float))
            lines.append(f"{head} {value if plain else quoted(value)}")
    return lines
