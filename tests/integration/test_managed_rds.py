# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameter groups of Amazon RDS and Aurora: our requests and the role, against moto's HTTP server of that API.

moto keeps what it is given. A new group of it lacks the parameters that Amazon's engine family brings, so these are
given to it first; that the names, ranges and the limit of twenty hold at Amazon, it does not tell.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import threading
import typing as t
import urllib.parse
import urllib.request
from pathlib import Path

import boto3
import pytest
import werkzeug.serving
import yaml
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from support import run_playbook

from ansible_collections.pgharden.connection.plugins.module_utils._managed import _parameters, _snippets
from ansible_collections.pgharden.connection.plugins.module_utils._managed._service import UNITS
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters

GROUP = "orders"
#: Of the engine's family, beside those of connections.
OTHERS = {"work_mem": "4096", "max_connections": "200", **{f"other_{number}": "1" for number in range(25)}}
FAMILIES = {"rds": "postgres17", "aurora": "aurora-postgresql17"}
PLAN = _filters.plan({}, profile="web", version=17)


class Amazon:
    """The server, one group of each kind, and a client that asks it."""

    def __init__(self, url: str, environment: dict[str, str], requests: list[str]) -> None:
        self.environment, self.requests = environment, requests
        self.rds = boto3.client(
            "rds", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        self.rds.create_db_parameter_group(
            DBParameterGroupName=GROUP, DBParameterGroupFamily=FAMILIES["rds"], Description="ours"
        )
        self.rds.create_db_cluster_parameter_group(
            DBClusterParameterGroupName=GROUP, DBParameterGroupFamily=FAMILIES["aurora"], Description="ours"
        )
        known = [
            {"ParameterName": name, "DataType": "integer", "ApplyType": "dynamic", "IsModifiable": True, **value}
            for name, value in [
                *((name, {"ApplyMethod": "pending-reboot"}) for name in UNITS),
                *((name, {"ParameterValue": value, "ApplyMethod": "pending-reboot"}) for name, value in OTHERS.items()),
            ]
        ]
        for start in range(0, len(known), 20):
            part = known[start : start + 20]
            self.rds.modify_db_parameter_group(DBParameterGroupName=GROUP, Parameters=part)
            self.rds.modify_db_cluster_parameter_group(DBClusterParameterGroupName=GROUP, Parameters=part)
        self.requests.clear()

    def modify(self, service: str, request: dict[str, t.Any]) -> None:
        kind = "db" if service == "rds" else "db_cluster"
        getattr(self.rds, f"modify_{kind}_parameter_group")(**request)

    def values(self, service: str) -> dict[str, tuple[str | None, str]]:
        """Value and time of applying of every parameter, as the server tells them."""
        if service == "rds":
            rows = self.rds.describe_db_parameters(DBParameterGroupName=GROUP)["Parameters"]
        else:
            rows = self.rds.describe_db_cluster_parameters(DBClusterParameterGroupName=GROUP)["Parameters"]
        return {row["ParameterName"]: (row.get("ParameterValue"), row["ApplyMethod"]) for row in rows}

    def sizes(self) -> list[int]:
        """How many parameters each request to modify a group had since the last time."""
        bodies = [urllib.parse.parse_qs(body) for body in self.requests]
        self.requests.clear()
        modified = [body for body in bodies if body.get("Action", [""])[0].startswith("Modify")]
        return [sum(name.endswith(".ParameterName") for name in body) for body in modified]


@pytest.fixture(scope="module")
def server() -> t.Iterator[tuple[str, list[str]]]:
    """moto's application, behind a server that notes the bodies of requests."""
    bodies: list[str] = []
    moto = DomainDispatcherApplication(create_backend_app)

    def noting(environ: dict[str, t.Any], start_response: t.Any) -> t.Any:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        bodies.append(body.decode())
        return moto({**environ, "wsgi.input": io.BytesIO(body)}, start_response)

    server = werkzeug.serving.make_server("127.0.0.1", 0, noting, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    thread.join(10)


@pytest.fixture
def amazon(server: tuple[str, list[str]], tmp_path: Path) -> Amazon:
    url, bodies = server
    request = urllib.request.Request(f"{url}/moto-api/reset", method="POST")
    urllib.request.urlopen(request, timeout=60).close()  # the first one imports all of moto
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }
    return Amazon(url, environment, bodies)


def wanted(service: str) -> dict[str, tuple[str, str]]:
    found = _parameters.parameters(PLAN, service)
    return {row["name"]: (row["value"], row["apply"]) for row in found["parameters"]}


def rest(values: dict[str, t.Any], service: str) -> dict[str, t.Any]:
    return {name: value for name, value in values.items() if name not in wanted(service)}


@pytest.mark.parametrize("service", FAMILIES)
def test_requests_are_understood(amazon: Amazon, service: str) -> None:
    before = amazon.values(service)
    for file in _snippets.render(_parameters.parameters(PLAN, service), "cli-json", GROUP):
        amazon.modify(service, json.loads(file.content))
    after = amazon.values(service)
    assert {name: after[name] for name in wanted(service)} == wanted(service)
    assert after["tcp_keepalives_idle"] == ("35", "immediate") and after["tcp_user_timeout"] == ("71000", "immediate")
    assert rest(after, service) == rest(before, service)


def test_more_than_twenty_parameters_are_several_requests(amazon: Amazon) -> None:
    found = _parameters.parameters(PLAN, "rds", extra=dict.fromkeys(OTHERS, 7))
    for file in _snippets.render(found, "cli-json", GROUP):
        amazon.modify("rds", json.loads(file.content))
    assert amazon.sizes() == [20, len(found["parameters"]) - 20]
    assert {name: amazon.values("rds")[name][0] for name in OTHERS} == dict.fromkeys(OTHERS, "7")


@pytest.mark.skipif(not shutil.which("aws"), reason="there is no aws command, boto3 alone was asked")
@pytest.mark.parametrize(("service", "verb"), [("rds", "db"), ("aurora", "db-cluster")])
def test_the_aws_command_takes_the_file(amazon: Amazon, tmp_path: Path, service: str, verb: str) -> None:
    (file,) = _snippets.render(_parameters.parameters(PLAN, service), "cli-json", GROUP)
    path = tmp_path / file.file
    path.write_text(file.content)
    command = ["aws", "rds", f"modify-{verb}-parameter-group", "--cli-input-json", f"file://{path}"]
    done = subprocess.run(
        command, env={**os.environ, **amazon.environment}, timeout=60, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    after = amazon.values(service)
    assert {name: after[name] for name in wanted(service)} == wanted(service)


# ---- the role

#: Two to be set and one that is only written.
HOSTS: dict[str, dict[str, t.Any]] = {
    "rds": {"service": "rds", "apply": True, "formats": ["terraform"]},
    "aurora": {"service": "aurora", "apply": True, "directory": ""},
    "azure": {"service": "azure", "directory": "files", "options": {"resource_group": "group"}},
}


class Play(t.NamedTuple):
    """What ansible-playbook said, and how many tasks changed something on each host, or None where one failed."""

    rc: int
    stdout: str
    changed: dict[str, int | None]


def play(amazon: Amazon, work: Path, hosts: dict[str, dict[str, t.Any]], *arguments: str) -> Play:
    inventory = work / "hosts.yml"
    rows = {
        host: {f"managed_service_{name}": value for name, value in {"name": GROUP, "version": 17, **variables}.items()}
        for host, variables in hosts.items()
    }
    # Hosts that cannot be reached: nothing may be run on them.
    nowhere = {"ansible_connection": "ssh", "ansible_host": "192.0.2.1"}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": rows, "vars": nowhere}}))
    result = run_playbook(
        None,
        "pgharden.connection.managed_service",
        "-e",
        "managed_service_hosts=all",
        *arguments,
        inventory=inventory,
        cwd=work,
        env={**amazon.environment, "PWD": str(work)},
    )
    assert "Traceback" not in result.stdout + result.stderr
    recap = re.findall(
        r"^(\w+) .*changed=(\d+) .*failed=(\d+)", result.stdout.rpartition("PLAY RECAP")[2], re.MULTILINE
    )
    return Play(result.rc, result.stdout, {host: None if int(bad) else int(number) for host, number, bad in recap})


def test_the_role(amazon: Amazon, tmp_path: Path) -> None:
    before = {service: amazon.values(service) for service in FAMILIES}
    result = play(amazon, tmp_path, HOSTS, "--check")
    assert result.rc == 0, result.stdout
    assert {service: amazon.values(service) for service in FAMILIES} == before
    assert not (tmp_path / "managed").exists() and not (tmp_path / "files").exists()

    result = play(amazon, tmp_path, HOSTS)
    # The directory, its files, the group.
    assert (result.rc, result.changed) == (0, {"rds": 3, "aurora": 1, "azure": 2}), result.stdout
    after = {service: amazon.values(service) for service in FAMILIES}
    for service in FAMILIES:
        assert {name: after[service][name] for name in wanted(service)} == wanted(service)
        assert rest(after[service], service) == rest(before[service], service)
    assert [path.name for path in (tmp_path / "managed").iterdir()] == ["orders-terraform.tf"]
    files = _snippets.render_all(_parameters.parameters(PLAN, "azure"), GROUP, 17, {"resource_group": "group"})
    assert {path.name: path.read_text() for path in (tmp_path / "files").iterdir()} == dict(files) and len(files) == 4
    assert "6 min → 71 s" in result.stdout and "6 min 30 s → 71 s" in result.stdout
    assert "instead: statement_timeout" in result.stdout

    again = play(amazon, tmp_path, HOSTS)
    assert (again.rc, again.changed) == (0, {"rds": 0, "aurora": 0, "azure": 0}), again.stdout
    assert {service: amazon.values(service) for service in FAMILIES} == after


def test_the_role_sets_more_than_twenty(amazon: Amazon, tmp_path: Path) -> None:
    extra = dict.fromkeys(OTHERS, 7)
    extra["max_connections"] = {"value": 300, "apply": "pending-reboot"}
    host = {"service": "rds", "apply": True, "directory": "", "extra_parameters": extra}
    result = play(amazon, tmp_path, {"rds": host})
    assert result.rc == 0, result.stdout
    assert sorted(amazon.sizes()) == [1, len(wanted("rds")) + len(OTHERS) - 21, 20]
    after = amazon.values("rds")
    assert after["max_connections"] == ("300", "pending-reboot") and after["work_mem"] == ("7", "immediate")


def test_what_the_role_refuses(amazon: Amazon, tmp_path: Path) -> None:
    hosts = {
        "unknown": {"service": "rds", "apply": True, "directory": "", "extra_parameters": {"no_such": "1"}},
        "elsewhere": {"service": "azure", "apply": True},
    }
    result = play(amazon, tmp_path, hosts)
    assert result.changed == {"unknown": None, "elsewhere": None}
    assert "no_such is not an available parameter" in result.stdout
    assert "works for rds and aurora, not for azure" in result.stdout
    assert not (tmp_path / "managed").exists()
