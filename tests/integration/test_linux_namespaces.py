# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linux: network namespaces. Whose kernel is set, and what of it lasts, asked of the kernel and of the files."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest
from _hardening import IS_ROOT, SYSCTL_FILE, Host, NewCluster, profile
from support import Cluster, module_argv, run_module
from support.modules import module_input

pytestmark = pytest.mark.skipif(not IS_ROOT, reason="namespaces beside each other need root")
KEEPALIVE = "net.ipv4.tcp_keepalive_time"
ELSEWHERE = "the server runs in another network namespace"


def linked(one: Cluster, other: Cluster) -> None:
    """A cable between two namespaces, ends e0 and e1, with 192.0.2.1 and .2 on it beside addresses of IPv6."""
    pids = [str(end.namespace.pid) for end in (one, other)]
    peer = ["type", "veth", "peer", "name", "e1", "netns", pids[1]]
    subprocess.run(["ip", "link", "add", "e0", "netns", pids[0], *peer], check=True)
    for name, end, address in (("e0", one, "192.0.2.1"), ("e1", other, "192.0.2.2")):
        end.run(["sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=0", f"net.ipv6.conf.{name}.accept_dad=0"])
        end.run(["ip", "address", "add", f"{address}/24", "dev", name], check=True)
        end.run(["ip", "link", "set", name, "up"], check=True)


def put_right(cluster: Cluster, *addresses: str) -> None:
    """Let everybody in from *addresses*."""
    lines = cluster.hba_file.read_text() + "".join(f"host all all {one} trust\n" for one in addresses)
    cluster.hba_file.write_text(lines)
    cluster.reload()


@pytest.mark.parametrize("major", [15, 17], ids=["namespace", "container"])
def test_a_server_behind_a_shared_socket_has_a_kernel_of_its_own(
    new_cluster: NewCluster, tmp_path: Path, major: int
) -> None:
    """PostgreSQL 15 is this machine's own; 17 runs in a container, in its files and its network."""
    server, here = Host(new_cluster(major), tmp_path), Host(new_cluster(15), tmp_path)
    here.cluster.set_sysctl("net.ipv4.tcp_retries2", 3)
    before = here.kernel()
    done = run_module(here.cluster, "harden", server.harden_args(way="unix"))
    assert (done["rc"], done["changed"]) == (0, True), done
    assert here.kernel() == before == server.kernel()
    assert not (here.sysctl_d / SYSCTL_FILE).exists()
    rows = [row for row in done["unsupported"] if row["layer"] == "os"]
    assert {row["setting"] for row in rows} >= {KEEPALIVE}
    assert all(row["reason"].startswith(ELSEWHERE) for row in rows)
    assert server.wrong(done["plan"]["server"]) == {}
    # Nor do the promises depend on it.
    assert done["hop"]["os"]["tcp_retries2"] == 15
    assert run_module(here.cluster, "harden", server.harden_args(way="unix"))["changed"] is False
    told = run_module(here.cluster, "connection_info", server.login("unix"))
    assert told["kernel"]["of_server"] is False
    # Beside the server the same task sets its kernel.
    done = server.harden(way="unix")
    assert [row for row in done["unsupported"] if row["layer"] == "os"] == []
    assert server.kernel()[KEEPALIVE] == str(done["plan"]["os"][KEEPALIVE]) != before[KEEPALIVE]
    assert (server.sysctl_d / SYSCTL_FILE).exists()


def test_a_server_behind_a_cable_has_a_kernel_of_its_own(new_cluster: NewCluster, tmp_path: Path) -> None:
    server, here = Host(new_cluster(15), tmp_path), Host(new_cluster(15), tmp_path)
    linked(server.cluster, here.cluster)
    server.cluster.stop()
    server.cluster.start_again()  # to listen on the new address
    put_right(server.cluster, "192.0.2.2/32")
    before = here.kernel()
    args = {**server.harden_args(), "login_host": "192.0.2.1"}
    done = run_module(here.cluster, "harden", args)
    assert done["rc"] == 0, done
    assert {row["reason"][: len(ELSEWHERE)] for row in done["unsupported"] if row["layer"] == "os"} == {ELSEWHERE}
    assert here.kernel() == before
    assert server.wrong(done["plan"]["server"]) == {}
    # The layer alone is asked for as what it is: the kernel of the host that the task runs on.
    done = run_module(
        here.cluster, "harden", {"policy": profile("web"), "layers": ["os"], "revert_file": args["revert_file"] + ".os"}
    )
    assert here.kernel()[KEEPALIVE] == str(done["plan"]["os"][KEEPALIVE])
    assert server.kernel() == before


def in_namespace(cluster: Cluster, module_name: str, args: dict[str, t.Any]) -> dict[str, t.Any]:
    """Run a module on a cluster's machine in the namespace ``inner`` of that machine."""
    argv = cluster.argv(["sh", "-c", '"$@"; exit', "sh", "ip", "netns", "exec", NAME, *module_argv(None, module_name)])
    done = subprocess.run(argv, input=module_input(args), check=False, capture_output=True, text=True)
    assert done.stdout, done.stderr
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


NAME = f"pgharden-{os.getpid()}"


@pytest.fixture
def machine(new_cluster: NewCluster, tmp_path: Path) -> t.Iterator[Host]:
    """A machine with one more network namespace, and a server in it that listens on a Unix socket only."""
    host = Host(new_cluster(15), tmp_path)
    host.cluster.set_sysctl(KEEPALIVE, 4242)
    host.cluster.run(["ip", "netns", "add", NAME], check=True)
    yield host
    host.cluster.run(["ip", "netns", "delete", NAME], check=True)


def test_ip_netns_exec_sets_that_namespace_and_nothing_else(machine: Host) -> None:
    def inner() -> str:
        return machine.cluster.run(["ip", "netns", "exec", NAME, "sysctl", "-n", KEEPALIVE], check=True).stdout.strip()

    assert inner() == "7200"  # it inherits nothing
    args = {"policy": profile("web"), "layers": ["os"], "revert_file": str(machine.revert_file)}
    done = in_namespace(machine.cluster, "harden", args)
    assert (done["changed"], set(done["changes"])) == (True, {"os: live"}), done
    assert inner() == str(done["plan"]["os"][KEEPALIVE]) != "7200"
    assert machine.cluster.get_sysctl(KEEPALIVE) == "4242"
    assert list(machine.sysctl_d.iterdir()) == []
    reasons = {row["reason"] for row in done["unsupported"]}
    assert len(reasons) == 1
    assert "a new one has Linux's defaults" in reasons.pop()
    assert in_namespace(machine.cluster, "harden", args)["changed"] is False
    done = in_namespace(machine.cluster, "revert", {"revert_file": str(machine.revert_file)})
    assert done["changed"] is True, done
    assert (inner(), machine.cluster.get_sysctl(KEEPALIVE)) == ("7200", "4242")
    assert list(machine.sysctl_d.iterdir()) == []


def test_etc_netns_is_of_that_namespace(machine: Host) -> None:
    """ip netns exec lays /etc/netns/NAME over /etc: a directory there is the namespace's own, and is written to."""
    own = Path("/etc/netns") / NAME
    machine.cluster.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True)
    script = f"mkdir -p /etc/netns && mount --bind /mnt /etc/netns && mkdir -p {own}/sysctl.d"
    machine.cluster.run(["sh", "-c", script], check=True)
    args = {"settings": {KEEPALIVE: 333}}
    done = in_namespace(machine.cluster, "tcp_sysctl", args)
    assert (done["changed"], done.get("warnings")) == (True, None), done
    assert machine.cluster.run(["cat", own / "sysctl.d" / SYSCTL_FILE], check=True).stdout.splitlines()[-1] == (
        f"{KEEPALIVE} = 333"
    )
    assert list(machine.sysctl_d.iterdir()) == []
    with contextlib.suppress(OSError):
        Path("/etc/netns").rmdir()  # of the real machine, if it was made here
