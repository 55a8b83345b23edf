# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of other Linux families share: a machine laid out as their packages do, with nothing of systemd.

The programs are this machine's own. Paths, OS users, options, log and os-release are those of the family, in a mount
namespace of the machine's; a systemctl there, and what other init systems have, notes that somebody has called it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from support import Cluster, places, run_module, sources
from support.haproxies import PROGRAM as HAPROXY
from support.pgbouncers import PROGRAM as PGBOUNCER

LABEL = b"system_u:object_r:postgresql_db_t:s0\0"
_PATIENCE = 20.0
#: What /tmp must not lose: the machine has one of its own.
_KEPT = [path for path in (str(places.REPOSITORY), sys.prefix) if path.startswith("/tmp/")]
_TELLTALES = ("systemctl", "service", "rc-service", "journalctl", "initctl", "invoke-rc.d")
_COLLECTOR = """
log_destination = 'stderr'
logging_collector = on
log_directory = 'log'
log_filename = 'postgresql-%a.log'
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
log_line_prefix = '%m [%p] '
"""


@dataclasses.dataclass(frozen=True)
class Family:
    """How the packages of a family lay a server out; *config* is where postgresql.conf lies, if not with the data."""

    name: str
    install: str
    os_release: str
    data: str
    config: str | None = None
    conf: str = _COLLECTOR
    sockets: tuple[str, ...] = ("/run/postgresql", "/tmp")
    log: str = "log"
    pgbouncer_user: str = "pgbouncer"


MAJOR = next((source.major for source in sources._host()), 15)
RED_HAT = Family(
    "Red Hat (PGDG)",
    "dnf install",
    'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.6"\n',
    f"/var/lib/pgsql/{MAJOR}/data",
)
SUSE = Family(
    "SUSE", "zypper install", 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nVERSION_ID="15.6"\n', "/var/lib/pgsql/data"
)
ALPINE = Family(
    "Alpine",
    "apk add",
    "ID=alpine\nVERSION_ID=3.22.1\n",
    f"/var/lib/postgresql/{MAJOR}/data",
    config=f"/etc/postgresql{MAJOR}",
    conf="log_line_prefix = '%m [%p] '\n",
    sockets=("/run/postgresql",),
    log="/var/log/postgresql/postmaster.log",
)

_LAY_OUT = """
set -eu
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p "$data" "/var/lib/haproxy"
mount --bind "$here/data" "$data"
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/log
mkdir -p /run/postgresql /var/log/postgresql /var/log/pgbouncer /run/pgbouncer
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work overlay /etc
rm -rf /etc/os-release /etc/sysctl.d /etc/pgbouncer /etc/haproxy /etc/postgresql /etc/postgresql-common
mkdir -p /etc/sysctl.d /etc/pgbouncer /etc/haproxy/conf.d /etc/sysconfig/pgsql
printf %s "$os_release" >/etc/os-release
for user in pgbouncer:901 haproxy:902; do
    grep -q "^${user%:*}:" /etc/passwd || echo "${user%:*}:x:${user#*:}:${user#*:}::/:/sbin/nologin" >>/etc/passwd
    grep -q "^${user%:*}:" /etc/group || echo "${user%:*}:x:${user#*:}:" >>/etc/group
done
chown -R pgbouncer: /etc/pgbouncer /var/log/pgbouncer /run/pgbouncer
chown -R postgres: /var/log/postgresql
mkdir "$here/bin"
for name in $telltales; do
    printf '#!/bin/sh\\necho "$0 $*" >>"%s/called"\\nexit 1\\n' "$here" >"$here/bin/$name"
    chmod 755 "$here/bin/$name"
done
chmod 1777 "$here/socket"
# A checkout, or an interpreter, that lies in /tmp stays where it is.
for path in $kept; do
    mkdir -p "/mnt/kept$path"
    mount --bind "$path" "/mnt/kept$path"
done
first=$1
[ "$first" = /run/postgresql ] || mount -t tmpfs -o mode=1777 tmpfs /tmp && mkdir -p "$first"
mount --bind "$here/socket" "$first"
[ "$first" = /tmp ] || mount -t tmpfs -o mode=1777 tmpfs /tmp
for path in $kept; do
    mkdir -p "$path"
    mount --bind "/mnt/kept$path" "$path"
done
"""


class Machine(Cluster):
    """A host of a family with a server on it."""

    family: Family
    sockets_in: tuple[str, ...]

    @classmethod
    def of(cls, family: Family, sockets: t.Sequence[str] = ()) -> Machine:
        """Start one; *sockets* are other directories than those of its packages."""
        kind = type("MachineOf", (cls,), {"family": family, "sockets_in": tuple(sockets) or family.sockets})
        where = f"unix_socket_directories = '{', '.join(kind.sockets_in)}'\n"
        machine = kind.start(
            MAJOR, auth="peer+scram", conf=family.conf + where, source=sources.find_source(MAJOR, kind="host")
        )
        return t.cast("Machine", machine)

    # ---- how it is laid out

    def _make_directories(self) -> None:
        super()._make_directories()
        values = {
            "here": str(self.directory),
            "data": self.family.data,
            "os_release": self.family.os_release,
            "telltales": " ".join(_TELLTALES),
            "kept": " ".join(_KEPT),
        }
        self.run(
            ["sh", "-c", _LAY_OUT, "sh", self.sockets_in[0]],
            check=True,
            env={**os.environ, **values},
        )

    def _fill(self, template: Path, standby_of: Cluster | None) -> None:
        super()._fill(template, standby_of)
        if self.family.config:  # with links to it among the data
            script = 'mkdir -p "$2" && cd "$1" && for one in *.conf; do mv "$one" "$2" && ln -s "$2/$one" .; done'
            # not the file of ALTER SYSTEM
            script += ' && rm postgresql.auto.conf && mv "$2/postgresql.auto.conf" . && chown -R postgres: "$2"'
            self.run(["sh", "-euc", script, "sh", self.family.data, self.family.config], check=True)

    def _postgres(self) -> list[str | Path]:
        argv: list[str | Path] = [self._binary("postgres"), "-D", self.family.data]
        if self.family.log.startswith("/"):  # as pg_ctl --log does
            return ["sh", "-c", 'exec "$@" >>"$0" 2>&1', self.family.log, *argv]
        return argv

    def _remember(self) -> None:
        """It is used once."""

    def close(self) -> None:
        inside = os.stat(f"/proc/{self.namespace.pid}/ns/mnt").st_ino
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                pid = int(entry.name)
                name = (entry / "comm").read_text().strip()
                if name in ("haproxy", "pgbouncer") and (entry / "ns" / "mnt").stat().st_ino == inside:
                    os.kill(pid, signal.SIGKILL)
        if _KEPT:  # else its directory could not be removed
            self.run(["umount", "--lazy", *_KEPT])
        super().close()

    # ---- what is there

    @property
    def root(self) -> Path:
        """The machine's root directory, as this process sees it."""
        return Path(f"/proc/{self.namespace.pid}/root")

    def path(self, name: str) -> Path:
        """A file of the machine; links are followed there and not here."""
        real = self.run(["realpath", name], check=True).stdout.strip()
        return self.root / real.lstrip("/")

    @property
    def main_file(self) -> str:
        """What an administrator of the family edits."""
        return f"{self.family.data}/postgresql.conf"

    def logged(self) -> str:
        """All that the server has logged, where the family has its log."""
        where = Path(self.family.data, self.family.log) if self.family.log != "/" else Path(self.family.log)
        found = self.run(["sh", "-c", 'cat "$0"/*.log 2>/dev/null || cat "$0"', where], check=True)
        return str(found.stdout)

    def module(self, name: str, check: bool = False, **args: t.Any) -> dict[str, t.Any]:
        """Run a module there as root; no init system may have been called for."""
        env = {"PATH": f"{self.directory}/bin:{os.environ['PATH']}:/usr/sbin"}
        result = run_module(self, name, args, check=check, env=env)
        assert "exception" not in result, result
        called = self.directory / "called"
        assert not called.exists(), called.read_text()
        return result

    # ---- the programs on the path

    def put(self, name: str, content: str, user: str) -> None:
        """Write a file of *user*'s, with a label of SELinux on it."""
        (self.root / name.lstrip("/")).write_text(content)
        self.run(["chown", f"{user}:", name], check=True)
        self.run(["chmod", "640", name], check=True)
        os.setxattr(self.root / name.lstrip("/"), "security.selinux", LABEL)

    def start_program(self, argv: t.Sequence[str], port: int) -> None:
        """Start a program as an init script does, and wait until it listens on *port*."""
        with (self.directory / "started").open("ab") as log:
            subprocess.Popen(
                self.argv(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )
        deadline = time.monotonic() + _PATIENCE
        while f":{port} " not in self.run(["ss", "-Hltn"], check=True).stdout:
            assert time.monotonic() < deadline, (self.directory / "started").read_text()
            time.sleep(0.1)


def missing() -> str | None:
    """Why there can be no such machine here."""
    if not places.is_root():
        return "mount namespaces with the layout of another distribution need root"
    if not sources._host():
        return "this machine has no PostgreSQL of its own"
    if shutil.which("mount") is None:
        return "there is no mount"
    return None


__all__ = ["ALPINE", "HAPROXY", "LABEL", "MAJOR", "PGBOUNCER", "RED_HAT", "SUSE", "Family", "Machine", "missing"]
