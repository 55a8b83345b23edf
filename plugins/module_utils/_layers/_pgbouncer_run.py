# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PgBouncer run: one host, from the options of the module ``pgbouncer`` to what it returns."""

from __future__ import annotations

import dataclasses
import os
import time
import typing as t

from .. import _hop_run, _in_force, _kernel, _login
from .._errors import Failure
from .._path import _plans
from .._path._hops import Hop, Socket
from .._plan import Unsupported
from . import _pgbouncer_console, _pgbouncer_idle, _pgbouncer_process, _pgbouncerini
from ._pgbouncer import PgBouncerLayer, is_number
from ._pgbouncer_console import Console, Row
from ._pgbouncer_process import Process

_NEWEST = (9,)
_LOGIN_OPTIONS = ("host", "port", "user", "password", "unix_socket", "os_user")
#: Seconds for PgBouncer to close unused connections after RECONNECT; it looks three times a second.
_RECONNECT_PATIENCE = 3.0
_PRIVILEGES = "Run the task as root (become); in a container root needs the capability SYS_PTRACE too."
#: What PgBouncer has where neither its file nor its console says otherwise.
_DEFAULTS = {
    "tcp_keepalive": "1",
    "tcp_keepidle": "0",
    "tcp_keepintvl": "0",
    "tcp_keepcnt": "0",
    "tcp_user_timeout": "0",
    "client_idle_timeout": "0",
    "server_idle_timeout": "600",
    "server_lifetime": "3600",
    "pool_mode": "session",
    "listen_port": "6432",
}


@dataclasses.dataclass
class _Instance:
    """The PgBouncer that is managed; *why* there is no console, in words. *hidden* may be its process."""

    config_file: str
    process: Process | None
    console: Console | None
    why: str = ""
    hidden: int | None = None

    @property
    def down(self) -> bool:
        return self.process is None and self.console is None


def run(options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Harden PgBouncer on this host; *options* are those of the module ``pgbouncer``."""
    _hop_run.plan(_plans.pgbouncer, options, _NEWEST)  # bad input ends here, before anything is asked of the host
    process = _pgbouncer_process.find(options["config_file"])
    instance = _open(process, options)
    try:
        return _run(instance, options, check_mode)
    finally:
        if instance.console:
            instance.console.close()


def _run(instance: _Instance, options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    console = instance.console
    if console:
        version = _pgbouncer_process.parse_version(console.show("VERSION")[0]["version"])
        running = _pgbouncer_console.config(console)
    else:
        version, running = _pgbouncer_process.version(instance.process), {}
    made = _hop_run.plan(_plans.pgbouncer, options, version)
    dotted = ".".join(map(str, version))
    for name in [name for name in made.settings if running and name not in running]:
        if name not in options["overrides"]:
            del made.settings[name]
            reason = f"PgBouncer {dotted} has no such setting"
            made.unsupported.append(Unsupported("pgbouncer", name, "", reason))
    layer = PgBouncerLayer(
        instance.config_file, made.settings, process=instance.process, console=console, reload=options["reload"]
    )
    result, outcomes = _hop_run.run("pgbouncer", instance.config_file, [layer], made, options, check_mode)
    found = outcomes[0].found if check_mode else layer.read()
    content = layer.planned(found)[instance.config_file]
    items = layer.items(content)
    settings = made.settings if options["reload"] or instance.down else {}
    values = _in_force_values(items, found["running"], settings if check_mode else {})
    hop = _hop(values, dotted)
    return {
        **result,
        "notes": [*result["notes"], *_notes(instance, options)],
        "version": dotted,
        "config_file": instance.config_file,
        "pgbouncer_down": instance.down,
        "hop": hop.as_dict(),
        "shadowed": _pgbouncerini.overrides(items),
        "legs": _pgbouncerini.server_legs(items),
        "restart_required": _restart_required(made.settings, found["running"]),
        "idle_backends": _idle_backends(console),
        **_sockets(
            instance,
            hop,
            _pgbouncerini.port(values, instance.config_file),
            options["reconnect"] and not check_mode,
            result["changed"],
        ),
    }


# ---- how to reach it


def _open(process: Process | None, options: t.Mapping[str, t.Any]) -> _Instance:
    config_file = options["config_file"] or (process.config_file if process else _pgbouncer_process.DEFAULT_FILE)
    hidden = None if process else next(iter(_pgbouncer_process.hidden(options["config_file"])), None)
    given = any(options[f"login_{name}"] is not None for name in _LOGIN_OPTIONS) or options["connect_params"]
    if options["reload_through"] == "signal":
        if hidden:
            raise _forbidden(hidden)
        return _Instance(config_file, process, None, "as reload_through asks")
    login = _pgbouncer_console.login(process, config_file, options)
    try:
        console = t.cast(Console, _login.connect(login, Console))
    except Failure as failure:
        if process is None and hidden is None and failure.details.get("down"):
            return _Instance(config_file, None, None, "it is down")
        if hidden and not given:
            raise _forbidden(hidden) from failure
        if given or process is None or options["reload_through"] == "console":
            raise
        return _Instance(config_file, process, None, failure.found)
    try:
        return _Instance(_checked(config_file, process, console, options), process, console, hidden=hidden)
    except BaseException:
        console.close()
        raise


def _forbidden(pid: int) -> Failure:
    return Failure(
        "forbidden",
        "finding PgBouncer's configuration file",
        f"PgBouncer runs (process {pid}), and user {os.geteuid()} may not see its files",
        f"{_PRIVILEGES} Or give config_file and a login to its console (login_user, and login_host or "
        "login_unix_socket).",
    )


def _checked(config_file: str, process: Process | None, console: Console, options: t.Mapping[str, t.Any]) -> str:
    """The file that the PgBouncer behind the console reads. Raises Failure ``other_pgbouncer`` where it is another."""
    said = _pgbouncer_console.config(console)["conffile"]["value"]
    path = os.path.join(process.cwd, said) if process else said
    if not options["config_file"] and not process and os.path.isabs(path):
        return path
    same = os.path.realpath(path) == os.path.realpath(config_file)
    if not same and (os.path.isabs(path) or os.path.basename(path) != os.path.basename(config_file)):
        raise Failure(
            "other_pgbouncer",
            f"settings of PgBouncer in {config_file}",
            f"the one whose console answers reads {path}",
            "Correct config_file, login_host and login_port.",
        )
    return config_file


def _notes(instance: _Instance, options: t.Mapping[str, t.Any]) -> list[str]:
    if instance.down:
        return ["PgBouncer is down: only its file was looked after, and it has not checked it."]
    notes = []
    if instance.hidden:
        seen = f"sockets of PgBouncer (process {instance.hidden}) were not looked at: user {os.geteuid()} may not."
        notes.append(f"The {seen} {_PRIVILEGES}")
    if instance.console is None:
        notes.append(f"PgBouncer is told by SIGHUP, and cannot be asked what is in force ({instance.why}).")
        if options["reconnect"]:
            notes.append("Without its console no RECONNECT can be given.")
    return notes


# ---- what is in force


def _in_force_values(
    items: t.Sequence[_pgbouncerini.Item], running: t.Mapping[str, Row] | None, planned: t.Mapping[str, str]
) -> dict[str, str]:
    """What PgBouncer says; where it cannot be asked what its file says. *planned* is what is yet to come."""
    if running is None:
        return {**_DEFAULTS, **_pgbouncerini.values(items), **planned}
    live = {name: str(row["value"]) for name, row in running.items() if row["value"] is not None}
    coming = {name: value for name, value in planned.items() if running.get(name, {}).get("changeable")}
    return {**_DEFAULTS, **live, **coming}


def _hop(values: t.Mapping[str, str], version: str) -> Hop:
    def number(name: str) -> float:
        # At what is no number PgBouncer has stopped reading, and has its default.
        return float(values[name] if is_number(values[name]) else _DEFAULTS[name])

    def milliseconds(name: str) -> int:
        return int(number(name) * 1000)

    socket = Socket(
        keepalive=values["tcp_keepalive"] == "1",
        idle=int(number("tcp_keepidle")),
        interval=int(number("tcp_keepintvl")),
        count=int(number("tcp_keepcnt")),
        user_timeout=int(number("tcp_user_timeout")),
    )
    return Hop(
        kind="pgbouncer",
        version=version,
        pool_mode=values["pool_mode"],
        max_age=milliseconds("server_lifetime") or 1,  # 0 is once, not for ever
        pooled_idle=milliseconds("server_idle_timeout"),
        client_side=dataclasses.replace(socket, idle_timeout=milliseconds("client_idle_timeout")),
        server_side=socket,
        os=_in_force.kernel(),
    )


def _restart_required(settings: t.Mapping[str, str], running: t.Mapping[str, Row] | None) -> list[str]:
    rows = {name: (running or {}).get(name) for name in settings}
    return [
        name
        for name, row in rows.items()
        if row and not row["changeable"] and not _pgbouncerini.same(row["value"], settings[name])
    ]


def _idle_backends(console: Console | None) -> list[dict[str, t.Any]] | None:
    if console is None:
        return None
    clients = console.show("CLIENTS")
    return _pgbouncer_idle.audit(console.show("SERVERS"), clients)


def _sockets(instance: _Instance, hop: Hop, listen_port: int, reconnect: bool, changed: bool) -> dict[str, t.Any]:
    """The sockets that run on old options, after RECONNECT where that is asked for and of use."""
    stale = _stale(instance, hop, listen_port)
    reconnected = False
    if reconnect and instance.console and any(row["leg"] == "server" for row in stale):
        instance.console.command("RECONNECT")
        reconnected = True
        deadline = time.monotonic() + _RECONNECT_PATIENCE
        while any(row["leg"] == "server" for row in stale) and time.monotonic() < deadline:
            time.sleep(0.1)
            stale = _stale(instance, hop, listen_port)
    return {"stale_sockets": stale, "reconnected": reconnected, "changed": changed or reconnected}


_REMEDIES = {
    "client": "It ends when its client reconnects.",
    "server": "RECONNECT at PgBouncer's console (option reconnect) replaces it as soon as no client uses it.",
}


def _stale(instance: _Instance, hop: Hop, listen_port: int) -> list[dict[str, t.Any]]:
    if instance.process is None or hop.client_side is None:
        return []
    own = instance.console.local() if instance.console else []
    rows = []
    for one in _kernel.of_process(instance.process.pid):
        if list(one.remote) == own:
            continue
        leg = "client" if one.local[1] == listen_port else "server"
        rows += [{**row, "leg": leg, "remedy": _REMEDIES[leg]} for row in _hop_run.stale([one], hop.client_side)]
    return rows
