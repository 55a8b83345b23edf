# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clues, a pure room: what rules give, what they look at beside the loss itself, and the weights that they share."""

from __future__ import annotations

import typing as t

from ._facts import LogEvent, Loss
from ._legs import Legs


class Clue(t.NamedTuple):
    """*weight* from -1 (rules the cause out) to 1 (proves it)."""

    cause: str
    weight: float
    text: str


class Surroundings(t.NamedTuple):
    """What a loss did not happen alone in: the server's own events, the captures' sides, the losses of that moment.

    *beside* counts the losses within a few seconds of each time: of the same client address, and of others. *hung* are
    the times (from, to) in which the server's kernel took connections, and nobody answered them. *legs* finds the two
    connections of a session through a proxy. *strain* is what made the client's host answer late then, None if nobody
    has looked at it. *heard* is the last time that a capture, by its name, has a packet from an address.
    """

    world: t.Sequence[LogEvent] = ()
    sides: frozenset[str] = frozenset()
    beside: t.Callable[[Loss], tuple[int, int]] = lambda loss: (0, 0)
    hung: t.Sequence[tuple[float, float]] = ()
    legs: t.Callable[[Loss], Legs | None] = lambda loss: None
    strain: t.Callable[[Loss], list[str] | None] = lambda loss: None
    heard: t.Callable[[str, str], float] = lambda file, address: 0.0


#: A server that is shut down, or recovers, may take so long.
MOMENT = 60.0
#: Silence of at least so many seconds may have made a device forget a flow; shorter limits are unusual.
LONG = 3.0
#: A client that leaves within so many seconds, having sent no more than a start-up packet (and TLS's), only looked.
LOOK = 0.5

#: How often such evidence means that cause.
SURE, LIKELY, MAYBE, RATHER_NOT = 0.97, 0.8, 0.5, 0.2


def shutdown_at(time: float | None, surroundings: Surroundings) -> str | None:
    """The shutdown that was under way then: what was asked for before, unless the server has been started since."""
    last = None
    for other in surroundings.world:
        earlier = time is None or other.time is None or other.time <= time
        if earlier and other.kind in ("shutdown_request", "shut_down", "started"):
            last = other
    if last is None or last.kind == "started" or (time and last.time and time - last.time > MOMENT):
        return None
    return f"{last.file}:{last.line}: {last.text}"


def near(time: float | None, surroundings: Surroundings, *kinds: str) -> str | None:
    """The first event of those *kinds* around that time."""
    for other in surroundings.world:
        if other.kind in kinds and (time is None or other.time is None or abs(other.time - time) <= MOMENT):
            return f"{other.file}:{other.line}: {other.text}"
    return None
