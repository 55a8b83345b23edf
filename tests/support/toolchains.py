# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real drivers: their programs, built once, and what they are built with.

What no registry of this project carries for every host comes out of packages of one release of Debian, unpacked into
.cache/drivers: nothing is installed, and versions are the same everywhere.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

from images import build

from . import places

PROGRAMS = places.REPOSITORY / "tests" / "drivers"
SNIPPETS = places.REPOSITORY / "docs" / "snippets"
CACHE = places.REPOSITORY / ".cache" / "drivers"
DEBIAN, KEYRING = "trixie", build.KEYRINGS / "debian-archive-keyring.gpg"
DEBS = [
    *("libpostgresql-jdbc-java", "libhikaricp-java", "libslf4j-java"),
    *("node-pg", "node-split2", "node-readable-stream", "node-xtend"),
    *("golang-1.24-go", "golang-1.24-src", "golang-github-lib-pq-dev"),
    *(f"golang-github-jackc-{name}-dev" for name in ("pgx-v4", "pgconn", "pgio", "pgpassfile", "pgproto3-v2")),
    *(f"golang-github-jackc-{name}-dev" for name in ("pgservicefile", "pgtype", "puddle", "chunkreader-v2")),
    *(f"golang-golang-x-{name}-dev" for name in ("crypto", "text", "sys")),
]


class Missing(Exception):
    """This machine lacks what the programs of a *toolchain* need; the message says what."""

    def __init__(self, toolchain: str, remedy: str) -> None:
        super().__init__(f"{toolchain}: {remedy}")
        self.toolchain = toolchain


def unpacked(toolchain: str) -> Path:
    """The packages of DEBS under one directory, whatever the host runs on."""
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))) or not KEYRING.exists():
        raise Missing(toolchain, "no apt-get, dpkg-deb and debian-archive-keyring, which bring its driver")
    target = CACHE / f"debs-{_key(DEBIAN, DEBS)}"
    with _locked("debs"):
        if not target.exists():
            partial = target.with_name(f"{target.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            try:
                for package in _downloaded(partial / "apt"):
                    _run(["dpkg-deb", "--extract", package, partial])
            except RuntimeError as problem:
                raise Missing(toolchain, f"its driver could not be had: {problem}") from problem
            shutil.rmtree(partial / "apt")
            partial.rename(target)
    return target


def _downloaded(apt: Path) -> list[Path]:
    """The packages, through an apt of our own: the host's sources and what it has installed do not matter."""
    for directory in ("state/lists/partial", "cache/archives/partial", "debs"):
        (apt / directory).mkdir(parents=True)
    mirror = build.DEFAULT_MIRRORS["debian"]
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror} {DEBIAN} main\n")
    options = [
        *(f"-oDir::State={apt}/state", f"-oDir::Cache={apt}/cache", f"-oDir::Etc::SourceList={apt}/sources.list"),
        *("-oDir::Etc::SourceParts=/dev/null", "-oAcquire::Languages=none", "-oAPT::Sandbox::User="),
        *(
            "-oAcquire::Retries=3",
            "-oAcquire::Check-Valid-Until=false",
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        ),
    ]
    _run(["apt-get", *options, "update"])
    _run(["apt-get", *options, "download", *DEBS], cwd=apt / "debs")
    return list((apt / "debs").iterdir())


@functools.cache
def java() -> list[str | Path]:
    """The command line of the compiled program for pgjdbc and HikariCP."""
    for tool in ("java", "javac"):
        if not shutil.which(tool):
            raise Missing("java", "install default-jdk-headless")
    sources = [PROGRAMS / "java" / "Drivers.java", SNIPPETS / "Retry.java"]
    jars = unpacked("java") / "usr/share/java"
    names = [jars / f"{name}.jar" for name in ("postgresql", "HikariCP", "slf4j-api", "slf4j-nop")]
    path = os.pathsep.join(map(str, names))
    classes = _built("java", sources, lambda made: ["javac", "-cp", path, "-d", made, *sources])
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{classes}{os.pathsep}{path}", "Drivers"]


def go(pgx: str = "", lib_pq: str = "") -> list[str | Path]:
    """The command line of the program for pgx and lib/pq, with the rendered snippets compiled into it."""
    packages = unpacked("go") / "usr"
    sources = [*sorted((PROGRAMS / "go").glob("*.go")), SNIPPETS / "retry_pgx.go"]
    rendered = (PROGRAMS / "go" / "harden.go.head").read_text("utf-8")
    rendered += f"\nfunc hardenPgx(config *pgxpool.Config) {{\n{pgx}\n}}\n"
    rendered += f"\n{lib_pq or 'func harden(connector *pq.Connector, db *sql.DB) {}'}\n"
    environment = {
        "GOROOT": str(packages / "lib/go-1.24"),
        "GOPATH": str(packages / "share/gocode"),
        "GOCACHE": str(CACHE / "go-build"),
        "GO111MODULE": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }

    def command(made: Path) -> list[str | Path]:
        made.mkdir()
        for source in sources:
            shutil.copy(source, made)
        (made / "harden.go").write_text(rendered)
        return [packages / "lib/go-1.24/bin/go", "build", "-C", made, "-o", made / "drivers", "."]

    return [_built("go", sources, command, rendered, environment) / "drivers"]


@functools.cache
def rust() -> list[str | Path]:
    """The command line of the program for tokio-postgres."""
    if not shutil.which("cargo"):
        raise Missing("rust", "install Rust 1.85 or newer")
    target = CACHE / "rust"
    with _locked("rust"):
        _run(
            ["cargo", "build", "--quiet", "--locked", f"--manifest-path={PROGRAMS / 'rust' / 'Cargo.toml'}"],
            env={**os.environ, "CARGO_TARGET_DIR": str(target)},
        )
    return [target / "debug" / "drivers"]


def node(program: str) -> tuple[list[str | Path], dict[str, str]]:
    """The command line of a program for node-postgres, and its environment."""
    if not shutil.which("node"):
        raise Missing("node", "install nodejs")
    return ["node", PROGRAMS / program], {"NODE_PATH": str(unpacked("node") / "usr/share/nodejs")}


def interpreted(tool: str, package: str, program: str) -> list[str | Path]:
    """The command line of a program in a language that Debian carries the driver for; *package* brings it."""
    probe = {"ruby": ["ruby", "-e", "require 'pg'"], "php": ["php", "-r", "exit(!extension_loaded('pdo_pgsql'));"]}[
        tool
    ]
    if not shutil.which(tool) or subprocess.run(probe, check=False, capture_output=True).returncode:
        raise Missing(tool, f"install {package}")
    return [tool, PROGRAMS / program]


def odbc(program: str) -> list[str | Path]:
    """The command line of a program for psqlodbc."""
    drivers = Path("/etc/odbcinst.ini")
    if not drivers.exists() or "[PostgreSQL Unicode]" not in drivers.read_text():
        raise Missing("odbc", "install odbc-postgresql and unixodbc")
    return python(program)


def psql(conninfo: str) -> list[str | Path]:
    """The command line of a psql that says ``{}`` once it is connected, and then does as its input says."""
    if not shutil.which("psql"):
        raise Missing("psql", "install postgresql-client")
    return ["psql", "-XqAt", "-c", "\\echo {}", "-f", "-", "-d", conninfo]


def required(problem: Missing) -> bool:
    """Whether this machine should have had it: PGHARDEN_REQUIRE_DRIVERS names the toolchains."""
    return problem.toolchain in os.environ.get("PGHARDEN_REQUIRE_DRIVERS", "").split()


def python(program: str, *arguments: str) -> list[str | Path]:
    """The command line of a program for a driver out of .venv."""
    return [sys.executable, PROGRAMS / program, *arguments]


def written(name: str, text: str) -> Path:
    """A file with that text, the same one for the same text."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"{_key(text)}-{name}"
    with _locked(name):
        if not path.exists():  # or a program of another test might read it half-written
            path.write_text(text)
    return path


def _built(
    name: str,
    sources: t.Iterable[Path],
    command: t.Callable[[Path], list[t.Any]],
    *inputs: t.Any,
) -> Path:
    """The directory into which *command* built, made anew when a source or an input is another."""
    environment = {**os.environ, **next((one for one in inputs if isinstance(one, dict)), {})}
    made = CACHE / f"{name}-{_key(*(source.read_bytes() for source in sources), *inputs)}"
    with _locked(name):
        if not made.exists():
            partial = made.with_name(f"{made.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            _run(command(partial), env=environment)
            partial.rename(made)
    return made


def _run(argv: t.Sequence[t.Any], **options: t.Any) -> None:
    done = subprocess.run(list(map(str, argv)), check=False, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, argv[:3]))} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def _key(*inputs: object) -> str:
    return hashlib.sha256(repr(inputs).encode()).hexdigest()[:12]


def _locked(name: str) -> t.ContextManager[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    return places.locked(f"drivers-{name}")
