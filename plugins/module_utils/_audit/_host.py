# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Host, a pure room: what connection_info returned of one host, as the rules of an audit ask for it.

Nothing here raises for what is missing: a server that is down, a login that may not see it, facts of an older version.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .. import _duration, _guc, _settings
from .._errors import Failure
from .._policy import Policy

Facts = t.Mapping[str, t.Any]
#: The kernel's value that a session has where the server's parameter is 0.
KERNEL_VALUE = {
    "tcp_keepalives_idle": "tcp_keepalive_time",
    "tcp_keepalives_interval": "tcp_keepalive_intvl",
    "tcp_keepalives_count": "tcp_keepalive_probes",
}
ALL_ROLES = "all roles"
_OS_KEYS = tuple(field.name for field in dataclasses.fields(_settings.OsValues) if field.name != "system")
#: What a session has whatever the files say.
_OUTRANKING = ("command line", "environment variable", "override", ALL_ROLES)


class Host:
    """The *facts* of one host and the *policy* that it is to keep, if there is one."""

    def __init__(self, facts: Facts, policy: Policy | None = None) -> None:
        self.facts: t.Any = facts
        self.policy = policy
        self.server = self.part("server")
        #: by setting: what every session has, whatever the files say
        self._outranking = {name: self._outranks(name) for name in self.part("settings")}
        self._texts = {name: self._in_force(name) for name in self.part("settings")}
        self.major = int(self.server.get("version_num") or 0) // 10000
        self.os = self._kernel_values()
        self.settings = _settings.Settings.of({name: self.value(name) for name in _settings.SETTINGS})

    def part(self, *keys: str) -> dict[str, t.Any]:
        """A dict within the facts; empty where it is missing."""
        found: dict[str, t.Any] = self.facts
        for key in keys:
            found = found.get(key) or {}
        return found

    def rows(self, *keys: str) -> list[dict[str, t.Any]]:
        """A list within the facts; empty where it is missing."""
        return [row for row in self.part(*keys[:-1]).get(keys[-1]) or () if row is not None]

    @property
    def linux(self) -> bool:
        """Whether the server runs on Linux."""
        return self.server.get("platform") == "linux"

    @property
    def over_tcp(self) -> bool:
        """Whether the server is there and listens on TCP at all: over a Unix socket the TCP settings do nothing."""
        return bool(self.server.get("listen_addresses"))

    @property
    def kernel_is_ours(self) -> bool:
        """Whether the sysctls that were read are those of the server's network namespace."""
        return self.part("kernel").get("of_server") is not False

    @property
    def hardening(self) -> str:
        """What hardens this server: where Patroni manages it, harden and server_settings refuse to."""
        return f"pgharden.connection.{'patroni' if self.part('patroni') else 'harden'}"

    # ---- settings

    def text(self, name: str) -> str | None:
        """What new sessions have, overrides for single roles and databases aside; None where that is not known."""
        return self._texts.get(name)

    def value(self, name: str) -> int | None:
        """The same as a number in the parameter's base unit; None where it is none."""
        return number_of(self.text(name))

    def with_unit(self, name: str, value: t.Any) -> str:
        """*value*, which is in the parameter's base unit, as people write it: ``30s``."""
        unit, number = self.part("settings", name).get("unit"), number_of(value)
        if number and unit in _duration.UNITS:
            return _duration.spell(round(number * _duration.UNITS[unit]))
        return str(value)

    def spelled(self, name: str, value: t.Any) -> str:
        """``name = 30s``: *value* in the parameter's base unit."""
        return f"{name} = {self.with_unit(name, value)}"

    def shown(self, *names: str) -> str:
        """What is in force and where it comes from: ``tcp_user_timeout = 30ms (/etc/postgresql.conf:12)``."""
        values = []
        for name in names:
            kernel = "" if self.value(name) else KERNEL_VALUE.get(name, "")
            says = f", which the kernel makes {getattr(self.os, kernel)}" if kernel else ""
            values.append(self.spelled(name, self.text(name)) + says)
        return f"{', '.join(values)} ({', '.join(dict.fromkeys(map(self.origin, names)))})"

    def origin(self, name: str) -> str:
        """Where the value comes from."""
        shadow, row = self._outranking.get(name), self.part("settings", name)
        if shadow:
            return "ALTER ROLE ALL" if shadow["kind"] == ALL_ROLES else str(shadow["kind"])
        if row.get("sourcefile"):
            return line_of(row)
        if row.get("value") is None and self._of_login(name) is not None:
            return "of this login; what others have is not readable"
        return str(row.get("source") or "source not readable")

    def outranked(self, name: str) -> str:
        """What the files say where ALTER ROLE ALL hides it, else what is in force, and where that comes from."""
        shadow, row = self._outranking.get(name), self.part("settings", name)
        if shadow is None or shadow["kind"] != ALL_ROLES:
            return self.shown(name)
        place = line_of(row) if row.get("sourcefile") else row.get("source")
        return f"{self.spelled(name, row.get('value'))} ({place})"

    def _outranks(self, name: str) -> dict[str, t.Any] | None:
        for shadow in self.rows("settings", name, "shadowed_by"):
            if shadow.get("kind") in _OUTRANKING and not shadow.get("database"):
                return shadow
        return None

    def _in_force(self, name: str) -> str | None:
        row, shadow = self.part("settings", name), self._outranking[name]
        if shadow is None:
            value: str | None = row.get("value")
            return self._of_login(name) if value is None else value
        number = in_unit(shadow.get("value"), row.get("unit"))  # an override is there as it was written
        return str(shadow.get("value") if number is None else number)

    def _of_login(self, name: str) -> str | None:
        """What this login's own sessions have: all that is known where an override for it hides the server's value."""
        value: str | None = self.part("settings", name, "layers", "session").get("value")
        return value

    def everywhere(self, name: str) -> t.Iterator[tuple[str, int, str]]:
        """The server's own value and each override that is a number: where it is, the value, and what to show of it."""
        value = self.value(name)
        if value is not None:
            yield name, value, self.shown(name)
        for whose, text in self.overrides(name):
            number = in_unit(text, self.part("settings", name).get("unit"))
            if number is not None and whose != ALL_ROLES:  # that is the whole server
                yield f"{name}, {whose}", number, f"{self.spelled(name, number)} ({whose})"

    def overrides(self, name: str) -> t.Iterator[tuple[str, str]]:
        """Each override for a role, a database or both: whose it is, and its value as it was written."""
        for layer in ("database", "role", "role_in_database"):
            for row in self.rows("settings", name, "layers", layer):
                parts = [f"{kind} {row[kind]}" for kind in ("role", "database") if row.get(kind)]
                yield " in ".join(parts) or ALL_ROLES, str(row.get("value"))

    def of_role(self, role: str) -> _settings.Settings:
        """What sessions of *role* have, overrides for single databases aside."""
        values = {}
        for name in _settings.SETTINGS:
            for row in self.rows("settings", name, "layers", "role"):
                value = in_unit(row.get("value"), self.part("settings", name).get("unit"))
                if row.get("role") == role and value is not None:
                    values[name] = value
        return dataclasses.replace(self.settings, **values)

    # ---- the kernel

    def sysctl(self, key: str) -> dict[str, t.Any]:
        """One sysctl, by the last part of its name."""
        return self.part("kernel", "sysctls", f"net.ipv4.{key}")

    def _kernel_values(self) -> _settings.OsValues:
        """The values of the server's kernel: of another host, what a session shows where nothing is configured."""
        live: dict[str, t.Any] = {}
        if self.kernel_is_ours:
            found = {name: self.part("kernel", "sysctls", name).get("value") for name in self.part("kernel", "sysctls")}
            live = {name: number for name, value in found.items() if (number := number_of(value))}
            values = {key: live.get(f"net.ipv4.{key}") for key in _OS_KEYS}
        else:
            shown = self.part("effective", "settings")
            values = {key: number_of(shown.get(name)) for name, key in KERNEL_VALUE.items() if self.value(name) == 0}
        defaults = _settings.OsValues.of_system(str(self.server.get("platform") or "linux"), live)
        return dataclasses.replace(defaults, **{key: value for key, value in values.items() if value})


def line_of(row: Facts) -> str:
    """A line of a file, as compilers spell it."""
    return f"{row.get('sourcefile')}:{row.get('sourceline')}"


def in_unit(text: t.Any, unit: t.Any) -> int | None:
    """What somebody wrote for a parameter, in its base *unit*: ``5min`` or a bare number; None for anything else."""
    try:
        return int(_guc.canonical(_guc.Guc("", "integer", unit), text))
    except Failure:
        return None


def number_of(value: t.Any) -> int | None:
    """A whole number, be it written as text; None for anything else."""
    text = str(value)
    return int(text) if re.fullmatch("-?[0-9]+", text) else None
