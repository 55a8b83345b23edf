# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a case is, and how one is run."""

from __future__ import annotations

import dataclasses
import shutil
import typing as t
import zlib
from pathlib import Path

from support import Unavailable, find_source
from support.sources import TLS

from .evidence import LOGS, Evidence
from .lab import EVERYTHING, HEADERS, MAJOR, Lab, Setup

PROGRAMS = ("conntrack", "ip", "nft", "nsenter", "nstat", "setpriv", "ss", "tcpdump")
Body = t.Callable[..., None]
CASES: dict[str, Case] = {}


class Skipped(Exception):
    """The case can't be played on this machine; the message says what it lacks."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One provoked fault. *rises* are counters that have to rise, *never* is what must not be in the log.

    *log_tells* says that the server's log alone gives the cause away.
    """

    name: str
    label: str
    body: Body
    arguments: dict[str, t.Any]
    setup: Setup
    log_tells: bool
    rises: tuple[str, ...]
    never: str
    programs: tuple[str, ...]


def case(
    label: str,
    variant: str = "",
    *,
    log_tells: bool = False,
    rises: tuple[str, ...] = (),
    never: str = "",
    programs: tuple[str, ...] = (),
    arguments: dict[str, t.Any] | None = None,
    **setup: t.Any,
) -> t.Callable[[Body], Body]:
    """Make a function a case with this label; *arguments* go to the function, *setup* to `Setup`."""

    def register(body: Body) -> Body:
        name = "-".join(filter(None, (label, variant)))
        assert name not in CASES, name
        # Every way to log and to capture and every major has its turn, the same one in every run.
        turn = zlib.crc32(name.encode())
        setup.setdefault("log", sorted(LOGS)[turn % len(LOGS)])
        setup.setdefault("snaplen", [HEADERS, EVERYTHING][turn // 8 % 2])
        setup.setdefault("any_device", turn // 16 % 3 == 0)
        setup.setdefault("major", MAJOR if setup.get("tls") else [MAJOR, 16, 18][turn // 64 % 3])
        CASES[name] = Case(name, label, body, arguments or {}, Setup(**setup), log_tells, rises, never, programs)
        return body

    return register


def run(chosen: Case, directory: Path, **setup: t.Any) -> Evidence:
    """Play a case in a lab of its own; its files go to a new directory of its name in *directory*.

    *setup* is laid over what the case asks for. Raises `LabError` when what happened is not what the label says.
    """
    missing = [program for program in (*PROGRAMS, *chosen.programs) if not shutil.which(program)]
    if missing:
        raise Skipped(f"{chosen.name}: no {', '.join(missing)} here (tools/install_system_packages)")
    whole_setup = dataclasses.replace(chosen.setup, **setup)
    try:
        if find_source(whole_setup.major, {TLS} if whole_setup.tls else ()).image:
            raise Skipped(f"{chosen.name}: PostgreSQL {whole_setup.major} only in a container, with other process ids")
    except Unavailable as problem:
        raise Skipped(f"{chosen.name}: {problem}") from None
    place = directory / chosen.name
    place.mkdir(parents=True)
    with Lab(whole_setup, place) as lab:
        try:
            lab.visit()
            chosen.body(lab, **chosen.arguments)
            return lab.collect(chosen.name, chosen.label, chosen.log_tells, chosen.rises, chosen.never)
        except Exception as problem:
            problem.add_note(f"the end of the server's log:\n{lab.log()[-3000:]}")
            raise
