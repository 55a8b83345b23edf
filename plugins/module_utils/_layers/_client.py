# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer client: keywords in the services of a pg_service.conf, and files with parameters that applications read."""

from __future__ import annotations

import os
import shutil
import subprocess
import typing as t

from .._errors import Failure
from .._path._driver import LIBPQ
from . import _servicefile
from ._files_layer import Contents, FilesLayer, contents
from ._layer import Found

#: Where the packages of distributions have libpq look, for hosts without pg_config.
_DIRECTORIES = ("/etc/postgresql-common", "/etc/sysconfig/pgsql")
_FILE = "pg_service.conf"
_PG_CONFIG_SECONDS = 10


class ClientLayer(FilesLayer):
    """*keywords* for *services* (None: all that are there) of *service_file*; *snippets* are whole files of ours."""

    program = "client"

    def __init__(
        self,
        service_file: str | None,
        services: t.Sequence[str] | None,
        keywords: t.Mapping[str, str | None],
        snippets: t.Mapping[str, bytes | None],
    ) -> None:
        super().__init__([*([service_file] if service_file else []), *snippets])
        self.service_file = service_file
        self._services = services
        self._keywords = dict(keywords)
        self._snippets = dict(snippets)

    def services(self, content: bytes | None) -> list[str]:
        """Those that get the keywords."""
        return _servicefile.services(content) if self._services is None else list(self._services)

    def planned(self, found: Found) -> Contents:
        """See FilesLayer."""
        planned: Contents = dict(self._snippets)
        if self.service_file:
            content = contents(found)[self.service_file]
            wishes = dict.fromkeys(self.services(content), self._keywords)
            planned[self.service_file] = _servicefile.edit(content, wishes)
        return planned

    def examine(self, found: Found) -> None:
        """See Layer."""
        for path, content in self.planned(found).items():
            directory = os.path.dirname(os.path.realpath(path))
            if content is not None and not os.path.isdir(directory):
                remedy = "Make it first, with the owner that the file is to have, or name another one."
                raise Failure("no_directory", f"writing {path}", f"there is no directory {directory}", remedy)

    def settings_in(self, path: str, content: bytes | None) -> dict[str, str]:
        """Our keywords of each service, which are numbers; a snippet as lines, for it has nothing but ours."""
        if path in self._snippets:
            lines = (content or b"").decode("utf-8", "replace").splitlines()
            return {f"line {number}": line for number, line in enumerate(lines, 1) if line}
        return {
            f"[{service}] {key}": value
            for service in _servicefile.services(content)
            for key, value in _servicefile.values(content, service).items()
            if key in LIBPQ
        }

    def undone(self, path: str, now: bytes | None, then: bytes | None) -> bytes | None:
        """See FilesLayer. A snippet is put back whole: it has nothing that is not ours."""
        if path in self._snippets:
            return then
        wishes = {}
        for service in _servicefile.services(now):
            was = _servicefile.values(then, service)
            wishes[service] = {key: was.get(key) for key in LIBPQ}
        return _servicefile.edit(now, wishes)

    def options(self) -> dict[str, t.Any]:
        """See FilesLayer."""
        return {"service_file": self.service_file}

    @classmethod
    def of_entry(cls, paths: t.Sequence[str], options: t.Mapping[str, t.Any]) -> ClientLayer:
        """See FilesLayer."""
        service_file = options["service_file"]
        return cls(
            service_file if service_file in paths else None,
            None,
            {},
            dict.fromkeys(path for path in paths if path != service_file),
        )


def service_file(scope: str) -> str | None:
    """Where libpq of this host looks: for everybody (``system``), or for the present OS user (``user``).

    None where nothing on this host knows it.
    """
    if scope == "user":
        return os.path.join(os.path.expanduser("~"), ".pg_service.conf")
    directory = os.environ.get("PGSYSCONFDIR") or _sysconfdir()
    if directory is None:
        directory = next(filter(os.path.isdir, _DIRECTORIES), None)
    return os.path.join(directory, _FILE) if directory else None


def _sysconfdir() -> str | None:
    command = shutil.which("pg_config")
    if command is None:
        return None
    try:
        # No AnsibleModule here, whose run_command would be the other way.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            [command, "--sysconfdir"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PG_CONFIG_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "surrogateescape").strip() or None
