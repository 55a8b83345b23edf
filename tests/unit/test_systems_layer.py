# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layer os on FreeBSD and macOS: files and revert as they are, the programs sysctl and launchctl played.

These systems cannot run here. Values and their form were printed by real ones (tests/unit/data/systems), but for
FreeBSD's idle and interval, which are those of tcp(4). The errors of sysctl are from its source, "Operation not
permitted" and what launchctl answers from memory. Whether a kernel or launchd does what it says is not tested.
"""

from __future__ import annotations

import json
import os
import plistlib
import stat
import types
import typing as t
from pathlib import Path

import jsonschema
import pytest
import test_systems

from ansible_collections.pgharden.connection.plugins.module_utils import _harden, _in_force, _info, _revert
from ansible_collections.pgharden.connection.plugins.module_utils._audit import _host as _audited
from ansible_collections.pgharden.connection.plugins.module_utils._audit import _rules
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _bsd, _layer, _os, _procsys, _sysctls
from ansible_collections.pgharden.connection.plugins.module_utils._settings import OsValues
from ansible_collections.pgharden.connection.plugins.module_utils._systems import _launchd, _sysctl, _table
from ansible_collections.pgharden.connection.plugins.modules import tcp_sysctl

IDLE, INTVL, CNT = _table.DARWIN.names
WISHES: dict[str, int | None] = {IDLE: 60_000, INTVL: 10_000, CNT: 6}
AFTER = {IDLE: "60000", INTVL: "10000", CNT: "6"}
BEFORE = {IDLE: "7200000", INTVL: "75000", CNT: "8"}

# A setting is a file of its name; what stands in "refused" cannot be set.
PLAYER = """
state=$1; shift
echo "$*" >>"$state/calls"
for one; do
    case $one in -n | -w) continue ;; esac
    name=${one%%=*}
    [ -e "$state/$name" ] || { echo "sysctl: unknown oid '$name'" >&2; exit 1; }
    read -r value <"$state/$name"
    if [ "$name" = "$one" ]; then
        echo "$value"
    elif grep -qsx "$name" "$state/refused"; then
        echo "sysctl: $one: Operation not permitted" >&2
        exit 1
    else
        echo "$name: $value -> ${one#*=}"
        echo "${one#*=}" >"$state/$name"
    fi
done
"""

LAUNCHCTL = """
state=$1; shift
echo "$*" >>"$state/launched"
if [ "$1" = bootout ]; then echo "Boot-out failed: 3: No such process" >&2; exit 3; fi
if [ -e "$state/launchd_refuses" ]; then echo "Bootstrap failed: 5: Input/output error" >&2; exit 5; fi
"""


class Host:
    """A machine of the player's: settings as recorded, files in directories of the test."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name, self.state = root, name, root / "state"
        self.state.mkdir()
        self.calls, self.launched = self.state / "calls", self.state / "launched"
        recorded = _sysctl.values((test_systems.RECORDED / "macos.txt").read_text())
        if name == "freebsd":
            # Its idle and interval by tcp(4): the recording has the settings that it lists last.
            own = _sysctl.values((test_systems.RECORDED / "freebsd.txt").read_text())
            recorded = {**own, IDLE: "7200000", INTVL: "75000", "security.jail.jailed": "0"}
        self.play(**recorded)
        for script, text in (("sysctl", PLAYER), ("launchctl", LAUNCHCTL)):
            (root / script).write_text(text)
        self.etc = root / "etc"
        self.etc.mkdir()
        self.file = self.etc / ("sysctl.conf" if name == "freebsd" else os.path.basename(_launchd.FILE))

    def play(self, **changes: str) -> None:
        for name, value in changes.items():
            (self.state / name).write_text(f"{value}\n")

    def live(self) -> dict[str, str]:
        return {name: (self.state / name).read_text().strip() for name in (IDLE, INTVL, CNT)}

    def command(self, script: str) -> list[str]:
        return ["sh", str(self.root / script), str(self.state)]

    def program(self) -> _bsd.Program:
        return _bsd.Program(self.command("sysctl"))

    def sysctls(self) -> _sysctls.Sysctls:
        if self.name == "freebsd":
            freebsd = _bsd.FreeBSD(self.program())
            freebsd.search = (str(self.etc / "sysctl.conf"), str(self.etc / "sysctl.conf.local"))
            return freebsd
        darwin = _bsd.Darwin(self.program(), self.command("launchctl"))
        darwin.directory = str(self.etc)
        return darwin

    def layer(self, settings: t.Mapping[str, int | None], file: Path | None = None) -> _os.OsLayer:
        return _os.OsLayer(settings, sysctl_file=str(file or self.file), sysctls=self.sysctls())

    def in_file(self) -> dict[str, str]:
        data = self.file.read_bytes()
        lines = data if self.name == "freebsd" else _launchd.lines(data, "it")
        return {name: value for name, value in _sysctl.values(lines.decode()).items() if name in WISHES}


@pytest.fixture(params=["freebsd", "darwin"])
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda fd, user, group: None)
    return Host(tmp_path, request.param)


@pytest.fixture
def mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda fd, user, group: None)
    return Host(tmp_path, "darwin")


def test_live_and_for_the_next_boot_and_once_only(host: Host) -> None:
    (checked,) = _layer.reconcile([host.layer(WISHES)], check_mode=True)
    assert checked.changed and host.live() == BEFORE and not host.file.exists()
    (done,) = _layer.reconcile([host.layer(WISHES)], check_mode=False)
    assert [changes.as_list() for changes in done.changes] == [changes.as_list() for changes in checked.changes]
    assert host.live() == host.in_file() == AFTER
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o644
    layer = host.layer(WISHES)
    found = layer.read()
    assert not layer.verify() and not layer.unsupported(found) and found["namespace"] is None
    assert {one["value"] for one in found["persistent"].values()} == set(AFTER.values())
    host.calls.unlink()
    (again,) = _layer.reconcile([host.layer(WISHES)], check_mode=False)
    assert not again.changed
    assert "=" not in host.calls.read_text()
    json.dumps(found)


def test_only_what_differs_is_set_and_in_the_way_of_the_system(host: Host) -> None:
    host.play(**{IDLE: "60000"})
    _layer.reconcile([host.layer(WISHES)], check_mode=False)
    option = "-w " if host.name == "darwin" else ""
    calls = [line for line in host.calls.read_text().splitlines() if "=" in line]
    assert calls == [f"{option}{CNT}=6", f"{option}{INTVL}=10000"]


def test_half_way_everything_is_put_back(host: Host) -> None:
    host.play(refused=INTVL)
    with pytest.raises(Failure, match=r"Operation not permitted.*everything was put back"):
        _layer.reconcile([host.layer(WISHES)], check_mode=False)
    assert host.live() == BEFORE
    assert not host.file.exists()


def test_a_note_of_what_was_found_brings_it_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.etc / "sysctl.conf").write_text("# ours\nkern.ipc.somaxconn=1024\n")
    before = (host.etc / "sysctl.conf").read_bytes()
    layer = host.layer(WISHES)
    found = layer.read()
    (outcome,) = _layer.reconcile([layer], check_mode=False)
    entry = outcome.layer.entry(outcome.found)
    assert entry is not None and entry["sysctl_file"] == str(host.file)
    monkeypatch.setattr(_sysctls, "of_host", lambda proc, search: host.sysctls())
    back = _revert._layer(None, entry)
    back.restore(_revert._found(entry))
    assert host.live() == BEFORE
    assert (host.etc / "sysctl.conf").read_bytes() == before
    assert host.file.exists() == (host.name == "freebsd")
    assert layer.read()["live"] == found["live"]


def test_what_others_wrote_into_the_file_since_stays_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (outcome,) = _layer.reconcile([host.layer(WISHES)], check_mode=False)
    entry = outcome.layer.entry(outcome.found)
    assert entry is not None
    if host.name == "freebsd":
        host.file.write_text(host.file.read_text() + "kern.ipc.somaxconn=1024\n")
    else:
        job = plistlib.loads(host.file.read_bytes())
        job["ProgramArguments"].append("kern.ipc.somaxconn=1024")
        host.file.write_bytes(plistlib.dumps(job))
    monkeypatch.setattr(_sysctls, "of_host", lambda proc, search: host.sysctls())
    _revert._layer(None, entry).restore(_revert._found(entry))
    assert host.live() == BEFORE
    assert host.in_file() == {}
    assert "kern.ipc.somaxconn=1024" in host.file.read_text()


def test_what_a_kernel_does_not_have_is_a_finding(host: Host) -> None:
    layer = host.layer({"net.ipv4.tcp_keepalive_time": 60, "net.inet.tcp.nope": 1, CNT: 6})
    (outcome,) = _layer.reconcile([layer], check_mode=False)
    reasons = {row["key"]: row["reason"] for row in layer.unsupported(outcome.found)}
    assert reasons == {"net.ipv4.tcp_keepalive_time": "absent", "net.inet.tcp.nope": "absent"}
    assert host.in_file() == {CNT: "6"}


def test_bad_input_is_refused_before_anything_is_asked(host: Host) -> None:
    for settings in ({IDLE: 0}, {CNT: 2**31}, {"kern.ipc.somaxconn": 1}, {"-a": 1}):
        with pytest.raises(Failure):
            host.layer(settings)
    assert not host.calls.exists()
    host.play(**{"net.inet.tcp.functions_default": "freebsd"})
    with pytest.raises(Failure, match="not one number"):
        host.layer({"net.inet.tcp.functions_default": 1}).read()


def test_without_root_it_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    layer = host.layer(WISHES)
    rows = layer.unsupported(layer.read())
    assert {row["reason"] for row in rows} == {"forbidden"}
    assert all("run the task as root" in row["detail"] for row in rows)


def test_promises_are_made_from_what_the_host_says(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    of_host = _sysctls.of_host
    here(host, monkeypatch)
    host.play(**{IDLE: "60500"})
    assert _in_force.kernel() == OsValues(61, 75, 8, system=host.name)
    made = of_host("/proc/sys", ())
    assert isinstance(made, _bsd.FreeBSD if host.name == "freebsd" else _bsd.Darwin)
    assert made.file(_sysctls.SYSCTL_FILE) == made.default_file
    assert made.file("/elsewhere") == "/elsewhere"


def test_an_audit_lists_what_the_system_has(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = host.layer(WISHES)
    layer.apply(layer.read())
    host.play(**{IDLE: "90500"})
    here(host, monkeypatch)
    kernel = _info._kernel(True)
    assert list(kernel["sysctls"]) == [IDLE, INTVL, CNT]
    idle = kernel["sysctls"][IDLE]
    assert (idle["value"], idle["overridden"]) == ("90500", [])
    # By default it is a file of the very host, of which launchd's cannot be played.
    line = idle["persistent"] or {}
    assert line.get("value") == ("60000" if host.name == "freebsd" else None)
    facts = {"kernel": kernel, "server": {"platform": host.name, "version_num": "170000"}}
    assert _audited.Host(facts).os == OsValues(91, 10, 6, system=host.name)
    assert not [one for one in _rules.findings(facts) if "net.ipv4" in one.where + one.evidence]


def here(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this host be the player's."""
    name = "FreeBSD" if host.name == "freebsd" else "Darwin"
    program, sysctls = host.program(), host.sysctls()
    monkeypatch.setattr(os, "uname", type("Uname", (), {"sysname": name}))
    monkeypatch.setattr(_bsd, "Program", lambda: program)
    monkeypatch.setattr(_sysctls, "of_host", lambda proc, search: sysctls)


def test_the_module_tells_what_it_did(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    here(host, monkeypatch)
    warnings: list[str] = []
    params = {"settings": WISHES, "sysctl_file": str(host.file)}
    module: t.Any = types.SimpleNamespace(params=params, check_mode=False, warn=warnings.append)
    first, second = tcp_sysctl.run(module), tcp_sysctl.run(module)
    assert first["changed"] and not second["changed"] and not warnings
    assert first["settings"][IDLE]["live"] == {"before": "7200000", "after": "60000"}
    assert first["settings"][IDLE]["persistent"]["after"]["file"] == str(host.file)
    assert second["settings"][IDLE]["persistent"]["before"]["value"] == "60000"
    assert [one["after_header"] for one in first["diff"]] == ["os: live", f"os: {host.file}"]
    assert host.live() == host.in_file() == AFTER


@pytest.mark.parametrize("check_mode", [True, False])
def test_hardening_a_host_without_a_server(host: Host, monkeypatch: pytest.MonkeyPatch, check_mode: bool) -> None:
    here(host, monkeypatch)
    policy = {"detect_dead_peer_within": "80s", "stop_orphaned_query_within": "90s"}
    options: dict[str, t.Any] = {
        "policy": policy,
        "profile": "web",
        "layers": ["os"],
        "overrides": {},
        "databases": [],
        "roles": [],
        "sysctl_file": str(host.file),
        "revert_file": str(host.root / "revert.json"),
        "scope": "auto",
        "terminate_stale_sessions": False,
    }
    login: t.Any = None
    result = _harden.run(login, options, check_mode)
    planned = {name: str(number) for name, number in result["plan"]["os"].items()}
    assert result["changed"] and set(planned) == set(WISHES)
    assert result["unsupported"] == []
    own = _table.SYSTEMS[host.name].read(result["plan"]["os"])
    assert result["hop"]["os"] == {
        "tcp_keepalive_time": own["idle"],
        "tcp_keepalive_intvl": own["interval"],
        "tcp_keepalive_probes": own["count"],
        "tcp_retries2": 15,
        "system": host.name,
    }
    assert host.live() == (BEFORE if check_mode else planned)
    assert host.file.exists() != check_mode


def test_linux_is_asked_as_before() -> None:
    assert isinstance(_sysctls.of_host("/proc/sys", ()), _procsys.Linux)


# ---- FreeBSD


def test_other_lines_of_freebsd_stay_and_those_of_the_local_file_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    host = Host(tmp_path, "freebsd")
    host.file.write_text(f"# a web server\nkern.ipc.somaxconn=1024\n{CNT}=4 # few\n")
    (host.etc / "sysctl.conf.local").write_text(f"{IDLE}=300000\n")
    layer = host.layer(WISHES)
    _layer.reconcile([layer], check_mode=False)
    lines = ["# a web server", "kern.ipc.somaxconn=1024", f"{CNT}=6", f"{IDLE}=60000", f"{INTVL}=10000"]
    assert host.file.read_text().splitlines() == lines
    (finding,) = layer.verify()
    assert finding["shadowed_by"]["file"].endswith("sysctl.conf.local")


def test_a_file_that_nothing_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("freebsd", "darwin"):
        (tmp_path / name).mkdir()
        host = Host(tmp_path / name, name)
        layer = host.layer({IDLE: 60_000}, host.root / "elsewhere.conf")
        _layer.reconcile([layer], check_mode=False)
        (finding,) = layer.verify()
        assert finding["shadowed_by"]["detail"].startswith(f"nothing reads {host.root / 'elsewhere.conf'} at boot")


def test_in_a_jail_the_host_has_to_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    host = Host(tmp_path, "freebsd")
    host.play(**{"security.jail.jailed": "1"})
    layer = host.layer({IDLE: 60_000})
    (row,) = layer.unsupported(layer.read())
    assert row["detail"] == f"{IDLE} is 7200000 and a jail may not set it: set {IDLE}=60000 on the host of the jail"


# ---- macOS


def test_launchd_is_told_and_what_it_refuses_is_undone(mac: Host) -> None:
    _layer.reconcile([mac.layer(WISHES)], check_mode=False)
    jsonschema.validate(plistlib.loads(mac.file.read_bytes()), test_systems.LAUNCHD)
    calls = mac.launched.read_text().splitlines()
    assert calls == [f"bootout system/{_launchd.LABEL}", f"bootstrap system {mac.file}"]
    mac.play(launchd_refuses="yes")
    before = mac.file.read_bytes()
    with pytest.raises(Failure, match="Bootstrap failed: 5") as caught:
        _layer.reconcile([mac.layer({**WISHES, CNT: 5})], check_mode=False)
    assert caught.value.code == "not_loaded"
    assert mac.file.read_bytes() == before
    assert mac.live() == AFTER


def test_the_job_is_taken_out_of_launchd_with_its_file(mac: Host) -> None:
    _layer.reconcile([mac.layer(WISHES)], check_mode=False)
    mac.launched.unlink()
    _layer.reconcile([mac.layer(dict.fromkeys(WISHES))], check_mode=False)
    assert not mac.file.exists()
    assert mac.launched.read_text().splitlines() == [f"bootout system/{_launchd.LABEL}"]
    assert mac.live() == AFTER


def test_a_job_of_somebody_else_is_not_touched(mac: Host) -> None:
    mac.file.write_bytes(plistlib.dumps({"Label": "backup", "ProgramArguments": ["/usr/local/bin/backup"]}))
    before = mac.file.read_bytes()
    with pytest.raises(Failure, match="a job that runs /usr/local/bin/backup"):
        _layer.reconcile([mac.layer(WISHES)], check_mode=False)
    assert mac.file.read_bytes() == before
    assert mac.live() == BEFORE


def test_old_macos_reads_a_sysctl_conf(mac: Host) -> None:
    conf = mac.etc / "sysctl.conf"
    conf.write_text("kern.maxfiles=65536\n")
    layer = mac.layer(WISHES, conf)
    _layer.reconcile([layer], check_mode=False)
    assert conf.read_text() == f"kern.maxfiles=65536\n{CNT}=6\n{IDLE}=60000\n{INTVL}=10000\n"
    assert not mac.launched.exists()
    darwin = _bsd.Darwin(mac.program())
    assert [source.path for source in darwin.sources("/etc/sysctl.conf", b"a.b=1\n")] == ["/etc/sysctl.conf"]
    assert darwin.sources("/etc/sysctl.conf", None) == []
    assert "forbids" in darwin.outside(IDLE, "1", 2, "forbidden")


def test_a_program_that_is_missing_is_an_error_and_no_crash() -> None:
    answer = _bsd.run(["/nowhere/sysctl", "-n", IDLE])
    assert answer.returncode == 127 and "No such file" in answer.stderr
    darwin = _bsd.Darwin(_bsd.Program(["/nowhere/sysctl"]))
    with pytest.raises(OSError, match="No such file"):
        darwin.write(IDLE, "1")
    assert darwin.write_all({IDLE: "1"})
