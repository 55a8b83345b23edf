# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes, shared by every layer: one list that gives both `changed` and the diff, so that they cannot disagree."""

from __future__ import annotations

import typing as t


class Change(t.NamedTuple):
    """One value of one place: *before* and *after* are texts as that place spells them; None is not set there."""

    name: str
    before: str | None
    after: str | None


class Changes:
    """The changes that one place needs. *place* is the header of the diff, such as ``os: net.ipv4 (live)``."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.rows: list[Change] = []

    def add(self, name: str, before: str | None, after: str | None) -> None:
        """Note that *name* is to go from *before* to *after*; equal values are no change."""
        if before != after:
            self.rows.append(Change(name, before, after))

    def __bool__(self) -> bool:
        return bool(self.rows)

    def diff(self) -> dict[str, str]:
        """A diff as Ansible prints it with --diff: one ``name = value`` line for each value that is set."""

        def text(values: t.Iterable[tuple[str, str | None]]) -> str:
            return "".join(f"{name} = {value}\n" for name, value in values if value is not None)

        return {
            "before_header": self.place,
            "after_header": self.place,
            "before": text((row.name, row.before) for row in self.rows),
            "after": text((row.name, row.after) for row in self.rows),
        }

    def as_list(self) -> list[dict[str, str | None]]:
        """The rows as a module returns them."""
        return [row._asdict() for row in self.rows]
