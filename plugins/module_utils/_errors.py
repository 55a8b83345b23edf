# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors, shared by every room: the one exception that a user gets to read."""

from __future__ import annotations

import typing as t


class Failure(Exception):
    """Something that was asked for cannot be done; nothing was changed, or everything was put back.

    *code* is a stable identifier (``policy_conflict``, ``login_failed`` ...), *asked* says what was asked for, *found*
    what is wrong and *remedy* what to do about it. *details* are JSON-able values that go beside the message.
    """

    def __init__(self, code: str, asked: str, found: str, remedy: str, **details: t.Any) -> None:
        super().__init__(f"{asked}: {found}. {remedy}")
        self.code = code
        self.asked = asked
        self.found = found
        self.remedy = remedy
        self.details = details

    def as_dict(self) -> dict[str, t.Any]:
        """The C(failure) key of a module's result."""
        return {"code": self.code, "asked": self.asked, "found": self.found, "remedy": self.remedy, **self.details}
