# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions: which open ones still run on socket options from before the last reload, and how to end those."""

from __future__ import annotations

import typing as t

from . import _kernel
from ._database import Database
from ._settings import SLACK

Session = t.Dict[str, t.Any]
Expected = t.Tuple[int, t.Optional[str]]

# A session takes a reload when its client sends something; that a statement from before has ended is not enough.
_OVER_TCP = """
    SELECT coalesce(json_agg(json_build_object('pid', pid, 'backend_start', backend_start::text, 'role', usename,
        'database', datname, 'application_name', application_name, 'client_addr', host(client_addr),
        'client_port', client_port, 'state', state, 'last_message', last_message::text,
        'quiet', last_message < pg_conf_load_time()) ORDER BY backend_start), '[]')
    FROM (SELECT *, greatest(backend_start, query_start) AS last_message FROM pg_stat_activity) a
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND client_addr IS NOT NULL
"""


def judge(database: Database, port: int, expected: t.Callable[[Session], Expected | None]) -> list[Session]:
    """Sessions over TCP that have not taken the new socket options.

    *expected* gives the keepalive idle time that a session is to have, in seconds, and a reason to take it for stale
    if there is one; None for a session that is not concerned. Where the kernel can be asked (on the server's host) a
    longer keepalive timer proves a session stale. Where it cannot, or the timer says nothing, the reason counts.
    """
    sessions = t.cast("list[Session]", database.ask("reading the sessions", _OVER_TCP))
    concerned = [(session, expected(session)) for session in sessions]
    timers = _kernel.timers(port) if concerned else {}
    found = []
    for session, wish in concerned:
        if wish is None:
            continue
        idle, reason = wish
        timer = timers.get((port, session["client_addr"], session["client_port"]))
        session = {key: value for key, value in session.items() if key != "quiet"}
        # the kernel fires late, and rounds up to ticks
        longer = timer is not None and timer.kind == "keepalive" and timer.seconds > idle * SLACK + 1
        if timer and longer:
            found.append({**session, "evidence": f"its keepalive timer has {round(timer.seconds)} s left"})
        elif reason:
            found.append({**session, "evidence": reason})
    return found


def terminate(database: Database, sessions: list[Session]) -> list[int]:
    """End *sessions*; the process ids of those that were still there."""
    return [one["pid"] for one in sessions if database.terminate(one["pid"], one["backend_start"])]
