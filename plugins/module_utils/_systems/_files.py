# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems, files, a pure room: the settings of a system as a file or script for those who roll it out themselves."""

from __future__ import annotations

import typing as t

from .._errors import Failure
from . import _launchd
from ._table import System

#: Windows keeps TCP's values here; both are absent until somebody makes them.
KEY = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
POWERSHELL_KEY = KEY.replace("HKEY_LOCAL_MACHINE", "HKLM:")

#: The formats of each system, the usual one first.
FORMATS = {
    "linux": ("sysctl.conf",),
    "darwin": ("plist", "sysctl.conf"),
    "freebsd": ("sysctl.conf",),
    "windows": ("reg", "powershell"),
}


def render(system: System, settings: t.Mapping[str, int], kind: str | None = None) -> str:
    """*settings* as a file of *kind*, text with the line ends of the system. Raises Failure ``unknown_format``."""
    kinds = FORMATS[system.name]
    kind = kind or kinds[0]
    if kind not in kinds:
        raise Failure(
            "unknown_format",
            f"the settings of {system.label} as {kind}",
            "there is no such file for that system",
            f"Choose {' or '.join(kinds)}.",
        )
    for name, number in settings.items():
        system.check(name, number)
    if kind == "plist":
        return _launchd.render(settings).decode()
    return _RENDERERS[kind](settings)


def encode(text: str, kind: str) -> bytes:
    """The bytes that the file is written with: regedit wants UTF-16 with a byte order mark."""
    return text.encode("utf-16" if kind == "reg" else "utf-8")


def _sysctl_conf(settings: t.Mapping[str, int]) -> str:
    # No spaces: BSD's sysctl takes them for part of the name.
    return "".join(f"{name}={number}\n" for name, number in sorted(settings.items()))


def _reg(settings: t.Mapping[str, int]) -> str:
    values = "".join(f'"{name}"=dword:{number:08x}\r\n' for name, number in sorted(settings.items()))
    return f"Windows Registry Editor Version 5.00\r\n\r\n[{KEY}]\r\n{values}\r\n"


def _powershell(settings: t.Mapping[str, int]) -> str:
    lines = [f"$key = '{POWERSHELL_KEY}'"]
    for name, number in sorted(settings.items()):
        lines.append(
            f"New-ItemProperty -Path $key -Name '{name}' -PropertyType DWord -Value {_dword(number)} -Force | Out-Null"
        )
    lines.append("Write-Warning 'The values count after the next restart of Windows.'")
    return "".join(f"{line}\r\n" for line in lines)


def _dword(number: int) -> str:
    """PowerShell casts a DWord to a signed integer of 32 bits; what is above has to be given as hexadecimal bits."""
    return str(number) if number < 2**31 else f"0x{number:X}"


_RENDERERS: dict[str, t.Callable[[t.Mapping[str, int]], str]] = {
    "sysctl.conf": _sysctl_conf,
    "reg": _reg,
    "powershell": _powershell,
}
