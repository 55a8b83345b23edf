# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's settings of the documentation site, which tools/site.py builds; the checkout is named by PGHARDEN_ROOT."""

from __future__ import annotations

import os
import posixpath
import typing as t
from pathlib import Path

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

CHECKOUT = Path(os.environ["PGHARDEN_ROOT"])
GALAXY = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text(encoding="utf-8"))

project = f"{GALAXY['namespace']}.{GALAXY['name']}"
copyright = "pgharden maintainers"
version = release = GALAXY["version"]
html_title = f"{project} {release}"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block"]

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_use_index = False
smartquotes = False  # a message is searched for as it is printed
pygments_style = "ansible"
highlight_language = "none"
templates_path: list[str] = []

# No page of another site is asked for, so that the site is built without a network.
intersphinx_mapping: dict[str, t.Any] = {}
nitpicky = True
# Labels of Ansible's own documentation, which antsibull-docs refers to on the pages of modules and callbacks.
nitpick_ignore = [
    ("std:ref", "action_plugins"),
    ("std:ref", "ansible_configuration_settings"),
    ("std:ref", "callback_plugins"),
    ("std:ref", "common_return_values"),
]
# Pages of other collections, under "see also".
nitpick_ignore_regex = [("std:ref", r"ansible_collections\.(?!pgharden\.connection\.).*")]


class Links(SphinxTransform):
    """Relative links that mean a file of the checkout: its page of this site when it has one, else the repository."""

    default_priority = 5

    def apply(self, **kwargs: t.Any) -> None:
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node.get("reftype") == "myst" and not node.get("refdomain"):
                self.resolve(node)

    def resolve(self, node: addnodes.pending_xref) -> None:
        target, _dummy, fragment = str(node["reftarget"]).partition("#")
        if not target:
            return
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self.env.docname), target))
        page = page_of(path)
        if page:
            node.replace_self(
                addnodes.pending_xref(
                    "",
                    *node.children,
                    refdoc=self.env.docname,
                    refdomain="std",
                    reftype="doc",
                    reftarget=f"/{page}",
                    refexplicit=True,
                    refwarn=True,
                )
            )
        elif (CHECKOUT / path).exists():
            kind = "tree" if (CHECKOUT / path).is_dir() else "blob"
            uri = f"{GALAXY['repository']}/{kind}/main/{path}" + (f"#{fragment}" if fragment else "")
            reference = nodes.reference("", "", *node.children, refuri=uri)
            inline = nodes.inline("", "", reference)
            node.replace_self(inline.children)


def page_of(path: str) -> str | None:
    """The page on which antsibull-docs documents the file *path* of the checkout."""
    parts = path.split("/")
    if parts[0] == "roles" and len(parts) > 1:
        return f"collection/{parts[1]}_role"
    if parts[0] == "plugins" and len(parts) == 3:
        kind = {"modules": "module", "filter": "filter", "callback": "callback"}.get(parts[1])
        name = parts[2].partition(".")[0]
        return f"collection/{name}_{kind}" if kind and not name.startswith("_") else None
    return None


def with_pages_below(app: Sphinx, docname: str, source: list[str]) -> None:
    """A page beside a directory of the same name is the index of what is in there."""
    if (CHECKOUT / docname).is_dir():
        below = f"{posixpath.basename(docname)}/*"
        source[0] += f"\n```{{toctree}}\n:hidden:\n:glob:\n\n{below}\n```\n"


def without_contents(app: Sphinx, doctree: nodes.document) -> None:
    """Take the tables of contents of antsibull-docs away: the theme has its own beside each page, and complains."""
    for topic in list(doctree.findall(nodes.topic)):
        if "contents" in topic["classes"]:
            topic.parent.remove(topic)
            for title in doctree.findall(nodes.title):
                title.attributes.pop("refid", None)  # leads back to where it was in that table


def setup(app: Sphinx) -> dict[str, t.Any]:
    app.add_transform(Links)
    app.connect("source-read", with_pages_below)
    app.connect("doctree-read", without_contents)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
