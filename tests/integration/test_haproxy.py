# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""haproxy: a real HAProxy before a real server, whose sockets are asked for their options; and what goes wrong."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from _haproxy import NEEDED, ONE, WEB, Proxy
from _hardening import answers, profile
from support import Cluster, places

pytestmark = NEEDED


@pytest.fixture
def proxy(cluster: Cluster, tmp_path: Path) -> t.Iterator[Proxy]:
    """One that is not started yet."""
    tmp_path.chmod(0o755)
    with Proxy(cluster, tmp_path) as proxy:
        yield proxy


# ---- what is in force


@pytest.mark.parametrize("options", [("-W",), ("-D", "-p")], ids=["master-worker", "single process"])
@ONE
def test_both_legs_get_the_timers_of_the_plan(proxy: Proxy, options: tuple[str, ...]) -> None:
    if places.is_root():  # as the packages of distributions have it
        proxy.config_file.write_text(
            proxy.config_file.read_text().replace("global", "global\n    user nobody\n    chroot /")
        )
    pid_file = proxy.directory / "pid"
    proxy.start(*options, *([str(pid_file)] if "-p" in options else []))
    assert [leg[0] for leg in proxy.legs()] == [0, 0]
    workers = proxy.listening()
    with proxy.session() as before:
        done = proxy.harden()
        assert (done["rc"], done["changed"], done["haproxy_down"], done["notes"]) == (0, True, False, []), done
        assert proxy.listening() and not proxy.listening() & workers
        # The session that was open goes on, on the process that has it; and it is named.
        assert answers(before)
        held = {row["local"]: row["detail"] for row in done["stale_sockets"]}
        assert f"127.0.0.1:{proxy.port}" in held
        assert f"process {min(workers)} holds it" in held[f"127.0.0.1:{proxy.port}"]
        assert len(held) == 2
    assert proxy.legs() == (WEB, WEB)
    side = {
        "keepalive": True,
        "idle": 35,
        "interval": 6,
        "count": 6,
        "user_timeout": 71_000,
        "idle_timeout": 86_400_000,
    }
    assert done["hop"]["client_side"] == done["hop"]["server_side"] == side
    assert done["hop"]["version"] == done["version"]
    if "-p" in options:
        assert {int(pid_file.read_text())} == proxy.listening()
    proxy.wait(lambda: not proxy.harden()["stale_sockets"], "old processes that hold nothing do not end")


@ONE
def test_check_mode_foresees_and_a_second_run_finds_nothing_to_do(proxy: Proxy) -> None:
    proxy.start()
    before, workers = proxy.config_file.read_bytes(), proxy.listening()
    foreseen = proxy.harden(check=True)
    assert (foreseen["rc"], foreseen["changed"]) == (0, True), foreseen
    assert proxy.config_file.read_bytes() == before
    assert proxy.listening() == workers
    assert not proxy.revert_file.exists()
    done = proxy.harden()
    for key in ("diff", "changes", "hop", "plan", "sections"):
        assert foreseen[key] == done[key], key
    hardened, workers = proxy.config_file.read_bytes(), proxy.listening()
    again = proxy.harden()
    assert (again["rc"], again["changed"], again["diff"]) == (0, False, [])
    assert again["hop"] == done["hop"]
    assert (proxy.config_file.read_bytes(), proxy.listening()) == (hardened, workers)


@ONE
def test_an_idle_session_lives_as_long_as_the_hop_says(proxy: Proxy) -> None:
    # A tunnel timeout supersedes both of the others from the start, although neither side has spoken for long.
    proxy.config_file.write_text(proxy.config_file.read_text().replace("# the end", "") + "\ttimeout tunnel 1h\n")
    proxy.start()
    done = proxy.harden(overrides={"timeout client": "1s", "timeout server": "1s", "timeout tunnel": "6s"})
    assert done["hop"]["client_side"]["idle_timeout"] == done["hop"]["server_side"]["idle_timeout"] == 6000
    with proxy.session() as session:
        time.sleep(2)  # 4 s less than it takes
        assert answers(session)
        time.sleep(8)  # 2 s more
        assert not answers(session)


# ---- what goes wrong


@ONE
def test_what_haproxy_refuses_is_never_installed(proxy: Proxy) -> None:
    proxy.start()
    before, workers = proxy.config_file.read_bytes(), proxy.listening()
    for check in (True, False):
        done = proxy.harden(check=check, overrides={"timeout client": "25d"})
        assert done["failure"]["code"] == "refused", done
        assert "timer overflow in argument '25d' to 'timeout client'" in done["msg"]
        assert f"[{proxy.config_file}:" in done["msg"]
        assert proxy.config_file.read_bytes() == before
        assert proxy.listening() == workers
        assert not proxy.revert_file.exists()


@pytest.mark.skipif(not shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin"), reason="there is no nft")
@ONE
def test_a_reload_after_which_nobody_gets_in_is_put_back(proxy: Proxy) -> None:
    proxy.start()
    before, workers = proxy.config_file.read_bytes(), proxy.listening()
    with proxy.session() as session:
        rule = f"tcp dport {proxy.port} tcp flags & (syn|ack) == syn drop"
        for command in (
            "add table ip t",
            "add chain ip t c { type filter hook input priority 0; }",
            f"add rule ip t c {rule}",
        ):
            proxy.cluster.run(["/usr/sbin/nft", command], check=True)
        try:
            done = proxy.harden()
        finally:
            proxy.cluster.run(["/usr/sbin/nft", "delete table ip t"], check=True)
        assert done["failure"]["code"] == "not_in_force", done
        assert "everything was put back" in done["msg"]
        assert answers(session)
    assert proxy.config_file.read_bytes() == before
    assert proxy.listening() and not proxy.listening() & workers
    assert [leg[0] for leg in proxy.legs()] == [0, 0]
    assert not proxy.revert_file.exists()


LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
from ansible_collections.pgharden.connection.plugins.module_utils import _errors
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_kernel as kernel
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_process, _haproxycfg
path = sys.argv[2]
config = _haproxycfg.parse({path: open(path, "rb").read()})
chosen = [one for one in config if one.name == "pg"]
try:
    print(kernel.verify(_haproxy_process.find([path]), config, chosen))
except _errors.Failure as failure:
    print(failure.code, failure)
"""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("option dontlognull", "[]"),
        (
            "option clitcpka",
            "client's side of listen pg (127.0.0.1:6432): the kernel shows of a new connection: no keepalive",
        ),
        ("option srvtcpka", "servers' side of listen pg: the kernel shows of a new connection: no keepalive"),
    ],
)
@ONE
def test_what_the_kernel_shows_is_compared_with_the_file(proxy: Proxy, line: str, said: str) -> None:
    proxy.start()
    # The process has not read this line.
    proxy.config_file.write_text(proxy.config_file.read_text().replace("mode tcp", f"mode tcp\n\t{line}"))
    told = proxy.cluster.run([sys.executable, "-c", LOOK, str(places.COLLECTIONS), str(proxy.config_file)]).stdout
    assert said in told


@ONE
def test_a_new_worker_that_cannot_start_leaves_the_old_one_and_the_file(proxy: Proxy) -> None:
    proxy.start()
    # haproxy -c does not see that the port is taken
    taken = ["python3", "-c", "import socket,time; s=socket.create_server(('127.0.0.1', 7777)); time.sleep(60)"]
    occupant = subprocess.Popen(proxy.cluster.argv(taken))
    try:
        proxy.wait(lambda: any(one.local_port == 7777 for one in proxy.cluster.sockets()), "nobody took the port")
        proxy.config_file.write_text(proxy.config_file.read_text() + "listen more\n mode tcp\n bind 127.0.0.1:7777\n")
        before, workers = proxy.config_file.read_bytes(), proxy.listening()
        with proxy.session() as session:
            done = proxy.harden(reload_timeout=2, sections=["pg"])
            assert done["failure"]["code"] == "not_reloaded", done
            assert answers(session)
        assert proxy.config_file.read_bytes() == before
        assert proxy.listening() == workers
        assert [leg[0] for leg in proxy.legs()] == [0, 0]
    finally:
        occupant.kill()
        occupant.wait()


@ONE
def test_a_single_process_in_the_foreground_is_not_replaced(proxy: Proxy) -> None:
    proxy.start("-db")
    before, workers = proxy.config_file.read_bytes(), proxy.listening()
    done = proxy.harden()
    assert done["failure"]["code"] == "cannot_reload", done
    assert (proxy.config_file.read_bytes(), proxy.listening()) == (before, workers)
    done = proxy.harden(reload=False)
    assert done["rc"] == 0 and done["changed"], done
    assert (proxy.config_file.read_bytes() != before, proxy.listening()) == (True, workers)


@pytest.mark.skipif(not places.is_root(), reason="chroot needs root")
@ONE
def test_a_relative_pid_file_of_a_chroot_is_not_looked_for(proxy: Proxy) -> None:
    proxy.config_file.write_text(proxy.config_file.read_text().replace("global", "global\n    chroot /"))
    proxy.start("-D", "-p", "pid")
    workers = proxy.listening()
    done = proxy.harden()
    assert done["failure"]["code"] == "cannot_reload" and "pid file pid" in done["msg"], done
    assert proxy.listening() == workers
    assert not Path("/pid").exists()


@ONE
def test_no_section_or_too_many_is_one_clear_error(proxy: Proxy) -> None:
    text = proxy.config_file.read_text().replace("option pgsql-check user postgres", "").replace(":5432", ":5431")
    proxy.config_file.write_text(text.replace(":6432", ":6431"))
    done = proxy.harden()
    assert done["failure"]["code"] == "no_section"
    assert "listen pg" in done["msg"] and "frontend web" not in done["msg"]
    assert proxy.harden(sections=["web"])["failure"]["code"] == "no_tcp_section"
    assert proxy.harden(sections=["pg"])["changed"]


# ---- under load


@pytest.mark.parametrize("connect", [[], ["--connect"]], ids=["long sessions", "a session for each transaction"])
@ONE
def test_a_load_goes_through_without_an_error(proxy: Proxy, connect: list[str]) -> None:
    proxy.start()
    bench = proxy.cluster.source.bindir / "pgbench"
    conn = ["-h", proxy.host, "-U", "postgres", "postgres"]
    proxy.cluster.run([bench, "-iq", "-p", str(proxy.cluster.port), *conn], check=True)
    load = subprocess.Popen(
        proxy.cluster.argv([bench, "-n", "-c4", "-T300", "-P1", *connect, "-p", str(proxy.port), *conn]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'"
        proxy.wait(lambda: proxy.cluster.query(count) != [(0,)], "the load has not begun")
        workers = proxy.listening()
        for policy in (profile("web"), profile("interactive")):
            done = proxy.harden(policy=policy)
            assert done["rc"] == 0 and done["changed"], done
            assert load.poll() is None, load.communicate()
        assert not proxy.listening() & workers
        load.send_signal(signal.SIGALRM)  # its own alarm clock: the time is over
        said = load.communicate(timeout=60)[0]
    finally:
        load.kill()
        load.wait()
    assert load.returncode == 0, said
    assert "number of failed transactions: 0 (0.000%)" in said
    assert "aborted" not in said and "error" not in said.lower()
