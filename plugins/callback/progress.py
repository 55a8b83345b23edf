# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Callback progress: a line every few seconds with how far a task has come, for runs over many hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
name: progress
type: notification
short_description: Shows how far a run over many hosts has come
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - While a task runs, prints every few seconds how many of the play's hosts have done it, how many of these failed, and
    how long it has taken. Together with C(display_ok_hosts = false) and C(display_skipped_hosts = false) a run over a
    thousand hosts stays readable.
requirements:
  - C(callbacks_enabled = pgharden.connection.progress) in C(ansible.cfg), or C(ANSIBLE_CALLBACKS_ENABLED)
options:
  interval:
    description: Seconds between two lines.
    type: float
    default: 5
    ini:
      - section: callback_progress
        key: interval
    env:
      - name: PGHARDEN_PROGRESS_INTERVAL
"""

import time
import typing as t

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Counts results; prints nothing of a task that is done within the first interval."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "pgharden.connection.progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: t.Any, **options: t.Any) -> None:
        super().__init__(*arguments, **options)
        self._hosts = 0
        self._task = ""
        self._done = self._failed = 0
        self._began = self._shown = 0.0

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        """A play, or the next batch of one with serial."""
        variables = play.get_variable_manager().get_vars(play=play)
        self._hosts = len(variables.get("ansible_play_batch", ()))

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        """The next task, one host of which may be all that runs it."""
        self._task = task.get_name()
        self._done = self._failed = 0
        self._began = self._shown = time.monotonic()

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._count()

    def v2_runner_on_skipped(self, result: t.Any) -> None:
        self._count()

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._count(failed=not ignore_errors)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        self._count(failed=True)

    def _count(self, failed: bool = False) -> None:
        self._done += 1
        self._failed += failed
        now = time.monotonic()
        if now - self._shown < float(self.get_option("interval")):
            return
        self._shown = now
        failures = f", {self._failed} failed" if self._failed else ""
        seconds = now - self._began
        self._display.display(f"{self._task}: {self._done} of {self._hosts} hosts{failures}, {seconds:.0f} s")
