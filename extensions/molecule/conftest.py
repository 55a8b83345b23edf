# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all scenarios ask of a machine; each once for a module and host."""

from __future__ import annotations

import typing as t

import pytest
from support import machine


@pytest.fixture(scope="module")
def variables(host: t.Any) -> dict[str, t.Any]:
    """The inventory's variables of this host; a server that was down while it was hardened is started now."""
    found = t.cast("dict[str, t.Any]", host.ansible.get_variables())
    if "stopped" in found:
        host.check_output("systemctl start %s", found["stopped"])
    return found


@pytest.fixture(scope="module")
def policy(variables: dict[str, t.Any]) -> dict[str, t.Any]:
    """What was asked for, in seconds."""
    return machine.policy(variables)


@pytest.fixture(scope="module")
def session(host: t.Any, variables: dict[str, t.Any]) -> machine.Session:
    """A fresh session over TCP."""
    return machine.session(host)
