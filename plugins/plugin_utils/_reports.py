# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports, on the controller: printed once for all hosts of a play, in at most 100 columns, and kept in files."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import textwrap
import typing as t

from ansible.utils.display import Display

from ..module_utils import _files
from ..module_utils._errors import Failure

WIDTH = 100

Result = t.Mapping[str, t.Any]
#: Writes the files of a host below a directory, and gives their paths; none for a result that is not worth it.
Write = t.Callable[[str, str, Result, datetime.datetime], list[str]]


# ---- the action


def run(task: t.Any, variables: Result, lines: t.Callable[[dict[str, Result]], list[str]], write: Write) -> Result:
    """The result of an action that prints the *lines* of a registered variable of all hosts, and writes their files."""
    found = results(task, variables)
    text = lines(found)
    if text:
        Display().display("\n".join(["", *text, ""]))
    directory = task.args.get("directory")
    if not directory or variables.get("ansible_check_mode"):
        return {"changed": False, "files": []}
    return {"changed": False, **_written(os.path.abspath(os.path.expanduser(directory)), found, write)}


def results(task: t.Any, variables: Result) -> dict[str, Result]:
    """What the task's variable has for each host of the batch that has it."""
    return of_hosts(task.args["variable"], _hosts(task.register, variables), variables)


def of_hosts(name: str, hosts: t.Iterable[str], variables: Result) -> dict[str, Result]:
    """What the variable of that *name* has for each of *hosts* that has it."""
    found = {host: variables["hostvars"][host].get(name) for host in hosts}
    return {host: value for host, value in found.items() if value}


def _hosts(register: t.Any, variables: Result) -> list[str]:
    """The batch with the hosts that have failed, which Ansible no longer counts among it.

    Nor does it tell them from those that failed in an earlier batch, which have this task's own result already.
    """
    batch, playing = (set(variables.get(name, [])) for name in ("ansible_play_batch", "ansible_play_hosts"))
    marks = {register} if isinstance(register, str) else set(register or ())  # a mapping since ansible-core 2.21

    def done(host: str) -> bool:
        return any(variables["hostvars"][host].get(mark) for mark in marks)

    hosts = variables.get("ansible_play_hosts_all", [])
    return [host for host in hosts if host in batch or (host not in playing and not done(host))]


def _written(directory: str, results: dict[str, Result], write: Write) -> Result:
    """The files of every host; one that cannot be written does not keep the others from it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    files: list[str] = []
    failures = []
    for host, result in results.items():
        try:
            files += write(directory, host, result, now)
        except Failure as failure:
            failures.append(failure)
    if failures:
        message = " ".join(dict.fromkeys(map(str, failures)))
        return {"failed": True, "msg": message, "failure": failures[0].as_dict(), "files": files}
    return {"files": files}


# ---- text


def printable(text: str) -> str:
    """*text* without characters that steer a terminal, or that XML cannot hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def shortened(text: str, width: int = WIDTH) -> str:
    """*text* in *width* columns at most."""
    text = text.rstrip()
    return text if len(text) <= width else f"{text[: width - 1]}…"


def wrapped(text: str, indent: str = "  ") -> list[str]:
    """*text* on several lines, those that follow indented more."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False)


def without_result(result: Result) -> str:
    """Why a host has nothing to report, for a reader of what Ansible has printed."""
    if result.get("skipped"):
        return "skipped"
    return f"failed, see above: {reason(result)}" if result.get("failed") else "unreachable, see above"


def reason(result: Result) -> str:
    """The same in a few words, for a reader of a file."""
    if result.get("skipped"):
        return "skipped"
    return str(result.get("msg", "")).removeprefix("Task failed: ") if result.get("failed") else "unreachable"


# ---- files


def file_name(host: str) -> str:
    """*host* as part of a file's name; hosts whose names become the same are told apart by `read`."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", host)[:200]


@contextlib.contextmanager
def locked(directory: str) -> t.Iterator[None]:
    """Makes *directory* where it is missing, and keeps others out of it."""
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        remedy = "Give another directory, or make it yourself."
        raise Failure("directory_not_made", f"make {directory}", os.strerror(error.errno or 0), remedy) from error
    with _files.lock(directory):
        yield


def read(path: str, ours: t.Callable[[t.Any], bool], what: str) -> Result | None:
    """The report that is there; a file that is none of *ours* must not be lost. *what* says which one it should be."""
    content = _files.read(path)
    if content is None:
        return None
    try:
        report = json.loads(content)
        if ours(report):
            return t.cast(Result, report)
    except (ValueError, LookupError, TypeError):
        pass
    raise Failure(
        "foreign_file",
        f"write {path}",
        f"what is there is no report of {what}",
        "Move it away, or give another directory.",
    )


def stamp(now: datetime.datetime) -> str:
    """When a run was, as files have it."""
    return now.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
