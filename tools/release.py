# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release: `prepare VERSION` writes version and changelog, `check [--tag TAG]` says what is missing to publish it."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import _tree
import yaml

GALAXY = _tree.ROOT / "galaxy.yml"
CHANGES = _tree.ROOT / "changelogs"
# https://semver.org, without the metadata of a build, which Galaxy ignores when it compares.
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")


def version() -> str:
    return str(yaml.safe_load(GALAXY.read_text(encoding="utf-8"))["version"])


def git(*command: str) -> str:
    return subprocess.run(["git", *command], cwd=_tree.ROOT, check=True, capture_output=True, text=True).stdout.strip()


def missing(tag: str | None) -> list[str]:
    """A line for each reason why this commit cannot be published."""
    found = []
    of_this = version()
    if not VERSION.fullmatch(of_this):
        found.append(f"galaxy.yml: {of_this} is no semantic version")
    if tag is not None and tag != of_this:
        found.append(f"the tag is {tag}, and galaxy.yml has {of_this}")
    releases = yaml.safe_load((CHANGES / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    if of_this not in releases:
        found.append(f"changelogs/changelog.yaml has no release {of_this}: tools/release.py prepare {of_this}")
    elif not releases[of_this].get("release_date"):
        found.append(f"changelogs/changelog.yaml has no date for {of_this}")
    if f'<a id="v{of_this.replace(".", "-")}">' not in (_tree.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        found.append(f"CHANGELOG.md has nothing of {of_this}")
    left = sorted(path.name for path in (CHANGES / "fragments").glob("*.y*ml"))
    if left:
        found.append(f"changelogs/fragments has what no release has yet: {', '.join(left)}")
    changed = git("status", "--porcelain")
    if changed:
        found.append(f"not committed:\n{changed}")
    return found


def prepare(new: str) -> None:
    """Write *new* into galaxy.yml, and turn the fragments into its changelog."""
    if not VERSION.fullmatch(new):
        sys.exit(f"{new} is no semantic version, such as 1.2.0 or 1.2.0-rc.1")
    releases = yaml.safe_load((CHANGES / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    if new in releases:
        sys.exit(f"{new} was released on {releases[new].get('release_date')}; a version is never used twice")
    text = GALAXY.read_text(encoding="utf-8")
    GALAXY.write_text(re.sub(r"^version: .*$", f"version: {new}", text, flags=re.MULTILINE), encoding="utf-8")
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["antsibull-changelog", "release", "--version", new], cwd=_tree.ROOT, check=True, env=tools)
    print(f"{new}: read CHANGELOG.md, commit, and then tag that commit: git tag {new}")


def main(arguments: t.Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare").add_argument("version")
    commands.add_parser("check").add_argument("--tag")
    options = parser.parse_args(arguments)
    if options.command == "prepare":
        prepare(options.version)
        return 0
    problems = missing(options.tag)
    print(*(problems or [f"{version()} can be published"]), sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
