# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the list behind `changed` and the diff."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._changes import Changes


def test_a_diff_has_a_line_for_each_value_that_is_set() -> None:
    changes = Changes("server: cluster")
    changes.add("tcp_keepalives_idle", "0", "60s")
    changes.add("tcp_keepalives_count", "3", "3")
    changes.add("tcp_user_timeout", None, "75s")
    changes.add("statement_timeout", "5min", None)
    assert changes.diff() == {
        "before_header": "server: cluster",
        "after_header": "server: cluster",
        "before": "tcp_keepalives_idle = 0\nstatement_timeout = 5min\n",
        "after": "tcp_keepalives_idle = 60s\ntcp_user_timeout = 75s\n",
    }
    assert changes.as_list()[1] == {"name": "tcp_user_timeout", "before": None, "after": "75s"}


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("01"), st.none() | st.sampled_from("01")))
)
def test_changed_and_diff_agree(rows: list[tuple[str, str | None, str | None]]) -> None:
    changes = Changes("somewhere")
    for row in rows:
        changes.add(*row)
    diff = changes.diff()
    assert bool(changes) == bool(changes.as_list()) == any(before != after for _name, before, after in rows)
    assert bool(changes) == bool(diff["before"] or diff["after"])
