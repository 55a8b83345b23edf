# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of packages: by os-release files as the distributions ship them (from their documentation)."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _distribution

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\nID=debian\n'
UBUNTU = 'NAME="Ubuntu"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'
MINT = "ID=linuxmint\nID_LIKE='ubuntu debian'\nVERSION_ID='22'\n"
RHEL_9 = 'NAME="Red Hat Enterprise Linux"\nVERSION="9.6 (Plow)"\nID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.6"\n'
ROCKY_8 = 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="8.10"\n'
ORACLE_10 = 'ID="ol"\nID_LIKE="fedora"\nVERSION_ID="10.0"\n'
FEDORA = "NAME='Fedora Linux'\nID=fedora\nVERSION_ID=43\n"
AMAZON = 'ID="amzn"\nID_LIKE="fedora"\nVERSION_ID="2023"\n'
LEAP = 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n'
SLES = 'ID="sles"\nID_LIKE="suse"\nVERSION_ID="15.7"\n'
ALPINE = "ID=alpine\nVERSION_ID=3.22.1\n"
ARCH = "ID=arch\nBUILD_ID=rolling\n"
GENTOO = "ID='gentoo'\n"


@pytest.mark.parametrize(
    ("os_release", "python", "command"),
    [
        (DEBIAN, (3, 13), "apt-get install python3-psycopg2"),
        (UBUNTU, (3, 12), "apt-get install python3-psycopg2"),
        (MINT, (3, 12), "apt-get install python3-psycopg2"),
        (RHEL_9, (3, 9), "dnf install python3-psycopg2"),
        (RHEL_9, (3, 12), "dnf install python3.12-psycopg2"),
        (ROCKY_8, (3, 9), "dnf install python39-psycopg2"),
        (ROCKY_8, (3, 11), "dnf install python3.11-psycopg2"),
        (ORACLE_10, (3, 12), "dnf install python3-psycopg2"),
        ('ID_LIKE="rhel"\n', (3, 12), "dnf install python3-psycopg2"),
        (FEDORA, (3, 14), "dnf install python3-psycopg2"),
        (AMAZON, (3, 9), "dnf install python3-psycopg2"),
        (LEAP, (3, 11), "zypper install python311-psycopg2"),
        (SLES, (3, 13), "zypper install python313-psycopg2"),
        ("ID=sles_sap\n", (3, 11), "zypper install python311-psycopg2"),
        (ALPINE, (3, 12), "apk add py3-psycopg2"),
        (ARCH, (3, 13), "pacman -S python-psycopg2"),
        (GENTOO, (3, 13), "emerge dev-python/psycopg:2"),
    ],
)
def test_the_package_with_psycopg2(os_release: str, python: tuple[int, int], command: str) -> None:
    told = _distribution.psycopg2(_distribution.of(os_release), python, "/usr/bin/python3", virtual=False)
    assert told == (
        f"Install the package {command.split()[-1]} ({command}), for /usr/bin/python3, "
        "the Python that Ansible uses on the host."
    )


@pytest.mark.parametrize("os_release", ["", "ID=nixos\nVERSION_ID=25.11\n", "no assignment\n"])
def test_a_distribution_that_nobody_knows(os_release: str) -> None:
    linux = _distribution.of(os_release)
    assert linux.family is None
    assert "psycopg2-binary by pip" in _distribution.psycopg2(linux, (3, 13), "/bin/python3", virtual=False)
    assert linux.install("psycopg2") == "install psycopg2"


def test_a_virtual_environment_has_packages_of_its_own() -> None:
    told = _distribution.psycopg2(_distribution.of(DEBIAN), (3, 13), "/opt/venv/bin/python", virtual=True)
    assert "/opt/venv/bin/python -m pip install psycopg2-binary" in told


def test_this_host_describes_itself() -> None:
    """The file of the machine that runs the tests: whichever it is, its own words are found."""
    text = Path("/etc/os-release").read_text()
    assert _distribution.of(text).id in text
    assert _distribution.of(text).id
