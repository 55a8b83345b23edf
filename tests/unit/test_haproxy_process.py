# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the HAProxy process room: command lines, and which files they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_process as room


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("haproxy -f a.cfg", ["/x/a.cfg"]),
        ("/usr/sbin/haproxy -Ws -f /etc/a.cfg -p /run/haproxy.pid -S /run/master.sock", ["/etc/a.cfg"]),
        # as a master calls itself again
        ("haproxy -sf 11966 17 -x sockpair@3 -W -f /etc/a.cfg -f b", ["/etc/a.cfg", "/x/b"]),
        ("haproxy -D -C /y -f a -st 5 -L -f -f c", ["/y/a", "/y/c"]),
        ("haproxy -C y -f a -- b /c", ["/x/y/a", "/x/y/b", "/c"]),
        ("haproxy -db -dM -n 5 -f a -m", ["/x/a"]),
        ("haproxy", []),
    ],
)
def test_the_files_of_a_command_line(line: str, files: list[str]) -> None:
    assert list(room.files_of(line.split(), "/x")) == files


def test_no_word_of_a_command_line_is_lost() -> None:
    argv = ["haproxy", "-sf", "1", "2", "-x", "s", "-W", "-f", "a", "--", "b"]
    assert room.options_of(argv) == [("-sf", ["1", "2"]), ("-x", ["s"]), ("-W", []), ("-f", ["a"]), ("-f", ["b"])]


def test_of_a_directory_haproxy_reads_some(tmp_path: Path) -> None:
    for name in ("b.cfg", "B.cfg", "a.cfg", ".c.cfg", "d.conf", "e.cfg.bak"):
        (tmp_path / name).write_text("")
    (tmp_path / "f.cfg").mkdir()
    names = [Path(path).name for path in room.expand([str(tmp_path)])]
    assert names == ["B.cfg", "a.cfg", "b.cfg"]


def test_this_process_is_no_haproxy() -> None:
    assert room.find(["/nowhere/haproxy.cfg"]) is None
