# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts of a lab: client -- router -- server, each a network namespace without a name that ends with its holder."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import socket
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from support import places
from support.namespace import Namespace

MAC = "02:00:00:00:%02x:%02x"
# By IP version; the router has two, the client's gateway and the server's.
CLIENT = {4: "10.61.7.20", 6: "fd61:7::20"}
SERVER = {4: "10.62.9.30", 6: "fd62:9::30"}
#: How many times as long a busy machine may take.
BUSY = 4
ROUTER = {4: ("10.61.7.1", "10.62.9.1"), 6: ("fd61:7::1", "fd62:9::1")}


class LabError(Exception):
    """The lab did not do what the label says."""


class Host:
    """One host; *device* is its network card, none on a router."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self.owned = namespace is None
        if namespace is None:
            directory = Path(tempfile.mkdtemp(prefix=f"lab-{os.getpid()}-", dir=places.clusters()))
            namespace = Namespace(directory)
        self.namespace = namespace

    def argv(self, argv: t.Sequence[str | Path], user: str = "") -> list[str]:
        """The command line that runs *argv* here; it is killed when the thread that starts it ends."""
        become = ["--reuid", user, "--regid", user, "--init-groups"] if user else []
        enter = ["nsenter", f"--net=/proc/{self.namespace.pid}/ns/net", "setpriv", "--pdeathsig", "KILL", *become]
        return [*enter, *map(str, argv)]

    def run(self, argv: t.Sequence[str | Path]) -> str:
        """The output of a command that has to succeed."""
        done = subprocess.run(self.argv(argv), check=False, capture_output=True, text=True, timeout=30 * BUSY)
        if done.returncode:
            raise LabError(f"{argv}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def shell(self, script: str) -> str:
        """The output of a shell script."""
        return self.run(["sh", "-euc", script])

    def start(self, argv: t.Sequence[str | Path], user: str = "", **options: t.Any) -> subprocess.Popen[bytes]:
        """Start a command without waiting for it."""
        return subprocess.Popen(self.argv(argv, user), **{"stdin": subprocess.DEVNULL, **options})

    def inside(self, function: t.Callable[[], t.Any]) -> t.Any:
        """Call *function* in a thread that has entered this host: its sockets stay there."""

        def enter() -> t.Any:
            handle = os.open(f"/proc/{self.namespace.pid}/ns/net", os.O_RDONLY)
            try:
                os.setns(handle, os.CLONE_NEWNET)
            finally:
                os.close(handle)
            return function()

        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(enter).result()

    def connect(self, address: tuple[str, int], timeout: float = 5) -> socket.socket:
        """A TCP connection from here."""
        return self.inside(lambda: socket.create_connection(address, timeout))

    def close(self) -> None:
        """End it, together with sockets that nobody holds any more, which would keep the namespace for minutes."""
        self.run(["ss", "--kill", "--tcp", "state", "all"])
        if self.owned:
            self.namespace.close()


class Network:
    """Client -- router -- server, in two networks of IPv4 and of IPv6."""

    def __init__(self, server: Namespace) -> None:
        self.server = Host(server)
        self._hosts = [self.server]
        try:
            self.router = self._new()
            self.client = self._new()
            self._cable("c0", 0, self.client)
            self._cable("s0", 1, self.server)
            self._address(self.client, 0)
            self._address(self.server, 1)
            self.router.shell(
                "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; nft -f - <<END\n"
                "table inet path { chain forward { type filter hook forward priority 0; }; }\nEND"
            )
        except BaseException:
            self.close()
            raise

    def _new(self) -> Host:
        self._hosts.append(Host())
        return self._hosts[-1]

    def _cable(self, name: str, side: int, host: Host) -> None:
        v4, v6 = ROUTER[4][side], ROUTER[6][side]
        peer4, peer6 = self._of(side)
        mac = MAC % (side, 2)
        self.router.shell(
            f"ip link add {name} address {MAC % (side, 1)} type veth"
            f" peer name eth0 address {mac} netns {host.namespace.pid}\n"
            f"ip addr add {v4}/24 dev {name}; ip addr add {v6}/64 dev {name} nodad; ip link set {name} up\n"
            # A host that is gone is silent: without these the router would soon answer for it, "host unreachable".
            f"ip neigh replace {peer4} lladdr {mac} dev {name} nud permanent\n"
            f"ip neigh replace {peer6} lladdr {mac} dev {name} nud permanent"
        )

    def _of(self, side: int) -> tuple[str, str]:
        addresses = SERVER if side else CLIENT
        return addresses[4], addresses[6]

    def _address(self, host: Host, side: int) -> None:
        v4, v6 = self._of(side)
        gateway4, gateway6 = ROUTER[4][side], ROUTER[6][side]
        host.shell(
            f"ip link set lo up; ip addr add {v4}/24 dev eth0; ip addr add {v6}/64 dev eth0 nodad\n"
            f"ip link set eth0 up; ip route add default via {gateway4}; ip -6 route add default via {gateway6}\n"
            f"ip neigh replace {gateway4} lladdr {MAC % (side, 1)} dev eth0 nud permanent"
        )

    # ---- faults

    def rule(self, rule: str) -> None:
        """A rule for what the router forwards; from the client it comes in on c0, from the server on s0."""
        self.router.shell(f"nft 'add rule inet path forward {rule}'")

    def heal(self) -> int:
        """Forward everything again; how many packets had met the rules with a counter."""
        met = self.dropped()
        self.router.shell("nft flush chain inet path forward")
        return met

    def dropped(self) -> int:
        """How many packets the rules with a counter have met."""
        words = self.router.shell("nft list chain inet path forward").split()
        return sum(int(words[index + 1]) for index, word in enumerate(words) if word == "packets")

    def flows(self) -> str:
        """What the router's connection tracking knows."""
        return self.router.shell("conntrack -L 2>/dev/null")

    def forget_idle(self, seconds: int, verdict: str = "drop") -> None:
        """Make the router a device that forgets a flow after so many idle seconds, and then takes it for a stranger."""
        self.rule("meta l4proto tcp ct state established accept")
        self.rule("ct state new tcp flags & (syn | ack) == syn accept")
        self.rule(f"meta l4proto tcp ct state invalid counter {verdict}")
        self.router.shell(
            "sysctl -qw net.netfilter.nf_conntrack_tcp_loose=0"
            f" net.netfilter.nf_conntrack_tcp_timeout_established={seconds}"
        )

    def translate(self) -> None:
        """Let the router hide the client behind its own address (NAT)."""
        self.router.shell(
            "nft -f - <<END\n"
            "table ip nat { chain post { type nat hook postrouting priority 100; oifname s0 masquerade; }; }\nEND"
        )

    def unlearn(self) -> None:
        """Let the router find out by ARP, soon, that a host does not answer."""
        self.router.shell(
            "for d in c0 s0; do sysctl -qw net.ipv4.neigh.$d.retrans_time_ms=200; ip neigh flush dev $d nud all; done"
        )

    def vanish(self, host: Host) -> Host:
        """Take the network card out of *host*: it is gone without a packet. What is there instead never answers."""
        side = 1 if host is self.server else 0
        empty = self._new()
        host.shell(f"ip link set eth0 netns {empty.namespace.pid}")
        empty.shell("ip link set eth0 arp off; ip link set eth0 up")
        if not side:
            self.client = empty
        return empty

    def reboot(self, host: Host) -> Host:
        """As `vanish`, but there is a host with the same address again, which knows of no connection."""
        side = 1 if host is self.server else 0
        fresh = self.vanish(host)
        fresh.shell("ip link set eth0 arp on down")
        self._address(fresh, side)
        return fresh

    def close(self) -> None:
        """End all hosts except the server, which ends with its cluster."""
        for host in self._hosts:
            host.close()


def wait(what: str, condition: t.Callable[[], t.Any], seconds: float = 10, every: float = 0.03) -> t.Any:
    """Wait until *condition* is true, and return it; *what* says in the error what was waited for.

    It has to be so within *seconds* on an idle machine; a busy one is given more.
    """
    seconds *= BUSY
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise LabError(f"not seen in {seconds:g} s: {what}")
        time.sleep(every)


def stop(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    """End a process and wait for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
    try:
        process.wait(5 * BUSY)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
