# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy program room: its version, its own check of a configuration, and the reload that loses no session."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import typing as t

from .._errors import Failure
from . import _haproxy_process
from ._haproxy_process import Instance

DEFAULT_FILE = "/etc/haproxy/haproxy.cfg"
_POLL = 0.05
#: Seconds for a check or a start: HAProxy looks up the names of servers, each of them for some seconds at most.
_PATIENCE = 60.0
_MOST_LINES = 5


class Program:
    """HAProxy as it is installed, and as *instance* runs it, if it does; *files* are those of its configuration."""

    def __init__(self, instance: Instance | None, files: t.Sequence[str]) -> None:
        self.instance = instance
        self.files = tuple(files)
        self.binary = self._find_binary()

    def _find_binary(self) -> str:
        # The path, not the open file of the process: after an upgrade the next worker is the new program.
        named = self.instance.argv[0] if self.instance else "haproxy"
        found = shutil.which(named, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
        if found is None:
            raise Failure(
                "no_haproxy", "running HAProxy", f"there is no {named}", "Install it (haproxy_install: true)."
            )
        return found

    def version(self) -> str:
        """Such as ``2.6.12-1+deb12u4``."""
        told = self._run([self.binary, "-v"]).stdout
        match = re.search(r"[Pp]roxy version (\S+)", told)
        if not match:
            raise Failure("no_haproxy", f"the version of {self.binary}", "it does not tell", "Is this HAProxy?")
        return match[1]

    def check(self, contents: t.Mapping[str, bytes | None]) -> None:
        """Let HAProxy read the whole configuration, with *contents* in the place of those files. Raises ``refused``.

        Each copy lies in a private directory, among links to the neighbours of its original: a configuration may name
        them relative to itself (``default-path config``).
        """
        with tempfile.TemporaryDirectory(prefix="pgharden-haproxy-") as directory:
            arguments: list[str] = []
            for number, path in enumerate(self.files):
                content = contents.get(path)
                if content is None:
                    arguments += ["-f", path]
                    continue
                place = os.path.join(directory, str(number))
                os.mkdir(place, 0o700)
                original, own = os.path.dirname(os.path.abspath(path)), os.path.basename(path)
                for name in os.listdir(original):
                    if name != own:
                        os.symlink(os.path.join(original, name), os.path.join(place, name))
                copy = os.path.join(place, own)
                with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(content)
                arguments += ["-f", copy]
            done = self._run([self.binary, "-c", *self._kept_options(), *arguments])
            if done.returncode:
                told = done.stdout + done.stderr
                for number, path in enumerate(self.files):
                    told = told.replace(os.path.join(directory, str(number), os.path.basename(path)), path)
                alerts = [line for line in told.splitlines() if "[ALERT]" in line] or told.splitlines()
                raise Failure(
                    "refused",
                    f"checking {', '.join(self.files)} with haproxy -c",
                    " ".join(" ".join(alerts[:_MOST_LINES]).split()),
                    "Nothing was installed. Correct the configuration, or leave that setting alone (overrides).",
                )

    def _kept_options(self) -> list[str]:
        """Of the command line what the meaning of a configuration depends on."""
        kept: list[str] = []
        for option, arguments in _haproxy_process.options_of(self.instance.argv if self.instance else ()):
            if option in ("-C", "-L"):
                kept += [option, *arguments]
            elif option in ("-W", "-Ws"):
                kept.append("-W")
        return kept

    # ---- reload

    def reload(self, timeout: float, daemon: bool, listeners_socket: str | None) -> None:
        """Have the running HAProxy read its files, and wait (*timeout* seconds) until only new processes listen.

        *daemon*: its configuration has it go to the background; *listeners_socket*: the stats socket that hands over
        its listeners, if there is one.
        """
        old = self.instance
        if not old:
            return
        unit = self._unit()
        if unit:
            done = self._run(["systemctl", "reload", unit])
            if done.returncode:
                raise self._not_reloaded(" ".join((done.stderr + done.stdout).split()) or "systemctl reload failed")
        elif old.is_master:
            os.kill(old.pid, signal.SIGUSR2)
        else:
            self.need_background(daemon)
            self._start_another(listeners_socket)
        deadline = time.monotonic() + timeout
        while True:
            now = [one for one in _haproxy_process.instances(self.files) if one.listening]
            now = [one for one in now if one.pid == old.pid or not old.is_master]
            if len(now) == 1 and not now[0].listening & old.listening:
                self.instance = now[0]
                return
            if time.monotonic() > deadline:
                raise self._not_reloaded(f"after {timeout:g} s there is no new process that has taken over")
            time.sleep(_POLL)

    def need_background(self, daemon: bool) -> None:
        """Refuse a single process in the foreground: whoever has started it would take a reload for its end."""
        old = self.instance
        if not old or old.is_master or self._unit():
            return
        flags = {option for option, _arguments in _haproxy_process.options_of(old.argv)}
        asked = f"reloading HAProxy (process {old.pid})"
        if "-db" in flags or "-d" in flags or not (daemon or "-D" in flags):
            found = "it is a single process in the foreground, which cannot be replaced by another"
            raise Failure("cannot_reload", asked, found, "Run it in master-worker mode (-W), or set reload to false.")

    def need_directory(self, chroot: bool) -> None:
        """Refuse to write another pid file than that of a single process which has left its directory by chroot."""
        old = self.instance
        if not old or old.is_master or self._unit() or not chroot:
            return
        for option, arguments in _haproxy_process.options_of(old.argv):
            if option == "-p" and not os.path.isabs("".join(arguments)):
                raise Failure(
                    "cannot_reload",
                    f"reloading HAProxy (process {old.pid})",
                    f"where its relative pid file {''.join(arguments)} lies is not known after its chroot",
                    "Start it with an absolute path, or set reload to false.",
                )

    def need_user(self, changes_user: bool) -> None:
        """Refuse to start a single process as another user than its own; root's own may have become another."""
        old = self.instance
        if old and not old.is_master and not self._unit() and not changes_user:
            owner = os.stat(f"/proc/{old.pid}").st_uid
            if owner != os.geteuid():
                raise Failure(
                    "cannot_reload",
                    f"reloading HAProxy (process {old.pid})",
                    f"user {owner} has started it, and this is user {os.geteuid()}",
                    "Run the task as that user (become_user), or set reload to false.",
                )

    def _start_another(self, listeners_socket: str | None) -> None:
        old = t.cast(Instance, self.instance)
        argv = [self.binary]
        for option, arguments in _haproxy_process.options_of(old.argv):
            if option not in ("-sf", "-st", "-x"):
                argv += [option, *arguments]
        argv += ["-x", listeners_socket] if listeners_socket else []
        done = self._run([*argv, "-sf", str(old.pid)], cwd=old.cwd)
        if done.returncode:
            raise self._not_reloaded(" ".join((done.stdout + done.stderr).split()))

    def _not_reloaded(self, found: str) -> Failure:
        pid = self.instance.pid if self.instance else 0
        return Failure("not_reloaded", f"reloading HAProxy (process {pid})", found, "See its log.")

    def _unit(self) -> str | None:
        """The unit of systemd whose main process it is."""
        if not self.instance or not os.path.isdir("/run/systemd/system") or not shutil.which("systemctl"):
            return None
        with open(f"/proc/{self.instance.pid}/cgroup", encoding="utf-8", errors="replace") as file:
            units = re.findall(r"/([^/\n]+\.service)$", file.read(), re.MULTILINE)
        for unit in dict.fromkeys(units):
            if self._run(["systemctl", "show", "--property=MainPID", unit]).stdout.strip() == (
                f"MainPID={self.instance.pid}"
            ):
                return str(unit)
        return None

    def _run(self, argv: list[str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it in the environment of the process. Through files: a new background process keeps what it is given."""
        environment = self.instance.environment() if self.instance else dict(os.environ)
        with tempfile.TemporaryFile("w+", errors="replace") as out, tempfile.TemporaryFile(
            "w+", errors="replace"
        ) as err:
            try:
                done = subprocess.run(  # pylint: disable=ansible-bad-function  # there is no AnsibleModule here
                    argv,
                    check=False,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=cwd or (self.instance.cwd if self.instance else None),
                    env={"PATH": os.environ.get("PATH", os.defpath), **environment},
                    timeout=_PATIENCE,
                )
            except subprocess.TimeoutExpired:
                found = f"it has not ended after {_PATIENCE:g} s"
                raise Failure(
                    "timed_out", " ".join(argv), found, "Run it by hand; names may take long to look up."
                ) from None
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(argv, done.returncode, out.read(), err.read())
