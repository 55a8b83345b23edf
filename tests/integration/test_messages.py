# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each message that docs/troubleshooting.md explains is in the program that is said to print it, or is marked."""

from __future__ import annotations

import errno
import functools
import importlib.util
import os
import re
import shutil
import typing as t
import zipfile
from pathlib import Path

import pytest
from support import places, toolchains
from support.sources import MAJORS, Unavailable, find_source

from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis._causes import CAUSES

PAGE = (places.REPOSITORY / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
#: What the page says of each message, by its heading.
SECTIONS = dict(re.findall(r"^### ([^\n]*)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
KERNEL = {os.strerror(number) for number in errno.errorcode} | {"Name or service not known"}
REQUIRED = os.environ.get("PGHARDEN_REQUIRE_DRIVERS", "").split()


def speakers(section: str) -> list[str]:
    """The programs that are said to print it, in lower case; none that is marked as not compared."""
    said = re.search(r"\*\*Said by\*\* (.*?)\.$", section, re.MULTILINE | re.DOTALL)
    return (
        []
        if not said or "¹" in said[1]
        else [name for name in PROGRAMS if re.search(rf"(?<![\w-]){name}(?![\w-])", said[1])]
    )


def strings(data: bytes) -> set[str]:
    """What `strings` finds, line by line."""
    return {found.decode("utf-8", "replace") for found in re.findall(rb"[\t\x20-\x7e]{5,}", data)}


def read(*paths: Path) -> set[str]:
    found: set[str] = set()
    for path in paths:
        if path.suffix == ".jar":
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".class"):
                        found |= strings(archive.read(name))
        else:
            found |= strings(path.read_bytes())
    if not found:
        raise Unavailable(f"nothing to read among {paths}")
    return found


def package(name: str, *patterns: str) -> list[Path]:
    """Files of a Python package of the development environment."""
    spec = importlib.util.find_spec(name)
    if not spec or not spec.origin:
        raise Unavailable(f"the package {name} is not installed")
    return [path for pattern in patterns for path in Path(spec.origin).parent.glob(pattern)]


def postgres() -> set[str]:
    """The newest server of this machine: the wheel's, which is always there."""
    return read(find_source(MAJORS[-1], kind="wheel").bindir / "postgres")


def program(name: str) -> set[str]:
    path = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if not path:
        raise Unavailable(f"{name} is not installed")
    return read(Path(path))


def debs(*patterns: str) -> list[Path]:
    """Files of the drivers' packages, which the other tests of drivers unpack as well."""
    try:
        place = toolchains.unpacked("java")
    except toolchains.Missing as missing:
        raise Unavailable(str(missing)) from missing
    return [path for pattern in patterns for path in place.glob(pattern) if path.is_file()]


#: Where the strings of a program are, by the name that the page has for it.
PROGRAMS: dict[str, t.Callable[[], set[str]]] = {
    "postgres": postgres,
    "libpq": lambda: read(*package("psycopg2", "../psycopg2_binary.libs/libpq*")),
    "openssl": lambda: read(
        *package("psycopg2", "../psycopg2_binary.libs/libcrypto*", "../psycopg2_binary.libs/libssl*")
    ),
    "psycopg2": lambda: read(*package("psycopg2", "_psycopg*.so")),
    "psycopg": lambda: read(*package("psycopg", "*.py"), *package("psycopg_pool", "*.py")),
    "sqlalchemy": lambda: read(*package("sqlalchemy", "**/*.py")),
    "asyncpg": lambda: read(*package("asyncpg", "**/*.py", "protocol/*.pyx", "protocol/*.so")),
    "pg8000": lambda: read(*package("pg8000", "*.py")),
    "pgjdbc": lambda: read(*debs("usr/share/java/postgresql.jar")),
    "hikaricp": lambda: read(*debs("usr/share/java/HikariCP.jar")),
    "node-postgres": lambda: read(*debs("usr/share/nodejs/pg/lib/*.js", "usr/share/nodejs/pg-pool/*.js")),
    "go": lambda: read(*debs("usr/*/go-1.24/src/database/sql/driver/*.go")),
    "pgx": lambda: read(*debs("usr/share/gocode/src/github.com/jackc/pgconn/**/*.go")),
    "pgbouncer": lambda: program("pgbouncer"),
    "haproxy": lambda: program("haproxy"),
}


@functools.cache
def known(name: str) -> frozenset[str]:
    return frozenset(PROGRAMS[name]())


def forms(message: str) -> list[str]:
    """The message, and what is left of it where its values are taken out, as a program's source has it."""
    found = [message]
    for pattern, value in (
        (r'"[^"]*"', '"%s"'),
        (r"\(\d[\d.]+\)", "(%s)"),
        (r"port \d+", "port %s"),
        (r"with the \w+ attribute", "with the %s attribute"),
        (r"invalid transaction is .*", "invalid %s"),
    ):
        found.append(re.sub(pattern, value, found[-1]))
    return found


def printed(message: str, texts: t.Collection[str]) -> bool:
    """Whether a program with these *texts* can print it: whole, or in parts between colons, the kernel's words last."""
    if any(form in text for form in forms(message) for text in texts):
        return True
    before, colon, after = message.rpartition(": ")
    if not colon:
        return False
    there = any(form + ": " in text or f"{form}: %" in text for form in forms(before) for text in texts)
    return there and (after in KERNEL or printed(after, texts))


def without_values(message: str) -> str:
    """A message of a driver, up to the first number in it."""
    return re.split(r" \d", message)[0]


@pytest.mark.parametrize("message", [title for title, section in SECTIONS.items() if speakers(section)])
def test_the_program_has_the_message(message: str) -> None:
    for name in speakers(SECTIONS[message])[:1]:
        try:
            texts = set(known(name))
            if "openssl" in speakers(SECTIONS[message]):
                texts |= known("openssl")
        except Unavailable as problem:
            if REQUIRED:
                pytest.fail(f"{name}: {problem}", pytrace=False)
            pytest.skip(f"{name}: {problem}")
        plain = message if name in ("postgres", "libpq", "pgbouncer") else without_values(message)
        assert printed(plain, texts), f"{name} does not say it"


def test_what_no_program_says_is_not_found() -> None:
    texts = known("postgres")
    for message in (
        "could not receive data from client: Connection was eaten",
        "could not eat data from client: Connection timed out",
        "terminating connection due to idle session timeout",
        "remaining connection slots are reserved for friends",
    ):
        assert not printed(message, texts)


def test_what_is_not_compared_is_marked() -> None:
    left = [title for title, section in SECTIONS.items() if not speakers(section) and "¹" not in section]
    assert left == [f"HAProxy termination state {state}" for state in ("cD", "sD", "CD", "SD", "sC", "SC")]
    assert len(SECTIONS) > 60


def test_haproxy_has_these_letters() -> None:
    """Its two tables, one letter for each way to end and one for each phase."""
    try:
        texts = known("haproxy")
    except Unavailable as problem:
        pytest.skip(str(problem))
    assert any("cCsS" in text and "-RCHDLQT" in text for text in texts)


def test_every_cause_that_is_a_loss_is_reached_from_a_message() -> None:
    linked = set(re.findall(r"\]\(causes/(\w+)\.md\)", PAGE))
    quiet = {"normal_close", "survived_outage", "healthy"}
    assert linked == set(CAUSES) - quiet
