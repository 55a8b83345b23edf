# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files for macOS and Windows, read by programs of others: libplist, Wine's registry, a parser of PowerShell.

The systems themselves are not here; what is tested is that the files say what they are meant to.
"""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell
import yaml
from support import places

from ansible_collections.pgharden.connection.plugins.module_utils._systems import _files, _launchd, _table

BINARIES = Path(sys.executable).parent
KEY = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
POLICY = {"detect_dead_peer_within": "90s"}


def ansible(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PATH": f"{BINARIES}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": str(places.REPOSITORY / ".ansible" / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(cwd),
    }
    return subprocess.run(list(arguments), env=env, cwd=cwd, capture_output=True, text=True, check=False)


def play(tasks: list[dict[str, t.Any]], cwd: Path, **variables: t.Any) -> subprocess.CompletedProcess[str]:
    book = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (cwd / "play.yml").write_text(yaml.safe_dump(book))
    return ansible("ansible-playbook", "-i", "localhost,", "play.yml", cwd=cwd)


# ---- macOS


def plistutil(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("plistutil")
    if not program:
        pytest.skip("no plistutil (libplist-utils) on this machine")
    argv = [program, "-i", str(source), "-o", str(target)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_another_program_reads_the_job_of_launchd(tmp_path: Path) -> None:
    wishes = _table.DARWIN.settings(60, 10, 6)
    source, binary, again = (tmp_path / name for name in ("a.plist", "b.plist", "c.plist"))
    source.write_bytes(_launchd.render(wishes))
    assert plistutil(source, binary).returncode == 0
    assert binary.read_bytes().startswith(b"bplist00")
    assert plistutil(binary, again).returncode == 0
    assert plistlib.loads(again.read_bytes()) == _launchd.job(wishes)
    # A binary one, as the plutil of macOS may leave it, is edited like any other.
    edited = _launchd.edit(binary.read_bytes(), {"net.inet.tcp.keepcnt": 4}, "it")
    assert edited is not None
    source.write_bytes(edited)
    assert plistutil(source, binary).returncode == 0
    assert "net.inet.tcp.keepcnt=4" in plistlib.loads(binary.read_bytes())["ProgramArguments"]
    source.write_bytes(_launchd.render(wishes).replace(b"</array>", b""))
    binary.unlink()
    assert plistutil(source, binary).returncode != 0 or not binary.exists()


# ---- Windows: the registry


class Registry:
    """A registry of Wine's, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.env = {
            **{name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")},
            "HOME": str(directory),
            "WINEPREFIX": str(directory / "prefix"),
            "WINEARCH": "win64",
            "WINEDEBUG": "-all",
            # No questions about .NET and HTML.
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }

    def wine(self, *arguments: str) -> str:
        # A pipe would be kept open by the services of Windows, which stay a little longer.
        with tempfile.TemporaryFile("w+") as output:
            streams: dict[str, t.Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.DEVNULL}
            subprocess.run(["wine", *arguments], env=self.env, timeout=600, check=False, **streams)
            output.seek(0)
            return output.read()

    def values(self) -> dict[str, tuple[str, int]]:
        rows = [line.split() for line in self.wine("reg", "query", KEY).splitlines()]
        return {row[0]: (row[1], int(row[2], 16)) for row in rows if len(row) == 3 and row[0].startswith("KeepAlive")}

    def wait_for(self, values: dict[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
        """regedit may come back before its work is done."""
        until = time.monotonic() + 60
        while (found := self.values()) != values and time.monotonic() < until:
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Registry]:
    if not shutil.which("wine"):
        pytest.skip("no wine on this machine")
    directory = tmp_path_factory.mktemp("wine")
    made = Registry(directory)
    try:
        made.wine("wineboot", "--init")
        yield made
    finally:
        # wineserver serves this directory alone, and ends its programs.
        subprocess.run(["wineserver", "--kill"], env=made.env, check=False)
        shutil.rmtree(directory, ignore_errors=True)


def written_by_template(directory: Path, policy: dict[str, t.Any]) -> Path:
    """The file as the documentation of the filter has it written."""
    template = "{{ policy | pgharden.connection.plan | pgharden.connection.tcp_settings_file('windows') }}"
    (directory / "tcp.reg.j2").write_text(template)
    arguments = {"src": "tcp.reg.j2", "dest": f"{directory}/tcp.reg", "mode": "0644"}
    arguments |= {"output_encoding": "utf-16", "newline_sequence": "\r\n"}
    answer = play([{"ansible.builtin.template": arguments}], directory, policy=policy)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return directory / "tcp.reg"


def test_a_registration_file_arrives_in_the_registry_as_the_role_sets_it(registry: Registry, tmp_path: Path) -> None:
    assert registry.values() == {}
    file = written_by_template(tmp_path, POLICY)
    wanted = settings_of_the_role(tmp_path)
    assert file.read_bytes() == _files.encode(_files.render(_table.WINDOWS, wanted), "reg")
    registry.wine("regedit", "/S", f"Z:{file}")
    expected = {name: ("REG_DWORD", number) for name, number in wanted.items()}
    assert registry.wait_for(expected) == expected
    # Again, with other values, as bytes of ours.
    file.write_bytes(_files.encode(_files.render(_table.WINDOWS, _table.WINDOWS.settings(4_294_967, 1, None)), "reg"))
    registry.wine("regedit", "/S", f"Z:{file}")
    largest = {"KeepAliveTime": ("REG_DWORD", 4_294_967_000), "KeepAliveInterval": ("REG_DWORD", 1000)}
    assert registry.wait_for(largest) == largest
    # The header is what makes it a file for the registry.
    file.write_bytes(_files.encode(_files.render(_table.WINDOWS, wanted).partition("\r\n")[2], "reg"))
    registry.wine("regedit", "/S", f"Z:{file}")
    assert registry.values() == largest


# ---- Windows: PowerShell


def parse(script: str) -> tree_sitter.Node:
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    return parser.parse(script.encode()).root_node


def texts(node: tree_sitter.Node, kind: str) -> list[str]:
    """What stands in the nodes of a *kind*, in the order of the script."""
    own = [(node.text or b"").decode()] if node.type == kind else []
    return own + [text for child in node.children for text in texts(child, kind)]


def test_the_script_is_powershell_and_makes_the_same_values() -> None:
    wanted = _table.WINDOWS.settings(60, 10, None)
    script = _files.render(_table.WINDOWS, wanted, "powershell")
    tree = parse(script)
    assert not tree.has_error
    assert texts(tree, "command_name") == ["New-ItemProperty", "Out-Null"] * 2 + ["Write-Warning"]
    assert texts(tree, "command_parameter") == ["-Path", "-Name", "-PropertyType", "-Value", "-Force"] * 2
    literals = texts(tree, "verbatim_string_characters")
    assert literals[0] == f"'{KEY.replace('HKLM', 'HKLM:', 1)}'"
    numbers = dict(zip(literals[1:], texts(tree, "decimal_integer_literal"), strict=False))
    assert {name.strip("'"): int(number) for name, number in numbers.items()} == wanted
    assert parse(script.replace("'KeepAliveTime'", "'KeepAliveTime")).has_error
    assert parse(script.replace("$key = ", "$key = (")).has_error


# ---- Windows: the role


def settings_of_the_role(directory: Path, **variables: t.Any) -> dict[str, int]:
    """What the role's own variables come to, given a policy."""
    role = places.REPOSITORY / "roles" / "windows"
    tasks = [
        {"ansible.builtin.include_vars": str(role / "vars" / "main.yml")},
        {
            "ansible.builtin.copy": {
                "content": "{{ {'key': windows_tcp_key, 'settings': windows_tcp_settings} | to_json }}",
                "dest": f"{directory}/role.json",
                "mode": "0644",
            }
        },
    ]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text())
    answer = play(tasks, directory, **{**defaults, "harden_policy": POLICY, **variables})
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = yaml.safe_load((directory / "role.json").read_text())
    assert found["key"] == KEY.replace("HKLM", "HKLM:", 1)
    return t.cast("dict[str, int]", found["settings"])


def test_the_role_works_out_whole_numbers_for_the_policy_of_all_hops(tmp_path: Path) -> None:
    found = settings_of_the_role(tmp_path)
    assert set(found) == {"KeepAliveTime", "KeepAliveInterval"}
    assert all(isinstance(number, int) and number % 1000 == 0 for number in found.values())
    assert found["KeepAliveTime"] + 10 * found["KeepAliveInterval"] <= 80_000
    own = settings_of_the_role(tmp_path, windows_profile="interactive", windows_policy={})
    assert own != found


def documented(kind: str, name: str, directory: Path) -> dict[str, t.Any]:
    answer = ansible("ansible-doc", "-t", kind, "-j", name, cwd=directory)
    assert answer.returncode == 0, answer.stderr
    return t.cast("dict[str, t.Any]", yaml.safe_load(answer.stdout))[name]["doc"]["options"]


@pytest.fixture(scope="module")
def windows_collection() -> None:
    if not (places.REPOSITORY / ".ansible" / "collections" / "ansible_collections" / "ansible" / "windows").is_dir():
        pytest.skip("the collection ansible.windows is not here (tools/fetch_collections.py)")


@pytest.mark.usefixtures("windows_collection")
def test_the_modules_of_windows_take_what_the_role_gives_them(tmp_path: Path) -> None:
    tasks = yaml.safe_load((places.REPOSITORY / "roles" / "windows" / "tasks" / "main.yml").read_text())
    given = {name: task[name] for task in tasks for name in task if name.startswith("ansible.windows.")}
    assert set(given) == {"ansible.windows.win_regedit", "ansible.windows.win_reboot"}
    for name, arguments in given.items():
        options = documented("module", name, tmp_path)
        assert set(arguments) <= set(options), name
    assert "dword" in documented("module", "ansible.windows.win_regedit", tmp_path)["type"]["choices"]
    book = places.REPOSITORY / "playbooks" / "windows.yml"
    assert ansible("ansible-playbook", "--syntax-check", "-i", "localhost,", str(book), cwd=tmp_path).returncode == 0


@pytest.mark.usefixtures("windows_collection")
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"windows_reboot": "perhaps"}, "windows_reboot"),
        ({"windows_reboot_timeout": "soon"}, "windows_reboot_timeout"),
        ({"windows_policy": ["90s"]}, "windows_policy"),
        ({"windows_policy": {"detect_dead_peer_within": "12s"}}, "always sends 10 probes"),
    ],
)
def test_bad_input_is_refused_before_a_host_is_asked(variables: dict[str, t.Any], words: str, tmp_path: Path) -> None:
    role = {"ansible.builtin.include_role": {"name": "pgharden.connection.windows"}}
    answer = play([role], tmp_path, **variables)
    assert answer.returncode != 0
    assert words in answer.stdout
