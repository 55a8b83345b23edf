# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the collection's tarball, the same byte for byte wherever and whenever one commit is built.

`ansible-galaxy collection build` lists files in the order of the file system and writes the time of the build and of
the checkout. Here its files are sorted, in FILES.json too, and every time is that of the commit (or SOURCE_DATE_EPOCH).
Only another version of zlib still makes other bytes, of the same contents.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import typing as t
from pathlib import Path

import _tree


def epoch() -> int:
    """The time that everything in the tarball gets."""
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    if stated:
        return int(stated)
    command = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=_tree.ROOT, check=True, capture_output=True, text=True).stdout)


def _json(value: t.Any) -> bytes:
    return json.dumps(value, indent=True).encode()


def normal(tarball: Path, target: Path, when: int) -> None:
    """Write *tarball* anew, with one order, one time and one owner."""
    contents: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(tarball) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            contents[member.name] = (member, stream.read() if stream else b"")
    files = json.loads(contents["FILES.json"][1])
    files["files"].sort(key=lambda entry: entry["name"])
    contents["FILES.json"] = (contents["FILES.json"][0], _json(files))
    manifest = json.loads(contents["MANIFEST.json"][1])
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(contents["FILES.json"][1]).hexdigest()
    contents["MANIFEST.json"] = (contents["MANIFEST.json"][0], _json(manifest))

    first = ["MANIFEST.json", "FILES.json"]  # where Galaxy looks for them without reading the rest
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=when) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in [*first, *sorted(set(contents) - set(first))]:
            member, data = contents[name]
            clean = tarfile.TarInfo(name)
            clean.type, clean.linkname, clean.mtime, clean.size = member.type, member.linkname, when, len(data)
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            archive.addfile(clean, io.BytesIO(data))


def build(directory: Path) -> Path:
    """The tarball of this checkout in *directory*: of its files, not of what merely lies about in it."""
    with tempfile.TemporaryDirectory(prefix="pgharden-build-") as scratch:
        source = _tree.copy(Path(scratch) / "source")
        command = [sys.executable, "-m", "ansible", "galaxy", "collection", "build", "--output-path", scratch]
        subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)
        (raw,) = Path(scratch).glob("*.tar.gz")
        directory.mkdir(parents=True, exist_ok=True)
        normal(raw, directory / raw.name, epoch())
        return directory / raw.name


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output-path", type=Path, default=_tree.ROOT)
    tarball = build(parser.parse_args().output_path)
    print(f"{hashlib.sha256(tarball.read_bytes()).hexdigest()}  {tarball}")


if __name__ == "__main__":
    main()
