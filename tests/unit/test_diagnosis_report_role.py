# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role diagnose says the same as the module behind it, whose name is another; docs/causes has every cause."""

from __future__ import annotations

import re

from test_roles import ROOT, module_options, read, role_options

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._causes import CAUSES, IDLE_LIMITS


def test_each_option_of_the_module_is_a_variable_of_the_role() -> None:
    options, variables = module_options("diagnosis_info"), role_options("diagnose")
    assert set(variables) == {f"diagnose_{name}" for name in (*options, "become", "clients", "report_dir")}
    for name, option in options.items():
        variable = variables[f"diagnose_{name}"]
        for key in ("type", "elements", "choices", "default"):
            assert variable.get(key) == option.get(key), (name, key)
        assert bool(variable.get("no_log")) == bool(option.get("no_log")), name
        inner = {key: {**one, "description": None} for key, one in variable.get("options", {}).items()}
        assert inner == {key: {**one, "description": None} for key, one in option.get("options", {}).items()}


def test_each_variable_reaches_the_module() -> None:
    (task,) = (
        one for one in read("roles", "diagnose", "tasks", "main.yml") if one.get("register") == "diagnose_result"
    )
    variables = {name: f"diagnose_{name} | default(omit)" for name in module_options("diagnosis_info")}
    variables["client_hosts"] = "diagnose_looks + diagnose_client_hosts | default([])"
    arguments = task["pgharden.connection.diagnosis_info"]
    assert arguments == {name: f"{{{{ {expression} }}}}" for name, expression in variables.items()}


def test_the_defaults_are_those_that_are_documented() -> None:
    variables = role_options("diagnose")
    for name, value in read("roles", "diagnose", "defaults", "main.yml").items():
        assert value == variables[name]["default"], name


def test_every_cause_has_its_page_and_no_page_is_without_a_cause() -> None:
    pages = {page.stem: page.read_text("utf-8") for page in (ROOT / "docs" / "causes").iterdir()}
    assert set(pages) == set(CAUSES)
    for id, cause in CAUSES.items():
        page = pages[id]
        assert page.startswith(f"# {id}: {cause.title}\n"), id
        parts = dict(re.findall(r"^## (.+)\n\n(.+(?:\n.+)*)$", page, re.MULTILINE))
        assert list(parts) == ["What happened", "How it shows", "Confused with", "What to do", "Prevented by"], id
        for key in cause.prevented_by:
            assert f"`{key}`" in parts["Prevented by"], (id, key)


def test_the_index_has_every_cause() -> None:
    text = (ROOT / "docs" / "causes.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(causes/\1\.md\) \| (.+) \|$", text, re.MULTILINE)
    assert rows == [(id, cause.title) for id, cause in CAUSES.items()]


def test_every_idle_limit_is_in_the_table_of_devices() -> None:
    text = (ROOT / "docs" / "causes.md").read_text("utf-8")
    limits = [int(number) for number in re.findall(r"^\| (\d+) \| ", text, re.MULTILINE)]
    assert limits == sorted(limits)
    assert {limit for limit, _who in IDLE_LIMITS} <= set(limits)
