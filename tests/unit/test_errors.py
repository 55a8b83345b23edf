# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the errors that a user reads."""

from __future__ import annotations

import json

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


def test_the_message_says_what_was_asked_what_is_wrong_and_what_to_do() -> None:
    failure = Failure(
        "login_failed", "logging in as app", "the password is wrong", "Correct login_password.", port=5432
    )
    assert str(failure) == "logging in as app: the password is wrong. Correct login_password."
    assert json.loads(json.dumps(failure.as_dict())) == {
        "code": "login_failed",
        "asked": "logging in as app",
        "found": "the password is wrong",
        "remedy": "Correct login_password.",
        "port": 5432,
    }
