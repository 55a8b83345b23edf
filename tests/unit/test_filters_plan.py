# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters plan, client_parameters and conninfo, as Ansible's templates call them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.pgharden.connection.plugins.filter import client_parameters, conninfo
from ansible_collections.pgharden.connection.plugins.filter import plan as plan_filter
from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers

ROOT = Path(__file__).resolve().parents[2]
plan: t.Any = plan_filter.FilterModule().filters()["plan"]
parameters: t.Any = client_parameters.FilterModule().filters()["client_parameters"]
merge: t.Any = conninfo.FilterModule().filters()["conninfo"]


def test_one_policy_for_every_hop() -> None:
    found = plan({"replace_pooled_connection_after": "30min"}, profile="web", version=13)
    idle = found["client"]["keepalives_idle"]
    assert found["os"]["net.ipv4.tcp_keepalive_time"] == idle
    assert found["server"]["tcp_keepalives_idle"] == f"{idle}s"
    assert found["pgbouncer"]["tcp_keepidle"] == str(idle)
    assert found["haproxy"]["clitcpka-idle"] == f"{idle}s"
    assert found["client"]["pool_max_age"] == 1800
    assert "client_connection_check_interval" in [row["setting"] for row in found["unsupported"]]
    assert plan({}, pgbouncer_version="1.16")["pgbouncer"] == plan({}, pgbouncer_version="1.16.1")["pgbouncer"]


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text("connect_within: 7s\n")
    assert plan({}, profile=str(path))["client"] == {"connect_timeout": 7}


def test_a_plan_goes_into_the_other_filters() -> None:
    found = plan({})
    assert parameters(found, "libpq")["parameters"] == {
        key: value for key, value in found["client"].items() if not key.startswith("pool")
    }
    assert merge(found, "host=db").startswith("host=db keepalives=1 ")
    assert merge(found, "keepalives=0", force=True).startswith("keepalives=1 ")
    assert merge(found).startswith("keepalives=1 ")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan("web"), "it is no mapping"),
        (lambda: plan({}, profile="wbe"), "profiles are"),
        (lambda: plan({}, 17), "profiles are"),
        (lambda: plan({"connect_within": "7"}), "no duration"),
        (lambda: plan({}, pgbouncer_version=1.20), "no version in quotes"),
        (lambda: plan({}, haproxy_version="latest"), "no version in quotes"),
        (lambda: plan({}, version=9), "oldest version"),
        (lambda: parameters(plan({}), "oracle"), "no such driver"),
        (lambda: parameters({"server": {}}, "libpq"), "filter pgharden.connection.plan"),
        (lambda: merge(None, "password=s3cret"), "filter pgharden.connection.plan"),
        (lambda: merge(plan({}), "password='s3cret"), "libpq cannot read it"),
    ],
)
def test_errors_are_one_sentence_and_show_no_secret(call: t.Callable[[], t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message) as problem:
        call()
    assert "s3cret" not in str(problem.value)


def test_the_documented_drivers_are_those_there_are() -> None:
    documented = yaml.safe_load((ROOT / "plugins/filter/client_parameters.yml").read_text("utf-8"))["DOCUMENTATION"]
    assert documented["options"]["driver"]["choices"] == sorted(_drivers.DRIVERS)


def test_the_page_has_every_driver_with_its_proof() -> None:
    rows = [line.split("|") for line in (ROOT / "docs/clients.md").read_text("utf-8").splitlines() if line[:2] == "| "]
    shown = {name.strip(): row[-2].strip() for row in rows[1:] for name in row[1].split(",")}
    assert shown == {name: driver.proof for name, driver in _drivers.DRIVERS.items()}
