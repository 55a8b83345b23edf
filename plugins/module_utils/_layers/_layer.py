# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers, what they have in common: read, compare, apply, verify, restore; and the run that makes several one unit."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .. import _signals
from .._changes import Changes
from .._errors import Failure

Found = t.Dict[str, t.Any]


class Layer:
    """One place where settings live. What read() finds is plain JSON and goes into every other call."""

    def read(self) -> Found:
        """What is there now, enough for restore() to put all of it back."""
        raise NotImplementedError

    def compare(self, found: Found) -> list[Changes]:
        """What apply() would change. Raises Failure for values that could not be had."""
        raise NotImplementedError

    def examine(self, found: Found) -> None:
        """Raise Failure for whatever would make apply() fail, before anything is changed; also in check mode."""

    def lock(self) -> t.ContextManager[t.Any]:
        """Keep other runs out while this one changes something."""
        return contextlib.nullcontext()

    def apply(self, found: Found) -> t.Any:
        """Make the changes of compare()."""
        raise NotImplementedError

    def verify(self) -> t.Any:
        """Raise Failure where the settings are not in force after apply()."""
        raise NotImplementedError

    def entry(self, found: Found) -> dict[str, t.Any] | None:
        """What the record keeps of what read() found before apply(); None where there is nothing to put back."""
        raise NotImplementedError

    def restore(self, found: Found, check_only: bool = False) -> list[Changes]:
        """Put back what read() found, or only say what that would change."""
        raise NotImplementedError


@dataclasses.dataclass
class Outcome:
    """What one layer found and what it changed, or would change in check mode."""

    layer: Layer
    found: Found
    changes: list[Changes]

    @property
    def changed(self) -> bool:
        return any(self.changes)


#: Called under the locks before the first change; what it returns is called there after everything was put back.
Before = t.Callable[[t.List[Outcome]], t.Callable[[], None]]


def reconcile(
    layers: t.Sequence[Layer], check_mode: bool, before_changes: Before = lambda outcomes: lambda: None
) -> list[Outcome]:
    """Bring all *layers* to what they want, or none: after an error every layer is put back as it was found."""
    outcomes = [_look(layer) for layer in layers]
    if check_mode or not any(outcome.changed for outcome in outcomes):
        return outcomes
    with contextlib.ExitStack() as stack:
        for outcome in outcomes:
            if outcome.changed:
                stack.enter_context(outcome.layer.lock())
        # Another run may have changed something between the first look and the lock.
        outcomes = [_look(layer) for layer in layers]
        undo = before_changes(outcomes)
        try:
            _apply([outcome for outcome in outcomes if outcome.changed])
        except Failure as failure:
            if failure.details.get("put_back"):
                undo()
            raise
    return outcomes


def _look(layer: Layer) -> Outcome:
    found = layer.read()
    outcome = Outcome(layer, found, layer.compare(found))
    if outcome.changed:
        layer.examine(found)
    return outcome


def _apply(outcomes: list[Outcome]) -> None:
    begun: list[Outcome] = []
    problems: list[str] = []
    try:
        with _signals.as_failures("applying the settings") as ignore_signals:
            try:
                for outcome in outcomes:
                    begun.append(outcome)
                    outcome.layer.apply(outcome.found)
                for outcome in outcomes:
                    outcome.layer.verify()
            except BaseException:
                ignore_signals()
                problems = _put_back(begun)
                raise
    except BaseException as error:
        state = f"not everything could be put back: {'; '.join(problems)}" if problems else "everything was put back"
        if isinstance(error, Failure):
            raise Failure(
                error.code,
                error.asked,
                f"{error.found} ({state})",
                error.remedy,
                put_back=not problems,
                **error.details,
            ) from error
        if problems or not isinstance(error, Exception):
            raise
        raise Failure(
            "unexpected",
            "applying the settings",
            f"{type(error).__name__}: {error} ({state})",
            "Report this as a bug.",
            put_back=True,
        ) from error


def _put_back(begun: list[Outcome]) -> list[str]:
    problems = []
    for outcome in reversed(begun):
        try:
            outcome.layer.restore(outcome.found)
        except Failure as failure:
            problems.append(str(failure))
        except Exception as error:  # whatever it is, the other layers have to be put back too
            problems.append(f"{type(error).__name__}: {error}")
    return problems
