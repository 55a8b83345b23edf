# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of hosts, a pure room: whether a host was short of processor, memory or I/O, the client's or the server's."""

from __future__ import annotations

import typing as t

from ._clues import MOMENT, RATHER_NOT, Clue, Surroundings
from ._facts import Flow, LogEvent, Loss

#: What a server, or its kernel, does to a client that is late.
_LATE = ("authentication_timeout", "slow_reader_cut")
#: What a host that was looked at in that minute has not done.
_GONE = ("client_vanished", "client_unreachable")


#: The name of a server's processes in the kernel's log.
_SERVER = ("postgres", "postmaster")


def of_host(loss: Loss, told: t.Sequence[Clue], surroundings: Surroundings) -> t.Iterator[Clue]:
    """Given what else is *told* of a loss."""
    if any(clue.cause == "server_crash" and clue.weight > 0 for clue in told):
        yield from _of_memory(loss, surroundings)
    yield from _of_late_client(loss, told, surroundings)


def _of_memory(loss: Loss, surroundings: Surroundings) -> t.Iterator[Clue]:
    """Whether it was the kernel that killed a process of the server, for want of memory."""
    died = {event.number for event in deaths(loss, surroundings)}
    for event in surroundings.world:
        if event.kind != "killed_for_memory" or not _is_near(event, loss.time):
            continue
        text = f"{event.file}:{event.line}: {event.text}"
        if event.number in died:
            yield Clue("server_crash", 0.95, f"{text} (the kernel killed it for want of memory)")
        elif event.detail in _SERVER and event.time is not None:  # in a container it has another number
            yield Clue("server_crash", RATHER_NOT, f"{text} (the kernel killed such a process for want of memory)")


def deaths(loss: Loss, surroundings: Surroundings) -> list[LogEvent]:
    """The server's processes that died around the time of a loss."""
    return [
        event
        for event in (*loss.events, *surroundings.world)
        if event.kind == "server_process_died" and _is_near(event, loss.time)
    ]


def _is_near(event: LogEvent, time: float | None) -> bool:
    return event.time is None or time is None or abs(event.time - time) <= MOMENT


def _of_late_client(loss: Loss, told: t.Sequence[Clue], surroundings: Surroundings) -> t.Iterator[Clue]:
    late = [cause for cause in _LATE if any(clue.cause == cause and clue.weight > 0 for clue in told)]
    if not late or any(flow.retransmitting == "server" or flow.unanswered_probes_by == "server" for flow in loss.flows):
        return  # or its kernel did not answer either
    answered = next((text for flow in loss.flows if (text := _only_the_kernel(flow))), "")
    short = surroundings.strain(loss)
    if short is None:
        yield Clue(
            "client_starved", RATHER_NOT, answered or "a client whose host is overloaded is late in the same way"
        )
    elif short:
        if answered:
            yield Clue("client_starved", 0.5, answered)
        yield Clue("client_starved", 0.9, f"the client's host {loss.address}: {', '.join(short)}")
        for cause in late:
            yield Clue(cause, -0.9, "that is what the server did; the client's host was too short to be in time")
        for cause in _GONE:
            yield Clue(cause, -0.7, "the client's host was looked at in that minute")


def _only_the_kernel(flow: Flow) -> str | None:
    """The client's kernel answered, its program did not."""
    if flow.zero_window_by == "client":
        return f"{flow.file} ({flow.side}): the client's kernel answered, and its program did not read"
    if flow.last_data_by == "server" and flow.closed_by == "server" and flow.data_client:
        asked = f"{flow.file} ({flow.side}): the client's kernel acknowledged what the server asked, and its program"
        late = ", and one when it was too late" if flow.rst_by == "server" and flow.rst_after == "data" else ""
        return f"{asked} gave no answer for {flow.silence.seconds:.1f} s{late}"
    return None
