# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings, a pure room: what a rule says is wrong. Ids are stable; `docs/findings` has a page for each."""

from __future__ import annotations

import typing as t

#: Worst first.
SEVERITIES = ("error", "warning", "info")


class Finding(t.NamedTuple):
    """One thing that a rule found: its *id*, *where* it is, the *evidence* (what is in force), and the *remedy*."""

    id: str
    severity: str
    where: str
    evidence: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return self._asdict()


def ranked(findings: t.Iterable[Finding]) -> list[Finding]:
    """The worst first, those of a severity in the order of their ids."""
    return sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.id, finding.where))
