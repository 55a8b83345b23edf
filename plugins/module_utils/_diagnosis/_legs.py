# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Legs, a pure room: a session through a proxy is two connections, which begin and end together."""

from __future__ import annotations

import bisect
import typing as t

from ._facts import Flow, Loss

#: A proxy opens its second connection, and closes it, within so many seconds of the first.
_TOGETHER = 0.5


class Legs(t.NamedTuple):
    """*front* is the connection between client and proxy, *back* the one between proxy and server."""

    front: Flow
    back: Flow


def legs(losses: t.Sequence[Loss]) -> t.Callable[[Loss], Legs | None]:
    """Finds the two legs of a session, of which a loss is one; None where there is no other."""
    begun = sorted((flow.began, index) for index, loss in enumerate(losses) for flow in loss.flows[:1])

    def of(loss: Loss) -> Legs | None:
        if not loss.flows:
            return None
        own = loss.flows[0]
        first = bisect.bisect_left(begun, (own.began - _TOGETHER, -1))
        last = bisect.bisect_right(begun, (own.began + _TOGETHER, len(losses)))
        others = [losses[index].flows[0] for _began, index in begun[first:last]]
        fitting = [other for other in others if _fit(own, other)]
        if not fitting:
            return None
        other = min(fitting, key=lambda flow: abs(flow.began - own.began) + abs(_end(flow) - _end(own)))
        front, back = sorted((own, other), key=lambda flow: flow.began)
        return Legs(front, back)

    return of


def _fit(own: Flow, other: Flow) -> bool:
    different = own.client[0] != other.client[0] and own.server[0] != other.server[0]
    return different and own.syn and other.syn and abs(_end(own) - _end(other)) < _TOGETHER


def _end(flow: Flow) -> float:
    return flow.closed_at or flow.ended
