# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Links between the Markdown pages of the checkout, as GitHub and an editor resolve them: files and headings."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path
from urllib.parse import unquote

import _tree
from markdown_it import MarkdownIt
from markdown_it.token import Token

#: What the documentation site shows as it is.
GUIDES = (
    *("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md"),
    *("docs/*.md", "docs/findings/*.md", "docs/causes/*.md"),
)
PAGES = (*GUIDES, "roles/*/README.md")
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False})
ELSEWHERE = re.compile(r"[a-z]+:", re.IGNORECASE)


def slug(title: str) -> str:
    """GitHub's name of a heading, but for the number that a repeated one gets."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def _tokens(tokens: t.Iterable[Token]) -> t.Iterator[Token]:
    for token in tokens:
        yield token
        yield from _tokens(token.children or [])


def headings(page: Path) -> set[str]:
    """What a link to a part of the page may name."""
    text = page.read_text(encoding="utf-8")
    tokens = MARKDOWN.parse(text)
    found: set[str] = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            inline = tokens[number + 1].children or []
            name = slug("".join(part.content for part in inline if part.type in ("text", "code_inline")))
            same, count = name, 0
            while same in found:
                count += 1
                same = f"{name}-{count}"
            found.add(same)
    return found


def links(page: Path) -> list[str]:
    """Where its links and pictures lead, those to other sites aside."""
    found = []
    for token in _tokens(MARKDOWN.parse(page.read_text(encoding="utf-8"))):
        href = token.attrs.get("href" if token.type == "link_open" else "src" if token.type == "image" else "")
        if href and not ELSEWHERE.match(str(href)):
            found.append(unquote(str(href)))
    return found


def pages() -> list[Path]:
    return [path for pattern in PAGES for path in sorted(_tree.ROOT.glob(pattern))]


def broken() -> list[str]:
    """A line for each link that leads nowhere."""
    known: dict[Path, set[str]] = {}
    found = []
    for page in pages():
        for link in links(page):
            name, _dummy, fragment = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists():
                found.append(f"{page.relative_to(_tree.ROOT)}: there is no {name}")
            elif fragment and target.suffix == ".md":
                if target not in known:
                    known[target] = headings(target)
                if fragment not in known[target]:
                    found.append(f"{page.relative_to(_tree.ROOT)}: {name or page.name} has no heading #{fragment}")
    return found
