# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Course of one cell: its client is brought into the phase, the fault made to happen, the end of the session awaited.

All courses go on side by side. Each is a generator that is resumed with every sample of the watch.
"""

from __future__ import annotations

import time
import typing as t

from .. import _settings
from .._errors import Failure
from . import _cells
from ._cells import Expected, Seen
from ._client import Client, Event

Script = t.Generator[None, "Sample", None]

#: Seconds that a client may take to log in and reach its phase.
_ARRIVE_SECONDS = 30.0
#: The last reply is acknowledged after at most 40 ms; until then another timer than keepalive's runs.
_SETTLE_SECONDS = 0.3
#: Seconds beyond the last retransmission that a session may take to show that it has survived.
_ANSWER_SECONDS = 5.0
_QUERY_CANCELED = "57014"
#: An outage that is to catch the first keepalive probe begins so long before that is due.
_BEFORE_PROBE_SECONDS = 0.3


class Sample(t.NamedTuple):
    """One look at the server, taken between two moments: the backends by process id, the sockets of its port."""

    began: float
    ended: float
    backends: t.Mapping[int, t.Mapping[str, t.Any]]
    sockets: t.Container[tuple[str, int]]


class Course:
    """*expect* works out the promise once the session's settings are known; *patience* and *length* are in seconds."""

    def __init__(
        self,
        client: Client,
        expect: t.Callable[[Event], Expected],
        patience: float,
        length: float | None,
    ) -> None:
        self.client = client
        self.cell = client.job.cell
        self.session: Event = {}
        self.expected: Expected | None = None
        self.seen: Seen | None = None
        self._expect = expect
        self._patience = patience
        self._length = length
        self._events: dict[str, Event] = {}
        self._script = self._play()
        next(self._script)

    @property
    def done(self) -> bool:
        return self.seen is not None

    def step(self, sample: Sample) -> None:
        """Take note of what has happened, and do what is due. Raises Failure ``phase_not_reached``."""
        for event in self.client.receive():
            self._events.setdefault(event["event"], event)
        if not self.done:
            self._script.send(sample)

    # ---- the script

    def _play(self) -> Script:
        yield from self._arrive()
        yield from self._pause(_SETTLE_SECONDS)
        if self.cell.survivable:
            yield from self._survive()
        elif self.cell.side == "client":
            yield from self._notice()
        else:
            yield from self._die()
        while True:
            yield

    def _arrive(self) -> Script:
        deadline = time.monotonic() + _ARRIVE_SECONDS
        yield from self._reach(lambda sample: "ready" in self._events, deadline)
        self.client.connect()
        yield from self._reach(lambda sample: "connected" in self._events, deadline)
        self.session = self._events["connected"]
        self.expected = self._expect(self.session)
        self.client.tell("enter")
        yield from self._reach(self._in_phase, deadline)

    def _reach(self, there: t.Callable[[Sample], bool], deadline: float) -> Script:
        while True:
            sample = yield
            if there(sample):
                return
            found = self._trouble()
            if not found and time.monotonic() > deadline:
                found = f"it was not there after {_ARRIVE_SECONDS:.0f} s"
            if found:
                raise Failure(
                    "phase_not_reached",
                    f"a connection in phase {self.cell.phase}",
                    found,
                    "See the server's log, or leave this phase out.",
                )

    def _trouble(self) -> str | None:
        found = self._events.get("error", {}).get("found")
        return found or (None if self.client.pid else "its process has died")

    def _in_phase(self, sample: Sample) -> bool:
        """By the server's own word."""
        phase = self.cell.phase
        if phase == "connecting" or (phase == "authenticating" and not self.client.job.observed):
            return True
        if phase == "authenticating":
            return self._alive(sample)
        row = self._backend(sample) or {}
        state, event = row.get("state"), row.get("wait_event")
        if phase in ("executing", "waiting"):
            return state == "active" and event == "PgSleep"
        if phase == "lock_wait":
            return state == "active" and row.get("wait_event_type") == "Lock"
        if phase == "executing_cpu":
            return state == "active"
        if phase == "sending" and self.cell.side == "server":
            return "reading" in self._events
        if phase == "idle_in_transaction":
            return state == "idle in transaction"
        return state == "idle" and "idle" in self._events

    def _die(self) -> Script:
        """The server has to get rid of the session."""
        if self.cell.fault == "process_died":
            if self.cell.phase == "authenticating" and not self.client.job.observed:
                self.seen = Seen(None, None)
                return
            since = time.monotonic()
            self.client.kill()
        else:
            since = yield from self._fault()
        if self.cell.phase == "authenticating" and not self.client.job.observed:
            yield from self._notice_from(since)
            return
        alive = since
        while True:
            sample = yield
            if not self._alive(sample):
                self.seen = Seen(max(0.0, sample.ended - since), alive - since)
                return
            alive = max(alive, sample.began)
            if alive - since > self._patience:
                self.seen = Seen(None, alive - since)
                return

    def _notice(self) -> Script:
        """The client has to find out by itself."""
        since = yield from self._fault()
        yield from self._notice_from(since)

    def _notice_from(self, since: float) -> Script:
        while True:
            now = time.monotonic()
            if "error" in self._events:
                at = self._events["error"]["at"] - since
                self.seen = Seen(at, at)
                return
            if now - since > self._patience:
                self.seen = Seen(None, now - since)
                return
            yield

    def _survive(self) -> Script:
        """The session has to live on, and to work."""
        length = self._length
        if length is None:
            length = _cells.default_length(self.cell, t.cast(Expected, self.expected), self._patience)
        by_probes = self.cell.fault == "short_outage" and self.cell.phase != "sending"
        idle, interval = (int(self.session["settings"][f"tcp_keepalives_{name}"]) for name in ("idle", "interval"))
        if by_probes and idle < self._patience / 2:
            yield from self._pause(idle - _SETTLE_SECONDS - _BEFORE_PROBE_SECONDS)
        since = yield from self._fault()
        self.client.tell("heal", since + length)
        while "healed" not in self._events and self.client.pid:
            yield
        lasted = self._events.get("healed", {}).get("at", time.monotonic()) - since
        if by_probes:  # the next probe decides; what is sent before it would come to its help
            yield from self._pause(min(interval * _settings.SLACK + _SETTLE_SECONDS, self._patience / 4))
        self.client.tell("use")
        # retransmissions double their distance, so that the next one comes within the outage's own length
        deadline = time.monotonic() + lasted * _settings.SLACK + _ANSWER_SECONDS
        gone = None
        while True:
            sample = yield
            if gone is None and not self._alive(sample):
                gone = max(0.0, sample.ended - since)
            if "answered" in self._events or self._was_cancelled():
                self.seen = Seen(None, lasted, True, lasted)
                return
            if "error" in self._events or time.monotonic() > deadline:
                self.seen = Seen(gone, lasted, False, lasted)
                return

    def _was_cancelled(self) -> bool:
        """The proof of life of a busy session is an error message of the server's, which came through it."""
        return self._events.get("error", {}).get("sqlstate") == _QUERY_CANCELED

    def _fault(self) -> t.Generator[None, Sample, float]:
        self.client.tell("fault")
        while "fault" not in self._events:
            found = self._trouble()
            if found:
                raise Failure("no_fault", f"making {self.cell} happen", found, "Leave this fault out.")
            yield
        return float(self._events["fault"]["since"])

    def _pause(self, seconds: float) -> Script:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield

    # ---- what a sample says

    def _backend(self, sample: Sample) -> t.Mapping[str, t.Any] | None:
        row = sample.backends.get(self.session.get("pid", 0)) if self.session else None
        return row if row and row["backend_start"] == self.session["backend_start"] else None

    def _alive(self, sample: Sample) -> bool:
        if self.cell.phase == "authenticating":
            address, port = self.session["local"]
            return (address, port) in sample.sockets
        return self._backend(sample) is not None
