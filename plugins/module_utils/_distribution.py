# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Distribution room (pure): which family of Linux an os-release file describes, and how packages are called there."""

from __future__ import annotations

import re
import typing as t

#: By the words of ID and ID_LIKE: the family of a distribution.
_FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "rhel": "redhat",
    "fedora": "redhat",
    "centos": "redhat",
    "amzn": "redhat",
    "suse": "suse",
    "opensuse": "suse",
    "sles": "suse",
    "alpine": "alpine",
    "arch": "arch",
    "gentoo": "gentoo",
}
#: How a package is installed, by family.
_INSTALL = {
    "debian": "apt-get install {}",
    "redhat": "dnf install {}",
    "suse": "zypper install {}",
    "alpine": "apk add {}",
    "arch": "pacman -S {}",
    "gentoo": "emerge {}",
}
_PSYCOPG2 = {
    "debian": "python3-psycopg2",
    "redhat": "python3-psycopg2",
    "alpine": "py3-psycopg2",
    "arch": "python-psycopg2",
    "gentoo": "dev-python/psycopg:2",
}
#: The Python that a major release of Red Hat Enterprise Linux calls python3; packages for others have it in their name.
_PLATFORM_PYTHON = {"8": (3, 6), "9": (3, 9), "10": (3, 12)}
_LINE = re.compile(r"""^([A-Z_]+)=(?:"([^"]*)"|'([^']*)'|(\S*))\s*$""", re.MULTILINE)


class Distribution(t.NamedTuple):
    """A Linux: its *family*, the family's name of this one, and its version; None and empty where unknown."""

    family: str | None = None
    id: str = ""
    version: str = ""

    def install(self, package: str) -> str:
        """The command that installs *package*."""
        return _INSTALL.get(self.family or "", "install {}").format(package)


def of(os_release: str) -> Distribution:
    """What the text of /etc/os-release says."""
    values = {match[1]: match[2] or match[3] or match[4] or "" for match in _LINE.finditer(os_release)}
    own = values.get("ID", "")
    for word in [own, *values.get("ID_LIKE", "").split()]:
        # opensuse-leap, opensuse-tumbleweed, sles_sap
        family = _FAMILIES.get(word) or _FAMILIES.get(re.split("[-_]", word)[0])
        if family:
            return Distribution(family, own, values.get("VERSION_ID", ""))
    return Distribution(None, own, values.get("VERSION_ID", ""))


def psycopg2(linux: Distribution, python: tuple[int, int], executable: str, virtual: bool) -> str:
    """How to get psycopg2 for the interpreter *executable*; *virtual*: it belongs to a virtual environment."""
    whom = f"for {executable}, the Python that Ansible uses on the host"
    if virtual:
        return f"Install it into its virtual environment ({executable} -m pip install psycopg2-binary), {whom}."
    package = _psycopg2_of(linux, python)
    if package is None:
        return f"Install psycopg2 {whom}: from this distribution's packages, or psycopg2-binary by pip."
    return f"Install the package {package} ({linux.install(package)}), {whom}."


def _psycopg2_of(linux: Distribution, python: tuple[int, int]) -> str | None:
    major, minor = python
    if linux.family == "suse":  # one for each Python
        return f"python{major}{minor}-psycopg2"
    if linux.family == "redhat" and linux.id not in ("fedora", "amzn"):
        release = linux.version.partition(".")[0]
        if python != _PLATFORM_PYTHON.get(release, python):
            return f"python{major}{minor}-psycopg2" if minor < 10 else f"python{major}.{minor}-psycopg2"
    return _PSYCOPG2.get(linux.family or "")
