# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Places of the layer server: where settings are written down (ALTER SYSTEM, a role or database, a file)."""

from __future__ import annotations

import base64
import os
import typing as t

from .. import _files
from .._database import Database
from .._errors import Failure

Values = t.Dict[str, t.Optional[str]]
Snapshot = t.Dict[str, t.Any]


class Place:
    """One place. *label* heads the diff; values are texts as that place has them, None where it has none."""

    label: str
    #: whether a change here reaches the server by a reload of its files
    needs_reload = True

    def find(self, snapshot: Snapshot, names: t.Iterable[str]) -> dict[str, t.Any]:
        """What is there, as plain JSON: ``values`` and whatever put_back() needs."""
        raise NotImplementedError

    def write(self, values: Values) -> None:
        """Make the place have *values*."""
        raise NotImplementedError

    def put_back(self, found: dict[str, t.Any]) -> None:
        """Make the place what find() found."""
        self.write(found["values"])

    def examine(self, snapshot: Snapshot, values: Values) -> None:
        """Raise Failure where write() could not work."""


class AutoConf(Place):
    """postgresql.auto.conf, through ALTER SYSTEM."""

    label = "server: ALTER SYSTEM"

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, snapshot: Snapshot, names: t.Iterable[str]) -> dict[str, t.Any]:
        if snapshot["file_settings"] is None:
            # Not readable: what some file says may come from another one, but putting it back restores its effect.
            rows = {row["name"].lower(): row["reset_val"] for row in snapshot["settings"] if _from_file(row)}
        else:
            rows = {row["name"]: row["setting"] for row in snapshot["file_settings"] if is_auto(row)}
        return {"values": {name: rows.get(name) for name in names}}

    def write(self, values: Values) -> None:
        for name, value in values.items():
            self._database.alter_system(name, value)

    def examine(self, snapshot: Snapshot, values: Values) -> None:
        if snapshot["files"].get("allow_alter_system") == "off":
            raise Failure(
                "alter_system_disabled",
                "setting parameters by ALTER SYSTEM",
                "allow_alter_system is off on this server",
                "Use apply_through: config_file, or what manages this server's configuration.",
            )
        if snapshot["superuser"]:
            return
        wanted = list(values)
        allowed = self._database.may_alter_system(wanted) if snapshot["version_num"] >= 150000 else []
        missing = [name for name in wanted if name not in allowed]
        if missing:
            raise Failure(
                "not_allowed",
                f"setting {', '.join(missing)} by ALTER SYSTEM",
                f"{snapshot['user']} is neither superuser nor has been granted ALTER SYSTEM on them",
                "Log in as superuser, or GRANT ALTER SYSTEM ON PARAMETER (PostgreSQL 15 and newer).",
            )


def _from_file(row: t.Mapping[str, t.Any]) -> bool:
    return bool(row["source"] == "configuration file")


def is_auto(row: t.Mapping[str, t.Any]) -> bool:
    """Whether a row of pg_file_settings comes from ALTER SYSTEM."""
    return os.path.basename(row["sourcefile"] or "") == "postgresql.auto.conf"


class OfRole(Place):
    """The settings of a role, a database, or a role in a database."""

    needs_reload = False

    def __init__(self, database: Database, role: str | None, name: str | None) -> None:
        self._database, self.role, self.name = database, role, name
        parts = [f"role {role}" if role else "", f"database {name}" if name else ""]
        self.label = f"server: {' in '.join(filter(None, parts))}"

    def find(self, snapshot: Snapshot, names: t.Iterable[str]) -> dict[str, t.Any]:
        rows = {
            row["name"]: row["value"]
            for row in snapshot["overrides"]
            if row["role"] == self.role and row["database"] == self.name
        }
        return {"values": {name: rows.get(name) for name in names}}

    def write(self, values: Values) -> None:
        if values:
            self._database.alter_role(self.role, self.name, values)

    def examine(self, snapshot: Snapshot, values: Values) -> None:
        asked = f"settings of {self.label.partition(' ')[2]}"
        for kind, name, there in (
            ("role", self.role, snapshot["roles"]),
            ("database", self.name, snapshot["databases"]),
        ):
            if name and name not in there:
                remedy = f"Create it, or correct the {kind}."
                raise Failure(f"no_such_{kind}", asked, f"there is no {kind} {name}", remedy)
        if snapshot["in_recovery"]:
            remedy = "Set them on the primary: they reach the standby by replication."
            raise Failure("standby", asked, "this server is a standby, and such settings are in its catalogs", remedy)
        self._database.alter_role(self.role, self.name, values, True)


class ConfigFile(Place):
    """A configuration file that the server reads: postgresql.conf itself, or a drop-in that it includes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.label = f"server: {path}"

    def find(self, snapshot: Snapshot, names: t.Iterable[str]) -> dict[str, t.Any]:
        from . import _conffile  # here and below, so that hosts with ALTER SYSTEM need not compile it on every run

        data = _files.read(self.path)
        return {
            "path": self.path,
            "content": None if data is None else base64.b64encode(data).decode("ascii"),
            "values": {name: _conffile.value_of(data or b"", name) for name in names},
        }

    def write(self, values: Values) -> None:
        with self._locked():
            data = _files.read(self.path)
            edited = _edited(data, values)
            if edited != (data or b""):
                _files.replace(self.path, edited)

    @staticmethod
    def planned(found: dict[str, t.Any], values: Values) -> bytes | None:
        """The file that find() found as write() would leave it."""
        data = _content_of(found)
        edited = _edited(data, values)
        return edited if edited != (data or b"") else data

    def put_back(self, found: dict[str, t.Any]) -> None:
        if "content" not in found:  # others have edited the file since: only our settings go back
            self.write(found["values"])
            return
        content = _content_of(found)
        with self._locked():
            if content is None:
                _files.remove(self.path)
            elif content != _files.read(self.path):
                _files.replace(self.path, content)

    def examine(self, snapshot: Snapshot, values: Values) -> None:
        start = snapshot["files"].get("config_file") if snapshot else None
        # A login without pg_read_all_settings is not told where the file is; then verify() finds out.
        if start and not _reads(start, os.path.realpath(self.path), set()):
            raise Failure(
                "not_included",
                f"settings in {self.path}",
                f"the server does not read this file: {start} does not include it",
                "Add it there with include or include_dir, or name postgresql.conf itself.",
            )
        _edited(_files.read(self.path), values)

    def has(self, path: str) -> bool:
        """Whether *path* is this file."""
        return os.path.realpath(path) == os.path.realpath(self.path)

    def _locked(self) -> t.ContextManager[t.Any]:
        return _files.lock(os.path.dirname(os.path.realpath(self.path)))


def _content_of(found: t.Mapping[str, t.Any]) -> bytes | None:
    return None if found["content"] is None else base64.b64decode(found["content"])


def _edited(data: bytes | None, values: Values) -> bytes:
    from . import _conffile

    return _conffile.edit(data or b"", values)


def _reads(path: str, wanted: str, seen: set[str]) -> bool:
    """Whether the server comes by the file *wanted* (a real path, there or not) when it reads *path*."""
    real = os.path.realpath(path)
    if real == wanted:
        return True
    if real in seen:
        return False
    seen.add(real)
    from . import _conffile

    for include in _conffile.includes(_files.read(real) or b""):
        # relative to the directory of the file that has the directive
        target = os.path.join(os.path.dirname(path), include.path)
        files = [target]
        if include.kind == "include_dir":
            directory, name = os.path.split(wanted)
            if os.path.realpath(target) == directory and name.endswith(".conf") and not name.startswith("."):
                return True
            there = sorted(os.listdir(target)) if os.path.isdir(target) else []
            files = [os.path.join(target, one) for one in there if one.endswith(".conf") and not one.startswith(".")]
        if any(_reads(file, wanted, seen) for file in files):
            return True
    return False
