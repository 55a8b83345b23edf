# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module patroni and a REST API with TLS, client certificates and a password; what is refused, one that is gone."""

from __future__ import annotations

import json
import os
import signal
import typing as t
from pathlib import Path

import pytest
from _patronis import WEB, Runs, config, in_force, started
from conftest import NewCluster
from support import certificates
from support.modules import run_module
from support.patronis import API_PASSWORD, API_USER, Patronis, some_major, wait_for


@pytest.fixture(scope="module")
def _secured() -> t.Iterator[Patronis]:
    with started(1, tls=True) as patronis:
        yield patronis


@pytest.fixture
def secured(_secured: Patronis) -> Patronis:
    """One member whose REST API has a certificate, wants its clients' and a password."""
    _secured.reset()
    return _secured


@pytest.fixture
def runs(secured: Patronis, tmp_path: Path) -> Runs:
    return Runs(secured, tmp_path)


def test_by_itself(secured: Patronis, runs: Runs) -> None:
    """Address, authority, certificate and password are in the member's own configuration, for the way back, too."""
    before = config(secured)
    assert runs.harden(secured.leader)["changed"]
    assert in_force(secured.leader, WEB) == WEB
    record = runs.revert_file(secured.leader).read_text()
    assert API_PASSWORD not in record
    assert secured.leader.url in record
    assert runs.revert(secured.leader, check=True)["changed"]
    assert in_force(secured.leader, WEB) == WEB
    assert runs.revert(secured.leader)["changed"]
    assert config(secured) == before


def test_by_options(secured: Patronis, runs: Runs) -> None:
    """With all of it given, none of it need be found."""
    leader = secured.leader
    options = {
        "api_url": f"https://localhost:{leader.api_port}/",
        "api_user": API_USER,
        "api_password": API_PASSWORD,
        "api_ca_cert": str(leader.authority),
        "api_client_cert": leader.client_files["certfile"],
        "api_client_key": leader.client_files["keyfile"],
    }
    assert runs.harden(leader, **options)["changed"]
    assert in_force(leader, WEB) == WEB


class Strangers(t.NamedTuple):
    """Files of an authority that nobody here has heard of."""

    authority: str
    certificate: str


def strangers(directory: Path) -> Strangers:
    made = certificates.make.__wrapped__()
    authority, certificate = directory / "authority.pem", directory / "certificate.pem"
    authority.write_bytes(made.authority)
    certificate.write_bytes(made.certificate + made.key)
    return Strangers(str(authority), str(certificate))


def test_what_the_api_refuses(secured: Patronis, runs: Runs, tmp_path: Path) -> None:
    """Each with a code and a remedy of its own, and nothing is changed."""
    leader, before = secured.leader, config(secured)
    port, other = leader.api_port, strangers(tmp_path)
    for code, remedy, options in (
        ("patroni_denied", "api_password", {"api_user": API_USER, "api_password": "wrong"}),
        ("patroni_tls", "api_ca_cert", {"api_ca_cert": other.authority}),
        ("patroni_tls", "api_client_cert", {"api_client_cert": other.certificate, "api_client_key": other.certificate}),
        ("patroni_unreachable", "Start Patroni", {"api_url": "https://127.0.0.1:9"}),
        ("patroni_unreachable", "http or https", {"api_url": f"http://127.0.0.1:{port}"}),
        ("patroni_answer", "Correct api_url", {"api_url": "http://127.0.0.1:2379"}),  # etcd
        ("bad_api_url", "api_user", {"api_url": f"https://{API_USER}:{API_PASSWORD}@127.0.0.1:{port}"}),
    ):
        result = runs.harden(leader, **options)
        assert result["failure"]["code"] == code, result
        assert remedy in result["failure"]["remedy"], result
        assert API_PASSWORD not in json.dumps(result)  # nor in the invocation that Ansible adds
    assert config(secured) == before
    assert not runs.revert_file(leader).exists()
    # What is not to be checked is not: a choice of the user's.
    assert runs.harden(leader, api_ca_cert=other.authority, validate_certs=False)["changed"]


def test_a_server_without_patroni(new_cluster: NewCluster, tmp_path: Path) -> None:
    cluster = new_cluster(some_major())
    args = {"policy": {"detect_dead_peer_within": "60s"}, "login_host": "127.0.0.1", "revert_file": str(tmp_path / "r")}
    failure = run_module(cluster, "patroni", args)["failure"]
    assert failure["code"] == "no_patroni"
    assert str(cluster.data_dir) in failure["found"]


def test_a_patroni_that_died(secured: Patronis, runs: Runs) -> None:
    """Its server goes on without it; it is the last test, for nobody starts it again."""
    leader = secured.leader
    for pid in leader.pids():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not leader.pids(), leader.log)
    assert leader.query("SELECT 1") == [(1,)]
    assert runs.harden(leader)["failure"]["code"] == "no_patroni"
    told = runs.harden(leader, api_url=leader.url, api_ca_cert=str(leader.authority))
    assert told["failure"]["code"] == "patroni_unreachable"
