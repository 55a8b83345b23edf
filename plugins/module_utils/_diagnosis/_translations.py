# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translations, a pure room: messages whose SQLSTATE alone does not tell what happened, in the server's languages."""

from __future__ import annotations

#: As in `_messages`: kind, how the message begins, how it goes on.
TRANSLATED: tuple[tuple[str, str, str], ...] = ()

#: What strerror() says.
TRANSLATED_ERRORS: tuple[tuple[str, str], ...] = ()
