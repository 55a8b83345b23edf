# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks and roles as a user starts them, from a checkout and from an installed tarball."""

from __future__ import annotations

import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml
from _hardening import Host
from support import Cluster, places, run_playbook
from support.modules import PlaybookResult

pytestmark = pytest.mark.parametrize("major", [17])
HARDEN, REVERT = "pgharden.connection.harden", "pgharden.connection.revert"


class Fleet:
    """An inventory of several names for one machine, and a directory of the user's."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.host = Host(cluster, directory)
        self.cluster, self.directory = cluster, directory
        self.variables: dict[str, t.Any] = {
            f"{role}_{name}": value
            for role in ("harden", "revert")
            for name, value in {**self.host.login("unix"), "revert_file": str(self.host.revert_file)}.items()
        }
        self.variables |= {"harden_become": False, "revert_become": False}
        self.hosts: dict[str, dict[str, t.Any]] = {"db1": {}}

    def play(self, playbook: str | Path, *arguments: str, **options: t.Any) -> PlaybookResult:
        inventory = self.directory / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": self.hosts, "vars": self.variables}}))
        return run_playbook(
            self.cluster, playbook, *arguments, **{"inventory": inventory, "cwd": self.directory, **options}
        )

    def write(self, name: str, content: t.Any) -> Path:
        path = self.directory / name
        path.write_text(yaml.safe_dump(content))
        return path

    @property
    def hardened(self) -> bool:
        return self.host.settings()["tcp_user_timeout"] == "71000" and self.host.kernel() != KERNEL


KERNEL = {
    "net.ipv4.tcp_keepalive_time": "7200",
    "net.ipv4.tcp_keepalive_intvl": "75",
    "net.ipv4.tcp_keepalive_probes": "9",
}


@pytest.fixture
def fleet(cluster: Cluster, tmp_path: Path) -> Fleet:
    return Fleet(cluster, tmp_path)


def summary(result: PlaybookResult) -> list[str]:
    """The lines between the name of the last task and Ansible's own result for it."""
    text = result.stdout.partition("PLAY RECAP")[0].rpartition("TASK [pgharden.connection.harden : Show what")[2]
    return [line for line in text.splitlines()[1:] if line and not line.startswith("ok:")]


def test_by_its_full_name_check_run_again_and_back(fleet: Fleet) -> None:
    before = fleet.host.state()
    check = fleet.play(HARDEN, "--check", "--diff")
    assert fleet.host.state() == before
    done = fleet.play(HARDEN, "--diff")
    assert (check.rc, done.rc) == (0, 0), check.stdout + done.stdout
    assert fleet.hardened
    for result in (check, done):
        assert "+tcp_user_timeout = 71s" in result.stdout
        assert "changed=1" in result.stdout
    assert [line.replace("would change", "changed") for line in summary(check)] == summary(done)
    assert " ".join(summary(done)[1].split()) == "idle client vanished 2 h 11 min → 71 s (at worst 80 s)"
    again = fleet.play(HARDEN, "--diff")
    assert summary(again) == ["db1: nothing to change; an idle client that vanished is noticed after 71 s"]
    assert "changed=0" in again.stdout
    back = fleet.play(REVERT)
    assert "changed=1" in back.stdout
    assert fleet.host.state() == before
    assert "changed=0" in fleet.play(REVERT).stdout
    for result in (check, done, again, back):
        assert max(map(len, summary(result) or [""])) <= 100
        assert result.stderr == ""


def test_from_the_directory_of_the_playbooks(fleet: Fleet) -> None:
    # No collection path from outside: ansible.cfg in that directory has to do.
    env = {"ANSIBLE_COLLECTIONS_PATH": ""}
    cwd = places.REPOSITORY / "playbooks"
    result = run_playbook_without_path(fleet, "harden.yml", cwd, env)
    assert result.returncode == 0, result.stdout + result.stderr
    assert fleet.hardened


def run_playbook_without_path(
    fleet: Fleet, playbook: str, cwd: Path, env: dict[str, str], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """As a user who has set nothing up."""
    fleet.write("hosts.yml", {"all": {"hosts": fleet.hosts, "vars": fleet.variables}})
    inventory = str(fleet.directory / "hosts.yml")
    settings = {
        "HOME": str(fleet.directory),
        "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_TRANSPORT": "local",
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    argv = ["env", "-i", *(f"{key}={value}" for key, value in {**settings, **env}.items() if value)]
    argv += [sys.executable, "-m", "ansible", "playbook", "-i", inventory, playbook, *arguments]
    return t.cast("subprocess.CompletedProcess[str]", fleet.cluster.run(argv, cwd=cwd))


def test_a_tarball_that_is_installed_elsewhere(fleet: Fleet) -> None:
    galaxy = [sys.executable, "-m", "ansible", "galaxy", "collection"]
    env = {"HOME": str(fleet.directory), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    installed = fleet.directory / "installed"
    for argv in (
        [*galaxy, "build", str(places.REPOSITORY), "--output-path", str(fleet.directory)],
        [*galaxy, "install", "--offline", "-p", str(installed), "pgharden-connection-0.1.0.tar.gz"],
    ):
        subprocess.run(argv, cwd=fleet.directory, env=env, check=True, capture_output=True)
    assert (installed / "ansible_collections/pgharden/connection/plugins/plugin_utils/profiles/web.yml").is_file()
    path = {"ANSIBLE_COLLECTIONS_PATH": str(installed)}
    result = run_playbook_without_path(fleet, HARDEN, fleet.directory, path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert fleet.hardened


def test_hosts_with_equal_results_share_a_line_and_one_that_fails_does_not_stop_them(fleet: Fleet) -> None:
    assert fleet.play(HARDEN).rc == 0
    fleet.hosts = {
        "db1": {},
        "bad": {"harden_login_port": 1},
        "db2": {},
        "db3": {"harden_overrides": {"work_mem": 999}},
    }
    result = fleet.play(HARDEN, "--check")
    assert result.rc == 2
    lines = summary(result)
    assert lines[0] == "db1, db2: nothing to change; an idle client that vanished is noticed after 71 s"
    assert lines[1].startswith("db3: 1 value would change")
    assert not any("bad" in line for line in lines)
    assert result.stdout.count("fatal: [bad]") == 1
    assert "Start the server, or correct login_unix_socket and login_port." in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_limit_tags_and_serial(fleet: Fleet) -> None:
    fleet.hosts = {"db1": {}, "db2": {}, "db3": {}}
    one = fleet.play(HARDEN, "--limit", "db2", "--tags", "harden")
    assert (one.rc, summary(one)[0].split(":")[0]) == (0, "db2")
    assert fleet.hardened
    none = fleet.play(HARDEN, "--tags", "other")
    assert "TASK" not in none.stdout
    each = fleet.play(HARDEN, "-e", "harden_serial=1")
    assert each.rc == 0
    assert [line.split(":")[0] for line in each.stdout.splitlines() if "nothing to change" in line] == [
        "db1",
        "db2",
        "db3",
    ]
    some = fleet.play(HARDEN, "-e", "harden_hosts=db1,db3")
    assert summary(some)[0].startswith("db1, db3: ")


def own_playbook(role_variables: dict[str, t.Any], **keywords: t.Any) -> list[dict[str, t.Any]]:
    include = {"ansible.builtin.include_role": {"name": HARDEN}, "vars": role_variables}
    return [{"hosts": "all", "gather_facts": False, "tasks": [include], **keywords}]


def test_the_role_in_a_playbook_and_a_profile_of_their_own(fleet: Fleet) -> None:
    fleet.write("ours.yml", {"detect_dead_peer_within": "3min", "connect_within": "20s"})
    fleet.write("site.yml", own_playbook({"harden_profile": "ours.yml", "harden_layers": ["server"]}))
    elsewhere = fleet.directory / "elsewhere"
    elsewhere.mkdir()
    result = fleet.play(fleet.directory / "site.yml", cwd=elsewhere)  # found beside the playbook
    assert result.rc == 0, result.stdout
    values = fleet.host.settings()
    assert values["authentication_timeout"] == "8"
    assert values["idle_in_transaction_session_timeout"] == "0"
    assert fleet.host.kernel() == KERNEL
    # With our playbook, where they started it.
    again = fleet.play(HARDEN, "-e", '{"harden_profile": "./ours.yml", "harden_layers": ["server"]}')
    assert (again.rc, "changed=0" in again.stdout) == (0, True), again.stdout


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"harden_profile": "wep"}, "profile wep: there is no"),
        ({"harden_profile": "./missing.yml"}, "missing.yml"),
        ({"harden_profile": "broken.yml"}, "broken.yml cannot be read"),
        ({"harden_policy": {"detect_dead_peer": "5s"}}, "did you mean detect_dead_peer_within?"),
        ({"harden_policy": {"connect_within": "5 parsecs"}}, "connect_within"),
        ({"harden_policy": {"detect_dead_peer_within": "10s"}}, "these two cannot both hold"),
        ({"harden_policy": "soon"}, "policy"),
        ({"harden_layers": ["moon"]}, "moon"),
        ({"harden_apply_through": "config_file"}, "config_file"),
    ],
)
def test_bad_input_is_one_line(fleet: Fleet, variables: dict[str, t.Any], words: str) -> None:
    (fleet.directory / "broken.yml").write_text("a: [1\nb: {\n")
    fleet.variables |= variables
    result = fleet.play(HARDEN)
    assert result.rc == 2
    assert "Traceback" not in result.stdout + result.stderr
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("fatal: [db1]")]
    assert words in line
    assert fleet.host.kernel() == KERNEL


def test_a_wrong_type_is_refused_by_the_role(fleet: Fleet) -> None:
    fleet.write("site.yml", own_playbook({"harden_login_port": "many", "harden_reload": "perhaps"}))
    result = fleet.play("site.yml")
    assert result.rc == 2
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("fatal: [db1]")]
    for words in ("harden_login_port", "harden_reload", "perhaps", "many"):
        assert words in line
    assert "Harden the connections" not in result.stdout  # found before the module ran
    assert "Traceback" not in result.stdout + result.stderr
    assert fleet.host.kernel() == KERNEL


def test_no_password_shows_however_verbose(fleet: Fleet) -> None:
    secret = "hunter2-Of-The-Fleet"
    fleet.variables["harden_login_password"] = secret
    for extra in ({}, {"harden_login_port": "many"}, {"harden_connect_params": {"password": secret}}):
        fleet.write("site.yml", own_playbook(extra))
        result = fleet.play("site.yml", "-vvv", "--check")
        assert "Harden the connections" in result.stdout or extra
        assert secret not in result.stdout + result.stderr, extra


def test_defaults_for_the_whole_group(fleet: Fleet) -> None:
    options = {**fleet.host.login("unix"), "revert_file": str(fleet.host.revert_file)}
    fleet.variables = {}
    tasks: list[dict[str, t.Any]] = [
        {"pgharden.connection.harden": {"layers": ["server"], "policy": {"connect_within": "10s"}}},
        {"pgharden.connection.revert": {}, "register": "back"},
        {"ansible.builtin.assert": {"that": "back.changed"}},
    ]
    login = {key: value for key, value in options.items() if key != "revert_file"}
    defaults = {"group/pgharden.connection.hardening": login}
    for task in tasks[:2]:
        next(iter(task.values()))["revert_file"] = options["revert_file"]
    fleet.write("site.yml", [{"hosts": "all", "gather_facts": False, "module_defaults": defaults, "tasks": tasks}])
    result = fleet.play("site.yml")
    assert result.rc == 0, result.stdout
