# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands, playbooks and variables that the pages name are there."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROLES = {
    path.parents[1].name: set(yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"])
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")
}
PLAYBOOKS = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "playbooks").glob("*.yml")}
NAMES = {
    *ROLES,
    *PLAYBOOKS,
    *(path.stem for kind in ("modules", "filter", "callback") for path in (ROOT / "plugins" / kind).glob("[!_]*.py")),
}
TARGETS = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def blocks(page: Path) -> t.Iterator[tuple[str, str]]:
    yield from BLOCK.findall(page.read_text(encoding="utf-8"))


def is_variable(name: str) -> bool:
    """Whether a role has it, or a playbook asks for it."""
    return any(name in options for options in ROLES.values()) or any(
        re.search(rf"\b{name}\b", text) for text in PLAYBOOKS.values()
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_of_the_collection_are_there(page: Path) -> None:
    named = set(re.findall(r"\bpgharden\.connection\.([a-z_]+)\b", page.read_text(encoding="utf-8")))
    assert named - NAMES == ({"sysctl"} if page.stem == "systems" else set())  # there the label of a job of launchd


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_playbooks_and_variables_of_commands_are_there(page: Path) -> None:
    for _language, block in blocks(page):
        for line in block.replace("\\\n", " ").splitlines():
            if not line.startswith("ansible-playbook"):
                continue
            for playbook in re.findall(r"pgharden\.connection\.(\w+)", line):
                assert playbook in PLAYBOOKS, line
            for variable in re.findall(r"(?:-e|--extra-vars)[ =]'?\"?(\w+)=", line):
                assert is_variable(variable), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_variables_of_roles_in_examples_are_there(page: Path) -> None:
    prefixes = "|".join(sorted(ROLES))
    for language, block in blocks(page):
        if language in ("yaml", "ini"):
            for variable in re.findall(rf"^\s*((?:{prefixes})_\w+)(?: *[:=])", block, re.MULTILINE):
                assert is_variable(variable), f"{page.name}: {variable}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_targets_of_make_are_there(page: Path) -> None:
    targets = {name for line in TARGETS for name in line.split()}
    for _language, block in blocks(page):
        for target in re.findall(r"^make ([a-z-]+)", block, re.MULTILINE):
            assert target in targets, target


def test_the_commands_of_the_readme_are_those_of_the_first_ten_minutes() -> None:
    """The README's are run against a server by tests/integration/test_readme.py."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Use it\n")[2]
    commands = BLOCK.findall(readme)[0][1].splitlines()
    start = [
        line
        for language, block in blocks(ROOT / "docs" / "start.md")
        if language == "sh"
        for line in block.splitlines()
    ]
    assert start == commands


def test_what_is_said_to_prove_something_is_there_and_no_test_is_forgotten() -> None:
    page = (ROOT / "docs" / "proved.md").read_text(encoding="utf-8")
    found: set[Path] = set()
    for pattern in re.findall(r"`((?:tests/\w+/)?test_[\w*]+\.py)`", page):
        places = (
            [pattern] if "/" in pattern else [f"tests/{kind}/{pattern}" for kind in ("unit", "integration", "docs")]
        )
        matched = [path for place in places for path in ROOT.glob(place)]
        assert matched, pattern
        found.update(matched)
    assert set((ROOT / "tests" / "integration").glob("test_*.py")) - found == set()
    scenarios = {path.parent.name for path in (ROOT / "extensions" / "molecule").glob("*/molecule.yml")}
    assert {name for name in scenarios if f"`{name}`" not in page} == set()
