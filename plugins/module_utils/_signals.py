# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals: a run that is terminated tidies up as one that fails does."""

from __future__ import annotations

import contextlib
import signal
import typing as t

from ._errors import Failure

#: What ends a process that has not been asked first.
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@contextlib.contextmanager
def as_failures(asked: str) -> t.Iterator[t.Callable[[], None]]:
    """The first signal raises Failure ``interrupted``; yields what keeps the tidying up from being interrupted."""

    def ignore() -> None:
        for number in old:
            signal.signal(number, signal.SIG_IGN)

    def stop(number: int, frame: t.Any) -> t.NoReturn:
        ignore()
        raise Failure("interrupted", asked, f"signal {signal.Signals(number).name} came", "Run it again.")

    old = {number: signal.getsignal(number) for number in ENDING}
    for number in old:
        signal.signal(number, stop)
    try:
        yield ignore
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def noted() -> t.Iterator[list[signal.Signals]]:
    """Yields a list of the signals that came, for whoever looks there now and then and ends in order."""
    came: list[signal.Signals] = []

    def note(number: int, frame: t.Any) -> None:
        came.append(signal.Signals(number))

    old = {number: signal.signal(number, note) for number in ENDING}
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
