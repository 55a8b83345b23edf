# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Captures, as the files, the kernel's list of packet sockets and tcpdump itself tell of them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from support import Cluster, places, run_module, run_playbook
from support.modules import module_argv, module_input

pytestmark = pytest.mark.parametrize("major", [15])
as_root = pytest.mark.skipif(not places.is_root(), reason="mounts and other users need root")
SECRET = "hunter2-Of-The-Capture"
#: The longest that something may take which is to be over at once, on a machine that is busy with other tests.
SOON = 60.0
Result = dict[str, t.Any]


def until(true: t.Callable[[], t.Any]) -> None:
    deadline = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < deadline, f"still not so after {SOON} s"
        time.sleep(0.05)


def listeners(cluster: Cluster) -> int:
    """How many sockets of the server's host get packets, as its kernel says."""
    return len(cluster.run(["cat", "/proc/net/packet"], check=True).stdout.splitlines()) - 1


def processes(cluster: Cluster, name: str) -> list[int]:
    """The processes of that name in the server's network."""
    network = os.stat(f"/proc/{cluster.namespace.pid}/ns/net").st_ino
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if (directory / "comm").read_text().strip() == name and (directory / "ns/net").stat().st_ino == network:
                found.append(int(directory.name))
        except OSError:
            pass  # it has just ended
    return found


def child(pid: int) -> int:
    """The only child of a process."""
    (found,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found)


def tcpdump(path: str | Path, *arguments: str) -> list[str]:
    """What tcpdump reads from a file; a file that is cut in the middle is an error to it."""
    # As this user, whom alone the file is for.
    argv = ["tcpdump", "-n", "-tt", "-r", str(path), *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.splitlines()


class Capture:
    """A run of the module that goes on while the test does something."""

    def __init__(self, cluster: Cluster, place: Path, **options: t.Any) -> None:
        before = listeners(cluster)
        self.place = place
        self.module = subprocess.Popen(
            module_argv(cluster, "capture"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.module.stdin
        arguments = {"directory": str(place), "for": "1h", "least_free": "1MB", **options}
        self.module.stdin.write(module_input(arguments))
        self.module.stdin.close()
        until(lambda: listeners(cluster) > before or self.module.poll() is not None)

    def stop(self) -> Result:
        self.module.send_signal(signal.SIGTERM)
        return self.result()

    def result(self, timeout: float = 60) -> Result:
        assert self.module.stdout
        self.module.wait(timeout)
        return t.cast(Result, json.loads(self.module.stdout.read()))

    @property
    def files(self) -> list[Path]:
        return sorted(self.place.iterdir())

    def sizes(self) -> list[int]:
        found = []
        for file in self.files:
            with contextlib.suppress(FileNotFoundError):  # the oldest has just gone
                found.append(file.stat().st_size)
        return found

    def await_packet(self) -> None:
        """Until one of its files has more than its header, which is there a moment before."""
        until(lambda: any(size > 24 for size in self.sizes()))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "capture"


class Start(t.Protocol):
    """Starts a capture, which is over at the end of the test; *place* is its directory as the test sees it."""

    def __call__(self, place: Path, **options: t.Any) -> Capture: ...


@pytest.fixture
def start(cluster: Cluster) -> t.Iterator[Start]:
    captures: list[Capture] = []

    def new(place: Path, **options: t.Any) -> Capture:
        captures.append(Capture(cluster, place, **options))
        return captures[-1]

    yield new
    for capture in captures:
        capture.module.kill()
        capture.module.wait()
        capture.module.stdout.close()


def talk(cluster: Cluster, statement: str = "SELECT 1", **conn: t.Any) -> int:
    """A whole session; its port."""
    with cluster.session(**conn) as session:
        session.execute(statement)
        assert session.local_port
        return session.local_port


def test_the_flow_of_a_session(cluster: Cluster, directory: Path, start: Start) -> None:
    began = time.time()
    capture = start(directory, **{"for": "8s"})
    port = talk(cluster)
    result = capture.result()
    ended = time.time()
    (file,) = result["files"]
    lines = tcpdump(file["path"], f"port {port}")
    assert "Flags [S]" in lines[0] and f".{port} > 127.0.0.1.5432" in lines[0]
    # Terminate, five bytes long, and both ends' goodbye.
    assert any(f".{port} > 127.0.0.1.5432" in line and line.endswith("length 5") for line in lines)
    assert {line.split(" > ")[0].split(".")[-1] for line in lines if "Flags [F" in line} == {str(port), "5432"}
    everything = tcpdump(file["path"])
    assert lines == everything
    # What the module says of the file is so.
    assert file["packets"] == len(everything) == result["packets_captured"]
    assert (result["packets_dropped"], result["packets_overwritten"]) == (0, 0)
    assert [file["path"]] == list(map(str, capture.files))
    assert file["size"] == Path(file["path"]).stat().st_size
    times = [float(line.split()[0]) for line in everything]
    shown = [time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) for moment in (times[0], times[-1])]
    assert [file["first"][:19], file["last"][:19]] == shown
    assert began < times[0] < times[-1] < ended
    assert (result["stopped_because"], result["changed"]) == ("time", True)
    assert 8 <= result["seconds"] < ended - began
    # Nobody else may read it, and nothing runs on.
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(file["path"]).stat().st_mode) == 0o600
    assert listeners(cluster) == 0


@as_root
def test_tcpdump_is_not_root(cluster: Cluster, directory: Path, start: Start) -> None:
    for user, name in ((None, "tcpdump"), ("nobody", "nobody")):
        capture = start(directory, user=user)
        (pid,) = processes(cluster, "tcpdump")
        owner = subprocess.run(["stat", "-c", "%U", f"/proc/{pid}"], check=True, capture_output=True, text=True)
        assert owner.stdout.strip() == name
        capture.stop()


def test_a_directory_of_its_own_by_default(cluster: Cluster, directory: Path, start: Start) -> None:
    capture = start(directory, directory=None)
    talk(cluster)
    result = capture.stop()
    made = Path(result["directory"])
    assert made.parent == Path("/var/tmp")
    try:
        assert stat.S_IMODE(made.stat().st_mode) == 0o700
        assert [Path(file["path"]).parent for file in result["files"]] == [made]
    finally:
        for file in made.iterdir():
            file.unlink()
        made.rmdir()
    nothing = start(directory, directory=None).stop()
    assert (nothing["files"], nothing["packets_captured"]) == ([], 0)
    assert "no packet from or to port 5432" in json.dumps(nothing["warnings"])
    assert not Path(nothing["directory"]).exists()


# ---- no payload


def written(capture: Capture) -> bytes:
    """All that its files have."""
    return b"".join(file.read_bytes() for file in capture.files)


def headers_only(path: Path) -> int:
    """How many packets the file has; each must end where its TCP header does."""
    data = path.read_bytes()
    assert struct.unpack_from("=I", data, 20)[0] == 276  # any: LINUX_SLL2, 20 bytes
    at, count = 24, 0
    while at < len(data):
        caught, length = struct.unpack_from("=8xII", data, at)
        packet = data[at + 16 : at + 16 + caught]
        header = 40 if packet[20] >> 4 == 6 else (packet[20] & 15) * 4
        assert caught == 20 + header + (packet[20 + header + 12] >> 4) * 4 <= length
        at += 16 + caught
        count += 1
    return count


@pytest.mark.parametrize("payload", [False, True])
def test_what_was_said_is_in_no_file_unless_asked_for(
    cluster: Cluster, directory: Path, payload: bool, start: Start
) -> None:
    capture = start(directory, payload=payload)
    for host in ("127.0.0.1", "::1"):
        with cluster.session(host=host, application_name=SECRET[:12]) as session:
            session.execute(f"SELECT '{SECRET}'")
            session.execute("SELECT 'zqzq'")  # short ones, too
    # While it runs as well as in the end.
    until(lambda: b"zqzq" in written(capture) if payload else len(written(capture)) > 2000)
    running = written(capture)
    result = capture.stop()
    done = written(capture)
    for bytes_ in (running, done):
        for words in (SECRET, SECRET[:12], "SELECT", "postgres", "zqzq"):
            assert (words.encode() in bytes_) is payload, words
    assert result["payload"] is payload
    if not payload:
        assert sum(map(headers_only, capture.files)) == result["packets_captured"]


QUOTE = """
import socket, struct, sys
secret = sys.argv[1].encode()
for port in (5432, 443):
    tcp = struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 5 << 4, 2, 64, 0, 0)
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(secret), 0, 0, 64, 6, 0) + bytes([10, 0, 0, 7, 10, 0, 0, 1])
    body = ip + tcp + secret
    message = struct.pack("!BBHI", 3, 1, 0, 0) + body
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    check = ~(total + (total >> 16)) & 0xFFFF
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.sendto(message[:2] + struct.pack("!H", check) + message[4:], ("127.0.0.1", 0))
"""


def test_icmp_about_a_connection_is_kept_without_what_it_quotes(
    cluster: Cluster, directory: Path, start: Start
) -> None:
    capture = start(directory)
    cluster.run([sys.executable, "-c", QUOTE, SECRET], check=True)
    capture.stop()
    (file,) = capture.files
    (line,) = tcpdump(file)
    assert "ICMP host 10.0.0.1 unreachable" in line
    assert SECRET.encode() not in file.read_bytes()
    # The random id of the outer IP header is printed too, so a bare "5432" would now and then match it.
    quoted = [line for line in tcpdump(file, "-v") if "10.0.0.7.40000 > " in line]
    assert [line.split(" > ")[1].split(":")[0].split()[0] for line in quoted] == ["10.0.0.1.5432"]


def test_only_some_addresses(cluster: Cluster, directory: Path, start: Start) -> None:
    connect = (
        "import socket, sys; socket.create_connection(('127.0.0.1', 5432), source_address=(sys.argv[1], 0)).close()"
    )
    capture = start(directory, addresses=["127.0.5.0/24", "10.0.0.7"])
    for source in ("127.0.0.5", "127.0.5.5"):
        cluster.run([sys.executable, "-c", connect, source], check=True)
    talk(cluster)
    capture.stop()
    (file,) = capture.files
    lines = tcpdump(file)
    assert lines and all("127.0.5.5" in line for line in lines)


# ---- bounds


def fill(cluster: Cluster, megabytes: int) -> None:
    with cluster.session() as session:
        for _turn in range(megabytes):
            session.execute("SELECT repeat('x', 1000) FROM generate_series(1, 1000)")


def fill_until_it_ends(cluster: Cluster, capture: Capture, megabytes: int) -> None:
    """A busy machine's kernel drops packets that nobody fetches in time: it may take more than there is room for."""
    for _turn in range(10):
        if capture.module.poll() is None:
            fill(cluster, megabytes)


def test_the_ring_is_bounded_in_size_and_number(cluster: Cluster, directory: Path, start: Start) -> None:
    capture = start(directory, payload=True, file_size="512kB", files=3)
    most = []
    for _turn in range(6):
        fill(cluster, 1)
        time.sleep(0.4)
        most.append(capture.sizes())
    port = talk(cluster)
    result = capture.stop()
    most.append(capture.sizes())
    assert max(map(len, most)) == 3
    assert max(map(max, (sizes for sizes in most if sizes))) <= 512 * 1024
    assert list(map(str, capture.files)) == [file["path"] for file in result["files"]]
    packets = [tcpdump(file) for file in capture.files]
    assert [file["packets"] for file in result["files"]] == list(map(len, packets))
    # The newest are kept, and none is missing.
    assert any(f".{port} > " in line and "Flags [F" in line for line in packets[-1])
    assert result["packets_overwritten"] > 0
    assert result["packets_overwritten"] + sum(map(len, packets)) == result["packets_captured"]


def test_a_new_file_after_some_time(cluster: Cluster, directory: Path, start: Start) -> None:
    capture = start(directory, rotate_every="1s")
    for _turn in range(3):
        talk(cluster)
        time.sleep(1.2)
    result = capture.stop()
    assert len(result["files"]) >= 3
    for file in capture.files:
        times = [float(line.split()[0]) for line in tcpdump(file)]
        assert times[-1] - times[0] < 1


@pytest.fixture
def small(cluster: Cluster, tmp_path: Path) -> t.Iterator[tuple[str, Path]]:
    """A file system of 16 MB and 200 inodes: as the module sees it, and as the test does."""
    path = tmp_path / "small"
    path.mkdir()
    cluster.run(["mount", "-t", "tmpfs", "-o", "size=16M,nr_inodes=200", "tmpfs", path], check=True)
    yield str(path), Path(f"/proc/{cluster.namespace.pid}/root{path}")
    cluster.run(["umount", path], check=True)


@as_root
def test_the_disk_is_not_filled(cluster: Cluster, small: tuple[str, Path], start: Start) -> None:
    inside, outside = small
    capture = start(outside, directory=inside, payload=True, least_free="12MB")
    fill_until_it_ends(cluster, capture, 10)
    result = capture.result()
    assert result["stopped_because"] == "free_bytes"
    status = os.statvfs(outside)
    assert 12 << 20 <= status.f_bavail * status.f_frsize < 14 << 20  # it did use what it might
    assert listeners(cluster) == 0
    assert [len(tcpdump(file)) for file in capture.files] == [file["packets"] for file in result["files"]]


@as_root
def test_a_full_file_system_leaves_whole_packets(cluster: Cluster, small: tuple[str, Path], start: Start) -> None:
    inside, outside = small
    capture = start(outside, directory=inside, payload=True, least_free="0MB")
    fill_until_it_ends(cluster, capture, 20)
    result = capture.result()
    assert result["stopped_because"] == "free_bytes"
    assert [len(tcpdump(file)) for file in capture.files] == [file["packets"] for file in result["files"]]


@as_root
def test_inodes_count_as_well(cluster: Cluster, small: tuple[str, Path], start: Start) -> None:
    inside, outside = small
    capture = start(outside, directory=inside)
    port = talk(cluster)
    capture.await_packet()
    for number in range(110):
        (outside / f"{number}.other").touch()
    result = capture.result()
    assert result["stopped_because"] == "free_inodes"
    (file,) = result["files"]
    name = Path(file["path"]).name
    assert any(f".{port} > " in line for line in tcpdump(outside / name))


@as_root
def test_it_does_not_begin_on_a_full_disk(cluster: Cluster, small: tuple[str, Path]) -> None:
    inside, outside = small
    for check in (True, False):
        for directory in (inside, f"{inside}/new"):
            options = {"directory": directory, "least_free": "17MB", "for": "1s"}
            result = run_module(cluster, "capture", options, check=check)
            assert result["failure"]["code"] == "disk_full"
    assert list(outside.iterdir()) == []


# ---- its end


def test_a_signal_ends_it_with_all_that_came_before(cluster: Cluster, directory: Path, start: Start) -> None:
    capture = start(directory)
    port = talk(cluster)
    # Its server process, which may be late on a busy machine, has said goodbye as well; then, if it was the first to do
    # so, the kernel keeps its end in TIME-WAIT for a minute.
    until(lambda: all(one.state == "TIME-WAIT" for one in cluster.sockets() if one.peer_port == port))
    result = capture.stop()
    assert result["stopped_because"] == "signal"
    assert capture.module.returncode == 0
    (file,) = capture.files
    ends = [line.split(" > ")[0].split(".")[-1] for line in tcpdump(file, f"port {port}") if "Flags [F" in line]
    assert set(ends) == {str(port), "5432"}  # a busy kernel may have repeated one
    assert listeners(cluster) == 0


def test_kill_9_takes_tcpdump_along_without_any_traffic(cluster: Cluster, directory: Path, start: Start) -> None:
    capture = start(directory)
    talk(cluster)
    capture.await_packet()
    capture.module.kill()
    capture.module.wait()
    until(lambda: listeners(cluster) == 0 and not processes(cluster, "tcpdump"))
    (file,) = capture.files
    assert tcpdump(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("whom", ["tcpdump", "guard"])
def test_the_end_of_tcpdump_is_an_error_that_keeps_the_files(
    cluster: Cluster, directory: Path, whom: str, start: Start
) -> None:
    capture = start(directory)
    talk(cluster)
    capture.await_packet()
    guard = child(capture.module.pid)
    os.kill(guard if whom == "guard" else child(guard), signal.SIGKILL)
    result = capture.result()
    assert result["failure"]["code"] == "tcpdump_ended"
    assert [len(tcpdump(file["path"])) for file in result["failure"]["files"]] == [
        file["packets"] for file in result["failure"]["files"]
    ]
    assert len(result["failure"]["files"]) == 1
    until(lambda: listeners(cluster) == 0 and not Path(f"/proc/{guard}").exists())


def test_two_at_once_into_one_directory(cluster: Cluster, directory: Path, start: Start) -> None:
    captures = [start(directory), start(directory)]
    port = talk(cluster)
    results = [captures[0].stop()]
    assert listeners(cluster) == 1
    later = talk(cluster)
    results.append(captures[1].stop())
    (one,), (other,) = ([tcpdump(file["path"]) for file in result["files"]] for result in results)
    assert any(f".{port} > " in line for line in one)
    assert not any(f".{later} > " in line for line in one)
    assert {port, later} == {int(number) for number in (port, later) if any(f".{number} > " in line for line in other)}


# ---- what is wrong


@as_root
@pytest.mark.parametrize("check", [True, False])
def test_who_may_not_capture(cluster: Cluster, check: bool) -> None:
    place = cluster.directory / f"open {check}"
    place.mkdir()
    place.chmod(0o777)
    directory = place / "capture"
    options = {"directory": str(directory), "for": "1s", "least_free": "1MB"}
    result = run_module(cluster, "capture", options, check=check, as_user="nobody")
    assert result["failure"]["code"] == "no_capture_right"
    for words in ("neither root nor with the capability CAP_NET_RAW", "become: true", "setcap"):
        assert words in result["msg"]
    assert not directory.exists()
    # Root of a container that lacks it.
    argv = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", *module_argv(None, "capture")]
    done = cluster.run(argv, input=module_input(options, check=check))
    assert "this is root, but without the capability CAP_NET_RAW" in json.loads(done.stdout)["msg"]
    assert not directory.exists()


def test_without_tcpdump(cluster: Cluster, directory: Path) -> None:
    result = run_module(cluster, "capture", {"directory": str(directory)}, env={"PATH": "/nowhere"})
    assert result["failure"]["code"] == "no_tcpdump"
    assert "apt-get install tcpdump" in result["msg"]


def test_check_mode_makes_nothing(cluster: Cluster, directory: Path) -> None:
    options = {"directory": str(directory), "ports": [5432, 6432], "addresses": ["10.0.0.7"], "least_free": "1MB"}
    result = run_module(cluster, "capture", options, check=True)
    assert (result["rc"], result["changed"]) == (0, True)
    for words in ("port 5432 or port 6432", "net 10.0.0.7/32"):
        assert words in result["filter"]
    assert result["room"] == 20 * 20 << 20
    assert not directory.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"for": "soon"}, "for: soon: this is no duration"),
        ({"for": "off"}, "it would capture nothing"),
        ({"rotate_every": "5"}, "It has no unit"),
        ({"file_size": "20"}, "file_size: 20: this is no size"),
        ({"file_size": "100kB"}, "Write 512kB or more"),
        ({"least_free": "some"}, "least_free: some: this is no size"),
        ({"files": 1}, "Write 2 or more"),
        ({"ports": [70000]}, "there is no such port"),
        ({"ports": []}, "Name the port"),
        ({"addresses": ["10.0.0.300"]}, "neither an address nor a network"),
        ({"interface": "eth77"}, "Write any, or one of lo"),
        ({"snap_length": 96}, "payload: true"),
        ({"user": "nobody-at-all"}, "there is no OS user nobody-at-all"),
        ({"directory": "/nowhere/at/all"}, "No such file or directory (/nowhere/at/all)"),
        ({"directory": "/etc/passwd"}, "Not a directory"),
    ],
)
def test_bad_input_is_one_message(cluster: Cluster, directory: Path, options: dict[str, t.Any], words: str) -> None:
    result = run_module(cluster, "capture", {"directory": str(directory), "for": "1s", "least_free": "1MB", **options})
    assert words in result["msg"]
    assert "exception" not in result
    assert not directory.exists()
    assert listeners(cluster) == 0


# ---- role and playbook

PLAYBOOK = "pgharden.connection.capture"


def inventory(directory: Path, **variables: t.Any) -> Path:
    path = directory / "hosts.yml"
    common = {"capture_become": False, "capture_least_free": "1MB", **variables}
    path.write_text(yaml.safe_dump({"all": {"hosts": {"app/1": {}, "db1": {}}, "vars": common}}))
    return path


def own_files() -> set[Path]:
    return set(Path("/var/tmp").glob("pgharden-capture-*"))


@pytest.mark.parametrize("keep", [False, True])
def test_the_playbook_fetches(cluster: Cluster, tmp_path: Path, keep: bool) -> None:
    directory = tmp_path / "on the host"
    common = {"capture_directory": str(directory)} if keep else {}
    path = inventory(tmp_path, capture_keep=keep, **common)
    before = own_files()
    check = run_playbook(cluster, PLAYBOOK, "--check", inventory=path, cwd=tmp_path)
    assert check.rc == 0, check.stdout
    assert not (tmp_path / "captures").exists()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        arguments = ("-e", "capture_for=15s", "-e", "capture_fetch=true")
        env = {"ANSIBLE_ASYNC_DIR": str(tmp_path / "jobs")}
        play = pool.submit(run_playbook, cluster, PLAYBOOK, *arguments, inventory=path, cwd=tmp_path, env=env)
        until(lambda: listeners(cluster) == 2 or play.done())
        port = talk(cluster)
        result = play.result()
    said = result.stdout
    assert result.rc == 0, said
    for host in ("app_1", "db1"):
        place = tmp_path / "captures" / host
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        (file,) = place.iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert any(f".{port} > " in line for line in tcpdump(file))
        assert str(place) in said
    if keep:
        fetched = [file.read_bytes() for file in (tmp_path / "captures").glob("*/*")]
        assert sorted(file.read_bytes() for file in directory.iterdir()) == sorted(fetched)
    until(lambda: own_files() <= before)  # those of the tests that run beside this one go, too


def test_a_lost_controller_does_not_end_it(cluster: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "capture"
    path = inventory(tmp_path, capture_directory=str(directory), capture_for="15s")
    process = subprocess.Popen(
        cluster.argv([sys.executable, "-m", "ansible", "playbook", "-i", str(path), PLAYBOOK, "--limit", "db1"]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        start_new_session=True,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(places.COLLECTIONS),
            "ANSIBLE_HOME": str(tmp_path / "home"),
            "ANSIBLE_ASYNC_DIR": str(tmp_path / "jobs"),
            "ANSIBLE_TRANSPORT": "local",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
    )
    until(lambda: listeners(cluster) == 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    port = talk(cluster)
    assert listeners(cluster) == 1
    until(lambda: listeners(cluster) == 0)
    (file,) = directory.iterdir()
    assert any(f".{port} > " in line for line in tcpdump(file))
