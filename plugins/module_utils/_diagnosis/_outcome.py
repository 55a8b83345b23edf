# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Outcome, a pure room: what became of a connection, as a `Flow`, when all its packets are taken."""

from __future__ import annotations

import typing as t

from ._connection import Connection
from ._facts import Flow
from ._half import Half
from ._pauses import QUIET

_SIDES = ("client", "server")


def flow(of: Connection, file: str, side: str, capture_ends: float | None) -> Flow:
    """What is known of it. *capture_ends* is the last time of the capture if that, not the flow, is over."""
    client, server = of.halves
    words = of.words
    ended = of.close.time if of.close else of.last
    undelivered = of.halves[of.pauses.last_way].undelivered()
    return Flow(
        file=file,
        side=side,
        client=of.client,
        server=of.server,
        began=of.began,
        ended=of.last,
        syn=of.isn is not None,
        established=of.established,
        syn_answer=_syn_answer(of),
        syn_attempts=of.syn_attempts,
        icmp=tuple(of.icmps),
        terminate=words.goodbye,
        terminate_certain=words.certain,
        tls=words.tls,
        data_client=client.bytes,
        data_server=server.bytes,
        silence=of.pauses.silence(ended, undelivered),
        in_use=of.pauses.in_use(),
        last_data_by=_SIDES[of.pauses.last_way] if client.bytes or server.bytes else None,
        last_data=of.pauses.last_data if client.bytes or server.bytes else None,
        last_from_client=client.last,
        last_from_server=server.last,
        server_message=words.verdict,
        asked=words.asked,
        first_client_bytes=None if of.isn is None or client.last is None else words.first(),
        kept=of.kept,
        truncated=_is_truncated(of, capture_ends),
        unheard=_unheard(of, capture_ends),
        seen_until=None if of.close else capture_ends,
        **_of_close(of),
        **_of_attempts(of),
        **_of_windows(of, ended),
    )


def _of_close(of: Connection) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    if of.close:
        found.update(closed_at=of.close.time, closed_by=_SIDES[of.close.way], closed_how=of.close.how)
    if of.rst:
        found.update(
            rst_by=_SIDES[of.rst.way],
            rst_after=of.rst.after,
            rst_known=of.rst.known,
            rst_ttl=of.rst.ttl,
            usual_ttl=of.rst.usual_ttl,
            foreign_rst=of.rst.foreign,
        )
    return found


def _of_attempts(of: Connection) -> dict[str, t.Any]:
    """Who tried something again at the end, and what was tried again before and arrived."""
    client, server = of.halves
    found: dict[str, t.Any] = {}
    prober = max((server, client), key=lambda half: half.unanswered)
    if prober.unanswered:
        found.update(unanswered_probes=prober.unanswered, unanswered_probes_by=_name(of, prober))
        found.update(in_vain_since=prober.probing_since)
    repeater = max((server, client), key=Half.in_vain)
    if repeater.in_vain():
        found.update(
            retransmitting=_name(of, repeater),
            retransmissions=repeater.repeats,
            retransmitted_sizes=tuple(repeater.sizes),
            largest_delivered=repeater.largest_acked,
            in_vain_since=repeater.tried_since if repeater.tries else None,
        )
    survivor = max((server, client), key=lambda half: half.outlived)
    if survivor.outlived.lost:
        found.update(outlived=survivor.outlived._replace(by=_name(of, survivor)))
    return found


def _of_windows(of: Connection, ended: float) -> dict[str, t.Any]:
    found: dict[str, t.Any] = {}
    for half in of.halves:
        closed = _window_closed(of, half, ended)
        if closed:
            found.update(zero_window_by=_name(of, half), zero_window_seconds=closed)
    return found


def _name(of: Connection, half: Half) -> str:
    return _SIDES[of.halves.index(half)]


def _syn_answer(of: Connection) -> str | None:
    if of.isn is None:
        return None
    if of.accepted or of.established:
        return "accepted"
    if of.rst and _SIDES[of.rst.way] == "server":
        return "rst"
    return "icmp" if of.icmps else "none"


def _window_closed(of: Connection, half: Half, ended: float) -> float:
    """For how many seconds the window of that end was closed when the flow came to its end."""
    if half.zero_since is not None:
        return max(0.0, ended - half.zero_since)
    way = 1 - of.halves.index(half)
    # The other end had given up before the window was opened: it answers that with an RST.
    if half.zero_ended and of.rst and of.rst.way == way and half.zero_ended[1] >= of.halves[way].last_new:
        return max(0.0, half.zero_ended[1] - half.zero_ended[0])
    return 0.0


def _unheard(of: Connection, capture_ends: float | None) -> float | None:
    client, server = of.halves
    if capture_ends is None or of.close or client.last is None or server.last is None:
        return None
    return capture_ends - min(client.last, server.last)


def _is_truncated(of: Connection, capture_ends: float | None) -> bool:
    if capture_ends is None or of.close:
        return False
    # Who tries in vain goes on, at gaps that at most double; who has stopped long since has given up.
    gaps = [half.gap for half in of.halves if half.in_vain() or half.unanswered]
    if not of.established:
        gaps.append(max(QUIET, of.halves[0].gap))
    return not gaps or capture_ends - of.last < 3 * max(gaps)
