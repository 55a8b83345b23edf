# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layer os by itself: the bytes of its file, which file wins, and what is put back; on directories of the test."""

from __future__ import annotations

import errno
import json
import os
import stat
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _layer, _os, _procsys, _sysctlconf

TIME, INTVL, PROBES = (f"net.ipv4.tcp_keepalive_{name}" for name in ("time", "intvl", "probes"))
RETRIES = "net.ipv4.tcp_retries2"
HEADER = _sysctlconf.HEADER


# ---- the bytes of a file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60", 60),
        (" 60\t", 60),
        ("0x3c", 60),
        ("0X3C", 60),
        ("074", 60),
        ("0", 0),
        ("-1", -1),
        ("60 # a minute", 60),
        ("60\t90", 60),
        ("60# a minute", None),
        ("+60", None),
        ("1_000", None),
        ("089", None),
        ("٦٠", None),
        ("", None),
        (None, None),
    ],
)
def test_numbers_are_the_kernels(text: str | None, expected: int | None) -> None:
    assert _sysctlconf.number(text) == expected
    assert _sysctlconf.single_number(text) == (expected if len((text or "").split()) == 1 else None)


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("net.ipv4.tcp_keepalive_time = 60", TIME, "60"),
        ("  net.ipv4.tcp_keepalive_time=60  ", TIME, "60"),
        ("net/ipv4/tcp_keepalive_time = 60\r", TIME, "60"),
        ("-net.ipv4.tcp_keepalive_time = 60", TIME, "60"),
        ("- net.ipv4.tcp_keepalive_time = 60", TIME, "60"),
        ("-net.ipv4.tcp_keepalive_time", TIME, None),
        ("net.ipv4.tcp_keepalive_time = 60 # a minute", TIME, "60 # a minute"),
        ("net.ipv4.tcp_keepalive_time = a = b", TIME, "a = b"),
        ("net.ipv4.tcp_keepalive_time =", TIME, ""),
        ("net/ipv4/conf/eth0.100/rp_filter = 1", "net.ipv4.conf.eth0/100.rp_filter", "1"),
        ("net.ipv4.conf.eth0/100.rp_filter = 1", "net.ipv4.conf.eth0/100.rp_filter", "1"),
        ("net.ipv4.tcp_* = 3", "net.ipv4.tcp_*", "3"),
    ],
)
def test_every_spelling_of_a_line(line: str, key: str, value: str | None) -> None:
    assert _sysctlconf.assignments(f"# one\n{line}\n".encode()) == [_sysctlconf.Assignment(key, value, 2)]


@pytest.mark.parametrize(
    "line",
    ["", "  \t", "# net.ipv4.tcp_retries2 = 3", "; net.ipv4.tcp_retries2 = 3", "net.ipv4.x", "=", "=1", "-", "- = 1"],
)
def test_lines_that_set_nothing(line: str) -> None:
    assert _sysctlconf.assignments(f"{line}\n".encode()) == []


@pytest.mark.parametrize(
    ("before", "settings", "after"),
    [
        pytest.param(None, {TIME: 60, INTVL: 5}, f"{HEADER}{INTVL} = 5\n{TIME} = 60\n", id="new"),
        pytest.param(None, {TIME: None}, None, id="nothing to take out of nothing"),
        pytest.param(None, {}, None, id="nothing at all"),
        pytest.param("", {TIME: 60}, f"{HEADER}{TIME} = 60\n", id="empty file"),
        pytest.param(f"{HEADER}{TIME} = 60\n", {TIME: 61}, f"{HEADER}{TIME} = 61\n", id="another value"),
        pytest.param(f"{TIME}=0x3c\n", {TIME: 60}, f"{TIME}=0x3c\n", id="another spelling of the number is right"),
        pytest.param(
            "net/ipv4/tcp_keepalive_time=60", {TIME: 60}, "net/ipv4/tcp_keepalive_time=60", id="and of the key"
        ),
        pytest.param(f"{TIME}=1\n# x\n{TIME}=2\n", {TIME: 60}, f"# x\n{TIME} = 60\n", id="duplicates become one"),
        pytest.param(
            f"{TIME}=1\n{TIME}=60\n", {TIME: 60}, f"{TIME}=1\n{TIME}=60\n", id="the last one is right already"
        ),
        pytest.param(f"-{TIME}\n", {TIME: 60}, f"{TIME} = 60\n", id="an exclusion is no value"),
        pytest.param("kernel.x = 1", {TIME: 60}, f"kernel.x = 1\n{TIME} = 60\n", id="no final newline"),
        pytest.param(
            f"# mine\n\n# why\n{RETRIES} = 8\n",
            {TIME: 60, "net.ipv4.tcp_syn_retries": 3},
            f"# mine\n\n{TIME} = 60\n# why\n{RETRIES} = 8\nnet.ipv4.tcp_syn_retries = 3\n",
            id="sorted in, above a comment and its line",
        ),
        pytest.param(f"{HEADER}{TIME} = 1\n", {INTVL: 5}, f"{HEADER}{INTVL} = 5\n{TIME} = 1\n", id="below the header"),
        pytest.param(f"{HEADER}{TIME} = 1\n", {TIME: None}, None, id="nothing left"),
        pytest.param(f"{HEADER}# mine\n{TIME} = 1\n", {TIME: None}, f"{HEADER}# mine\n", id="a comment left"),
        pytest.param(HEADER, {TIME: None}, HEADER, id="nothing taken out"),
        pytest.param("net.ipv4.tcp_* = 3\n", {TIME: 60}, f"net.ipv4.tcp_* = 3\n{TIME} = 60\n", id="wildcards stay"),
        pytest.param(f"a\r\n{TIME} = 1\r\nb\r\n", {TIME: 2}, f"a\r\n{TIME} = 2\nb\r\n", id="crlf stays on other lines"),
    ],
)
def test_edit(before: str | None, settings: dict[str, int | None], after: str | None) -> None:
    data = None if before is None else before.encode()
    assert _sysctlconf.edit(data, settings) == (None if after is None else after.encode())


FOREIGN = st.sampled_from(
    [b"# a comment", b"", b"kernel.pid_max = 4194304", b"\xff\xfe = \xe9", b"; x", b"net.ipv4.tcp_*=1"]
)
OURS = st.builds(
    lambda key, number, form: form.format(key, number).encode(),
    st.sampled_from([TIME, INTVL, TIME.replace(".", "/")]),
    st.integers(0, 99),
    st.sampled_from(["{} = {}", "{}={}", "-{} = {}", "  {}\t= {}\r", "-{}"]),
)
LINES = st.lists(st.one_of(FOREIGN, OURS, st.binary(max_size=12).filter(lambda raw: b"\n" not in raw)), max_size=12)
SETTINGS = st.dictionaries(st.sampled_from([TIME, INTVL, PROBES]), st.none() | st.integers(1, 99))


@given(LINES, SETTINGS, st.booleans())
def test_edit_keeps_every_other_line_and_converges(
    lines: list[bytes], settings: dict[str, int | None], newline: bool
) -> None:
    data = b"\n".join(lines) + (b"\n" if newline else b"")
    edited = _sysctlconf.edit(data, settings)

    def foreign(content: bytes | None) -> list[bytes]:
        rows = (content or b"").split(b"\n")
        return [
            row for row in rows if row.strip() and not {one.key for one in _sysctlconf.assignments(row)} & {*settings}
        ]

    for key, wanted in settings.items():
        assert _sysctlconf.number(_sysctlconf.value_in(edited, key)) == wanted
    ours = HEADER.strip().encode()
    assert [row for row in foreign(edited) if row != ours] == [row for row in foreign(data) if row != ours]
    assert _sysctlconf.edit(edited, settings) == edited


# ---- which file wins


class Tree:
    """Directories as of sysctl.d(5), and a fake /proc/sys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.search = [str(root / name) for name in ("etc", "run", "lib", "sysctl.conf")]
        self.proc = root / "proc"
        self.file = root / "etc" / "90-ours.conf"
        for key, value in ((TIME, 7200), (INTVL, 75), (PROBES, 9), (RETRIES, 15)):
            self.put(f"proc/{key.replace('.', '/')}", f"{value}\n")

    def put(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    def layer(self, settings: dict[str, int | None], **options: t.Any) -> _os.OsLayer:
        return _os.OsLayer(
            settings, **{"sysctl_file": str(self.file), "proc": str(self.proc), "search": self.search, **options}
        )

    def live(self, key: str) -> str:
        return (self.proc / key.replace(".", "/")).read_text().strip()

    def everything(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"etc/10-a.conf": "K=1", "lib/50-b.conf": "K=2"}, ("lib/50-b.conf", 1, "2"), id="by name only"),
        pytest.param({"etc/50-a.conf": "K=1", "lib/50-a.conf": "K=2"}, ("etc/50-a.conf", 1, "1"), id="etc hides lib"),
        pytest.param({"run/50-a.conf": "K=1", "lib/50-a.conf": "K=2"}, ("run/50-a.conf", 1, "1"), id="run hides lib"),
        pytest.param({"etc/50-a.conf": "", "lib/50-a.conf": "K=2"}, None, id="masked"),
        pytest.param({"etc/50-a.conf": "K=1\n#\nK=2"}, ("etc/50-a.conf", 3, "2"), id="the last line"),
        pytest.param({"etc/99-a.conf": "K=1", "sysctl.conf": "K=2"}, ("sysctl.conf", 1, "2"), id="sysctl.conf last"),
        pytest.param({"etc/99-a": "K=1", "etc/x.conf.bak": "K=2"}, None, id="no .conf"),
        pytest.param({"etc/10-a.conf": "K=1", "etc/99-b.conf": "G=2"}, ("etc/10-a.conf", 1, "1"), id="name beats glob"),
        pytest.param({"etc/10-a.conf": "G=1", "etc/99-b.conf": "G=2"}, ("etc/99-b.conf", 1, "2"), id="the last glob"),
        pytest.param({"etc/10-a.conf": "net.*=1\nnet.*.tcp_nothing=2"}, None, id="globs that match something else"),
        pytest.param({"etc/10-a.conf": "G=1\n-K"}, ("etc/10-a.conf", 2, None), id="excluded"),
        pytest.param({"etc/10-a.conf": "-K=1"}, ("etc/10-a.conf", 1, "1"), id="errors ignored"),
    ],
)
def test_precedence(tree: Tree, files: dict[str, str], expected: tuple[str, int, str | None] | None) -> None:
    for name, text in files.items():
        tree.put(name, text.replace("K", TIME).replace("G", "net.ipv4.tcp_keep*"))
    found = tree.layer({TIME: 60}).read()["persistent"][TIME]
    if expected is None:
        assert found is None
    else:
        name, line, value = expected
        assert found == {"value": value, "file": str(tree.root / name), "line": line}


def test_a_link_to_dev_null_masks_and_a_directory_or_an_unreadable_file_is_passed_over(tree: Tree) -> None:
    tree.put("lib/50-a.conf", f"{TIME}=1\n")
    (tree.root / "etc").mkdir()
    (tree.root / "etc/50-a.conf").symlink_to("/dev/null")
    (tree.root / "etc/60-b.conf").mkdir()
    assert tree.layer({TIME: 60}).read()["persistent"] == {TIME: None}


@pytest.mark.parametrize(
    ("files", "when"),
    [
        ({"etc/99-a.conf": "K=1"}, "boot"),
        ({"lib/99-a.conf": "K=1"}, "boot"),
        ({"sysctl.conf": "K=1"}, "sysctl --system"),
        ({"etc/99-a.conf": "-K"}, "boot"),
        ({"etc/99-a.conf": "K=1", "sysctl.conf": "K=60"}, "boot"),
        ({"etc/99-a.conf": "K=0x3c"}, None),
        ({"etc/10-a.conf": "K=1"}, None),
        ({"etc/99-a.conf": "net.ipv4.*=1"}, None),
    ],
)
def test_who_wins_over_ours_is_told(tree: Tree, files: dict[str, str], when: str | None) -> None:
    for name, text in files.items():
        tree.put(name, "\n" + text.replace("K", TIME))
    layer = tree.layer({TIME: 60, INTVL: None})
    found = layer.read()
    foreseen = layer.shadowed(found, layer.planned(found))
    layer.apply(found)
    findings = layer.verify()
    assert foreseen == findings
    if when is None:
        assert findings == []
    else:
        by = findings[0]["shadowed_by"]
        assert (len(findings), findings[0]["key"], by["when"], by["line"]) == (1, TIME, when, 2)
        assert by["file"] == str(tree.root / next(iter(files)))


@pytest.mark.parametrize("name", ["etc/ours", "elsewhere/90-ours.conf"])
def test_a_file_that_nothing_reads_is_told(tree: Tree, name: str) -> None:
    layer = tree.layer({TIME: 60}, sysctl_file=str(tree.root / name))
    layer.apply(layer.read())
    assert [one["shadowed_by"]["file"] for one in layer.verify()] == [None]


def test_sysctl_conf_as_our_file_counts_at_boot_only_through_a_link(tree: Tree) -> None:
    own = tree.put("sysctl.conf", "")
    layer = tree.layer({TIME: 60}, sysctl_file=str(own))
    layer.apply(layer.read())
    assert [one["shadowed_by"]["when"] for one in layer.verify()] == ["boot"]
    (tree.root / "etc").mkdir()
    (tree.root / "etc/99-sysctl.conf").symlink_to("../sysctl.conf")
    assert layer.verify() == []


# ---- what may be asked for


@pytest.mark.parametrize(
    ("key", "number", "code"),
    [
        (TIME, 32768, "out_of_kernel_range"),
        (TIME, 0, "out_of_kernel_range"),
        (INTVL, 32768, "out_of_kernel_range"),
        (PROBES, 128, "out_of_kernel_range"),
        ("net.core.somaxconn", 1, "not_a_tcp_sysctl"),
        ("net.ipv4.ip_forward", 1, "not_a_tcp_sysctl"),
        ("net.ipv4.tcp_x/../../../kernel/panic", 1, "not_a_tcp_sysctl"),
        ("net.ipv4.tcp_retries2\n", 1, "not_a_tcp_sysctl"),
        ("net.core.somaxconn", None, "not_a_tcp_sysctl"),
    ],
)
def test_refused_before_anything_is_read(key: str, number: int | None, code: str) -> None:
    with pytest.raises(Failure) as caught:
        _os.OsLayer({key: number}, proc="/nowhere")
    assert caught.value.code == code


@pytest.mark.parametrize(("key", "number"), [(TIME, 32767), (INTVL, 1), (PROBES, 127), (RETRIES, 0)])
def test_accepted_up_to_the_limits(key: str, number: int) -> None:
    assert _os.OsLayer({key: number}).settings == {key: number}


def test_a_setting_of_several_numbers_is_refused(tree: Tree) -> None:
    tree.put("proc/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n")
    with pytest.raises(Failure) as caught:
        tree.layer({"net.ipv4.tcp_rmem": 4096}).read()
    assert caught.value.code == "not_a_number"


def test_absent_in_this_kernel(tree: Tree) -> None:
    layer = tree.layer({TIME: 60, "net.ipv4.tcp_syn_linear_timeouts": 4})
    found = layer.read()
    assert [(one["key"], one["reason"]) for one in layer.unsupported(found)] == [
        ("net.ipv4.tcp_syn_linear_timeouts", "absent")
    ]
    layer.apply(found)
    assert tree.file.read_text() == f"{HEADER}{TIME} = 60\n"
    assert not (tree.proc / "net/ipv4/tcp_syn_linear_timeouts").exists()


@pytest.mark.parametrize(
    ("marker", "expected"), [("core/netdev_budget", "initial"), ("core/somaxconn", "other"), ("x", None)]
)
def test_namespace(tree: Tree, marker: str, expected: str | None) -> None:
    tree.put(f"proc/net/{marker}", "1\n")
    assert tree.layer({}).read()["namespace"] == expected


# ---- apply, verify, restore


def test_what_is_applied_is_what_was_compared_and_then_nothing_is_left(tree: Tree) -> None:
    tree.put("etc/90-ours.conf", f"# mine\n{TIME} = 61\n{RETRIES} = 8\n")
    layer = tree.layer({TIME: 60, INTVL: 75, RETRIES: None})
    found = json.loads(json.dumps(layer.read()))
    live, file = layer.compare(found)
    assert live.as_list() == [{"name": TIME, "before": "7200", "after": "60"}]
    assert [(row.name, row.before, row.after) for row in file.rows] == [
        (INTVL, None, "75"),
        (TIME, "61", "60"),
        (RETRIES, "8", None),
    ]
    applied = layer.apply(found)
    assert [one.diff() for one in applied] == [one.diff() for one in (live, file)]
    assert tree.file.read_text() == f"# mine\n{INTVL} = 75\n{TIME} = 60\n"
    assert (tree.live(TIME), tree.live(RETRIES)) == ("60", "15")
    assert layer.verify() == []
    before = tree.file.stat()
    assert not any(layer.apply(layer.read()))
    assert (tree.file.stat().st_ino, tree.file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_new_file_is_for_all_to_read_and_an_existing_one_keeps_its_mode(tree: Tree) -> None:
    mask = os.umask(0o077)
    try:
        layer = tree.layer({TIME: 60})
        layer.apply(layer.read())
    finally:
        os.umask(mask)
    assert stat.S_IMODE(tree.file.stat().st_mode) == 0o644
    tree.file.chmod(0o640)
    layer = tree.layer({TIME: 61})
    layer.apply(layer.read())
    assert stat.S_IMODE(tree.file.stat().st_mode) == 0o640


def test_an_edit_made_between_read_and_apply_is_not_lost(tree: Tree) -> None:
    layer = tree.layer({TIME: 60})
    found = layer.read()
    tree.put("etc/90-ours.conf", "# just now\n")
    layer.apply(found)
    assert tree.file.read_text() == f"# just now\n{TIME} = 60\n"


@pytest.mark.parametrize("before", [None, f"# mine\xff\n{TIME} = 61"])
def test_restore_puts_back_every_byte(tree: Tree, before: str | None) -> None:
    if before is not None:
        tree.put("etc/90-ours.conf", before)
    everything = tree.everything()
    layer = tree.layer({TIME: 60, RETRIES: 8, "net.ipv4.tcp_absent": 1})
    found = json.loads(json.dumps(layer.read()))
    applied = layer.apply(found)
    changed = tree.everything()
    other = tree.layer({})  # the file and the settings are those of *found*
    foreseen = other.restore(found, check_only=True)
    assert tree.everything() == changed
    restored = other.restore(found)
    assert [one.diff() for one in foreseen] == [one.diff() for one in restored]
    assert restored[0].diff()["after"] == applied[0].diff()["before"]
    assert tree.everything() == everything
    assert tree.file.parent.exists() == (before is not None)
    assert not any(other.restore(found))


def test_restore_brings_back_a_file_that_had_nothing_left_in_it(tree: Tree) -> None:
    tree.put("etc/90-ours.conf", f"{TIME} = 61\n").chmod(0o600)
    layer = tree.layer({TIME: None})
    found = layer.read()
    layer.apply(found)
    assert not tree.file.exists()
    layer.restore(found)
    assert (tree.file.read_text(), stat.S_IMODE(tree.file.stat().st_mode)) == (f"{TIME} = 61\n", 0o600)


def test_restore_counts_comments_too(tree: Tree) -> None:
    tree.put("etc/90-ours.conf", "# as found\n")
    layer = tree.layer({})
    found = layer.read()
    tree.put("etc/90-ours.conf", "# as edited\n")
    assert any(layer.restore(found))
    assert tree.file.read_text() == "# as found\n"


Write = t.Callable[[_procsys.Live, str, str | None], None]


def refusing(monkeypatch: pytest.MonkeyPatch, refuses: t.Callable[[str, str | None], bool]) -> None:
    """Let the kernel refuse some writes."""
    really: Write = _procsys.Live.write

    def write(self: _procsys.Live, key: str, value: str | None) -> None:
        if refuses(key, value):
            raise OSError(errno.EINVAL, "Invalid argument")
        really(self, key, value)

    monkeypatch.setattr(_procsys.Live, "write", write)


@pytest.mark.parametrize("before", [None, f"{TIME}=61\n"])
@pytest.mark.parametrize("refused", [INTVL, PROBES, TIME, RETRIES])
def test_half_way_everything_is_put_back(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, refused: str, before: str | None
) -> None:
    if before is not None:
        tree.put("etc/90-ours.conf", before)
    everything = tree.everything()
    refusing(monkeypatch, lambda key, value: key == refused and value == "7")
    layer = tree.layer({INTVL: 7, PROBES: 7, TIME: 7, RETRIES: 7})
    with pytest.raises(Failure, match="everything was put back") as caught:
        _layer.reconcile([layer], check_mode=False)
    assert caught.value.as_dict()["key"] == refused
    assert tree.everything() == everything
    assert tree.file.parent.exists() == (before is not None)


def test_what_cannot_be_put_back_is_told(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = tree.layer({INTVL: 7, TIME: 7})
    found = layer.read()
    refusing(monkeypatch, lambda key, value: key == TIME or value == "75")
    with pytest.raises(Failure, match=f"not everything could be put back.*{INTVL} = 75: Invalid argument"):
        _layer.reconcile([layer], check_mode=False)
    assert not tree.file.exists()  # whatever can be put back is
    with pytest.raises(Failure) as caught:
        layer.restore(found)
    assert caught.value.code == "not_restored"


def test_a_value_that_does_not_stay_is_a_failure(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_procsys.Live, "write", lambda self, key, value: None)
    layer = tree.layer({TIME: 60})
    layer.apply(layer.read())
    with pytest.raises(Failure, match=f"{TIME} is 7200 instead of 60") as caught:
        layer.verify()
    assert caught.value.code == "not_in_force"


def test_no_directory_can_be_made(tree: Tree) -> None:
    (tree.root / "etc").symlink_to("nowhere")
    layer = tree.layer({TIME: 60})
    with pytest.raises(Failure) as caught:
        layer.apply(layer.read())
    assert caught.value.code == "no_directory"
    assert tree.live(TIME) == "7200"
