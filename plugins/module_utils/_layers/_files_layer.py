# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files layer: settings of a program in files that are edited, put back byte for byte, and read by it on reload."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t

from .. import _files
from .._changes import Changes
from .._errors import Failure
from ._layer import Found, Layer

Contents = t.Dict[str, t.Optional[bytes]]


class FilesLayer(Layer):
    """What all programs with files have in common; subclasses know their syntax and how to have them read again.

    What read() finds has the key ``files``: for each path its ``content`` (base64, None where there is none) and
    ``mode``. A subclass is made from its record by `of_entry`.
    """

    #: As the record knows it, and the diff begins with it.
    program = ""

    def __init__(self, paths: t.Sequence[str]) -> None:
        self.paths = list(paths)
        #: what else came of a run, in words
        self.notes: list[str] = []

    # ---- what a subclass has to say

    def planned(self, found: Found) -> Contents:
        """Each file as apply() is to leave it."""
        raise NotImplementedError

    def settings_in(self, path: str, content: bytes | None) -> dict[str, str]:
        """Our settings as *content* of that file has them, for the diff: never a secret."""
        raise NotImplementedError

    def undone(self, path: str, now: bytes | None, then: bytes | None) -> bytes | None:
        """*now*, which others have edited since, with our settings as *then* had them."""
        raise NotImplementedError

    def reload(self) -> None:
        """Have the program read its files, if it runs. Raises Failure where it does not take them."""

    def options(self) -> dict[str, t.Any]:
        """What `of_entry` needs besides the paths; it is written to the record, so no secret."""
        return {}

    @classmethod
    def of_entry(cls, paths: t.Sequence[str], options: t.Mapping[str, t.Any]) -> FilesLayer:
        """The layer that can undo what a record has."""
        raise NotImplementedError

    # ---- the verbs

    def read(self) -> Found:
        return {"files": {path: _look(path) for path in self.paths}}

    def compare(self, found: Found) -> list[Changes]:
        planned = self.planned(found)
        return [self._between(path, contents(found)[path], planned[path]) for path in sorted(planned)]

    @contextlib.contextmanager
    def lock(self) -> t.Iterator[None]:
        with contextlib.ExitStack() as stack:
            # The same order in every run, lest two of them wait for each other.
            for directory in sorted({os.path.dirname(os.path.realpath(path)) for path in self.paths}):
                if os.path.isdir(directory):
                    stack.enter_context(_files.lock(directory))
            yield

    def apply(self, found: Found) -> None:
        for path, content in self.planned(found).items():
            if content != contents(found)[path]:
                _files.put(path, content, found["files"][path]["mode"])
        self.reload()

    def verify(self) -> None:
        """Read back: a Failure if the files do not say what was written."""
        found = self.read()
        wrong = [changes.place for changes in FilesLayer.compare(self, found) if changes]
        if wrong:
            asked = f"writing {', '.join(wrong)}"
            raise Failure("not_in_force", asked, "it is different again", "See what else manages that file.")

    def restore(self, found: Found, check_only: bool = False) -> list[Changes]:
        rows = []
        for path, was in sorted(found["files"].items()):
            now, then = _files.read(path), contents(found)[path]
            changes = self._between(path, now, then)
            if changes and not check_only:
                _files.put(path, then, was["mode"])
            rows.append(changes)
        if any(rows) and not check_only:
            self.reload()
        return rows

    # ---- the record

    def entry(self, found: Found) -> dict[str, t.Any] | None:
        """See Layer; ``sha256`` has the contents that are none of anybody else's, before and after."""
        planned = self.planned(found)
        files = {
            path: {**_plain(one), "sha256": _files.hashes(contents(found)[path], planned[path])}
            for path, one in found["files"].items()
            if path in planned and planned[path] != contents(found)[path]
        }
        # A program that had but to read its files again has nothing to put back.
        return {"layer": self.program, "files": files, "options": self.options()} if files else None

    def found_of(self, entry: t.Mapping[str, t.Any]) -> Found:
        """What restore() takes: of a file that others edited since, only our settings are put back."""
        files = {}
        for path, was in entry["files"].items():
            now, then = _files.read(path), _files.decoded(was["content"])
            if _files.sha256(now) not in was["sha256"]:
                then = self.undone(path, now, then)
            files[path] = {**_plain(was), "content": _files.encoded(then)}
        return {"files": files}

    def _between(self, path: str, before: bytes | None, after: bytes | None) -> Changes:
        changes = Changes(f"{self.program}: {path}")
        old, new = self.settings_in(path, before), self.settings_in(path, after)
        for name in {**old, **new}:
            changes.add(name, old.get(name), new.get(name))
        if before != after and not changes:
            changes.add("(comments and spelling)", "as they are", "as they were")
        return changes


def contents(found: Found) -> Contents:
    """The bytes of each file as read() found them."""
    return {path: _files.decoded(one["content"]) for path, one in found["files"].items()}


def _look(path: str) -> dict[str, t.Any]:
    content = _files.read(path)
    mode = None if content is None else stat.S_IMODE(os.stat(path).st_mode)
    return {"content": _files.encoded(content), "mode": mode}


def _plain(one: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: one[key] for key in ("content", "mode")}
