# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times, a pure room: what a user writes as since and until, to seconds since the epoch."""

from __future__ import annotations

import datetime
import typing as t

from .. import _duration
from .._errors import Failure


def parse(key: str, value: t.Any, now: float) -> float | None:
    """A duration before *now* (``2h``), or a time in ISO 8601; one without zone is of this host's. None stays None."""
    if value in (None, ""):
        return None
    text = str(value).strip()
    try:
        return now - _duration.parse(key, text) / 1000
    except Failure:
        pass
    try:
        return datetime.datetime.fromisoformat(_for_old_python(text)).timestamp()
    except ValueError:
        raise Failure(
            "bad_time",
            f"{key}: {value}",
            "this is neither a duration nor a time",
            "Write how long ago, such as 2h or 30min, or a time such as 2026-11-23 04:00:00+00:00.",
            key=key,
        ) from None


def _for_old_python(text: str) -> str:
    """Before 3.11 a zone has to be +00:00."""
    if text.endswith("Z"):
        return f"{text[:-1]}+00:00"
    if len(text) > 10 and text[-3] in "+-":
        return f"{text}:00"
    return text
