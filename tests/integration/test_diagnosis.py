# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""diagnosis_info on real servers: it finds their logs, sees who does not answer, and keeps quiet about what is well."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from lab.clients import program
from support import Cluster, Session, Unavailable, places, run_module

if t.TYPE_CHECKING:
    from conftest import NewCluster

pytestmark = pytest.mark.skipif(not places.is_root(), reason="other processes' sockets and logs need root")

Result = dict[str, t.Any]
SOME = pytest.mark.parametrize("major", [13, 15, 18])
ONE = pytest.mark.parametrize("major", [15])
LOGGED = "log_connections = on\nlog_disconnections = on\n"
SECRET = "hunter2-Of-The-Test"
#: Seconds that a loaded machine may take for what is done at once.
PATIENCE = 30.0

# What a client does: it logs in, says its server process, and then does as its first argument says.
CLIENT = """
import os, signal, socket, sys, threading, psycopg2
conn = psycopg2.connect(sys.argv[2])
conn.autocommit = True
print(conn.info.backend_pid, flush=True)
own = socket.socket(fileno=os.dup(conn.fileno()))
def deaf():
    own.setsockopt(socket.IPPROTO_IP, 21, 255)  # IP_MINTTL: all that arrives is discarded
begin = {"deaf": deaf, "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP), "fine": lambda: None}[sys.argv[1]]
threading.Timer(1.0, begin).start()
if len(sys.argv) > 3:
    conn.cursor().execute(sys.argv[3])
sys.stdin.read()
"""
STREAM = "SELECT repeat('x', 2000), pg_sleep(0.02) FROM generate_series(1, 10000)"
#: More than all buffers hold, and not before the client has stopped.
FLOOD = "SELECT repeat('x', 2000), CASE i WHEN 1 THEN pg_sleep(2) END FROM generate_series(1, 200000) i"


def diagnose(cluster: Cluster, *, check: bool = False, as_user: str | None = None, **options: t.Any) -> Result:
    """Look at a server of this host."""
    login = {"login_unix_socket": str(cluster.socket_dir), "login_port": cluster.port}
    return run(cluster, {**login, "watch": "100ms", **options}, check=check, as_user=as_user)


def run(cluster: Cluster | None, args: dict[str, t.Any], **how: t.Any) -> Result:
    result = run_module(cluster, "diagnosis_info", args, **how)
    assert "exception" not in result, result
    assert result.get("changed", False) is False
    return result


def failed(args: dict[str, t.Any]) -> Result:
    result = run(None, {"log_files": ["/nowhere"], **args})
    assert result["rc"] == 1
    return result


def kill(session: Session) -> None:
    """Without the moment in which a client that has lost its test would say goodbye."""
    session.process.kill()
    session.process.wait()


def lose_client(cluster: Cluster) -> int:
    """A client dies in a transaction; its server process."""
    before = cluster_log(cluster).count("unexpected EOF")
    with cluster.session() as session:
        session.execute("BEGIN")
        kill(session)
    wait(lambda: cluster_log(cluster).count("unexpected EOF") > before, "the loss in the log")
    return session.pid


def cluster_log(cluster: Cluster) -> str:
    files = [cluster.log_file, *(cluster.data_dir / "log").glob("*.*")]
    return "".join(path.read_text("utf-8", "replace") for path in files if path.exists())


def wait(done: t.Callable[[], t.Any], what: str, seconds: float = PATIENCE) -> t.Any:
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"no {what} in {seconds} s"
        time.sleep(0.1)
    return found


def causes(result: Result) -> dict[str, int]:
    return {row["cause"]: row["count"] for row in result["causes"]}


@contextlib.contextmanager
def client(cluster: Cluster, does: str, *statement: str, options: str = "") -> t.Iterator[int]:
    """A client in a process of its own; its server process."""
    parameters = cluster.conninfo(tcp=True, options=options)
    conninfo = " ".join(f"{key}='{value}'" for key, value in parameters.items())
    process = subprocess.Popen(
        cluster.argv([sys.executable, "-c", CLIENT, does, conninfo, *statement]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    try:
        yield int(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


# ---- the log


@SOME
def test_it_finds_the_log_by_itself_and_the_loss_in_it(cluster: Cluster, major: int) -> None:
    pid = lose_client(cluster)
    result = diagnose(cluster)
    assert (result["rc"], result["problems"], result["healthy"]) == (0, [], False)
    assert result["server"]["version_num"] // 10000 == major
    (loss,) = [row for row in result["losses"] if row["pid"] == pid]
    assert (loss["cause"], loss["confidence"] > 0.7) == ("client_exited", True)
    assert loss["evidence_for"][0].startswith(str(cluster.log_file))
    assert abs(loss["time"] - time.time()) < PATIENCE + 60
    assert result["sources"]["logs"][0] == str(cluster.log_file)
    assert result["suspects"] == []


@pytest.mark.parametrize(
    ("major", "form"), [(13, "stderr"), (13, "csvlog"), (15, "jsonlog"), (18, "jsonlog"), (18, "csvlog")]
)
def test_it_finds_the_files_of_the_collector(new_cluster: NewCluster, major: int, form: str) -> None:
    conf = f"logging_collector = on\nlog_destination = {form}\n{LOGGED}"
    cluster = new_cluster(major, conf=conf)
    pid = lose_client(cluster)
    result = diagnose(cluster)
    (loss,) = [row for row in result["losses"] if row["pid"] == pid]
    assert (loss["cause"], loss["user"], loss["address"]) == ("client_exited", "postgres", "127.0.0.1")
    assert f"{cluster.data_dir}/log/" in loss["evidence_for"][0]
    assert (result["problems"], result["connections"]["seen"] > 0) == ([], True)


@ONE
def test_times_are_in_the_servers_own_zone(new_cluster: NewCluster, major: int) -> None:
    """CST: of Shanghai here, not of Chicago."""
    cluster = new_cluster(major, conf="log_timezone = 'Asia/Shanghai'\n")
    pid = lose_client(cluster)
    sent = {"log_files": [str(cluster.log_file)], "log_timezone": "Asia/Shanghai"}
    for result in (diagnose(cluster, since="10min"), run(None, {**sent, "since": "10min"})):
        (loss,) = [row for row in result["losses"] if row["pid"] == pid]
        assert loss["time"] is not None
        assert abs(loss["time"] - time.time()) < PATIENCE + 60
        assert result["problems"] == []


@ONE
def test_only_what_happened_in_that_time(cluster: Cluster) -> None:
    first = lose_client(cluster)
    time.sleep(1.2)
    between = datetime.datetime.now(datetime.UTC).isoformat(" ")
    time.sleep(1.2)
    second = lose_client(cluster)
    for option, seen, unseen in (("since", second, first), ("until", first, second)):
        pids = {row["pid"] for row in diagnose(cluster, **{option: between})["losses"]}
        assert (seen in pids, unseen in pids) == (True, False)
    assert {first, second} <= {row["pid"] for row in diagnose(cluster, since="2h")["losses"]}
    assert diagnose(cluster, since="0s")["losses"] == []


@SOME
def test_a_login_that_is_no_superuser(cluster: Cluster) -> None:
    pid = lose_client(cluster)
    cluster.query("CREATE ROLE looker LOGIN")
    result = diagnose(cluster, login_user="looker")
    assert (result["rc"], pid in {row["pid"] for row in result["losses"]}) == (0, True)
    # over TCP, where the server is seen to be on this host by its sockets
    over_tcp = {"login_host": cluster.host, "login_port": cluster.port, "login_user": "looker", "watch": "0s"}
    result = run(cluster, over_tcp)
    assert (result["problems"], pid in {row["pid"] for row in result["losses"]}) == ([], True)


@ONE
def test_a_log_that_cannot_be_looked_at_is_one_line(cluster: Cluster) -> None:
    lose_client(cluster)
    result = diagnose(cluster, as_user="nobody")
    (problem,) = result["problems"]
    assert problem.startswith("the server's log: ")
    assert (result["losses"], result["server"] is not None) == ([], True)


@ONE
def test_check_mode_looks_too(cluster: Cluster) -> None:
    pid = lose_client(cluster)
    assert pid in {row["pid"] for row in diagnose(cluster, check=True)["losses"]}


@pytest.mark.parametrize(("major", "form"), [(13, "csvlog"), (18, "jsonlog"), (15, "stderr")])
def test_nothing_that_clients_sent_is_in_the_result(new_cluster: NewCluster, major: int, form: str) -> None:
    talkative = "log_statement = all\nlog_min_error_statement = debug5\nlog_parameter_max_length = -1\n"
    if form != "stderr":
        talkative += f"logging_collector = on\nlog_destination = {form}\n"
    cluster = new_cluster(major, conf=talkative + LOGGED)
    statements = [
        f"ALTER ROLE postgres PASSWORD '{SECRET}'",
        f"SET statement_timeout = '100ms'; SELECT pg_sleep(5), '{SECRET}'",
        f"SELECT '{SECRET}'::int",
        f"DO $$ BEGIN RAISE LOG 'connection to client lost {SECRET}'; END $$",
    ]
    with cluster.session() as session:
        for statement in statements:
            with contextlib.suppress(Exception):
                session.execute(statement)
        session.execute("SET statement_timeout = 0")
        session.send(f"BEGIN; SELECT pg_sleep(0.3), '{SECRET}'")
        time.sleep(0.1)
        kill(session)
    wait(lambda: "canceling statement" in cluster_log(cluster) and SECRET in cluster_log(cluster), "secrets in the log")
    time.sleep(0.5)
    result = diagnose(cluster)
    assert "statement_timeout" in causes(result) or "client_exited" in causes(result)
    assert SECRET not in json.dumps(result)


# ---- files without a server


@ONE
def test_files_that_somebody_sent(cluster: Cluster, tmp_path: Path) -> None:
    pid = lose_client(cluster)
    log = tmp_path / "sent.log"
    shutil.copy(cluster.log_file, log)
    # nobody listens there: a login would fail
    nobody = {"login_port": 1, "login_user": "nobody"}
    result = run(None, {"log_files": [str(log), str(tmp_path / "missing.log")], **nobody})
    assert (result["server"], result["suspects"], result["statistics"], result["look"]) == (None, [], None, None)
    assert pid in {row["pid"] for row in result["losses"]}
    assert result["problems"] == [f"{tmp_path}/missing.log: there is no such file"]


@ONE
def test_a_capture_alone(cluster: Cluster, tmp_path: Path) -> None:
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is not installed")
    path = tmp_path / "lo.pcap"
    dump = subprocess.Popen(
        cluster.argv(
            ["tcpdump", "-i", "lo", "--immediate-mode", "-U", "-Z", "root", "-w", path, f"port {cluster.port}"]
        ),
        stderr=subprocess.PIPE,
    )
    assert dump.stderr
    assert any(b"listening on" in line for line in dump.stderr)  # it says other things before
    with cluster.session() as good, cluster.session() as bad:
        for session in (good, bad):
            session.execute("SELECT 1")
        time.sleep(0.6)  # shorter, and it might have been a look only
        kill(bad)

    def goodbyes() -> bool:
        read = ["tcpdump", "-n", "-r", path, "tcp[tcpflags] & tcp-fin != 0"]  # maybe cut in the middle of a packet
        said = subprocess.run(read, check=False, capture_output=True, text=True).stdout
        ports = (cluster.port, good.local_port, bad.local_port)
        return {f"127.0.0.1.{port}" for port in ports} <= set(said.split())

    wait(goodbyes, "end of both in the capture")
    dump.terminate()
    dump.communicate()
    result = run(None, {"captures": [{"path": str(path), "side": "server"}], "server_port": cluster.port})
    assert {row["port"]: row["cause"] for row in result["losses"]} == {
        good.local_port: "normal_close",
        bad.local_port: "client_exited",
    }
    assert (result["healthy"], result["problems"], result["server"]) == (False, [], None)


# ---- statistics


@pytest.mark.parametrize("major", [15, 18])
def test_killed_clients_in_the_rates(cluster: Cluster) -> None:
    before = diagnose(cluster)["look"]
    for _turn in range(3):
        lose_client(cluster)

    def rate() -> Result | None:
        looks = [before, diagnose(cluster)["look"]]
        found = run(None, {"statistics": looks})["statistics"]
        return found if found["databases"]["postgres"]["sessions_abandoned"] >= 3 else None

    found = wait(rate, "rise of sessions_abandoned")
    assert found["databases"]["postgres"]["sessions_abandoned"] == 3
    assert found["databases"]["postgres"]["sessions"] >= 3
    assert found["seconds"] > 0
    # two looks of one run
    now = diagnose(cluster, watch="1s")["statistics"]
    assert (now["databases"]["postgres"]["sessions_abandoned"], 0.9 < now["seconds"] < PATIENCE) == (0, True)


# ---- bad input


def test_bad_input_is_said_in_one_line() -> None:
    assert failed({"since": "yesterday"})["failure"]["code"] == "bad_time"
    assert failed({"until": "2026-13-01"})["failure"]["code"] == "bad_time"
    for samples in ([{"at": 1.0, "databases": {}}], [{}, {}], [{"at": "x", "databases": {}}] * 2):
        assert failed({"statistics": samples})["failure"]["code"] == "bad_statistics"
    assert "side" in failed({"captures": [{"path": "/nowhere", "side": "middle"}]})["msg"]
    assert "path" in failed({"captures": [{"side": "client"}]})["msg"]


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    (tmp_path / "noise.log").write_bytes(bytes(range(256)) * 99)
    (tmp_path / "noise.pcap").write_bytes(bytes(range(256)) * 99)
    captures = [{"path": str(tmp_path / name), "side": "client"} for name in ("noise.pcap", "missing.pcap")]
    logs = [str(tmp_path / "empty.log"), str(tmp_path / "noise.log")]
    result = run(None, {"log_files": logs, "captures": captures})
    assert (result["rc"], result["losses"], result["healthy"]) == (0, [], True)
    for name in ("noise.log", "noise.pcap", "missing.pcap"):
        assert len([line for line in result["problems"] if name in line]) == 1
    assert all("\n" not in line for line in result["problems"])


# ---- sessions now


@pytest.mark.parametrize("major", [13, 18])
def test_sessions_that_do_not_answer_are_suspects_and_others_are_not(cluster: Cluster) -> None:
    """A deaf client while a result is sent to it, one that does not read, one that does not answer probes."""
    probed = "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=50"
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(client(cluster, "deaf", STREAM))
        full = stack.enter_context(client(cluster, "stopped", FLOOD))
        idle = stack.enter_context(client(cluster, "deaf", options=probed))
        fine = stack.enter_context(client(cluster, "fine", STREAM))
        awake = stack.enter_context(client(cluster, "fine", options=probed))
        expected = {
            deaf: ("client_vanished", "not acknowledged"),
            full: ("slow_reader_cut", "does not read"),
            idle: ("client_vanished", "keepalive probed"),
        }
        suspects: dict[int, Result] = {}

        def all_seen() -> bool:
            suspects.update({row["pid"]: row for row in diagnose(cluster, log_files=["/dev/null"])["suspects"]})
            return expected.keys() <= suspects.keys()

        wait(all_seen, "three suspects")
        assert not suspects.keys() & {fine, awake}
        for pid, (cause, words) in expected.items():
            assert (suspects[pid]["cause"], words in suspects[pid]["evidence"]) == (cause, True)
            assert (suspects[pid]["role"], suspects[pid]["address"]) == ("postgres", "127.0.0.1")
        assert not diagnose(cluster)["healthy"]
        assert "repeat" not in json.dumps(list(suspects.values()))


@pytest.mark.parametrize("major", [15])
def test_standbys(new_cluster: NewCluster, major: int) -> None:
    primary = new_cluster(major)
    assert diagnose(primary)["standbys"] == []
    new_cluster(major, standby_of=primary)

    def streaming() -> list[Result]:  # it catches up before
        return [row for row in diagnose(primary)["standbys"] if row["state"] == "streaming"]

    (row,) = wait(streaming, "standby")
    assert row["silent"] is None or row["silent"] < PATIENCE


# ---- a healthy server


@pytest.mark.parametrize("major", [13, 18])
def test_a_busy_server_is_healthy_and_its_noise_is_named(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf=LOGGED)
    try:
        pgbench = [program("pgbench"), "-h", cluster.host, "-p", str(cluster.port), "-U", "postgres", "postgres"]
    except Unavailable as problem:
        pytest.skip(str(problem))
    cluster.run([*pgbench, "-i", "-q"], check=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    busy = [
        subprocess.Popen(cluster.argv([*pgbench, "-n", "-S", "-C", "-c", "2", "-T", "5"]), **quiet),
        subprocess.Popen(cluster.argv([*pgbench, "-n", "-c", "2", "-T", "5"]), **quiet),
    ]
    check = f"import socket; socket.create_connection(('{cluster.host}', {cluster.port})).close()"
    checks = 0
    while any(one.poll() is None for one in busy):
        cluster.run([sys.executable, "-c", check], check=True)
        checks += 1
        time.sleep(0.2)
    assert [one.returncode for one in busy] == [0, 0]
    time.sleep(6)  # until it is clear that no login follows the last of them
    result = diagnose(cluster, watch="1s")
    assert (result["healthy"], result["suspects"], result["problems"]) == (True, [], [])
    assert causes(result) == {"health_check": checks}
    assert all(row["harmless"] for row in result["losses"])
    assert result["connections"]["empty"] == checks
    assert result["connections"]["normal_closes"] > 20
    assert all(
        value == 0
        for row in result["statistics"]["databases"].values()
        for key, value in row.items()
        if key in ("sessions_abandoned", "sessions_fatal")
    )


@ONE
def test_a_scan_of_the_port_is_no_health_check(new_cluster: NewCluster, major: int) -> None:
    cluster = new_cluster(major, conf=LOGGED)
    http = "GET / HTTP/1.0\\r\\nHost: db\\r\\n\\r\\n"
    connect = f"import socket; s = socket.create_connection(('{cluster.host}', {cluster.port}))"
    script = f"{connect}; s.sendall(b'{http}'); s.recv(9)"
    cluster.run([sys.executable, "-c", script])
    result = diagnose(cluster)
    assert (result["healthy"], causes(result)) == (False, {"not_postgresql": 1})
    assert not re.search(rf"\b{re.escape(socket.gethostname())}\b", json.dumps(result["losses"]))
