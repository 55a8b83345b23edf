# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pgbouncer.ini says is asked of a real PgBouncer, and compared with the room that reads and edits them."""

from __future__ import annotations

import itertools
import os
import random
import typing as t
from pathlib import Path

import pytest
from _pgbouncers import Pooler
from support import Cluster

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _pgbouncerini as ini

pytestmark = [
    pytest.mark.parametrize("major", [15]),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces of another user's PgBouncer"),
]
#: What is asked about; their values in the files are 1 to 99, by default they are 0.
NAMES = ("tcp_keepidle", "tcp_keepintvl", "tcp_keepcnt")
#: Lines that files are made of, after those without which no console could be reached.
LINES = (
    *("tcp_keepidle = 11", "tcp_keepidle=12", "  tcp_keepidle\t=  13 \t", "tcp_keepintvl = 21.0", "tcp_keepcnt = 31"),
    *("; tcp_keepidle = 91", "#tcp_keepintvl = 92", "", "%include a.ini", "%include b.ini", "%include c.ini"),
    *("[users]", "[databases]", "[users] tcp = pool_mode=session", "tcp_keepintvl = 22 ; no comment", "nonsense"),
    *("TCP_KEEPCNT = 93", "%include gone.ini", "%include \ttwice.ini ", "[peers]"),
    *("%include again.ini", "%include again.ini"),
)
INCLUDED = {
    "a.ini": b"tcp_keepidle = 41\r\n",
    "b.ini": b"; nothing\n[users]\nsomebody = pool_mode=session\n",
    "c.ini": b"[users]\n%include d.ini\n",
    "d.ini": b"other = pool_mode=session",
    "again.ini": b"",  # a second section [pgbouncer], for each PgBouncer its own
    "twice.ini": b"%include a.ini\n%include a.ini\ntcp_keepcnt = 51\n",
}


@pytest.fixture
def pooler(cluster: Cluster, tmp_path: Path) -> t.Iterator[Pooler]:
    one = Pooler(cluster, tmp_path)
    # Without it a second header would take away all that the console needs.
    _before, header, rest = one.pgbouncer.config("tcp_keepcnt = 71\n").rpartition("[pgbouncer]\n")
    INCLUDED["again.ini"] = (header + rest).encode()
    for name, content in INCLUDED.items():
        one.pgbouncer.write(name, content)
    one.pgbouncer.start(cwd=one.pgbouncer.directory)
    yield one
    one.pgbouncer.stop()


def files(seed: int) -> t.Iterator[str]:
    """Files of random lines, the same in each run."""
    chosen = random.Random(seed)
    for ending in itertools.islice(itertools.cycle(["\n", "\n", "\r\n"]), 60):
        yield ending.join(chosen.choices(LINES, k=chosen.randint(1, 7))) + chosen.choice([ending, ""])


@pytest.mark.parametrize("seed", range(4))
def test_the_room_reads_what_pgbouncer_reads(pooler: Pooler, seed: int) -> None:
    pgbouncer = pooler.pgbouncer
    read = edited = 0
    with pgbouncer.session("pgbouncer") as console:

        def in_force() -> tuple[dict[str, str], bool]:
            """What PgBouncer has after a reload, and whether it read the file to its end."""
            before = pgbouncer.log().count("config file loading failed")
            console.execute("RELOAD")
            values = {str(row[0]): str(row[1]) for row in console.execute("SHOW CONFIG")}
            return values, pgbouncer.log().count("config file loading failed") == before

        names = set(in_force()[0])
        for text in files(seed):
            data = pgbouncer.config(text).encode()
            pgbouncer.config_file.write_bytes(data)
            values, whole = in_force()
            items = ini.items(str(pgbouncer.config_file), data, INCLUDED.get)
            problems = ini.problems(items, names)
            # Values are no business of the room: whatever PgBouncer takes no whole number for.
            refused = [one for one in items if one.section == ini.MAIN and one.value in ("21.0", "22 ; no comment")]
            own = [one for one in items if one.kind == "setting" and one.section != ini.MAIN]
            # What a database or a user may have is no business of the room.
            if {one.name for one in own} <= {"app", "tcp", "somebody", "other"}:
                assert bool(problems or refused) == (not whole), text
            if not whole:
                continue
            read += 1
            found = ini.effective(items)
            for name in NAMES:
                assert float(values[name]) == float(found[name].value if name in found else 0), (name, text)
            wanted = {"tcp_keepidle": "61", "tcp_keepcnt": "63"}
            try:
                pgbouncer.config_file.write_bytes(ini.edit("main", data, wanted, INCLUDED.get))
            except Failure as failure:
                assert failure.code == "outranked"
                continue
            edited += 1
            values, whole = in_force()
            assert whole, text
            assert {name: values[name] for name in wanted} == wanted, text
            kept = found["tcp_keepintvl"].value if "tcp_keepintvl" in found else "0"
            assert float(values["tcp_keepintvl"]) == float(kept), text
    # Without these the loop would prove nothing.
    assert read >= 8
    assert edited >= 8
