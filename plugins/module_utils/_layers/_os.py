# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layer os: the kernel's TCP settings (sysctls), in force now and after the next boot: each in both, or in neither."""

from __future__ import annotations

import contextlib
import os
import stat
import time
import typing as t

from .. import _files, _namespaces
from .._changes import Changes
from .._errors import Failure
from . import _sysctlconf, _sysctls
from ._layer import Found, Layer

SYSCTL_FILE = _sysctls.SYSCTL_FILE
#: A reason not to write our file that lets the live values be set: nothing would apply it to this network.
_OTHER_NETWORK = "other_network"
_NEW_NAMESPACE = "the start of a network namespace"


class OsLayer(Layer):
    """TCP sysctls: *settings* maps a name to its number, or to None to take it out of our file.

    What cannot be put in force here (/proc/sys is read-only in most containers, a kernel lacks it, we are not root) is
    no error but a finding of unsupported(). It is then not written to our file either: that would report a change that
    never comes into force. The live value of a setting that is taken out stays as it is.

    *sysctls* is how the system of this host does it.
    """

    def __init__(
        self,
        settings: t.Mapping[str, int | None],
        *,
        sysctl_file: str = SYSCTL_FILE,
        proc: str = "/proc/sys",
        search: t.Sequence[str] = _sysctlconf.SEARCH,
        sysctls: _sysctls.Sysctls | None = None,
    ) -> None:
        self._sysctls = sysctls or _sysctls.of_host(proc, search)
        for key, wanted in settings.items():
            self._sysctls.check(key, wanted)
        self.settings = {key: settings[key] for key in sorted(settings)}
        self.sysctl_file = self._sysctls.file(sysctl_file)

    def read(self) -> Found:
        """What is there now, JSON-able, and enough for restore() to put everything back."""
        content = _files.read(self.sysctl_file)
        return {
            "sysctl_file": self.sysctl_file,
            "content": _files.encoded(content),
            "mode": None if content is None else stat.S_IMODE(os.stat(self.sysctl_file).st_mode),
            "directory": os.path.isdir(os.path.dirname(self.sysctl_file)),
            "file_reason": self._file_reason(),
            "live": {key: self._sysctls.read(key) for key in self.settings},
            "persistent": self.persistent(content),
            "namespace": self._sysctls.namespace(),
        }

    def compare(self, found: Found) -> list[Changes]:
        """What apply() would change: the live values, and the lines of our file."""
        live, file = Changes("os: live"), Changes(f"os: {self.sysctl_file}")
        lines = self._sysctls.lines(self.sysctl_file, content_of(found))
        for key, wanted in self._judge(found)[0].items():
            if wanted is not None:
                _add(live, key, found["live"][key]["value"], wanted)
            if found["file_reason"] != _OTHER_NETWORK:
                _add(file, key, _sysctlconf.value_in(lines, key), wanted)
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
                _files.put(self.sysctl_file, self._edit(content, found))
                self._sysctls.written(self.sysctl_file)
        for row in live.rows:
            try:
                self._sysctls.write(row.name, row.after)
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
                live.add(key, self._sysctls.read(key)["value"], was["value"])
        now, then = _files.read(path), content_of(found)
        lines, were = self._sysctls.lines(path, now), self._sysctls.lines(path, then)
        for key in sorted({one.key for one in _sysctlconf.assignments(lines) + _sysctlconf.assignments(were)}):
            file.add(key, _sysctlconf.value_in(lines, key), _sysctlconf.value_in(were, key))
        if now != then and not file:
            file.add("(comments and spelling)", "as they are", "as they were")
        if not check_only:
            problems = self._sysctls.write_all({row.name: row.after for row in live.rows})
            if file:
                _files.put(path, then, found["mode"])
                try:
                    self._sysctls.written(path)
                except Failure as failure:
                    problems.append(str(failure))
            if not found["directory"]:
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(path))
            if problems:
                raise Failure(
                    "not_restored",
                    "put back the TCP settings as they were found",
                    "; ".join(problems),
                    self._sysctls.remedy,
                )
        return [live, file]

    def entry(self, found: Found) -> dict[str, t.Any]:
        """See Layer."""
        kept = {key: found[key] for key in ("sysctl_file", "content", "mode", "directory")}
        live = {key: {"value": one["value"]} for key, one in found["live"].items()}
        hashes = _files.hashes(content_of(found), self.planned(found))
        return {"layer": "os", **kept, "live": live, "sha256": hashes, "time": time.time()}

    def planned(self, found: Found) -> bytes | None:
        """Our file as apply() would leave it."""
        if found["file_reason"] == _OTHER_NETWORK:
            return content_of(found)
        return self._edit(content_of(found), found)

    def put_into(self, now: bytes | None, were: bytes | None) -> bytes | None:
        """The file that others edited since, with our settings in it as they *were*."""
        lines = self._sysctls.lines(self.sysctl_file, were)
        before = {key: _sysctlconf.value_in(lines, key) for key in self.settings}
        numbers = {key: None if value is None else _sysctlconf.number(value) for key, value in before.items()}
        return self._sysctls.edit(self.sysctl_file, now, numbers)

    def _edit(self, content: bytes | None, found: Found) -> bytes | None:
        return self._sysctls.edit(self.sysctl_file, content, self._judge(found)[0])

    def persistent(self, content: bytes | None) -> dict[str, dict[str, t.Any] | None]:
        """What the files set each setting to, and which line does, were *content* the bytes of ours."""
        files = self._sysctls.sources(self.sysctl_file, content)
        found: dict[str, dict[str, t.Any] | None] = {}
        for key in self.settings:
            one = _sysctlconf.winner(files, key)
            found[key] = {"value": one.value, "file": one.file, "line": one.line} if one else None
        return found

    def assignments(self, content: bytes | None) -> list[_sysctlconf.Assignment]:
        """Every line of the files that sets something, were *content* the bytes of ours."""
        files = self._sysctls.sources(self.sysctl_file, content)
        return [line for file in files for line in _sysctlconf.assignments(file.data, file.path)]

    def shadowed(self, found: Found, content: bytes | None) -> list[dict[str, t.Any]]:
        """Settings that our file, were *content* its bytes, would not decide; with the file, line and value that do."""
        if found["file_reason"] == _OTHER_NETWORK:
            wishes = [key for key, wanted in self._judge(found)[0].items() if wanted is not None]
            return [{"key": key, "shadowed_by": self._by(None, _NEW_NAMESPACE)} for key in wishes]
        files = self._sysctls.sources(self.sysctl_file, content)
        findings = []
        for key, wanted in self._judge(found)[0].items():
            for when in self._sysctls.readers:
                first = _sysctlconf.winner([one for one in files if one.at_boot or when != "boot"], key)
                if wanted is None or (first and _sysctlconf.number(first.value) == wanted):
                    continue
                findings.append({"key": key, "shadowed_by": self._by(first, when)})
                break
        return findings

    def not_had(self, found: Found) -> list[dict[str, str]]:
        """What this kernel refuses, and what another file will decide, as rows of a plan's ``unsupported``."""
        rows = [(finding["key"], finding["detail"]) for finding in self.unsupported(found)]
        shadowed = self.shadowed(found, self.planned(found))
        rows += [(shadow["key"], shadow["shadowed_by"]["detail"]) for shadow in shadowed]
        return [{"layer": "os", "setting": key, "key": "", "reason": reason} for key, reason in rows]

    def _by(self, first: _sysctlconf.Assignment | None, when: str) -> dict[str, t.Any]:
        """Who decides instead of our file."""
        if when == _NEW_NAMESPACE:
            detail = (
                f"it is set for this network namespace, as long as that lives. {self.sysctl_file} was left alone: it "
                "is read for the machine's own network, and a new one has Linux's defaults: run this when it is made"
            )
            return {"file": None, "line": None, "value": None, "when": when, "detail": detail}
        if first is None:
            detail = f"nothing reads {self.sysctl_file} at {when}: {self._sysctls.unread}"
            return {"file": None, "line": None, "value": None, "when": when, "detail": detail}
        detail = f"{first.file}:{first.line} wins over {self.sysctl_file} at {when}: change it there"
        return {"file": first.file, "line": first.line, "value": first.value, "when": when, "detail": detail}

    def _judge(self, found: Found) -> tuple[dict[str, int | None], list[dict[str, str]]]:
        """The settings that can be managed here, and findings for those that cannot and are not as wanted."""
        lines = self._sysctls.lines(self.sysctl_file, content_of(found))
        managed: dict[str, int | None] = {}
        findings = []
        for key, wanted in self.settings.items():
            value, reason = found["live"][key]["value"], found["live"][key]["reason"]
            line = _sysctlconf.value_in(lines, key)
            live_right = wanted is None or _sysctlconf.number(value) == wanted
            file_right = line is None if wanted is None else _sysctlconf.number(line) == wanted
            if wanted is None or reason is None:
                reason = None if file_right or found["file_reason"] == _OTHER_NETWORK else found["file_reason"]
                if reason is None:
                    managed[key] = wanted
                else:
                    detail = self._why(self.sysctl_file, None, None, "file")
                    findings.append({"key": key, "reason": reason, "detail": detail})
            # A container with a read-only /proc/sys is right when its live value is: nothing applies a file in there.
            elif not live_right or (reason != "read_only" and not file_right):
                findings.append({"key": key, "reason": reason, "detail": self._why(key, value, wanted, reason)})
        return managed, findings

    def _why(self, what: str, value: str | None, wanted: int | None, reason: str) -> str:
        """What stands in the way, and what to do about it."""
        if reason == "absent":
            return f"{what} does not exist in this kernel or network namespace: leave it out"
        if os.geteuid() and reason != "read_only":
            return f"{what} may not be changed by user {os.geteuid()}: run the task as root (become)"
        if reason == "file":
            return f"{what} cannot be written: choose another sysctl_file"
        return self._sysctls.outside(what, value, wanted, reason)

    def _file_reason(self) -> str | None:
        """Why our file could not be written (read_only, forbidden), if so; asked of the nearest directory there is."""
        directory = os.path.dirname(os.path.realpath(self.sysctl_file))
        while not os.path.isdir(directory):
            directory = os.path.dirname(directory)
        if _namespaces.files_of_another_network(directory):
            return _OTHER_NETWORK
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
    return _files.decoded(found["content"])


def _add(changes: Changes, key: str, before: str | None, wanted: int | None) -> None:
    """Note a change unless *before* already is the number, however it is spelled."""
    if before is None or _sysctlconf.number(before) != wanted:
        changes.add(key, before, None if wanted is None else str(wanted))
