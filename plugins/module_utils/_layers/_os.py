# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer os: the kernel's TCP settings (sysctls), in force now and after the next boot: each in both, or in neither."""

from __future__ import annotations

import base64
import contextlib
import os
import stat
import typing as t

from .. import _files
from .._changes import Changes
from .._errors import Failure
from . import _sysctlconf
from ._layer import Found, Layer
from ._procsys import Live, check

# In the upper part of the range that sysctl.d(5) gives to /etc, so that it wins over what packages and images ship
# (10-, 50-, 60-). A 99- file is somebody's last word: it wins over ours, and verify() says so with its file and line.
SYSCTL_FILE = "/etc/sysctl.d/90-pgharden-connection.conf"


class OsLayer(Layer):
    """TCP sysctls: *settings* maps a name to its number, or to None to take it out of our file.

    What cannot be put in force here (/proc/sys is read-only in most containers, a kernel lacks it, we are not root) is
    no error but a finding of unsupported(). It is then not written to our file either: that would report a change that
    never comes into force. The live value of a setting that is taken out stays as it is.
    """

    def __init__(
        self,
        settings: t.Mapping[str, int | None],
        *,
        sysctl_file: str = SYSCTL_FILE,
        proc: str = "/proc/sys",
        search: t.Sequence[str] = _sysctlconf.SEARCH,
    ) -> None:
        for key, wanted in settings.items():
            check(key, wanted)
        self.settings = {key: settings[key] for key in sorted(settings)}
        self.sysctl_file = sysctl_file
        self._live = Live(proc)
        self._search = tuple(search)

    def read(self) -> Found:
        """What is there now, JSON-able, and enough for restore() to put everything back."""
        content = _files.read(self.sysctl_file)
        return {
            "sysctl_file": self.sysctl_file,
            "content": None if content is None else base64.b64encode(content).decode("ascii"),
            "mode": None if content is None else stat.S_IMODE(os.stat(self.sysctl_file).st_mode),
            "directory": os.path.isdir(os.path.dirname(self.sysctl_file)),
            "file_reason": self._file_reason(),
            "live": {key: self._live.read(key) for key in self.settings},
            "persistent": self.persistent(content),
            "namespace": self._live.namespace(),
        }

    def compare(self, found: Found) -> list[Changes]:
        """What apply() would change: the live values, and the lines of our file."""
        live, file = Changes("os: live"), Changes(f"os: {self.sysctl_file}")
        content = content_of(found)
        for key, wanted in self._judge(found)[0].items():
            if wanted is not None:
                _add(live, key, found["live"][key]["value"], wanted)
            _add(file, key, _sysctlconf.value_in(content, key), wanted)
        return [live, file]

    def unsupported(self, found: Found) -> list[dict[str, str]]:
        """What was asked for and cannot be had here: key, reason (absent, read_only, forbidden), detail."""
        return self._judge(found)[1]

    def lock(self) -> t.ContextManager[t.Any]:
        """Keep other runs away from our file; a directory that is yet to be made has no file in it."""
        directory = os.path.dirname(self.sysctl_file)
        return _files.lock(directory) if os.path.isdir(directory) else contextlib.nullcontext()

    def apply(self, found: Found) -> list[Changes]:
        """Make the changes of compare(): the file, then the live values. After a Failure, restore() puts them back."""
        live, file = self.compare(found)
        if file:
            self._make(os.path.dirname(self.sysctl_file))
            with self.lock():
                # Not the bytes of *found*: somebody may have edited the file since then.
                content = _files.read(self.sysctl_file)
                _write(self.sysctl_file, _sysctlconf.edit(content, self._judge(found)[0]))
        for row in live.rows:
            try:
                self._live.write(row.name, row.after)
            except OSError as error:
                raise Failure(
                    "kernel_refused",
                    f"set {row.name} to {row.after}",
                    f"the kernel answered '{error.strerror or error}'",
                    "Choose a value that this kernel takes.",
                    key=row.name,
                ) from error
        return [live, file]

    def verify(self) -> list[dict[str, t.Any]]:
        """Read back: a Failure if a value is not in force, findings of shadowed() where another file wins over ours."""
        found = self.read()
        wrong = [
            f"{row.name} is {row.before} instead of {row.after} ({changes.place})"
            for changes in self.compare(found)
            for row in changes.rows
        ]
        if wrong:
            raise Failure(
                "not_in_force",
                "set TCP settings of the kernel",
                "; ".join(wrong),
                "See whether something else on this host, such as tuned, writes them, and set them there.",
            )
        return self.shadowed(found, content_of(found))

    def restore(self, found: Found, check_only: bool = False) -> list[Changes]:
        """Put back the file, byte for byte, and the live values of *found*; or only say what that would change."""
        path = found["sysctl_file"]
        live, file = Changes("os: live"), Changes(f"os: {path}")
        for key, was in sorted(found["live"].items()):
            if was["value"] is not None:
                live.add(key, self._live.read(key)["value"], was["value"])
        now, then = _files.read(path), content_of(found)
        for key in sorted({one.key for one in _sysctlconf.assignments(now) + _sysctlconf.assignments(then)}):
            file.add(key, _sysctlconf.value_in(now, key), _sysctlconf.value_in(then, key))
        if now != then and not file:
            file.add("(comments and spelling)", "as they are", "as they were")
        if not check_only:
            problems = self._live.write_all({row.name: row.after for row in live.rows})
            if file:
                _write(path, then, found["mode"])
            if not found["directory"]:
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(path))
            if problems:
                raise Failure(
                    "not_restored",
                    "put back the TCP settings as they were found",
                    "; ".join(problems),
                    "Run it as root, where /proc/sys is writable; it can be repeated.",
                )
        return [live, file]

    def planned(self, found: Found) -> bytes | None:
        """Our file as apply() would leave it."""
        return _sysctlconf.edit(content_of(found), self._judge(found)[0])

    def persistent(self, content: bytes | None) -> dict[str, dict[str, t.Any] | None]:
        """What the files set each setting to, and which line does, were *content* the bytes of ours."""
        files = _sysctlconf.sources(self._search, self.sysctl_file, content)
        found: dict[str, dict[str, t.Any] | None] = {}
        for key in self.settings:
            one = _sysctlconf.winner(files, key)
            found[key] = {"value": one.value, "file": one.file, "line": one.line} if one else None
        return found

    def shadowed(self, found: Found, content: bytes | None) -> list[dict[str, t.Any]]:
        """Settings that our file, were *content* its bytes, would not decide; with the file, line and value that do."""
        files = _sysctlconf.sources(self._search, self.sysctl_file, content)
        findings = []
        for key, wanted in self._judge(found)[0].items():
            for when, read in (("boot", [one for one in files if one.at_boot]), ("sysctl --system", files)):
                first = _sysctlconf.winner(read, key)
                if wanted is None or (first and _sysctlconf.number(first.value) == wanted):
                    continue
                findings.append({"key": key, "shadowed_by": self._by(first, when)})
                break
        return findings

    def _by(self, first: _sysctlconf.Assignment | None, when: str) -> dict[str, t.Any]:
        """Who decides instead of our file."""
        if first is None:
            detail = f"nothing reads {self.sysctl_file} at {when}: it is no .conf file in a directory of sysctl.d(5)"
            return {"file": None, "line": None, "value": None, "when": when, "detail": detail}
        detail = f"{first.file}:{first.line} wins over {self.sysctl_file} at {when}: change it there"
        return {"file": first.file, "line": first.line, "value": first.value, "when": when, "detail": detail}

    def _judge(self, found: Found) -> tuple[dict[str, int | None], list[dict[str, str]]]:
        """The settings that can be managed here, and findings for those that cannot and are not as wanted."""
        content = content_of(found)
        managed: dict[str, int | None] = {}
        findings = []
        for key, wanted in self.settings.items():
            value, reason = found["live"][key]["value"], found["live"][key]["reason"]
            line = _sysctlconf.value_in(content, key)
            live_right = wanted is None or _sysctlconf.number(value) == wanted
            file_right = line is None if wanted is None else _sysctlconf.number(line) == wanted
            if wanted is None or reason is None:
                reason = None if file_right else found["file_reason"]
                if reason is None:
                    managed[key] = wanted
                else:
                    detail = _why(self.sysctl_file, None, None, "file")
                    findings.append({"key": key, "reason": reason, "detail": detail})
            # A container with a read-only /proc/sys is right when its live value is: nothing applies a file in there.
            elif not live_right or (reason != "read_only" and not file_right):
                findings.append({"key": key, "reason": reason, "detail": _why(key, value, wanted, reason)})
        return managed, findings

    def _file_reason(self) -> str | None:
        """Why our file could not be written (read_only, forbidden), if so; asked of the nearest directory there is."""
        directory = os.path.dirname(os.path.realpath(self.sysctl_file))
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return "read_only"
        allowed = os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)
        return None if allowed else "forbidden"

    def _make(self, directory: str) -> None:
        try:
            os.makedirs(directory, 0o755, exist_ok=True)
        except OSError as error:
            raise Failure(
                "no_directory",
                f"write {self.sysctl_file}",
                f"{directory}: {error.strerror}",
                "Choose another sysctl_file.",
            ) from error


def content_of(found: Found) -> bytes | None:
    """Our file's bytes as read() found them."""
    return None if found["content"] is None else base64.b64decode(found["content"])


def _write(path: str, content: bytes | None, mode: int | None = None) -> None:
    if content is None:
        _files.remove(path)
    else:
        _files.replace(path, content, mode=mode)


def _add(changes: Changes, key: str, before: str | None, wanted: int | None) -> None:
    """Note a change unless *before* already is the number, however it is spelled."""
    if before is None or _sysctlconf.number(before) != wanted:
        changes.add(key, before, None if wanted is None else str(wanted))


def _why(what: str, value: str | None, wanted: int | None, reason: str) -> str:
    """What stands in the way, and what to do about it."""
    if reason == "absent":
        return f"{what} does not exist in this kernel or network namespace: leave it out"
    if os.geteuid() and reason != "read_only":
        return f"{what} may not be changed by user {os.geteuid()}: run the task as root (become)"
    if reason == "file":
        return f"{what} cannot be written: choose another sysctl_file"
    cause = "/proc/sys is read-only, as in most containers" if reason == "read_only" else "the kernel forbids to set it"
    outside = f"docker run --sysctl {what}={wanted}, or securityContext.sysctls of a pod"
    return f"{what} is {value} and {cause}: set it where the container is made ({outside})"
