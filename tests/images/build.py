#!/usr/bin/env python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the container images with PostgreSQL: ``build.py [NAME ...]``, every major if none is named.

The base comes from a registry if one answers, otherwise from the distribution's packages through mmdebstrap. An image
is made once; its tag is a hash of what it is made of. ``patroni`` is an image on top of that of a major, with the very
Patroni that requirements/dev.txt has brought into .venv: a container needs no way to a package index.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import fcntl
import functools
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
import urllib.error
import urllib.request
from pathlib import Path

DOCKERFILE = Path(__file__).with_name("Dockerfile")
PATRONI_DOCKERFILE = Path(__file__).with_name("Dockerfile.patroni")
#: The name of that image, and the major that it is on top of.
PATRONI, PATRONI_MAJOR = "patroni", 17
REPOSITORY = "pgharden-test"
REGISTRY = "https://registry-1.docker.io/v2/"
KEYRINGS = Path("/usr/share/keyrings")
MMDEBSTRAP = [
    "--variant=minbase",
    "--include=apt,ca-certificates",
    # A mirror may be a snapshot whose Release files have expired. It stays in the image, where the same holds.
    '--aptopt=Acquire::Check-Valid-Until "false"',
    *(f"--dpkgopt=path-exclude=/usr/share/{unneeded}/*" for unneeded in ("doc", "man", "locale")),
    '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin',
]
DEFAULT_MIRRORS = {
    "debian": "http://deb.debian.org/debian",
    "debian-security": "http://deb.debian.org/debian-security",
    "ubuntu": "http://archive.ubuntu.com/ubuntu",
}


class BuildError(Exception):
    """An image could not be made; the message ends with the tail of the log."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A distribution's release; *archives* are (mirror, suite, components)."""

    suite: str
    public: str
    archives: tuple[tuple[str, str, str], ...]


def _debian(suite: str) -> Recipe:
    archives = (("debian", suite, "main"), ("debian", f"{suite}-updates", "main"))
    security = (("debian-security", f"{suite}-security", "main"),)
    return Recipe(suite, f"debian:{suite}-slim", archives + security)


def _ubuntu(suite: str) -> Recipe:
    components = "main universe"
    return Recipe(suite, f"ubuntu:{suite}", tuple(("ubuntu", s, components) for s in (suite, f"{suite}-updates")))


# The release that carries each major.
RECIPES = {
    13: _debian("bullseye"),
    14: _ubuntu("jammy"),
    15: _debian("bookworm"),
    16: _ubuntu("noble"),
    17: _debian("trixie"),
    18: Recipe("forky", "debian:forky-slim", (("debian", "forky", "main"),)),
}


Name = int | str


def image(major: Name) -> str:
    """The name of the image of that major, or of Patroni's, built or not."""
    if major == PATRONI:
        inputs = _hash(PATRONI_DOCKERFILE.read_text(), _patroni().version, image(PATRONI_MAJOR))
        return f"{REPOSITORY}/patroni:{PATRONI_MAJOR}-{inputs}"
    inputs = _hash(DOCKERFILE.read_text(), RECIPES[t.cast("int", major)], MMDEBSTRAP)
    return f"{REPOSITORY}/postgres:{major}-{inputs}"


def exists(major: Name) -> bool:
    """Whether the image is there."""
    return _there(image(major))


@functools.cache
def missing() -> str:
    """What has to be done on this machine before images can be built; empty if nothing."""
    if not shutil.which("docker"):
        return "install the Docker Engine (Debian: apt-get install docker.io)"
    answer = subprocess.run(["docker", "version"], check=False, capture_output=True, text=True)
    if answer.returncode:
        if "permission denied" in answer.stderr:
            return "let this user use Docker (become root, or a member of the group docker)"
        return f"start the Docker Engine ({answer.stderr.strip().splitlines()[-1]})"
    if not shutil.which("mmdebstrap") and not _registry_answers():
        return "no registry answers: install mmdebstrap (Debian: apt-get install mmdebstrap)"
    return ""


def ensure(major: Name) -> bool:
    """Build the image unless it is there; whether it was built. Others who want the same one wait."""
    if exists(major):
        return False
    if problem := missing():
        raise BuildError(f"the image of {_called(major)} cannot be built: {problem}")
    if major == PATRONI:
        ensure(PATRONI_MAJOR)
    with _locked(f"image-{major}"), tempfile.TemporaryDirectory(prefix=f"{REPOSITORY}-") as scratch:
        if exists(major):
            return False
        if major == PATRONI:
            _Build(RECIPES[PATRONI_MAJOR], Path(scratch)).patroni()
            return True
        build = _Build(RECIPES[t.cast("int", major)], Path(scratch))
        arguments = [f"--build-arg=BASE={build.base()}", f"--build-arg=MAJOR={major}", f"--tag={image(major)}"]
        with DOCKERFILE.open("rb") as dockerfile:  # no context: the Dockerfile copies nothing
            build.run("docker", "build", "--force-rm", *arguments, "-", stdin=dockerfile)
    return True


class _Build:
    """One image in the making: its steps and their log."""

    def __init__(self, recipe: Recipe, scratch: Path) -> None:
        self.recipe = recipe
        self.scratch = scratch
        scratch.chmod(0o755)  # apt verifies signatures as a user of its own
        self.log = scratch / "log"

    def run(self, *argv: str, stdin: t.IO[bytes] | int = subprocess.DEVNULL, cwd: Path | None = None) -> None:
        """Run a step, or say how it failed. It has a second try, for mirrors and registries that fail for a moment."""
        for _turn in range(2):
            if not isinstance(stdin, int):
                stdin.seek(0)
            with self.log.open("ab") as log:
                done = subprocess.run(argv, check=False, stdin=stdin, stdout=log, stderr=log, cwd=cwd)
            if not done.returncode:
                break
        else:
            tail = "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-30:])
            raise BuildError(
                f"the image with {self.recipe.suite} was not built: {' '.join(argv[:2])} ended with {done.returncode}. "
                f"The end of its log:\n{tail}"
            )

    def patroni(self) -> None:
        """The image of Patroni: its context is the package as it lies in .venv, which is pure Python."""
        context = self.scratch / "context"
        for file in _patroni().files or []:
            if file.parts[0].startswith(PATRONI) and "__pycache__" not in file.parts:
                (context / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file.locate(), context / file)
        shutil.copyfile(PATRONI_DOCKERFILE, context / "Dockerfile")
        arguments = [f"--build-arg=BASE={image(PATRONI_MAJOR)}", f"--tag={image(PATRONI)}"]
        self.run("docker", "build", "--force-rm", *arguments, str(context))

    def base(self) -> str:
        """The name of a base image that is there."""
        if _registry_answers():
            self.run("docker", "pull", "--quiet", self.recipe.public)
            return self.recipe.public
        made = f"{REPOSITORY}/base:{self.recipe.suite}-{_hash(self.recipe, MMDEBSTRAP)}"
        if not _there(made):
            archive, sources = self.scratch / "base.tar", self.scratch / "sources.list"
            sources.write_text(
                "".join(f"deb {_mirrors()[mirror]} {suite} {parts}\n" for mirror, suite, parts in self.recipe.archives)
            )
            self.run(
                *("mmdebstrap", *MMDEBSTRAP, f"--keyring={self._keyring()}"),
                *(self.recipe.suite, str(archive), str(sources)),
            )
            # Through a file: of a pipe, only "broken pipe" would be left when import refuses.
            self.run("docker", "import", "--change=ENV LANG=C.UTF-8", str(archive), made)
        return made

    def _keyring(self) -> Path:
        """The keys that sign the release. Debian's are there; Ubuntu's are in a package that Debian signs."""
        kind = self.recipe.archives[0][0]
        installed = KEYRINGS / f"{kind}-archive-keyring.gpg"
        if installed.exists():
            return installed
        if kind == "debian":
            raise BuildError(f"{installed} is missing: install debian-archive-keyring")
        apt, debian = self.scratch / "apt", KEYRINGS / "debian-archive-keyring.gpg"
        for directory in ("state/lists/partial", "cache/archives/partial"):
            (apt / directory).mkdir(parents=True)
        (apt / "sources.list").write_text(f"deb [signed-by={debian}] {_mirrors()['debian']} trixie main\n")
        options = [
            *(f"-oDir::State={apt}/state", f"-oDir::Cache={apt}/cache", f"-oDir::Etc::SourceList={apt}/sources.list"),
            *("-oDir::Etc::SourceParts=/dev/null", "-oAcquire::Check-Valid-Until=false"),
            *("-oAPT::Sandbox::User=", "-oAcquire::Languages=none"),
        ]
        self.run("apt-get", *options, "update")
        self.run("apt-get", *options, "download", "ubuntu-keyring", cwd=apt)
        self.run("dpkg-deb", "--extract", str(next(apt.glob("ubuntu-keyring_*.deb"))), str(apt))
        return apt / str(installed.relative_to("/"))


def _called(major: Name) -> str:
    return "Patroni" if major == PATRONI else f"PostgreSQL {major}"


def _patroni() -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(PATRONI)
    except importlib.metadata.PackageNotFoundError:
        raise BuildError("the image of Patroni takes it from .venv: run make setup, and .venv/bin/python") from None


def _hash(*inputs: object) -> str:
    return hashlib.sha256(repr(inputs).encode()).hexdigest()[:12]


def _there(name: str) -> bool:
    try:
        return subprocess.run(["docker", "image", "inspect", name], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@functools.cache
def _registry_answers() -> bool:
    """Whether public images can be had; asked once, and not for long."""
    try:
        urllib.request.urlopen(REGISTRY, timeout=5).close()
    except urllib.error.HTTPError:
        return True  # it wants a token, but it is there
    except OSError:
        return False
    return True


@functools.cache
def _mirrors() -> dict[str, str]:
    """The mirrors that this machine itself uses, and the usual ones of what it does not use."""
    etc = Path("/etc/apt")
    files = [etc / "sources.list", *etc.glob("sources.list.d/*.list"), *etc.glob("sources.list.d/*.sources")]
    text = "\n".join(file.read_text("utf-8", "replace") for file in files if file.exists())
    uris = re.findall(r"(?m)^(?:URIs:|deb(?:\s*\[[^]]*\])?)\s+(\S+)", text)
    return DEFAULT_MIRRORS | {name: uri for uri in reversed(uris) if (name := Path(uri).name) in DEFAULT_MIRRORS}


class _locked:
    """A lock per image, among all processes of this user."""

    def __init__(self, name: str) -> None:
        self._path = Path(tempfile.gettempdir()) / f"{REPOSITORY}-{os.geteuid()}-{name}.lock"

    def __enter__(self) -> None:
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_exception: object) -> None:
        self._file.close()


def _report(major: Name) -> str:
    began = time.monotonic()
    built = ensure(major)
    how = f"built in {time.monotonic() - began:.0f} s" if built else "there already"
    suite = RECIPES[PATRONI_MAJOR if major == PATRONI else t.cast("int", major)].suite
    return f"{_called(major)} on {suite}: {image(major)} {how}"


def main() -> int:
    """Build what was asked for, two at a time."""
    parser = argparse.ArgumentParser(description="Build the container images with PostgreSQL.")
    parser.add_argument(
        "majors",
        metavar="NAME",
        type=lambda name: int(name) if name.isdigit() else name,
        nargs="*",
        help=f"PostgreSQL majors, or {PATRONI}; default all majors",
    )
    parser.add_argument("--names", action="store_true", help="only print the names of the images")
    arguments = parser.parse_args()
    majors = arguments.majors or list(RECIPES)
    if unknown := set(majors) - {*RECIPES, PATRONI}:
        parser.error(f"no recipe for {', '.join(map(_called, unknown))}, there is one for {[*RECIPES, PATRONI]}")
    if arguments.names:
        print(*map(image, majors), sep="\n")
        return 0
    if problem := missing():
        print(f"The images cannot be built: {problem}.", file=sys.stderr)
        return 1
    code = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for build in concurrent.futures.as_completed([pool.submit(_report, major) for major in majors]):
            try:
                print(build.result(), flush=True)
            except BuildError as problem:
                print(problem, file=sys.stderr, flush=True)
                code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
