# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer haproxy: settings of those sections of a HAProxy that carry PostgreSQL, in its files and in force."""

from __future__ import annotations

import os
import typing as t

from .. import _files
from .._changes import Changes
from .._errors import Failure
from . import _haproxy_kernel, _haproxy_process, _haproxy_program, _haproxy_sections, _haproxy_settings, _haproxycfg
from ._files_layer import Contents, FilesLayer, contents
from ._haproxy_program import Program
from ._haproxycfg import Section
from ._layer import Found

#: A file is newer than a process only by more than this (seconds): both clocks tick, and a start takes a moment.
_START = 1.0


class HAProxyLayer(FilesLayer):
    """*settings* are those of `_haproxy_settings.normal`; *sections* and *ports* say which sections get them."""

    program = "haproxy"

    def __init__(
        self,
        program: Program,
        settings: t.Mapping[str, str],
        *,
        sections: t.Sequence[str] = (),
        ports: t.Collection[int] = _haproxy_sections.PORTS,
        reload: bool = True,
        reload_timeout: float = 10.0,
        paths: t.Sequence[str] | None = None,
    ) -> None:
        super().__init__(program.files if paths is None else paths)
        self.haproxy = program
        self.settings = dict(settings)
        self.notes: list[str] = []
        self._sections, self._ports = tuple(sections), tuple(ports)
        self._reload, self._timeout = reload, reload_timeout
        #: Those that are managed, and what of them.
        self._labels: list[str] = list(sections)
        self._names: t.Collection[str] = list(settings)

    # ---- what FilesLayer asks

    def planned(self, found: Found) -> Contents:
        files = contents(found)
        if not self.settings:
            return files
        config = parse(files)
        chosen = _haproxy_sections.carrying(config, self._sections, self._ports)
        self._labels = [section.label for section in chosen]
        for path in {section.path for section in chosen}:
            data = t.cast(bytes, files[path])
            edits = [
                edit
                for section in chosen
                if section.path == path
                for edit in _haproxy_settings.edits(
                    section, data, _haproxy_settings.edits_needed(section, self.settings)
                )
            ]
            files[path] = _haproxycfg.apply(data, edits)
        return files

    def settings_in(self, path: str, content: bytes | None) -> dict[str, str]:
        return {
            f"{label}: {name}": value
            for label, section in self._managed(path, content).items()
            for name, value in _haproxy_settings.own(section, self._names).items()
        }

    def undone(self, path: str, now: bytes | None, then: bytes | None) -> bytes | None:
        before = self._managed(path, then)
        edits: list[_haproxycfg.Edit] = []
        for label, section in self._managed(path, now).items():
            if label not in before:
                continue
            was = _haproxy_settings.own(before[label], self._names)
            values: _haproxy_settings.Values = {
                name: None
                for name in _haproxy_settings.own(section, self._names)
                # a line that came since then was never ours
                if not name.endswith(" tcp-ut") or name in _haproxy_settings.arguments(before[label])
            }
            edits += _haproxy_settings.edits(section, now or b"", {**values, **was})
        return None if now is None else _haproxycfg.apply(now, edits)

    def reload(self) -> None:
        if self._reload and self.haproxy.instance:
            # After a restore the files are others than those that examine() has had checked.
            self.haproxy.check({})
            world = _World(self.current())
            self.haproxy.reload(self._timeout, world.daemon, world.listeners_socket)

    def options(self) -> dict[str, t.Any]:
        return {
            "files": list(self.haproxy.files),
            "sections": self._labels,
            "names": sorted(self._names),
            "reload": self._reload,
            "reload_timeout": self._timeout,
        }

    @classmethod
    def of_entry(cls, paths: t.Sequence[str], options: t.Mapping[str, t.Any]) -> HAProxyLayer:
        instance = _haproxy_process.find(options["files"])
        program = Program(instance, instance.files if instance else options["files"])
        layer = cls(
            program,
            {},
            sections=options["sections"],
            reload=options["reload"],
            reload_timeout=options["reload_timeout"],
            paths=paths,
        )
        layer._names = options["names"]
        return layer

    # ---- the verbs

    def compare(self, found: Found) -> list[Changes]:
        rows = super().compare(found)
        instance = self.haproxy.instance
        if self._reload and instance and self._newest() > instance.started() + _START:
            process = Changes(f"haproxy: process {instance.pid}")
            process.add("configuration", "older than its files", "read again")
            rows.append(process)
        return rows

    def examine(self, found: Found) -> None:
        self.haproxy.check(self.planned(found))
        if self._reload and self.haproxy.instance:
            world = _World(self.current())
            self.haproxy.need_background(world.daemon)
            self.haproxy.need_user(world.changes_user)
            self.haproxy.need_directory(world.chroot)

    def verify(self) -> None:
        super().verify()
        instance = self.haproxy.instance
        if self._reload and instance:
            config = self.current()
            self.notes = _haproxy_kernel.verify(instance, config, self.chosen(config))

    # ---- what a run asks

    def current(self, planned: Contents | None = None) -> list[Section]:
        """The configuration as its files have it now, or with *planned* in their place."""
        return parse({path: _files.read(path) for path in self.haproxy.files} if planned is None else planned)

    def chosen(self, config: t.Sequence[Section]) -> list[Section]:
        """The managed ones of its sections."""
        return _haproxy_sections.carrying(config, self._sections, self._ports)

    def _managed(self, path: str, content: bytes | None) -> dict[str, Section]:
        return {one.label: one for one in parse({path: content}) if one.label in self._labels}

    def _newest(self) -> float:
        return max((os.stat(path).st_mtime for path in self.haproxy.files if os.path.exists(path)), default=0.0)


class _World:
    """What the section ``global`` says about the process itself."""

    def __init__(self, config: t.Sequence[Section]) -> None:
        lines = [line for section in config if section.kind == "global" for line in section.lines]
        first = {line.text(0) for line in lines}
        self.daemon = "daemon" in first
        self.changes_user = bool(first & {"user", "uid"})
        self.chroot = "chroot" in first
        self.listeners_socket: str | None = None
        for line in lines:
            words = [word.text for word in line.words]
            if words[:2] == ["stats", "socket"] and words[2:3] and "expose-fd listeners" in " ".join(words[3:]):
                self.listeners_socket = words[2]


def parse(files: t.Mapping[str, bytes | None]) -> list[Section]:
    """The sections of these files, in their order. Raises Failure ``no_config_file`` where one is not there."""
    for path, data in files.items():
        if data is None:
            remedy = f"Give its path (config_file); usual is {_haproxy_program.DEFAULT_FILE}."
            raise Failure("no_config_file", f"reading the configuration of HAProxy, {path}", "there is none", remedy)
    return _haproxycfg.parse(t.cast("t.Mapping[str, bytes]", files))
