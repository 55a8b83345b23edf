# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live sysctls: what the kernel has in force in this network namespace, and what it would let us set."""

from __future__ import annotations

import errno
import os
import re
import typing as t

from .._errors import Failure
from . import _sysctlconf
from ._sysctlconf import single_number
from ._sysctls import SYSCTL_FILE, Sysctls

# More than this the kernel refuses for a socket; as sysctls it would take more, and then no program could ask for it.
LIMITS = {
    "net.ipv4.tcp_keepalive_time": 32767,
    "net.ipv4.tcp_keepalive_intvl": 32767,
    "net.ipv4.tcp_keepalive_probes": 127,
}

_NAME = re.compile(r"net\.ipv4\.tcp_[a-z0-9_]+\Z")
# The kernel registers this one for the initial network namespace alone. To compare with /proc/1/ns/net would need root,
# and in a container it would compare with the container's own first process.
_INITIAL_ONLY = "net.core.netdev_budget"


def check(key: str, wanted: int | None) -> None:
    """Refuse what no TCP setting can be, before anything is read."""
    if not _NAME.match(key):
        raise Failure(
            "not_a_tcp_sysctl",
            f"set {key}",
            "only settings named net.ipv4.tcp_* (they count for IPv6 as well) are managed here",
            "Use ansible.posix.sysctl for any other.",
            key=key,
        )
    if wanted is not None and key in LIMITS and not 1 <= wanted <= LIMITS[key]:
        raise Failure(
            "out_of_kernel_range",
            f"set {key} to {wanted}",
            f"Linux takes 1 to {LIMITS[key]} for a socket",
            f"Choose a number from 1 to {LIMITS[key]}.",
            key=key,
            minimum=1,
            maximum=LIMITS[key],
        )


class Live:
    """The tree that the kernel shows at *proc*, usually /proc/sys."""

    def __init__(self, proc: str) -> None:
        self._proc = proc

    def _path(self, key: str) -> str:
        return os.path.join(self._proc, *key.split("."))

    def read(self, key: str) -> dict[str, str | None]:
        """The value in force, and the reason why it could not be set, if there is one."""
        path = self._path(key)
        try:
            with open(path, encoding="utf-8") as stream:
                value = stream.read().strip()
        except FileNotFoundError:
            return {"value": None, "reason": "absent"}
        except OSError:
            return {"value": None, "reason": "forbidden"}
        if single_number(value) is None:
            raise Failure(
                "not_a_number",
                f"set {key}",
                f"its value is not one number but '{value}'",
                "Use ansible.posix.sysctl for it.",
                key=key,
            )
        return {"value": value, "reason": _obstacle(path)}

    def write(self, key: str, value: str | None) -> None:
        """Set a value; the kernel's refusal is an OSError."""
        with open(self._path(key), "w", encoding="utf-8") as stream:
            stream.write(f"{value}\n")

    def namespace(self) -> str | None:
        """Whose network this is: a new namespace starts at the kernel's defaults, the host's values do not reach it."""
        if not os.path.isdir(self._path("net.core")):
            return None
        return "initial" if os.path.exists(self._path(_INITIAL_ONLY)) else "other"


def _obstacle(path: str) -> str | None:
    """Why a value cannot be set, if so. Only opening it tells: the kernel asks for a capability, not for the owner."""
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return "read_only" if error.errno == errno.EROFS else "forbidden"
    return None


class Linux(Sysctls):
    """/proc/sys, and the files of sysctl.d(5)."""

    default_file = SYSCTL_FILE
    readers = ("boot", "sysctl --system")
    unread = "it is no .conf file in a directory of sysctl.d(5)"
    remedy = "Run it as root, where /proc/sys is writable; it can be repeated."

    def __init__(self, proc: str, search: t.Sequence[str]) -> None:
        self._live = Live(proc)
        self._search = tuple(search)

    def check(self, key: str, wanted: int | None) -> None:
        check(key, wanted)

    def read(self, key: str) -> dict[str, str | None]:
        return self._live.read(key)

    def write(self, key: str, value: str | None) -> None:
        self._live.write(key, value)

    def namespace(self) -> str | None:
        return self._live.namespace()

    def outside(self, key: str, value: str | None, wanted: int | None, reason: str) -> str:
        read_only = reason == "read_only"
        cause = "/proc/sys is read-only, as in most containers" if read_only else "the kernel forbids to set it"
        where = f"docker run --sysctl {key}={wanted}, or securityContext.sysctls of a pod"
        return f"{key} is {value} and {cause}: set it where the container is made ({where})"

    def edit(self, path: str, content: bytes | None, settings: t.Mapping[str, int | None]) -> bytes | None:
        return _sysctlconf.edit(content, settings)

    def sources(self, own: str, content: bytes | None) -> list[_sysctlconf.Source]:
        return _sysctlconf.sources(self._search, own, content)
