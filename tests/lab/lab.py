# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab: a server, the hosts around it, captures on all of them, and what happened."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import re
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

from support import Cluster

from . import evidence
from .capture import Capture, matching
from .clients import Client
from .evidence import Evidence, Lost
from .hosts import SERVER, LabError, Network, wait

PORT = 5432
CONF = {
    "log_connections": "on",
    "log_disconnections": "on",
    "tcp_keepalives_idle": "3",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
HBA = ["local all all trust", "local replication all trust", "host all all all trust", "host replication all all trust"]
MAJOR = 15  # the distribution's own, with TLS
HEADERS = 96  # Ethernet, IP and TCP with options, and the first 30 bytes
EVERYTHING = 2000  # with more, the kernel's buffer has room for a few packets only


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a case needs: *conf* is laid over `CONF`, *log* one of `evidence.LOGS`."""

    major: int = MAJOR
    tls: bool = False
    conf: dict[str, str | int] = dataclasses.field(default_factory=dict)
    hba: tuple[str, ...] = ()
    log: str = "full"
    family: int = 4
    snaplen: int = HEADERS
    any_device: bool = False  # captures of all devices of a host: other headers, and on the router each packet twice


class Lab(contextlib.AbstractContextManager["Lab"]):
    """Open from when it is made; a context manager."""

    def __init__(self, setup: Setup, directory: Path) -> None:
        self.setup, self.directory = setup, directory
        self.losses: list[Lost] = []
        self.harmless: list[Lost] = []
        self.other_logs: dict[str, str] = {}
        self.hosts: list[dict[str, t.Any]] = []
        self.more_logs: list[Path] = []
        self.reachable = True  # whether the server can be asked for its statistics
        self.fault_at = 0.0
        self._captures: dict[str, Capture] = {}
        self._kept: list[Capture] = []
        self._stack = contextlib.ExitStack()
        try:
            conf = {**CONF, **evidence.LOGS[setup.log], **setup.conf}
            self.cluster = self._stack.enter_context(
                Cluster.start(
                    setup.major,
                    tls=setup.tls,
                    conf="".join(f"{name} = {value}\n" for name, value in conf.items()),
                    hba=[*setup.hba, *HBA],
                )
            )
            self.network = self._stack.enter_context(contextlib.closing(Network(self.cluster.namespace)))
            self.address = SERVER[setup.family]
            self.server = (self.address, PORT)
            self.began = time.time()
            self._begin_captures()
            self.before = self.sample()
        except BaseException:
            self._stack.close()
            raise

    def _begin_captures(self) -> None:
        network, any_device = self.network, self.setup.any_device
        for name, host, device, side in (
            ("client", network.client, "eth0", "client"),
            ("server", network.server, "eth0", "server"),
            *([] if any_device else [("router-c0", network.router, "c0", "router")]),
            ("router-s0", network.router, "s0", "router"),
        ):
            name, device = (side, "any") if any_device else (name, device)
            self._captures[name] = Capture(host, device, self.directory / f"{name}.pcap", side, self.setup.snaplen)
            self._stack.callback(self._captures[name].stop)

    def __exit__(self, *_exception: object) -> None:
        self._stack.close()

    # ---- what a case does

    def connect(self, conninfo: str = "", address: tuple[str, int] | None = None, **options: t.Any) -> Client:
        """A client on the client's host, connected to the server unless *address* is another's."""
        host, port = address or self.server
        mode = "require" if self.setup.tls else "disable"
        text = f"host={host} port={port} user=postgres dbname=postgres sslmode={mode} connect_timeout=10 {conninfo}"
        return self._stack.enter_context(Client(self.network.client, text, **options))

    def visit(self) -> None:
        """A client that comes, asks and goes as it should."""
        client = self.connect()
        client.quit()
        client.gone(10)
        time.sleep(0.1)  # and its last packets
        self.harmless.append(self._lost("normal_close", client))

    def fault(self) -> None:
        """Here it begins."""
        self.fault_at = time.time()

    def lost(self, client: Client, cause: str, within: float | None = None) -> None:
        """A connection is lost; with *within* the server has to notice it in that time."""
        when = client.gone(within) if within is not None else time.time()
        self.losses.append(dataclasses.replace(self._lost(cause, client), time=when))

    def lost_socket(self, cause: str, local: tuple[t.Any, ...]) -> None:
        """As `lost`, for a connection that is no session."""
        address, port = local[:2]
        self.losses.append(Lost(cause, address, port, None, (address, port), time.time()))

    def attempts(self, cause: str, capture: str = "client", address: str = "", port: int = PORT) -> list[Lost]:
        """Every attempt to connect since the fault that is not known otherwise, by what that host's capture has."""
        known = {port for entry in self.losses + self.harmless for port in (entry.port, entry.client[1])}
        sent = f"dst host {address or self.address} and dst port {port} and tcp[tcpflags] == tcp-syn"
        ends = re.findall(r" IP (\S+)\.(\d+) > ", "\n".join(self.packets(capture, sent)))
        unknown = sorted({(host, int(number)) for host, number in ends if int(number) not in known})
        return [Lost(cause, *end, None, end, time.time()) for end in unknown]

    def fine(self, client: Client, what: str) -> None:
        """Nothing bad came of a connection that is still open."""
        self.harmless.append(self._lost(what, client))

    def _lost(self, cause: str, client: Client) -> Lost:
        return Lost(cause, *client.seen_as, client.pid, client.local, time.time())

    def client_vanishes(self, *, and_returns: bool = False) -> None:
        """The client's host is gone without a word, its capture with it, or comes back knowing nothing."""
        self.end_capture("client", keep=False)
        (self.network.reboot if and_returns else self.network.vanish)(self.network.client)

    def server_vanishes(self, *, and_returns: bool = False) -> None:
        """As `client_vanishes`, for the server's host; its log ends there."""
        self.reachable = False
        self.end_capture("server", keep=False)
        (self.network.reboot if and_returns else self.network.vanish)(self.network.server)
        self.cluster.pause()

    def end_capture(self, name: str, *, keep: bool = True) -> None:
        """End one capture before the others, and send it or not."""
        capture = self._captures.pop(name)
        capture.stop()
        if keep:
            self._kept.append(capture)
        else:
            capture.path.unlink()

    # ---- what is asked about it

    def sample(self) -> dict[str, t.Any]:
        """The statistics of this moment."""
        return evidence.sample(self.cluster, self.network.server, ask_server=self.reachable)

    def log(self) -> str:
        """All that the server logged."""
        return "".join(path.read_text("utf-8", "replace") for path in evidence.log_files(self.cluster))

    def kernel_log(self) -> str:
        """What the kernel has logged since the fault; it is kept as a further log."""
        done = subprocess.run(["dmesg", "--time-format", "iso"], check=True, capture_output=True, text=True)
        lines = done.stdout.splitlines(keepends=True)
        # Some messages have several lines, of which only the first has a time.
        first = next(number for number, line in enumerate(lines) if _time(line) > self.fault_at - 1)
        self.more_logs = [self.directory / "kern.log"]
        self.more_logs[0].write_text("".join(lines[first:]))
        return self.more_logs[0].read_text()

    def logged(self, pattern: str, count: int = 1, seconds: float = 5) -> None:
        """Wait until the server's log has *pattern*, at least so often."""
        wait(f"{pattern!r} in the log", lambda: len(re.findall(pattern, self.log())) >= count, seconds)

    def packets(self, capture: str, expression: str) -> list[str]:
        """The packets of a capture, since the fault, that a filter of tcpdump lets through."""
        lines = matching(self.directory / f"{capture}.pcap", expression)
        return [line for line in lines if float(line.split()[0]) > self.fault_at]

    def active(self, client: Client) -> None:
        """Wait until the server is at work for a client."""
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        wait("the statement", lambda: self.cluster.query(query, (client.pid,)), every=0.1)

    def rose(self, *names: str) -> dict[str, t.Any]:
        """Take the second sample, when all these counters have risen."""

        def all_rose() -> dict[str, t.Any] | None:
            after = self.sample()
            return after if all(evidence.risen(self.before, after, name) > 0 for name in names) else None

        return wait(f"a rise of {', '.join(names)}", all_rose, every=0.3)

    # ---- what comes of it

    def collect(self, case: str, label: str, log_tells: bool, rises: t.Sequence[str], never: str) -> Evidence:
        """Everything that a diagnosis may be given."""
        if not self.losses and not self.harmless:
            raise LabError("the case says nothing of any connection")
        time.sleep(0.2)  # the last packets and lines
        after = self.rose(*rises)
        self._kept += self._captures.values()
        for capture in self._captures.values():
            capture.stop()
        if never and re.search(never, self.log()):
            raise LabError(f"{never!r} is in the log:\n{self.log()}")
        copies = []
        for path in evidence.log_files(self.cluster):
            copies.append(self.directory / f"postgresql{path.suffix or '.log'}")
            shutil.copyfile(path, copies[-1])
        copies += self.more_logs
        prefix = str(evidence.LOGS[self.setup.log].get("log_line_prefix", "")).strip("'")
        return Evidence(
            case=case,
            label=label,
            log_tells=log_tells,
            log_format=self.setup.log if self.setup.log in ("csv", "json") else "stderr",
            log_line_prefix=prefix,
            log_files=[self._relative(path) for path in copies],
            captures=[{"path": self._relative(kept.path), "side": kept.side} for kept in self._kept],
            other_logs={name: self._relative(self.directory / file) for name, file in self.other_logs.items()},
            statistics=[self.before, after],
            server=self.server,
            losses=self.losses,
            harmless=self.harmless,
            hosts=self.hosts,
            began=self.began,
            fault=self.fault_at or self.began,
            ended=time.time(),
        )

    def _relative(self, path: Path) -> str:
        return f"{self.directory.name}/{path.name}"


def _time(line: str) -> float:
    """Of a line of dmesg; 0 if it has none."""
    try:
        return datetime.datetime.fromisoformat(line.split()[0]).timestamp()
    except (ValueError, IndexError):
        return 0.0
