# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tcp_sysctl on the real kernel, in namespaces of its own; /proc/sys and the file are asked, not the module."""

from __future__ import annotations

import concurrent.futures
import shutil
import stat
import subprocess
import tempfile
import typing as t
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Cluster, places, run_module
from support.namespace import Namespace

from ansible_collections.pgharden.connection.plugins.module_utils._layers import _sysctlconf

TIME, INTVL, PROBES = (f"net.ipv4.tcp_keepalive_{name}" for name in ("time", "intvl", "probes"))
KEYS = (TIME, INTVL, PROBES)
DEFAULTS = {TIME: "7200", INTVL: "75", PROBES: "9"}
WANTED = {TIME: 60, INTVL: 10, PROBES: 6}
HARDENED = {TIME: "60", INTVL: "10", PROBES: "6"}
NAME = "90-pgharden-connection.conf"
FILE = f"/etc/sysctl.d/{NAME}"
SYSTEMD_SYSCTL = shutil.which("systemd-sysctl", path="/usr/lib/systemd:/lib/systemd")
PROCPS_SYSCTL = shutil.which("sysctl", path="/usr/sbin:/sbin:/usr/bin:/bin")

as_root = pytest.mark.skipif(not places.is_root(), reason="mounts and other users need root")


class Host:
    """A machine as far as sysctls go: a network of its own, and an empty /etc/sysctl.d."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.sysctl_d = Path(f"/proc/{namespace.pid}/root/etc/sysctl.d")
        self.file = self.sysctl_d / NAME

    def run(self, *argv: str) -> str:
        return subprocess.run(self.namespace.argv(argv), check=True, capture_output=True, text=True).stdout

    def live(self) -> dict[str, str]:
        """What this network's kernel has in force."""
        values = self.run("cat", *(f"/proc/sys/{key.replace('.', '/')}" for key in KEYS))
        return dict(zip(KEYS, values.split(), strict=True))

    def set_live(self, values: t.Mapping[str, t.Any]) -> None:
        lines = [f"echo {value} >/proc/sys/{key.replace('.', '/')}" for key, value in values.items()]
        self.run("sh", "-ec", "\n".join(lines))

    def module(self, wanted: t.Mapping[str, t.Any], **options: t.Any) -> dict[str, t.Any]:
        # Of a cluster, run_module uses no more than what a namespace has.
        cluster = t.cast(Cluster, self.namespace)
        result = run_module(cluster, "tcp_sysctl", {"settings": {**wanted}}, **options)
        assert "exception" not in result, result
        return result

    def state(self) -> tuple[dict[str, str], dict[str, tuple[bytes, int, int]]]:
        """Everything that the module could have changed."""
        files = {
            path.name: (path.read_bytes(), path.stat().st_mode, path.stat().st_ino) for path in self.sysctl_d.iterdir()
        }
        return self.live(), files


@pytest.fixture
def host() -> t.Iterator[Host]:
    directory = Path(tempfile.mkdtemp(prefix="sysctl-", dir=places.base()))
    namespace = Namespace(directory)
    try:
        yield Host(namespace)
    finally:
        namespace.close()


def own_lines(values: t.Mapping[str, t.Any]) -> str:
    return _sysctlconf.HEADER + "".join(f"{key} = {values[key]}\n" for key in sorted(values))


def test_sets_live_and_persistent_values_in_this_namespace_alone(host: Host) -> None:
    outside = {key: Path("/proc/sys", *key.split(".")).read_text() for key in KEYS}
    result = host.module(WANTED)
    assert (result["rc"], result["changed"], result["unsupported"]) == (0, True, [])
    assert host.live() == HARDENED
    assert host.file.read_text() == own_lines(WANTED)
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o644
    assert [path.name for path in host.sysctl_d.iterdir()] == [NAME]
    assert {key: Path("/proc/sys", *key.split(".")).read_text() for key in KEYS} == outside
    assert result["namespace"] == "other"
    assert result["settings"][TIME] == {
        "live": {"before": "7200", "after": "60"},
        "persistent": {"before": None, "after": {"value": "60", "file": FILE, "line": 4}},
        "shadowed_by": None,
    }


@pytest.mark.parametrize("spelled", [WANTED, {key: str(value) for key, value in WANTED.items()}])
def test_a_second_run_changes_nothing(host: Host, spelled: dict[str, t.Any]) -> None:
    host.module(spelled)
    before = host.state()
    result = host.module(spelled)
    assert (result["changed"], result["diff"]) == (False, [])
    assert host.state() == before


@pytest.mark.parametrize("prepare", ["nothing", "drifted live", "drifted file", "later file", "taken out"])
def test_a_check_run_changes_nothing_and_foresees_the_result(host: Host, prepare: str) -> None:
    wanted: dict[str, t.Any] = dict(WANTED)
    if prepare != "nothing":
        host.module({**WANTED, "net.ipv4.tcp_retries2": 8})
    if prepare == "drifted live":
        host.set_live({TIME: 7200})
    elif prepare == "drifted file":
        host.file.write_text(f"# mine\n{TIME} = 7200\n")
    elif prepare == "later file":
        host.file.unlink()
        (host.sysctl_d / "99-other.conf").write_text(f"\n{INTVL} = 75\n")
    elif prepare == "taken out":
        wanted = {TIME: 30, INTVL: None, PROBES: None, "net.ipv4.tcp_retries2": None}
    before = host.state()
    foreseen = host.module(wanted, check=True)
    assert host.state() == before
    assert foreseen["changed"]
    assert host.module(wanted) == foreseen
    assert host.module(wanted, check=True)["diff"] == []


@pytest.mark.parametrize("drift", [{TIME: 7200}, {INTVL: 75, PROBES: 9}])
def test_a_drifted_live_value_beside_a_right_file_is_repaired(host: Host, drift: dict[str, int]) -> None:
    host.module(WANTED)
    host.set_live(drift)
    files = host.state()[1]
    result = host.module(WANTED)
    assert result["changed"]
    assert [one["before_header"] for one in result["diff"]] == ["os: live"]
    assert host.live() == HARDENED
    assert host.state()[1] == files


@pytest.mark.parametrize("drift", [None, "", f"{TIME} = 61\n", f"# mine\n{TIME} = 60\n{TIME} = 61"])
def test_a_drifted_file_beside_right_live_values_is_repaired(host: Host, drift: str | None) -> None:
    host.module(WANTED)
    if drift is None:
        host.file.unlink()
    else:
        host.file.write_text(drift)
    result = host.module(WANTED)
    assert result["changed"]
    assert [one["before_header"] for one in result["diff"]] == [f"os: {FILE}"]
    assert {key: _sysctlconf.value_in(host.file.read_bytes(), key) for key in KEYS} == HARDENED
    assert ("# mine" in host.file.read_text()) == ("# mine" in (drift or ""))


def test_the_kernels_default_is_written_too(host: Host) -> None:
    assert host.module({TIME: 7200})["changed"]
    assert host.file.read_text() == own_lines({TIME: 7200})


def test_null_takes_a_setting_out_and_leaves_its_live_value(host: Host) -> None:
    host.module(WANTED)
    host.module({TIME: None})
    assert host.file.read_text() == own_lines({INTVL: 10, PROBES: 6})
    assert host.live() == HARDENED
    host.module({INTVL: None, PROBES: None})
    assert not host.file.exists()
    assert host.live() == HARDENED
    assert not host.module(dict.fromkeys(KEYS))["changed"]


def test_another_sysctl_file_by_its_link(host: Host) -> None:
    target = host.sysctl_d / "real.conf"
    target.write_text(f"# mine\n{TIME} = 1\n")
    target.chmod(0o600)
    host.file.symlink_to("real.conf")
    host.module(WANTED)
    assert host.file.is_symlink()
    assert target.read_text() == f"# mine\n{INTVL} = 10\n{PROBES} = 6\n{TIME} = 60\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_later_file_is_reported_with_its_line(host: Host) -> None:
    (host.sysctl_d / "99-local.conf").write_text(f"# ours\nnet/ipv4/tcp_keepalive_time = 7200\n{INTVL} = 10\n")
    (host.sysctl_d / "10-image.conf").write_text(f"{PROBES} = 3\n")
    for changed in (True, False):
        result = host.module(WANTED)
        assert (result["rc"], result["changed"]) == (0, changed)
        by = {key: value["shadowed_by"] for key, value in result["settings"].items()}
        assert (by[INTVL], by[PROBES]) == (None, None)
        assert (by[TIME]["file"], by[TIME]["line"], by[TIME]["value"]) == ("/etc/sysctl.d/99-local.conf", 2, "7200")
        assert any("/etc/sysctl.d/99-local.conf:2" in str(warning) for warning in result["warnings"])
    assert host.live() == HARDENED


def reboot(host: Host, *command: str) -> dict[str, str]:
    """Start from the kernel's defaults and let the distribution's own program apply the files."""
    host.set_live(DEFAULTS)
    subprocess.run(host.namespace.argv(command), check=False, capture_output=True)
    return host.live()


def programs() -> list[t.Any]:
    """What applies the files, restricted to the network's settings: all others are the machine's."""
    return [
        pytest.param(
            [str(SYSTEMD_SYSCTL), "--prefix=/net/ipv4"],
            marks=pytest.mark.skipif(not SYSTEMD_SYSCTL, reason="no systemd-sysctl"),
            id="systemd",
        ),
        pytest.param(
            [str(PROCPS_SYSCTL), "--system", "--pattern", "^net.ipv4.tcp_keepalive"],
            marks=pytest.mark.skipif(not PROCPS_SYSCTL, reason="no sysctl"),
            id="procps",
        ),
    ]


@as_root
@pytest.mark.parametrize("program", programs())
def test_a_boot_brings_the_values_back(host: Host, program: list[str]) -> None:
    host.module(WANTED)
    assert reboot(host, *program) == HARDENED


NUMBERS = st.integers(1, 100).map(str)
LINES = st.one_of(
    st.builds("{}{} = {}".format, st.sampled_from(["", "-", " "]), st.sampled_from(KEYS), NUMBERS),
    st.builds("{}={}".format, st.sampled_from([key.replace(".", "/") for key in KEYS]), NUMBERS),
    st.sampled_from(["# x", "; x", "", f"#{TIME} = 1"]),
)
FILES = st.dictionaries(
    st.sampled_from(
        ["etc/10-a.conf", "etc/90-b.conf", "etc/99-c.conf", "etc/d", "run/10-a.conf", "run/95-e.conf", "lib/90-b.conf"]
    ),
    st.lists(LINES, max_size=4),
)


@as_root
@pytest.mark.parametrize("program", programs())
def test_the_winner_is_the_one_of_the_real_programs(host: Host, program: list[str]) -> None:
    """Differential: which line decides, against what applies the files at boot."""
    places_of = {"etc": "/etc/sysctl.d", "run": "/run/sysctl.d", "lib": "/usr/lib/sysctl.d"}
    host.run("sh", "-ec", "mount -t tmpfs t /run; mkdir /run/sysctl.d; mount -t tmpfs t /usr/lib/sysctl.d")
    host.run("mount", "--bind", "/dev/null", "/etc/sysctl.conf")
    root = Path(f"/proc/{host.namespace.pid}/root")
    search = [f"{root}{place}" for place in places_of.values()]

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(FILES)
    def compare(files: dict[str, list[str]]) -> None:
        for place in search:
            for path in Path(place).iterdir():
                path.unlink()
        for name, lines in files.items():
            directory, base = name.split("/")
            Path(f"{root}{places_of[directory]}", base).write_text("\n".join(lines) + "\n")
        sources = _sysctlconf.sources(search, "/nowhere/x.conf", None)
        winners = {key: _sysctlconf.winner(sources, key) for key in KEYS}
        expected = {key: one.value if one else DEFAULTS[key] for key, one in winners.items()}
        assert reboot(host, *program) == expected

    compare()


@as_root
@pytest.mark.parametrize(
    "lines",
    [
        {"10-a": f"{TIME} = 5", "99-b": "net.ipv4.tcp_keepalive_* = 7"},
        {"10-a": "net.ipv4.tcp_keepalive_* = 7", "99-b": "net/ipv4/tcp_keepalive_t* = 8"},
        {"10-a": f"-{TIME}", "99-b": "net.ipv4.tcp_keepalive_* = 7"},
        {"10-a": f"{TIME} = 5\n{TIME} = 0x10"},
        {"10-a": f"{TIME} = 5 # a comment"},
        {"10-a": f"{TIME} = 5# a comment"},
        {"10-a": f"{TIME} = 010 20"},
        {"10-a": f"{TIME} = 089"},
        {"10-a": f"{TIME} = +5"},
    ],
)
@pytest.mark.skipif(not SYSTEMD_SYSCTL, reason="no systemd-sysctl")
def test_wildcards_and_odd_values_as_systemd_reads_them(host: Host, lines: dict[str, str]) -> None:
    for name, text in lines.items():
        (host.sysctl_d / f"{name}.conf").write_text(f"{text}\n")
    winner = _sysctlconf.winner(_sysctlconf.sources([str(host.sysctl_d)], "/nowhere/x.conf", None), TIME)
    expected = _sysctlconf.number(winner.value) if winner else None
    assert reboot(host, str(SYSTEMD_SYSCTL), "--prefix=/net/ipv4")[TIME] == str(expected or DEFAULTS[TIME])


def make_read_only(host: Host) -> None:
    """As the container engines do."""
    host.run("sh", "-ec", "mount --bind /proc/sys /proc/sys; mount -o remount,ro,bind /proc/sys")


@as_root
@pytest.mark.parametrize("check", [True, False])
def test_a_read_only_proc_sys_is_a_finding(host: Host, check: bool) -> None:
    make_read_only(host)
    before = host.state()
    result = host.module(WANTED, check=check)
    assert (result["rc"], result["changed"], result["diff"]) == (0, False, [])
    assert {(one["key"], one["reason"]) for one in result["unsupported"]} == {(key, "read_only") for key in KEYS}
    assert f"--sysctl {TIME}=60" in next(one["detail"] for one in result["unsupported"] if one["key"] == TIME)
    assert host.state() == before


@as_root
def test_a_read_only_proc_sys_with_the_right_values_is_no_finding(host: Host) -> None:
    host.set_live(WANTED)
    make_read_only(host)
    result = host.module(WANTED)
    assert (result["rc"], result["changed"], result["unsupported"]) == (0, False, [])
    assert not host.file.exists()


@as_root
def test_a_read_only_directory_is_a_finding_and_the_live_value_stays(host: Host) -> None:
    host.run("mount", "-o", "remount,ro", "/etc/sysctl.d")
    result = host.module(WANTED)
    assert (result["rc"], result["changed"]) == (0, False)
    assert {one["reason"] for one in result["unsupported"]} == {"read_only"}
    assert host.live() == DEFAULTS


@as_root
@pytest.mark.parametrize("check", [True, False])
def test_a_user_that_is_not_root_gets_one_clear_error(host: Host, check: bool) -> None:
    before = host.state()
    result = host.module(WANTED, as_user="nobody", check=check)
    assert (result["rc"], result["failure"]["code"]) == (1, "not_root")
    assert "become" in result["msg"]
    assert host.state() == before


@as_root
def test_a_user_that_is_not_root_may_see_that_all_is_well(host: Host) -> None:
    host.module(WANTED)
    result = host.module(WANTED, as_user="nobody")
    assert (result["rc"], result["changed"], result["unsupported"]) == (0, False, [])


def test_what_this_kernel_does_not_have_is_a_finding(host: Host) -> None:
    result = host.module({TIME: 60, "net.ipv4.tcp_no_such_thing": 1})
    assert [(one["key"], one["reason"]) for one in result["unsupported"]] == [("net.ipv4.tcp_no_such_thing", "absent")]
    assert host.file.read_text() == own_lines({TIME: 60})
    assert not host.module({TIME: 60, "net.ipv4.tcp_no_such_thing": 1})["changed"]


@pytest.mark.parametrize("content", [None, b"# mine \xff\nnet.ipv4.tcp_keepalive_time = 61"])
def test_half_way_everything_is_put_back(host: Host, content: bytes | None) -> None:
    if content is not None:
        host.file.write_bytes(content)
    live, files = host.state()
    result = host.module({**WANTED, "net.ipv4.tcp_syn_retries": 500})  # the kernel takes up to 127
    assert (result["rc"], result["failure"]["code"]) == (1, "kernel_refused")
    assert result["failure"]["key"] == "net.ipv4.tcp_syn_retries"
    now, left = host.state()
    assert now == live == DEFAULTS
    assert {name: one[:2] for name, one in left.items()} == {name: one[:2] for name, one in files.items()}


@pytest.mark.parametrize(
    ("wanted", "code", "words"),
    [
        ({TIME: 40000, INTVL: 10}, "out_of_kernel_range", "32767"),
        ({INTVL: 32768}, "out_of_kernel_range", "32767"),
        ({TIME: 60, PROBES: 200}, "out_of_kernel_range", "127"),
        ({TIME: 60, "net.core.somaxconn": 10}, "not_a_tcp_sysctl", "ansible.posix.sysctl"),
        ({TIME: 60, INTVL: "10s"}, "not_a_number", "10s"),
        ({TIME: 60, INTVL: True}, "not_a_number", "True"),
        ({TIME: 60, INTVL: "10 20"}, "not_a_number", "10 20"),
        ({TIME: 60, "net.ipv4.tcp_rmem": 4096}, "not_a_number", "ansible.posix.sysctl"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_refused_before_anything_is_written(
    host: Host, wanted: dict[str, t.Any], code: str, words: str, check: bool
) -> None:
    before = host.state()
    result = host.module(wanted, check=check)
    assert (result["rc"], result["failure"]["code"]) == (1, code)
    assert words in result["msg"]
    assert host.state() == before


def test_runs_at_once_do_not_lose_each_others_settings(host: Host) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda key: host.module({key: WANTED[key]}), KEYS))
    assert [result["rc"] for result in results] == [0, 0, 0]
    assert host.live() == HARDENED
    assert host.file.read_text() == own_lines(WANTED)
