# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's process: the one whose server has a given data directory, and its local configuration."""

from __future__ import annotations

import dataclasses
import os
import typing as t

try:
    import yaml
except ImportError:  # `_document` says so
    HAS_YAML = False
else:
    HAS_YAML = True

from .._errors import Failure
from . import _patroni_config, _patroni_pids
from ._patroni_config import Config

_SUFFIXES = (".yml", ".yaml")
_ASKED = "reading Patroni's local configuration"


@dataclasses.dataclass(frozen=True)
class Line:
    """A parameter of a local configuration, and where it is."""

    value: t.Any
    sourcefile: str
    sourceline: int


@dataclasses.dataclass(frozen=True)
class Member:
    """A Patroni that runs here. *config* has passwords; it goes into no result."""

    pid: int
    config: Config = dataclasses.field(repr=False)
    #: `postgresql.parameters`, by name in small letters
    parameters: dict[str, Line] = dataclasses.field(default_factory=dict)


def find(data_directory: str, proc: str = "/proc") -> Member | None:
    """The one whose server has its data in *data_directory*; None where none of this host has.

    Raises Failure ``not_allowed`` where one runs whose configuration may not be read.
    """
    real = os.path.realpath(data_directory)
    problems = []
    for pid in _patroni_pids.running(proc):
        try:
            member = _read(pid, os.path.join(proc, str(pid)))
        except Failure as failure:
            problems.append(failure)
            continue
        directory = _patroni_config.part(member.config, "postgresql").get("data_dir")
        if directory and os.path.realpath(os.path.join(_cwd(proc, pid), str(directory))) == real:
            return member
    if problems:
        raise problems[0]
    return None


def _cwd(proc: str, pid: int) -> str:
    try:
        return os.readlink(os.path.join(proc, str(pid), "cwd"))
    except OSError:
        return "/"


def _read(pid: int, directory: str) -> Member:
    try:
        arguments = _patroni_pids.arguments(directory) or []
        with open(os.path.join(directory, "environ"), "rb") as stream:
            entries = os.fsdecode(stream.read()).split("\0")
        cwd = os.readlink(os.path.join(directory, "cwd"))
    except OSError as error:
        remedy = "Run the task as root, or give api_url, api_user and api_password."
        raise Failure("not_allowed", f"{_ASKED}, process {pid}", str(error.strerror), remedy) from None
    environment = {key: value for key, _equal, value in (entry.partition("=") for entry in entries)}
    named = [word for word in arguments if not word.startswith("-")]
    texts: list[tuple[str, str]] = []
    if named:
        texts = [(path, _content(path)) for path in _files(os.path.join(cwd, named[0]))]
    elif environment.get("PATRONI_CONFIGURATION"):
        texts = [("PATRONI_CONFIGURATION", environment["PATRONI_CONFIGURATION"])]
    documents = [_document(path, text) for path, text in texts]
    lines: dict[str, Line] = {}
    for (path, text), document in zip(texts, documents):
        lines.update(_lines(path, text, document))
    return Member(pid, _patroni_config.merged(documents, environment), lines)


def _files(path: str) -> list[str]:
    """A directory stands for the YAML files in it, in the order of their names."""
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(_SUFFIXES)]


def _content(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or "it is no text in UTF-8")
        remedy = "Run the task as root, or give api_url, api_user and api_password."
        raise Failure("not_allowed", f"{_ASKED} {path}", reason, remedy) from None


def _document(path: str, text: str) -> t.Any:
    if not HAS_YAML:
        raise Failure(
            "missing_library",
            f"{_ASKED} {path}",
            "the Python library yaml is not there",
            "Install it for the Python that Ansible uses on the host (Debian: python3-yaml).",
        )
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # without what is written there: it has passwords
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise Failure("bad_config_file", f"{_ASKED} {path}", f"it is no YAML{where}", "Correct it first.") from None


def _lines(path: str, text: str, document: t.Any) -> dict[str, Line]:
    """The parameters of one file with their lines."""
    there = _patroni_config.part(document, "postgresql", "parameters")
    if not there:
        return {}
    node: t.Any = yaml.compose(text, yaml.SafeLoader)
    for key in ("postgresql", "parameters"):
        node = next((below for name, below in node.value if name.value == key), node)
    numbers = {name.value: name.start_mark.line + 1 for name, _below in node.value}
    return {str(name).lower(): Line(value, path, numbers.get(str(name), 0)) for name, value in there.items()}
