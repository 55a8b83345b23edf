# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of a diagnosis as tests make them up: one client and one server, unless they say otherwise."""

from __future__ import annotations

import typing as t

from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._facts import (
    KINDS,
    Flow,
    LogEvent,
    Loss,
    Outage,
    Silence,
)

NOON = 1795435200.0
CLIENT, SERVER, ROUTER = "10.0.0.7", "10.0.0.5", "10.0.0.1"
PORT = 50001


def event(kind: str, after: float | None = 0.0, pid: int | None = 4711, **more: t.Any) -> LogEvent:
    """A line of a log, *after* so many seconds."""
    time = None if after is None else NOON + after
    text = more.pop("text", kind.replace("_", " "))
    return LogEvent(kind, time, pid, text, "postgresql.log", more.pop("line", 1), **more)


def received(after: float = 0.0, pid: int | None = 4711, **more: t.Any) -> LogEvent:
    """A connection came in, as log_connections says."""
    return event("connection_received", after, pid, **{"address": CLIENT, "port": PORT, **more})


def session(after: float = 0.0, pid: int | None = 4711, **more: t.Any) -> list[LogEvent]:
    """A session began, as log_connections says."""
    return [received(after, pid, **more), event("authenticated", after, pid, user="app", database="shop")]


def flow(after: float = 10.0, side: str = "server", **more: t.Any) -> Flow:
    """A session of 10 s in a capture, that ended *after* so many seconds."""
    known: dict[str, t.Any] = {
        "file": f"{side}.pcap",
        "client": (CLIENT, PORT),
        "server": (SERVER, 5432),
        "began": NOON + after - 10.0,
        "syn": True,
        "established": True,
        "syn_answer": "accepted",
        "data_client": 500,
        "data_server": 5000,
        "first_client_bytes": "postgresql",
        "last_data_by": "server",
    }
    if more.get("closed_how", "none") != "none":
        known["closed_at"] = NOON + after
    return Flow(side=side, ended=NOON + after, **{**known, **more})


def loss(*evidence: LogEvent | Flow) -> Loss:
    """A loss that all of this is about."""
    events = tuple(one for one in evidence if isinstance(one, LogEvent))
    flows = tuple(one for one in evidence if isinstance(one, Flow))
    return Loss(NOON + 10, CLIENT, PORT, 4711, events, flows)


_TIMES = st.none() | st.floats(0, 400)
_ADDRESSES = st.sampled_from([CLIENT, "10.0.0.8", "fd00::7"])
_PORTS = st.integers(50001, 50004)

#: Lines as logs may have them, in whatever order.
EVENTS = st.lists(
    st.builds(
        event,
        st.sampled_from(KINDS),
        _TIMES,
        st.sampled_from([None, 1, 2, 3]),
        address=st.none() | _ADDRESSES,
        port=st.none() | _PORTS,
        session=st.sampled_from([None, "a.1", "b.2"]),
        number=st.sampled_from([None, 0.5, 1.0, 900.0]),
        detail=st.sampled_from([None, "immediate", "fast", "tls", "signal 9"]),
    ),
    max_size=12,
)
_SIDES = st.sampled_from(["client", "server", None])
_COUNTS = st.integers(0, 9)
_SECONDS = st.floats(0, 4000)
#: Connections as captures may have them, sane or not.
FLOWS = st.lists(
    st.builds(
        Flow,
        file=st.sampled_from(["a.pcap", "b.pcap", "c.pcap"]),
        side=st.sampled_from(["server", "client", "router"]),
        client=st.tuples(_ADDRESSES, _PORTS),
        server=st.tuples(st.sampled_from([SERVER, ROUTER]), st.just(5432)),
        began=st.floats(NOON, NOON + 100),
        ended=st.floats(NOON + 100, NOON + 400),
        syn=st.booleans(),
        established=st.booleans(),
        syn_answer=st.sampled_from([None, "accepted", "rst", "icmp", "none"]),
        icmp=st.sampled_from([(), ("3/1 from 10.0.0.1",), ("3/4 from 10.0.0.1",), ("3/13 from 10.0.0.1",)]),
        closed_by=_SIDES,
        closed_how=st.sampled_from(["fin", "rst", "none"]),
        closed_at=st.none() | st.floats(NOON + 90, NOON + 400),
        rst_by=_SIDES,
        rst_after=st.sampled_from([None, "probe", "data", "syn", "ack", "fin", "nothing"]),
        foreign_rst=st.booleans(),
        terminate=st.booleans(),
        tls=st.booleans(),
        data_client=st.sampled_from([0, 80, 5000]),
        data_server=st.sampled_from([0, 500]),
        silence=st.builds(Silence, _SECONDS, _COUNTS, _COUNTS, _COUNTS),
        unanswered_probes_by=_SIDES,
        unanswered_probes=_COUNTS,
        retransmitting=_SIDES,
        retransmissions=_COUNTS,
        retransmitted_sizes=st.sampled_from([(), (40,), (1448, 1448)]),
        largest_delivered=st.sampled_from([0, 400, 1448]),
        zero_window_by=_SIDES,
        zero_window_seconds=_SECONDS,
        last_data_by=_SIDES,
        server_message=st.sampled_from(
            [None, "FATAL 57P01", "FATAL 57P03", "WARNING 57P01", "ERROR 42601", "FATAL 08P01"]
        ),
        first_client_bytes=st.sampled_from([None, "postgresql", "tls_request", "http", "none"]),
        truncated=st.booleans(),
        unheard=st.none() | _SECONDS,
        in_use=_SECONDS,
        outlived=st.builds(Outage, _SECONDS, _COUNTS, _SIDES, st.booleans()),
    ),
    max_size=6,
)
