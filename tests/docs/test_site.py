# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site that tools/site.py has built: its HTML and its inventory, not the pages that it was made of."""

from __future__ import annotations

import functools
import re
import typing as t
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from sphinx.util.inventory import InventoryFile

from ansible_collections.pgharden.connection.plugins.module_utils._audit import _rules
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._causes import CAUSES
from ansible_collections.pgharden.connection.plugins.module_utils._promises import PHASES

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / ".cache" / "site" / "html"
PREFIX = "ansible_collections.pgharden.connection"
PLUGINS = [
    f"{path.stem}_{kind}"
    for directory, kind in (("modules", "module"), ("filter", "filter"), ("callback", "callback"))
    for path in sorted((ROOT / "plugins" / directory).glob("[!_]*.py"))
]
ROLES = [path.parent.parent.name for path in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml"))]
GUIDES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
PAGES = sorted(str(path.relative_to(HTML)) for path in HTML.rglob("*.html"))


class Page(HTMLParser):
    """Ids, links, what is loaded, and headings with the id by which each is reached."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.headings: dict[str, str] = {}  # by the id in its own link to itself
        self._heading: list[str] | None = None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        self.ids |= {of["id"]} if of.get("id") else set()
        if re.fullmatch(r"h[1-6]", tag):
            self._heading = []
        elif tag == "a" and of.get("href"):
            if self._heading is not None and "headerlink" in (of.get("class") or ""):
                self.headings[str(of["href"]).removeprefix("#")] = "".join(self._heading).strip()
                self._heading = None
            self.links.append(str(of["href"]))
        elif tag in ("script", "img", "iframe", "source") and of.get("src"):
            self.loaded.append(str(of["src"]))
        elif tag == "link" and of.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(str(of["href"]))

    def handle_data(self, data: str) -> None:
        if self._heading is not None:
            self._heading.append(data)


@functools.cache
def page(name: str) -> Page:
    return Page(HTML / name)


@pytest.fixture(scope="module")
def labels() -> t.Mapping[str, t.Any]:
    """What other sites may link to, by the inventory that Sphinx writes for them."""
    return InventoryFile.loads((HTML / "objects.inv").read_bytes(), uri="").data["std:label"]


def titles(name: str, pattern: str) -> list[str]:
    return [title for title in page(f"docs/{name}.html").headings.values() if re.fullmatch(pattern, title)]


CATALOGUES: dict[str, t.Iterable[str]] = {"findings": _rules.RULES, "causes": CAUSES}


@pytest.mark.parametrize("name", CATALOGUES)
def test_every_finding_and_cause_has_its_page_in_the_index_and_no_page_is_without_one(name: str) -> None:
    ids = list(CATALOGUES[name])
    assert {path.stem for path in (HTML / "docs" / name).iterdir()} == set(ids)
    article = (HTML / "docs" / f"{name}.html").read_text(encoding="utf-8").partition("<article")[2]
    assert re.findall(rf'href="{name}/(\w+)\.html"', article.partition("</article>")[0]) == ids
    for id in ids:
        assert titles(f"{name}/{id}", rf"{id}: .+"), id


def test_every_profile_has_its_heading() -> None:
    profiles = {path.stem for path in (ROOT / "plugins" / "plugin_utils" / "profiles").glob("*.yml")}
    assert len(profiles) >= 6
    assert profiles == set(titles("profiles", "|".join(profiles)))
    assert profiles <= page("docs/profiles.html").ids


def test_every_phase_of_a_promise_is_named() -> None:
    text = (HTML / "docs" / "promises.html").read_text(encoding="utf-8")
    assert [phase for phase in PHASES if f">{phase}<" not in text] == []


@pytest.mark.parametrize("name", PLUGINS)
def test_every_plugin_has_its_page_with_all_of_its_options(name: str, labels: t.Mapping[str, t.Any]) -> None:
    source, _dummy, kind = name.rpartition("_")
    directory = {"module": "modules"}.get(kind, kind)
    path = ROOT / "plugins" / directory / f"{source}.py"
    sidecar = path.with_suffix(".yml")
    text = sidecar.read_text(encoding="utf-8") if sidecar.exists() else path.read_text(encoding="utf-8")
    documented = re.search(r'^DOCUMENTATION = r?"""(.*?)"""', text, re.MULTILINE | re.DOTALL)
    spec = yaml.safe_load(documented[1] if documented else text)
    spec = spec.get("DOCUMENTATION", spec)
    assert f"{PREFIX}.{name}" in labels
    ids = page(f"collection/{name}.html").ids
    for option in spec.get("options", {}):
        assert f"parameter-{option}" in ids, option


@pytest.mark.parametrize("name", ROLES)
def test_every_role_has_its_page_with_all_of_its_variables(name: str, labels: t.Mapping[str, t.Any]) -> None:
    specs = yaml.safe_load((ROOT / "roles" / name / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    assert f"{PREFIX}.{name}_role" in labels
    ids = page(f"collection/{name}_role.html").ids
    for variable in specs["argument_specs"]["main"]["options"]:
        assert f"parameter-main--{variable}" in ids, variable


@pytest.mark.parametrize("name", GUIDES)
def test_every_guide_is_reached_from_the_first_page(name: str) -> None:
    assert f"docs/{name}.html" in {link.partition("#")[0] for link in page("index.html").links}
    assert page(f"docs/{name}.html").headings


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere_and_nothing_is_loaded_from_elsewhere(name: str) -> None:
    """What is clicked may be another site's; what a page needs to be shown may not."""
    for link in page(name).loaded:
        assert not re.match(r"(https?:)?//", link), link
        assert ((HTML / name).parent / unquote(link.partition("?")[0])).exists(), link
    for link in page(name).links:
        if re.match(r"[a-z]+:", link):
            continue
        where, _dummy, fragment = unquote(link).partition("#")
        target = ((HTML / name).parent / where.partition("?")[0]).resolve() if where else HTML / name
        assert target.exists(), link
        if fragment and target.suffix == ".html":
            assert fragment in page(str(target.relative_to(HTML.resolve()))).ids, link


@pytest.mark.parametrize("name", PAGES)
def test_no_page_shows_a_complaint_of_its_tools(name: str) -> None:
    text = (HTML / name).read_text(encoding="utf-8")
    assert 'class="system-message"' not in text  # of docutils
    assert 'class="contents' not in text  # over which the theme writes one


def test_links_to_the_repository_name_what_is_there() -> None:
    repository = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["repository"]
    found = 0
    for name in PAGES:
        for link in page(name).links:
            match = re.fullmatch(rf"{re.escape(repository)}/(?:blob|tree)/main/([^#]+)(?:#.*)?", link)
            if match:
                found += 1
                assert (ROOT / match[1]).exists(), f"{name}: {link}"
    assert found > 10
