# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may stand between a client and its server, on the router: haproxy, pgbouncer."""

from __future__ import annotations

import contextlib
import subprocess
import typing as t
from pathlib import Path

from support import places

from .hosts import ROUTER, LabError, stop, wait
from .lab import PORT, Lab

POOLER_PORT = 6432
HAPROXY = """
global
    maxconn 100
    log stdout format raw local0
defaults
    mode tcp
    log global
    option tcplog
    timeout connect 3s
    {options}
listen postgresql
    bind {address}:{port}
    server one {server}:{port} {server_options}
"""
PGBOUNCER = """
[databases]
* = host={server} port={port} user=postgres
[pgbouncer]
listen_addr = {address}
listen_port = {pooler_port}
unix_socket_dir =
auth_type = any
ignore_startup_parameters = extra_float_digits
{options}
"""


@contextlib.contextmanager
def _running(lab: Lab, name: str, argv: t.Sequence[str | Path], user: str, ready: int) -> t.Iterator[None]:
    log = lab.directory / f"{name}.log"
    lab.other_logs[name] = log.name
    with log.open("wb") as output:
        process = lab.network.router.start(argv, user, stdout=output, stderr=subprocess.STDOUT)

    def listens() -> bool:
        if process.poll() is not None:
            raise LabError(f"{name} ended: {log.read_text()}")
        return f":{ready} " in lab.network.router.run(["ss", "-Htln"])

    try:
        wait(f"{name} on port {ready}", listens)
        yield
    finally:
        stop(process)


@contextlib.contextmanager
def haproxy(lab: Lab, *options: str, server_options: str = "") -> t.Iterator[tuple[str, int]]:
    """A running haproxy; where it listens."""
    text = HAPROXY.format(
        options="\n    ".join(options),
        address=ROUTER[4][0],
        server=lab.address,
        port=PORT,
        server_options=server_options,
    )
    with _running(lab, "haproxy", ["haproxy", "-f", _configured(lab, "haproxy.cfg", text)], "", PORT):
        yield ROUTER[4][0], PORT


@contextlib.contextmanager
def pgbouncer(lab: Lab, *options: str) -> t.Iterator[tuple[str, int]]:
    """A running pgbouncer; where it listens."""
    text = PGBOUNCER.format(
        options="\n".join(options), address=ROUTER[4][0], server=lab.address, port=PORT, pooler_port=POOLER_PORT
    )
    argv: list[str | Path] = ["pgbouncer", _configured(lab, "pgbouncer.ini", text)]
    with _running(lab, "pgbouncer", argv, places.server_user().pw_name, POOLER_PORT):
        yield ROUTER[4][0], POOLER_PORT


def _configured(lab: Lab, name: str, text: str) -> Path:
    path = lab.cluster.directory / name  # the OS user of the servers may read there
    path.write_text(text)
    path.chmod(0o644)
    return path
