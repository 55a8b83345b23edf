# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""haproxy: which files it edits and how, and how they come back."""

from __future__ import annotations

import difflib
import json
import os
import time
import typing as t
from pathlib import Path

import pytest
from _haproxy import ADDED, NEEDED, ONE, WEB, Proxy
from _hardening import profile
from support import Cluster, places, run_playbook
from support.haproxies import CONFIG

pytestmark = NEEDED


@pytest.fixture
def proxy(cluster: Cluster, tmp_path: Path) -> t.Iterator[Proxy]:
    """One that is not started yet."""
    tmp_path.chmod(0o755)
    with Proxy(cluster, tmp_path) as proxy:
        yield proxy


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that went, and those that came."""
    rows = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [row[2:] for row in rows if row.startswith("- ")], [row[2:] for row in rows if row.startswith("+ ")]


@ONE
def test_nothing_else_in_the_file_changes(proxy: Proxy) -> None:
    proxy.start()
    target = proxy.directory / "real" / "haproxy.cfg"
    target.parent.mkdir()
    proxy.config_file.rename(target)
    proxy.config_file.symlink_to(target)
    target.chmod(0o640)
    if places.is_root():
        os.chown(target, 12345, 23456)
    before, status = target.read_text(), target.stat()
    assert proxy.harden()["changed"]
    gone, came = changed_lines(before, target.read_text())
    assert gone == [
        "\tbind 127.0.0.1:6432   # for the application",
        "\ttimeout  client   30s   # too short for a pool",
        "\tserver one 127.0.0.1:5432 check inter 2s   # the primary",
    ]
    assert came == [
        "\tbind 127.0.0.1:6432 tcp-ut 71s   # for the application",
        "\ttimeout  client   1d   # too short for a pool",
        "\tserver one 127.0.0.1:5432 check inter 2s tcp-ut 71s   # the primary",
        *ADDED,
    ]
    assert proxy.config_file.is_symlink()
    now = target.stat()
    assert [now.st_mode, now.st_uid, now.st_gid] == [status.st_mode, status.st_uid, status.st_gid]


# ---- where the configuration is


@ONE
def test_a_haproxy_that_is_down_gets_its_file_only(proxy: Proxy) -> None:
    done = proxy.harden()
    assert (done["rc"], done["changed"], done["haproxy_down"]) == (0, True, True), done
    assert proxy.harden()["changed"] is False
    proxy.start()
    assert proxy.legs() == (WEB, WEB)


@ONE
def test_files_are_those_of_the_running_process(proxy: Proxy) -> None:
    # A directory, a variable in an address, and both sections inheriting from a file before.
    parts = proxy.directory / "conf.d"
    parts.mkdir()
    first = proxy.directory / "first.cfg"
    first.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n option tcpka\n"
    )
    front, back = parts / "10-front.cfg", parts / "20-back.cfg"
    front.write_text('frontend in\n  bind "${ADDRESS}:6432"\n  default_backend behind\n')
    back.write_text("backend behind\n  default-server tcp-ut 5s # all\n  server one 127.0.0.1:5432\n")
    (parts / ".hidden.cfg").write_text("nonsense\n")
    (parts / "other.txt").write_text("nonsense\n")
    proxy.start("-W", files=["first.cfg", "conf.d"], env={"ADDRESS": "127.0.0.1"})
    done = proxy.harden(config_file=None)
    assert (done["rc"], done["changed"], done["sections"]) == (0, True, ["frontend in", "backend behind"]), done
    assert set(done["changes"]) == {f"haproxy: {front}", f"haproxy: {back}"}
    # The kernel never hears of a tcp-ut that is given to all servers.
    assert "  default-server tcp-ut 5s # all\n  server one 127.0.0.1:5432 tcp-ut 71s\n" in back.read_text()
    assert "option" not in front.read_text() + back.read_text()  # they have it from the first file
    assert proxy.legs() == (WEB, WEB)
    assert proxy.harden(config_file=None)["changed"] is False


ODD = {
    "carriage returns": CONFIG.replace("\n", "\r\n"),
    "quotes": CONFIG.replace("\ttimeout  client   30s", "\ttimeout 'client' \"30s\"").replace(
        "listen pg", 'listen "p"g'
    ),
    "escapes": CONFIG.replace("listen pg", "listen p\\x67").replace("mode tcp", "mode t\\x63p\n\tdescription a\\ b\\#"),
    "options": CONFIG.replace(
        "\tmode tcp", "\tmode tcp\n\tno option clitcpka\n\toption tcpka # both\n\tno option srvtcpka"
    ),
    "no blank line at the end": CONFIG.replace("\n# the end\n", ""),
    "other spelling": CONFIG.replace("30s   #", "86400000#"),
    "condition elsewhere": CONFIG + ".if 1\nlisten x\n mode tcp\n bind 127.0.0.1:9999\n.endif\n",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
@ONE
def test_odd_spellings_are_read_as_haproxy_reads_them(proxy: Proxy, text: str) -> None:
    proxy.config_file.write_bytes(proxy.filled(text).encode())
    before = proxy.config_file.read_bytes()
    proxy.start()
    done = proxy.harden()
    assert done["rc"] == 0 and done["changed"], done
    assert proxy.legs() == (WEB, WEB)
    assert proxy.harden()["changed"] is False
    after = proxy.config_file.read_bytes()
    assert after.count(b"\r\n") in (0, after.count(b"\n"))
    assert proxy.revert()["changed"]
    assert proxy.config_file.read_bytes() == before


@ONE
def test_a_file_that_was_edited_but_not_read_is_read(proxy: Proxy) -> None:
    proxy.start()
    assert proxy.harden(reload=False)["changed"]
    os.utime(proxy.config_file, (time.time() + 5, time.time() + 5))  # a start takes less than that
    assert [leg[0] for leg in proxy.legs()] == [0, 0]
    foreseen, done = proxy.harden(check=True), proxy.harden()
    assert foreseen["diff"] == done["diff"] and done["changed"]
    assert [row["after"] for rows in done["changes"].values() for row in rows] == ["read again"]
    assert proxy.legs() == (WEB, WEB)


@ONE
def test_the_role_hardens_with_the_policy_of_all_hops(proxy: Proxy) -> None:
    proxy.start()
    playbook = proxy.directory / "playbook.yml"
    playbook.write_text(f"""
- hosts: localhost
  gather_facts: false
  vars:
    harden_policy: {{close_idle_session_after: 2h, close_transaction_after: 1h}}
  tasks:
    - ansible.builtin.include_role:
        name: pgharden.connection.haproxy
      vars:
        haproxy_config_file: ["{proxy.config_file}"]
        haproxy_revert_file: "{proxy.revert_file}"
        haproxy_become: false
    - ansible.builtin.assert:
        that: haproxy_result.hop.client_side.idle_timeout == 7200000
""")
    done = run_playbook(proxy.cluster, playbook)
    assert done.rc == 0, done.stdout
    assert proxy.legs() == (WEB, WEB)
    assert "\ttimeout  client   2h   # too short" in proxy.config_file.read_text()


# ---- the way back


@ONE
def test_revert_puts_the_file_back_byte_for_byte(proxy: Proxy) -> None:
    proxy.start()
    before = proxy.config_file.read_bytes()
    assert proxy.harden()["changed"]
    assert proxy.harden(policy=profile("interactive"))["changed"]
    assert proxy.legs() != (WEB, WEB)
    hardened, workers = proxy.config_file.read_bytes(), proxy.listening()
    foreseen = proxy.revert(check=True)
    assert (proxy.config_file.read_bytes(), proxy.listening()) == (hardened, workers)
    done = proxy.revert()
    assert (done["rc"], done["changed"], done["diff"]) == (0, True, foreseen["diff"]), done
    assert proxy.config_file.read_bytes() == before
    assert proxy.listening() and not proxy.listening() & workers
    assert [leg[0] for leg in proxy.legs()] == [0, 0]
    assert not proxy.revert_file.exists()


@ONE
def test_revert_leaves_what_others_have_edited_since(proxy: Proxy) -> None:
    proxy.start()
    before = proxy.config_file.read_text()
    assert proxy.harden()["changed"]
    added = "\tserver two 127.0.0.1:5432 backup tcp-ut 9s\n"
    text = proxy.config_file.read_text().replace("# enough", "# plenty")
    proxy.config_file.write_text(text.replace("\n\n# the end", f"\n{added}\n# the end"))
    assert proxy.revert()["rc"] == 0
    expected = before.replace("# enough", "# plenty").replace("\n\n# the end", f"\n{added}\n# the end")
    assert proxy.config_file.read_text() == expected


@ONE
def test_the_record_has_no_more_than_it_needs(proxy: Proxy) -> None:
    proxy.start()
    proxy.harden()
    assert proxy.revert_file.stat().st_mode & 0o777 == 0o600
    (entry,) = json.loads(proxy.revert_file.read_text())["layers"]
    assert entry["layer"] == "haproxy"
    assert list(entry["files"]) == [str(proxy.config_file)]
