# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of managed services as files: each is read by a parser of its language and compared with them."""

from __future__ import annotations

import json
import re
import shlex
import typing as t
from pathlib import Path

import botocore.session
import botocore.validate
import hcl2
import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.pgharden.connection.plugins.filter import managed_snippet as filter_file
from ansible_collections.pgharden.connection.plugins.module_utils._managed import _job, _parameters, _snippets
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters

ROOT = Path(__file__).resolve().parents[2]
AMAZON = ROOT / ".ansible" / "collections" / "ansible_collections" / "amazon" / "aws" / "plugins" / "modules"
snippet: t.Any = filter_file.FilterModule().filters()["managed_snippet"]
OPTIONS = {"resource_group": "the group", "cluster": "c1", "region": "europe-west1", "project": "p1"}
#: What quoting has to survive; no provider has such a value.
NASTY = "a\"b\\c${d}%{e}'f;g $h`i`"


def parameters(service: str, extra: dict[str, t.Any] | None = None, profile: str = "replication") -> dict[str, t.Any]:
    plan = _filters.plan({"close_idle_in_transaction_after": "10min"}, profile=profile, version=17)
    return _parameters.parameters(plan, service, ["app"], extra=extra)


def texts(service: str, form: str, extra: dict[str, t.Any] | None = None, name: str = "orders") -> list[str]:
    return [file["content"] for file in snippet(parameters(service, extra), form, name, 17, OPTIONS)]


def one(service: str, form: str, extra: dict[str, t.Any] | None = None, name: str = "orders") -> str:
    (text,) = texts(service, form, extra, name)
    return text


def wanted(service: str, extra: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
    return {row["name"]: row["value"] for row in parameters(service, extra)["parameters"]}


# ---- Amazon


@pytest.fixture(scope="module")
def rds() -> t.Any:
    """The service as botocore, and so the aws command, know it."""
    return botocore.session.get_session().get_service_model("rds")


@pytest.mark.parametrize(
    ("service", "operation", "group"),
    [
        ("rds", "ModifyDBParameterGroup", "DBParameterGroupName"),
        ("aurora", "ModifyDBClusterParameterGroup", "DBClusterParameterGroupName"),
    ],
)
def test_requests_are_those_of_the_service_model(rds: t.Any, service: str, operation: str, group: str) -> None:
    request = json.loads(one(service, "cli-json"))
    shape = rds.operation_model(operation).input_shape
    problems = botocore.validate.ParamValidator().validate(request, shape)
    assert not problems.has_errors(), problems.generate_report()
    assert request[group] == "orders"
    methods = set(shape.members["Parameters"].member.members["ApplyMethod"].enum)
    assert {row["ApplyMethod"] for row in request["Parameters"]} <= methods
    assert {row["ParameterName"]: row["ParameterValue"] for row in request["Parameters"]} == wanted(service)


@pytest.mark.parametrize(("more", "sizes"), [(11, [20]), (12, [20, 1]), (35, [20, 20, 4])])
def test_a_request_has_no_more_than_twenty(rds: t.Any, more: int, sizes: list[int]) -> None:
    documentation = rds.operation_model("ModifyDBParameterGroup").documentation
    assert "maximum of 20 parameters" in documentation
    extra = {f"extra_{number}": str(number) for number in range(more)}
    files = snippet(parameters("rds", extra), "cli-json", "orders")
    parts = [json.loads(file["content"])["Parameters"] for file in files]
    assert [len(part) for part in parts] == sizes
    assert {row["ParameterName"]: row["ParameterValue"] for part in parts for row in part} == wanted("rds", extra)
    assert len({file["file"] for file in files}) == len(files)
    assert all(re.fullmatch(r"orders-cli-json(-\d)?\.json", file["file"]) for file in files)


def documented(module: str) -> dict[str, t.Any]:
    """The options of a module of amazon.aws, out of its own documentation."""
    match = re.search(r'DOCUMENTATION = r"""(.*?)"""', (AMAZON / f"{module}.py").read_text("utf-8"), re.DOTALL)
    assert match
    return t.cast("dict[str, t.Any]", yaml.safe_load(match.group(1))["options"])


def test_tasks_for_instances() -> None:
    extra = {"max_connections": {"value": NASTY, "apply": "pending-reboot"}}
    tasks = yaml.safe_load(one("rds", "ansible", extra, name='a "b"'))
    arguments = [task["amazon.aws.rds_instance_param_group"] for task in tasks]
    assert [one["immediate"] for one in arguments] == [True, False]
    assert arguments[1]["params"] == {"max_connections": NASTY}
    assert {**arguments[0]["params"], **arguments[1]["params"]} == wanted("rds", extra)
    for row in arguments:
        assert set(row) <= set(documented("rds_instance_param_group"))
        assert (row["name"], row["engine"], row["state"]) == ('a "b"', "postgres17", "present")
    assert [task["name"] for task in tasks] == ['Set the connection parameters of a "b"'] * 2


def test_tasks_for_clusters() -> None:
    extra = {"max_connections": {"value": NASTY, "apply": "pending-reboot"}}
    (task,) = yaml.safe_load(one("aurora", "ansible", extra))
    arguments = task["amazon.aws.rds_cluster_param_group"]
    options = documented("rds_cluster_param_group")
    assert set(arguments) <= set(options) and arguments["db_parameter_group_family"] == "aurora-postgresql17"
    assert {row["parameter_name"]: row["parameter_value"] for row in arguments["parameters"]} == wanted("aurora", extra)
    for row in arguments["parameters"]:
        assert set(row) == set(options["parameters"]["suboptions"])
        assert row["apply_method"] == ("pending-reboot" if row["parameter_name"] in extra else "immediate")


# ---- Terraform


#: The arguments of each resource as the providers document them: registry.terraform.io, documentation of
#: hashicorp/aws, hashicorp/azurerm, hashicorp/google and aiven/aiven. Required ones have an exclamation mark.
ARGUMENTS = {
    "aws_db_parameter_group": "family! description name name_prefix parameter region skip_destroy tags",
    "aws_rds_cluster_parameter_group": "family! description name name_prefix parameter region tags",
    "aws_db_parameter_group.parameter": "name! value! apply_method",
    "aws_rds_cluster_parameter_group.parameter": "name! value! apply_method",
    "azurerm_postgresql_flexible_server_configuration": "name! server_id! value!",
    "google_sql_database_instance": "database_version! name region settings project root_password deletion_protection",
    "google_sql_database_instance.settings": "tier! database_flags edition availability_type disk_size",
    "google_sql_database_instance.settings.database_flags": "name! value!",
    "google_alloydb_instance": "cluster! instance_id! instance_type! database_flags machine_config availability_type",
    "aiven_pg": "project! service_name! plan! cloud_name pg_user_config termination_protection",
    "aiven_pg.pg_user_config": "pg pgbouncer pglookout pg_version",
}


def unquoted(value: t.Any) -> t.Any:
    """What Terraform makes of a string that the parser leaves as it stands; a variable stays ``${var.name}``."""
    if isinstance(value, str) and value.startswith('"'):
        assert not re.search(r"(?<![$%])[$%]\{", value), "Terraform would take it for a template"
        return json.loads(value).replace("$${", "${").replace("%%{", "%{")
    if isinstance(value, dict):
        return {unquoted(key): unquoted(one) for key, one in value.items() if key != "__is_block__"}
    return [unquoted(one) for one in value] if isinstance(value, list) else value


def resources(text: str) -> list[tuple[str, str, dict[str, t.Any]]]:
    rows = unquoted(hcl2.loads(text))["resource"]
    return [(kind, label, body) for row in rows for kind, named in row.items() for label, body in named.items()]


def check_arguments(kind: str, body: dict[str, t.Any]) -> None:
    known = ARGUMENTS[kind].split()
    assert set(body) <= {name.rstrip("!") for name in known}, kind
    assert {name.rstrip("!") for name in known if name.endswith("!")} <= set(body), kind
    for name, value in body.items():
        for block in value if isinstance(value, list) else []:
            if f"{kind}.{name}" in ARGUMENTS:
                check_arguments(f"{kind}.{name}", block)


def flags_of(kind: str, bodies: list[dict[str, t.Any]]) -> dict[str, t.Any]:
    if kind.startswith("azurerm"):
        return {body["name"]: body["value"] for body in bodies}
    (body,) = bodies
    if kind.startswith("aws"):
        return {row["name"]: row["value"] for row in body["parameter"]}
    if kind == "google_sql_database_instance":
        return {row["name"]: row["value"] for row in body["settings"][0]["database_flags"]}
    if kind == "google_alloydb_instance":
        return t.cast("dict[str, t.Any]", body["database_flags"])
    return t.cast("dict[str, t.Any]", body["pg_user_config"][0]["pg"][0])


@pytest.mark.parametrize("service", [name for name, forms in _snippets.FORMATS.items() if "terraform" in forms])
@pytest.mark.parametrize("extra", [{}, {"log_line_prefix": NASTY}])
def test_terraform_has_the_parameters(service: str, extra: dict[str, str]) -> None:
    rows = resources(one(service, "terraform", extra, name="9 orders.db"))
    kinds = {kind for kind, _label, _body in rows}
    assert len(kinds) == 1
    for kind, label, body in rows:
        check_arguments(kind, body)
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", label)
    assert len({label for _kind, label, _body in rows}) == len(rows)
    assert flags_of(kinds.pop(), [body for _kind, _label, body in rows]) == wanted(service, extra)


def test_what_only_the_user_knows_is_a_variable() -> None:
    (row,) = snippet(parameters("cloudsql"), "terraform", "orders", 17)
    ((_kind, _label, body),) = resources(row["content"])
    assert body["region"] == "${var.region}" and body["settings"][0]["tier"] == "${var.tier}"
    ((_kind, _label, body),) = resources(one("cloudsql", "terraform"))
    assert body["region"] == "europe-west1" and body["database_version"] == "POSTGRES_17"


# ---- Azure


def test_templates_set_one_parameter_after_the_other() -> None:
    extra = {"log_line_prefix": "[%t]"}
    template = json.loads(one("azure", "arm", extra))
    assert set(template) == {"$schema", "contentVersion", "resources"}
    names = [row["name"].split("/") for row in template["resources"]]
    assert {server for server, _name in names} == {"orders"}
    values = {
        name: row["properties"]["value"] for (_server, name), row in zip(names, template["resources"], strict=True)
    }
    assert values == {**wanted("azure", extra), "log_line_prefix": "[[%t]"}
    kind = "Microsoft.DBforPostgreSQL/flexibleServers/configurations"
    for number, row in enumerate(template["resources"]):
        assert (row["type"], row["properties"]["source"]) == (kind, "user-override")
        before = [f"[resourceId('{kind}', 'orders', '{names[number - 1][1]}')]"] if number else []
        assert row["dependsOn"] == before


def test_bicep_sets_one_at_a_time() -> None:
    text = one("azure", "bicep", {"log_line_prefix": NASTY})
    rows = re.findall(r"^  \{ name: ('.*'), value: ('.*') \}$", text, re.MULTILINE)
    assert {_bicep(name): _bicep(value) for name, value in rows} == wanted("azure", {"log_line_prefix": NASTY})
    assert "@batchSize(1)\nresource configurations" in text and "  name: 'orders'\n" in text
    assert text.count("{") - NASTY.count("{") == text.count("}") - NASTY.count("}")


def _bicep(text: str) -> str:
    """Bicep's escapes: a backslash before a quote, a backslash or a dollar that begins an interpolation."""
    inner = text[1:-1]
    assert not re.search(r"(?<!\\)'|(?<!\\)\$\{", re.sub(r"\\\\", "", inner))
    return re.sub(r"\\(\\|'|\$)", r"\1", inner)


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines() if not line.startswith("#")]


def test_commands_of_azure() -> None:
    extra = {"log_line_prefix": NASTY}
    rows = commands(one("azure", "cli", extra))
    found = {}
    for row in rows:
        assert row[:5] == ["az", "postgres", "flexible-server", "parameter", "set"]
        assert row[5:9] == ["--resource-group", "the group", "--server-name", "orders"]
        assert row[9] == "--name" and row[11].startswith("--value=")
        found[row[10]] = row[11].partition("=")[2]
    assert found == wanted("azure", extra)


# ---- Google


def flags(argument: str) -> dict[str, str]:
    """As gcloud reads a dictionary, see ``gcloud topic escaping``."""
    text, mark = argument.partition("=")[2], ","
    assert argument.startswith("--database-flags=")
    if text.startswith("^"):
        mark, text = text[1:].split("^", 1)
    return dict(t.cast("tuple[str, str]", flag.split("=", 1)) for flag in text.split(mark))


@pytest.mark.parametrize("extra", [{}, {"search_path": "a,b"}, {"search_path": NASTY + ",|"}])
def test_commands_of_google(extra: dict[str, str]) -> None:
    ((*command, last),) = commands(one("cloudsql", "cli", extra))
    assert command == ["gcloud", "sql", "instances", "patch", "orders", "--project=p1"]
    assert flags(last) == wanted("cloudsql", extra)
    ((*command, last),) = commands(one("alloydb", "cli", extra))
    where = ["--project=p1", "--cluster=c1", "--region=europe-west1"]
    assert command == ["gcloud", "alloydb", "instances", "update", "orders", *where]
    assert flags(last) == wanted("alloydb", extra)


def test_the_whole_list_is_replaced_and_that_is_said() -> None:
    for service in ("cloudsql", "alloydb"):
        assert "replaces the whole list" in one(service, "cli")
        assert "replaces the flags that are not named" in one(service, "terraform")
        assert "replace the whole list" in " ".join(parameters(service)["notes"])


def test_requests_of_google() -> None:
    body = json.loads(one("cloudsql", "api-json"))
    assert {row["name"]: row["value"] for row in body["settings"]["databaseFlags"]} == wanted("cloudsql")
    assert json.loads(one("alloydb", "api-json")) == {"databaseFlags": wanted("alloydb")}


# ---- Aiven, Neon, Supabase


def test_aiven_gets_numbers() -> None:
    body = json.loads(one("aiven", "api-json"))
    assert body == {"user_config": {"pg": wanted("aiven")}}
    assert all(isinstance(value, int) for value in body["user_config"]["pg"].values())
    ((*command, service),) = commands(one("aiven", "cli"))
    assert command[:4] == ["avn", "service", "update", "--project=p1"] and service == "orders"
    assert command[4::2] == ["-c"] * len(wanted("aiven"))
    assert command[5::2] == [f"pg.{name}={value}" for name, value in wanted("aiven").items()]


def test_supabase() -> None:
    (command,) = commands(one("supabase", "cli"))
    assert command[:6] == ["supabase", "--experimental", "--project-ref", "orders", "postgres-config", "update"]
    assert command[6:] == ["--config", "wal_sender_timeout=53000ms"]


@pytest.mark.parametrize("service", _snippets.FORMATS)
def test_sql_is_what_there_is_to_say(service: str) -> None:
    found = parameters(service)
    files = snippet(found, "sql", "orders")
    assert [line for file in files for line in file["content"].splitlines()] == found["statements"]
    assert bool(files) == (service in ("aiven", "neon", "supabase"))


# ---- all


def test_nothing_to_set_is_no_file() -> None:
    found = {**parameters("aiven"), "parameters": []}
    assert [snippet(found, form, "orders") for form in ("cli", "api-json", "terraform")] == [[], [], []]


def test_several_formats_at_once() -> None:
    found = parameters("alloydb")
    assert [file["file"] for file in snippet(found, ["terraform", "api-json"], "orders")] == [
        "orders-terraform.tf",
        "orders-api-json.json",
    ]
    assert [file["file"] for file in snippet(found, "all", "orders")] == ["orders-api-json.json", "orders-terraform.tf"]
    assert len(snippet(found, "all", "orders", 17, OPTIONS)) == 3
    assert [file["file"] for file in snippet(parameters("neon"), "all", "orders")] == ["orders-sql.sql"]


def test_names_become_files_of_one_directory() -> None:
    (row,) = snippet(parameters("neon"), "sql", "../a b/ö")
    assert row["file"] == ".._a_b__-sql.sql"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: snippet({}, "terraform", "orders"), "filter pgharden.connection.managed_parameters"),
        (lambda: snippet("rds", "terraform", "orders"), "filter pgharden.connection.managed_parameters"),
        (lambda: snippet("rds", "all", "orders"), "filter pgharden.connection.managed_parameters"),
        (lambda: snippet({}, "all", "orders"), "filter pgharden.connection.managed_parameters"),
        (lambda: snippet(parameters("neon"), "terraform", "orders"), "there are sql"),
        (lambda: snippet(parameters("rds"), "terraform", " "), "this is no name"),
        (lambda: snippet(parameters("rds"), "terraform", "a\nb"), "this is no name"),
        (lambda: snippet(parameters("rds"), "terraform", 7), "this is no name"),
        (lambda: snippet(parameters("rds"), "terraform", "orders", "17.6"), "this is no major version"),
        (lambda: snippet(parameters("azure"), "cli", "orders"), "needs the option resource_group"),
        (lambda: snippet(parameters("alloydb"), "cli", "orders", 17, {"cluster": "c"}), "needs the option region"),
        (lambda: snippet(parameters("azure"), "cli", "orders", 17, ["a"]), "no mapping"),
        (lambda: snippet(parameters("azure"), "all", "orders", 17, {"resourcegroup": "g"}), "options are cluster"),
        (lambda: one("supabase", "cli", {"search_path": "a=b"}), "no equals sign"),
        (lambda: one("cloudsql", "cli", {"search_path": "a,b|:;~#@"}), "no character is left"),
    ],
)
def test_errors_are_one_sentence(call: t.Callable[[], t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        call()


def test_the_documented_formats_are_those_there_are() -> None:
    page = yaml.safe_load((ROOT / "plugins/filter/managed_snippet.yml").read_text("utf-8"))["DOCUMENTATION"]
    forms = {form for found in _snippets.FORMATS.values() for form in found}
    assert page["options"]["format"]["choices"] == ["all", *sorted(forms)]
    named = set(re.findall(r"C\((\w+)\)", " ".join(page["options"]["options"]["description"])))
    assert named - {"cli"} == set(_job.OPTIONS)
