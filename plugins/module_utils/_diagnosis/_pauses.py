# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pauses, a pure room: when data went over a connection and when none did, and what went over it meanwhile."""

from __future__ import annotations

from ._facts import Silence

#: Data packets closer together than this belong together; a longer gap is a silence.
QUIET = 1.0


class Pauses:
    """The last burst of data, the silence before it, and the one since."""

    __slots__ = ("_burst", "_in_quiet", "_meanwhile", "_quiet", "last_data", "last_way")

    def __init__(self, began: float) -> None:
        # Data came last at `last_data`; that burst began at `_burst`, after a silence that began at `_quiet`.
        self.last_data = self._burst = self._quiet = began
        self._meanwhile = [0, 0, 0]  # since `last_data`: probes by the client, by the server, answered
        self._in_quiet = [0, 0, 0]  # between `_quiet` and `_burst`
        self.last_way = 0  # who sent data last

    def data(self, time: float, way: int) -> None:
        if time - self.last_data >= QUIET:
            self._quiet, self._burst = self.last_data, time
            self._in_quiet, self._meanwhile = self._meanwhile, [0, 0, 0]
        self.last_data = time
        self.last_way = way

    def probes(self, way: int, count: int = 1) -> None:
        self._meanwhile[way] += count

    def answer(self) -> None:
        """Of a probe."""
        self._meanwhile[2] += 1

    def in_use(self) -> float:
        """For how long, when data came last, it had come without a silence."""
        return self.last_data - self._burst

    def silence(self, ended: float, undelivered: bool) -> Silence:
        """The quiet time before the end; what is sent at the end, a query in vain or a verdict, does not break it."""
        after = ended - self.last_data
        if self.in_use() < QUIET and (after < QUIET or undelivered):
            return Silence(max(0.0, self._burst - self._quiet), *self._in_quiet)
        return Silence(max(0.0, after), *self._meanwhile)
