# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written twice for Ansible must say the same: options of modules and roles, modules and action group."""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path
from unittest import mock

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("capture", "client", "drill", "haproxy", "harden", "patroni", "pgbouncer", "revert")
#: Variables of a role that are no option of its module.
MORE = {
    "capture": {"capture_fetch", "capture_fetch_to", "capture_keep"},
    "client": {"client_install", "client_package", "client_users"},
    "drill": {"drill_report_dir"},
    "haproxy": {"haproxy_install", "haproxy_package"},
    "patroni": {"patroni_members", "patroni_os", "patroni_sysctl_file"},
    "pgbouncer": {"pgbouncer_install", "pgbouncer_package"},
}


class Stopped(Exception):
    """The module has shown its argument spec."""


def module_options(name: str) -> dict[str, dict[str, t.Any]]:
    """The argument spec of a module, as it gives it to AnsibleModule."""
    module = importlib.import_module(f"ansible_collections.pgharden.connection.plugins.modules.{name}")
    with mock.patch.object(module, "AnsibleModule", side_effect=Stopped) as made, pytest.raises(Stopped):
        module.main()
    return t.cast("dict[str, dict[str, t.Any]]", made.call_args.kwargs["argument_spec"])


def read(*path: str) -> t.Any:
    return yaml.safe_load(ROOT.joinpath(*path).read_text("utf-8"))


def role_options(name: str) -> dict[str, dict[str, t.Any]]:
    return t.cast(
        "dict[str, dict[str, t.Any]]",
        read("roles", name, "meta", "argument_specs.yml")["argument_specs"]["main"]["options"],
    )


@pytest.mark.parametrize("role", ROLES)
def test_each_option_of_the_module_is_a_variable_of_the_role(role: str) -> None:
    options, variables = module_options(role), role_options(role)
    assert set(variables) == {f"{role}_{name}" for name in options} | {f"{role}_become"} | MORE.get(role, set())
    for name, option in options.items():
        variable = variables[f"{role}_{name}"]
        for key in ("type", "elements", "choices", "default"):
            assert variable.get(key) == option.get(key), (name, key)
        assert bool(variable.get("no_log")) == bool(option.get("no_log")), name


@pytest.mark.parametrize("role", ROLES)
def test_each_variable_reaches_the_module(role: str) -> None:
    module = f"pgharden.connection.{role}"
    arguments = next(task[module] for task in read("roles", role, "tasks", "main.yml") if module in task)
    assert arguments == {name: f"{{{{ {role}_{name} | default(omit) }}}}" for name in module_options(role)}


@pytest.mark.parametrize("role", ROLES)
def test_the_defaults_are_those_that_are_documented(role: str) -> None:
    variables = role_options(role)
    for name, value in read("roles", role, "defaults", "main.yml").items():
        # The policy is that of the role harden: one for all hops.
        plain = value if not str(value).startswith("{{") else variables[name]["default"]
        assert plain == variables[name]["default"], name


def test_the_action_group_has_every_module() -> None:
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert set(read("meta", "runtime.yml")["action_groups"]["hardening"]) == modules


def test_modules_describe_the_keys_of_a_policy_and_no_others() -> None:
    from ansible_collections.pgharden.connection.plugins.doc_fragments.policy import ModuleDocFragment
    from ansible_collections.pgharden.connection.plugins.module_utils import _policy

    described = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]["policy"]["suboptions"]
    assert set(described) == set(_policy.KEYS)
