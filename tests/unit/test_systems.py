# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems other than Linux: their settings, their files, and what their programs print."""

from __future__ import annotations

import plistlib
import typing as t
from pathlib import Path

import jsonschema
import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.filter import plan as plan_filter
from ansible_collections.pgharden.connection.plugins.filter import tcp_settings, tcp_settings_file
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._systems import _files, _launchd, _sysctl, _table

#: What the programs printed on real systems; of FreeBSD the settings that it lists last, with a value of many lines.
RECORDED = Path(__file__).resolve().parent / "data" / "systems"
IDLE, INTVL, CNT = _table.DARWIN.names
SETTINGS = {IDLE: 60_000, INTVL: 5000, CNT: 3}

_STRINGS: dict[str, t.Any] = {"type": "array", "items": {"type": "string"}}
_CALENDAR = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in ("Minute", "Hour", "Day", "Weekday", "Month")},
    "additionalProperties": False,
}
#: The keys of launchd.plist(5) that a job like ours may have. Any other key is one that launchd would ignore.
LAUNCHD: dict[str, t.Any] = {
    "type": "object",
    "properties": {
        "Label": {"type": "string", "pattern": r"^[A-Za-z0-9._-]+$"},
        "Disabled": {"type": "boolean"},
        "UserName": {"type": "string"},
        "GroupName": {"type": "string"},
        "Program": {"type": "string", "pattern": "^/"},
        "ProgramArguments": {**_STRINGS, "minItems": 1},
        "EnableGlobbing": {"type": "boolean"},
        "RunAtLoad": {"type": "boolean"},
        "KeepAlive": {"type": ["boolean", "object"]},
        "WorkingDirectory": {"type": "string"},
        "EnvironmentVariables": {"type": "object", "additionalProperties": {"type": "string"}},
        "Umask": {"type": ["integer", "string"]},
        "TimeOut": {"type": "integer"},
        "ExitTimeOut": {"type": "integer"},
        "ThrottleInterval": {"type": "integer"},
        "StartInterval": {"type": "integer"},
        "StartCalendarInterval": {"anyOf": [_CALENDAR, {"type": "array", "items": _CALENDAR}]},
        "WatchPaths": _STRINGS,
        "StandardInPath": {"type": "string"},
        "StandardOutPath": {"type": "string"},
        "StandardErrorPath": {"type": "string"},
        "ProcessType": {"enum": ["Background", "Standard", "Adaptive", "Interactive"]},
        "AbandonProcessGroup": {"type": "boolean"},
        "LaunchOnlyOnce": {"type": "boolean"},
        "Nice": {"type": "integer", "minimum": -20, "maximum": 20},
    },
    "required": ["Label"],
    "anyOf": [{"required": ["Program"]}, {"required": ["ProgramArguments"]}],
    "additionalProperties": False,
}


# ---- the table


@given(
    st.sampled_from(list(_table.SYSTEMS.values())), st.integers(1, 32767), st.integers(1, 32767), st.integers(1, 127)
)
def test_seconds_come_back_from_the_settings_of_every_system(
    system: _table.System, idle: int, interval: int, count: int
) -> None:
    found = system.settings(idle, interval, count)
    assert tuple(found) == system.names
    for name, number in found.items():
        system.check(name, number)
    parts = {"idle": idle, "interval": interval, "count": count}
    assert system.read(found) == {part: parts[part] for part, _name in zip(parts, system.names, strict=False)}
    assert system.read({name: str(number) for name, number in found.items()}) == system.read(found)


def test_what_is_not_asked_for_is_not_set_and_parts_of_a_second_count_as_one() -> None:
    assert _table.FREEBSD.settings(None, 5, None) == {INTVL: 5000}
    assert _table.FREEBSD.read({IDLE: "1500", "net.inet.tcp.keepinit": "75000"}) == {"idle": 2}
    assert _table.WINDOWS.settings(60, 10, 10) == {"KeepAliveTime": 60_000, "KeepAliveInterval": 10_000}


@pytest.mark.parametrize(
    ("system", "name", "number"),
    [
        (_table.DARWIN, IDLE, 0),
        (_table.FREEBSD, CNT, 2**31),
        (_table.WINDOWS, "KeepAliveTime", 2**32),
        (_table.LINUX, "net.ipv4.tcp_keepalive_probes", 128),
    ],
)
def test_what_a_kernel_would_refuse_is_refused(system: _table.System, name: str, number: int) -> None:
    with pytest.raises(Failure, match=f"set {name} to {number}") as caught:
        system.check(name, number)
    assert caught.value.code == "out_of_kernel_range"
    system.check("net.inet.tcp.msl", 0)  # not of this table


def test_systems_by_name() -> None:
    assert _table.named("darwin", "it").label == "macOS"
    assert _table.arithmetic("other") is _table.LINUX
    with pytest.raises(Failure, match="Choose linux, darwin, freebsd, windows"):
        _table.named("solaris", "it")


# ---- launchd


def test_a_job_has_the_keys_that_launchd_knows_and_names_that_the_kernel_knows() -> None:
    job = plistlib.loads(_launchd.render(SETTINGS))
    jsonschema.validate(job, LAUNCHD)
    assert job == {
        "Label": "pgharden.connection.sysctl",
        "ProgramArguments": ["/usr/sbin/sysctl", f"{CNT}=3", f"{IDLE}=60000", f"{INTVL}=5000"],
        "RunAtLoad": True,
    }
    kernel = _sysctl.values((RECORDED / "macos.txt").read_text())
    assert {argument.partition("=")[0] for argument in job["ProgramArguments"][1:]} <= set(kernel)
    assert f"/Library/LaunchDaemons/{job['Label']}.plist" == _launchd.FILE
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job, "RunAtBoot": True}, LAUNCHD)


NUMBERS = st.dictionaries(st.sampled_from([IDLE, INTVL, CNT, "net.inet.tcp.msl"]), st.integers(1, 2**31 - 1))
WISHES = st.dictionaries(st.sampled_from([IDLE, INTVL, CNT]), st.one_of(st.none(), st.integers(1, 2**31 - 1)))


@given(NUMBERS, WISHES, st.sampled_from(["xml", "binary"]))
def test_a_job_that_is_edited_keeps_what_others_put_there(
    there: dict[str, int], wishes: dict[str, int | None], form: str
) -> None:
    format = plistlib.FMT_XML if form == "xml" else plistlib.FMT_BINARY
    own = {**_launchd.job(there, "own"), "Nice": 3}
    own["ProgramArguments"][1:1] = ["-w"]
    data = plistlib.dumps(own, fmt=format)
    expected: dict[str, int] = {**there, **wishes}  # type: ignore[dict-item]
    expected = {name: number for name, number in expected.items() if number is not None}
    edited = _launchd.edit(data, wishes, "it")
    if not expected:
        assert edited is None or (edited == data and not there)
        return
    assert edited is not None
    found = plistlib.loads(edited)
    assert _sysctl.values(_launchd.lines(edited, "it").decode()) == {n: str(number) for n, number in expected.items()}
    assert found.pop("ProgramArguments")[:2] == ["/usr/sbin/sysctl", "-w"]
    assert found == {"Label": "own", "RunAtLoad": True, "Nice": 3}
    assert _launchd.edit(edited, wishes, "it") == edited
    assert (edited == data) == (there == expected)
    assert _launchd.label_of(edited, "it") == "own"


def test_a_new_job_and_one_that_nothing_is_left_of() -> None:
    assert _launchd.edit(None, {IDLE: None}, "it") is None
    data = _launchd.edit(None, {IDLE: 60_000, CNT: None}, "it", "own")
    assert data is not None
    assert plistlib.loads(data)["Label"] == "own"
    assert _launchd.edit(data, {IDLE: None}, "it") is None
    twice = plistlib.dumps({"Label": "own", "ProgramArguments": ["sysctl", f"{IDLE}=1", f"{IDLE}=2"]})
    edited = _launchd.edit(twice, {IDLE: 2}, "it")
    assert edited is not None
    assert plistlib.loads(edited)["ProgramArguments"] == ["sysctl", f"{IDLE}=2"]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"<plist", "no property list"),
        (b"net.inet.tcp.keepidle=1\n", "no property list"),
        (plistlib.dumps([1]), "no job"),
        (plistlib.dumps({"Label": "a"}), "no job"),
        (plistlib.dumps({"ProgramArguments": [1]}), "no job"),
        (plistlib.dumps({"ProgramArguments": ["/bin/sh"]}), "a job that runs /bin/sh"),
    ],
)
def test_a_file_of_somebody_else_is_left_alone(data: bytes, found: str) -> None:
    with pytest.raises(Failure, match=found) as caught:
        _launchd.edit(data, {IDLE: 1}, "edit /tmp/x.plist")
    assert caught.value.code == "foreign_file"


# ---- other files


def test_lines_of_a_sysctl_conf_have_no_spaces() -> None:
    text = _files.render(_table.FREEBSD, SETTINGS)
    assert text == f"{CNT}=3\n{IDLE}=60000\n{INTVL}=5000\n"
    assert _files.render(_table.DARWIN, SETTINGS, "sysctl.conf") == text
    assert _files.encode(text, "sysctl.conf") == text.encode()
    assert _files.render(_table.DARWIN, SETTINGS).encode() == _launchd.render(SETTINGS)


def test_a_registration_file_is_as_regedit_writes_it() -> None:
    data = _files.encode(_files.render(_table.WINDOWS, _table.WINDOWS.settings(60, 10, None)), "reg")
    assert data.startswith(b"\xff\xfeW\x00")
    assert data[2:].decode("utf-16-le").split("\r\n") == [
        "Windows Registry Editor Version 5.00",
        "",
        r"[HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters]",
        '"KeepAliveInterval"=dword:00002710',
        '"KeepAliveTime"=dword:0000ea60',
        "",
        "",
    ]


def test_powershell_takes_numbers_above_its_signed_integers_as_bits() -> None:
    text = _files.render(_table.WINDOWS, {"KeepAliveTime": 0xFFFFFFFF, "KeepAliveInterval": 1}, "powershell")
    assert "-Value 0xFFFFFFFF " in text
    assert "-Value 1 " in text
    assert text.count("\r\n") == text.count("\n") == 4


def test_files_that_there_are_not() -> None:
    with pytest.raises(Failure, match=r"Choose plist or sysctl\.conf"):
        _files.render(_table.DARWIN, SETTINGS, "reg")
    with pytest.raises(Failure, match="macOS takes 1 to"):
        _files.render(_table.DARWIN, {IDLE: 0})


# ---- what sysctl prints


def test_recorded_output_of_every_system() -> None:
    macos, freebsd, linux = (
        _sysctl.values((RECORDED / name).read_text()) for name in ("macos.txt", "freebsd.txt", "linux.txt")
    )
    assert _table.DARWIN.read(macos) == {"idle": 7200, "interval": 75, "count": 8}
    assert _table.DARWIN.defaults == (7200, 75, 8)
    assert _table.LINUX.read(linux) == {"idle": 7200, "interval": 75, "count": 9}
    assert linux["net.ipv4.tcp_rmem"] == "4096\t131072\t33554432"
    assert _table.FREEBSD.read(freebsd) == {"count": 8}
    assert freebsd["net.inet.tcp.functions_available"] == ""
    assert freebsd["net.inet.tcp.functions_default"] == "freebsd"
    # The figures that data on its way is reckoned with.
    assert int(freebsd["net.inet.tcp.retries"]) == len(_table.FREEBSD.backoff) - 1
    assert int(freebsd["net.inet.tcp.rexmit_min"]) == 1000 * _table.SHORTEST
    assert int(freebsd["net.inet.tcp.rexmit_slop"]) == 1000 * _table.SLOP


def test_recorded_output_of_a_change() -> None:
    found = _sysctl.readings((RECORDED / "macos-set.txt").read_text())
    assert _sysctl.Reading(IDLE, "3600", "7200000") in found
    assert _sysctl.values("net.ipv4.tcp_retries2 = 15\nkern.x=1\n") == {"net.ipv4.tcp_retries2": "15", "kern.x": "1"}
    assert _sysctl.values("sysctl: unknown oid 'net.inet.tcp.x'\n") == {}


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("sysctl: unknown oid 'net.inet.ip.fw.enable'", True),
        ("sysctl: cannot stat /proc/sys/net/ipv4/tcp_nope: No such file or directory", True),
        ("second level name foo in foo.bar is unknown", True),
        ("sysctl: net.inet.tcp.keepidle=1: Operation not permitted", False),
    ],
)
def test_a_setting_that_the_kernel_does_not_have(text: str, unknown: bool) -> None:
    assert _sysctl.is_unknown(text) == unknown


# ---- the filters

plan: t.Any = plan_filter.FilterModule().filters()["plan"]
settings: t.Any = tcp_settings.FilterModule().filters()["tcp_settings"]
file: t.Any = tcp_settings_file.FilterModule().filters()["tcp_settings_file"]


def test_one_plan_for_every_system() -> None:
    made = plan({"detect_dead_peer_within": "90s"}, profile="web", version=16)
    assert settings(made, "linux") == made["os"]
    mac = settings(made, "darwin")
    assert mac == settings(made, "freebsd")
    assert mac[IDLE] == 1000 * made["os"]["net.ipv4.tcp_keepalive_time"]
    windows = settings(made, "windows")
    assert windows["KeepAliveTime"] + 10 * windows["KeepAliveInterval"] <= 80_000
    assert file(made, "windows") == _files.render(_table.WINDOWS, windows)
    assert plistlib.loads(file(made, "darwin").encode())["Label"] == "pgharden.connection.sysctl"
    assert file(made, "windows", format="powershell").startswith("$key = 'HKLM:\\SYSTEM\\")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: settings({}, "linux"), "it has no policy"),
        (lambda: settings("web", "linux"), "it has no policy"),
        (lambda: settings(plan({}), "solaris"), "no system known here"),
        (lambda: file({"policy": {"connect_within": "5s"}}, "windows"), "asks nothing of the kernel"),
        (lambda: file(plan({}), "freebsd", "plist"), r"Choose sysctl\.conf"),
    ],
)
def test_bad_input_is_an_error_of_ansible(call: t.Callable[[], t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        call()
