# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy as the parameters of every managed service, and the filter that gives them."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from _policies import policies, value_of
from ansible.errors import AnsibleFilterError
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.pgharden.connection.plugins.filter import managed_parameters as filter_file
from ansible_collections.pgharden.connection.plugins.module_utils import _plan, _promises, _settings
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._managed import _catalogue, _parameters
from ansible_collections.pgharden.connection.plugins.module_utils._managed._service import REBOOT, SERVER_WIDE, UNITS
from ansible_collections.pgharden.connection.plugins.plugin_utils import _filters, _profiles

ROOT = Path(__file__).resolve().parents[2]
SERVICES = _catalogue.SERVICES
managed: t.Any = filter_file.FilterModule().filters()["managed_parameters"]
#: Everything that a plan can set.
FULL = {
    "slow_reader_roles": ["reporting"],
    "slow_reader_grace": "5min",
    "close_idle_session_after": "2h",
    "close_idle_in_transaction_after": "10min",
    "close_transaction_after": "1h",
}


def plan(policy: dict[str, t.Any], profile: str = "replication", version: int = 18) -> dict[str, t.Any]:
    return _filters.plan(policy, profile=profile, version=version)


def everything() -> dict[str, t.Any]:
    found = plan(FULL)
    assert set(found["server"]) == set(UNITS), "or else these tests leave out a setting"
    return found


def in_units(row: t.Mapping[str, t.Any]) -> int:
    """The value of a parameter in base units; text with a unit is that of Supabase."""
    return int(re.fullmatch(r"(\d+)(ms)?", str(row["value"])).group(1))  # type: ignore[union-attr]


def by_sql(statements: t.Iterable[str]) -> dict[tuple[str, str], dict[str, str]]:
    """What each role or database is set to."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for text in statements:
        kind, name, setting, value = re.fullmatch(r"ALTER (\w+) \"(.+)\" SET (\w+) = '(\w+)';", text).groups()  # type: ignore[union-attr]
        found.setdefault((kind, name), {})[setting] = value
    return found


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("profile", _profiles.names())
@pytest.mark.parametrize("version", [13, 16, 18])
def test_each_setting_of_a_plan_is_in_one_place(service: str, profile: str, version: int) -> None:
    made = plan({}, profile, version)
    found = _parameters.parameters(made, service, ["app"])
    parameters = {row["name"]: in_units(row) for row in found["parameters"]}
    statements = by_sql(found["statements"]).get(("DATABASE", "app"), {})
    impossible = {row["setting"] for row in found["unsupported"]}
    missing = {row["setting"] for row in made["unsupported"] if row["layer"] == "server"}
    places = [*parameters, *statements, *impossible]
    assert sorted(places) == sorted([*made["server"], *missing])
    for name, value in {**parameters, **{name: value_of(name, text) for name, text in statements.items()}}.items():
        assert value == value_of(name, made["server"][name]), name
    assert not set(statements) & set(SERVER_WIDE), "no owner of a database may set these"
    for row in found["unsupported"]:
        assert row["reason"] and row["instead"] and row["key"] in made["policy"], row


@settings(max_examples=80, deadline=None)
@given(service=st.sampled_from(sorted(SERVICES)), policy=policies(), version=st.integers(13, 18))
def test_any_policy_is_within_the_documented_ranges(service: str, policy: t.Any, version: int) -> None:
    try:
        made = _plan.make(policy, _plan.Facts(version))
    except Failure:
        return  # the policy contradicts itself
    found = _parameters.parameters({**made.as_dict(), "policy": policy.as_dict()}, service)
    for row in found["parameters"]:
        exposed = SERVICES[service].exposed[row["name"]]
        value = in_units(row)
        assert value == 0 or exposed.low <= value <= exposed.high
        assert value <= _settings.KERNEL_LIMITS.get(row["name"], 2**31 - 1)
        assert row["name"] != "authentication_timeout" or 1 <= value <= 600
        assert isinstance(row["value"], int) == (service == "aiven")
    after = {(row["phase"], row["fault"]): row["seconds"] for row in found["promises"]["after"]}
    before = {(row["phase"], row["fault"]): row["seconds"] for row in found["promises"]["before"]}
    assert after.keys() == before.keys() and len(after) == len(_promises.PHASES) * len(_promises.FAULTS)
    if not found["unsupported"]:
        assert found["not_kept"] == []


def seconds(found: t.Mapping[str, t.Any], when: str, phase: str, fault: str = "peer_vanished") -> t.Any:
    (row,) = [row for row in found["promises"][when] if (row["phase"], row["fault"]) == (phase, fault)]
    return row["seconds"]


@pytest.mark.parametrize(
    ("service", "idle"),
    [("rds", 360), ("aurora", 360), ("azure", 390), ("aiven", 240), ("cloudsql", 7875), ("neon", 7875)],
)
def test_what_the_services_promise_before(service: str, idle: int) -> None:
    """Dead connection handling at Amazon (300/30/2), Azure's server parameters (120/30/9), Aiven's page (180/10/6)."""
    assert seconds(_parameters.parameters(plan({}), service), "before", "idle") == idle


def test_azure_cannot_look_at_a_busy_socket() -> None:
    found = _parameters.parameters(plan({}, "web"), "azure")
    rows = {row["setting"]: row for row in found["unsupported"]}
    assert rows.keys() == {"client_connection_check_interval", "authentication_timeout"}
    assert "read-only" in rows["client_connection_check_interval"]["reason"]
    for word in ("statement_timeout", "idle_session_timeout", "client"):
        assert word in rows["client_connection_check_interval"]["instead"]
    assert found["statements"] == []
    assert seconds(found, "after", "executing") is None
    assert {row["key"] for row in found["not_kept"]} == {"stop_orphaned_query_within", "connect_within"}
    assert seconds(found, "after", "authenticating") == 30


def test_neon_looks_at_busy_sockets_already_but_may_be_made_to_do_so_sooner() -> None:
    found = _parameters.parameters(plan({}, "web"), "neon", ["app", 'b"c'])
    assert seconds(found, "before", "executing", "process_died") == 60
    assert seconds(found, "after", "executing", "process_died") == 5
    assert found["parameters"] == []
    both = by_sql(found["statements"])
    assert set(both) == {("DATABASE", "app"), ("DATABASE", 'b""c')}
    assert len({tuple(values.items()) for values in both.values()}) == 1


def test_roles_of_their_own_on_every_service() -> None:
    made = everything()
    for service in SERVICES:
        found = by_sql(_parameters.parameters(made, service)["statements"])
        assert found["ROLE", "reporting"] == made["roles"]["reporting"]


def test_what_a_service_turns_out_not_to_have_is_set_by_sql() -> None:
    made = everything()
    whole = _parameters.parameters(made, "cloudsql")
    assert not any(row["confirmed"] for row in whole["parameters"]) and len(whole["parameters"]) == len(UNITS)
    assert "gcloud sql flags list" in " ".join(whole["notes"])
    lacks = ["tcp_user_timeout", "authentication_timeout", "wal_sender_timeout"]
    found = _parameters.parameters(made, "cloudsql", unavailable=lacks)
    assert set(by_sql(found["statements"])["DATABASE", "postgres"]) == {"tcp_user_timeout", "wal_sender_timeout"}
    assert [row["setting"] for row in found["unsupported"]] == ["authentication_timeout"]
    assert "logical replication" in " ".join(found["notes"])
    with pytest.raises(Failure, match="no plan sets it"):
        _parameters.parameters(made, "cloudsql", unavailable=["tcp_user_timeuot"])


def test_a_value_that_a_service_does_not_take_is_set_by_sql() -> None:
    """Seven days are Aiven's longest."""
    made = plan({"close_idle_in_transaction_after": "8d"}, "web")
    found = _parameters.parameters(made, "aiven")
    assert by_sql(found["statements"])["DATABASE", "defaultdb"]["idle_in_transaction_session_timeout"] == "8d"
    assert found["parameters"] == []
    seven = _parameters.parameters(plan({"close_idle_in_transaction_after": "7d"}, "web"), "aiven")
    assert [row["value"] for row in seven["parameters"]] == [604_800_000]
    never = _parameters.parameters(plan({"close_idle_in_transaction_after": "off"}, "web"), "aiven")
    assert [row["value"] for row in never["parameters"]] == [0]


def test_each_service_takes_its_own_spelling() -> None:
    made = everything()
    for service, value in (("rds", "53000"), ("azure", "53000"), ("aiven", 53000), ("supabase", "53000ms")):
        rows = {row["name"]: row["value"] for row in _parameters.parameters(made, service)["parameters"]}
        assert rows["wal_sender_timeout"] == value
    off = plan({"detect_dead_standby_within": "off", "close_idle_session_after": "off"}, "web")
    assert {row["name"]: row["value"] for row in _parameters.parameters(off, "rds")["parameters"]}[
        "idle_session_timeout"
    ] == "0"
    assert SERVICES["supabase"].spell(0, "ms") == "0"


def test_parameters_of_ones_own() -> None:
    extra = {"max_connections": {"value": 200, "apply": REBOOT}, "log_lock_waits": "on", "pg_stat_statements.max": 9}
    found = _parameters.parameters(plan({}), "rds", extra=extra)
    rows = {row["name"]: row for row in found["parameters"]}
    assert (rows["max_connections"]["value"], rows["max_connections"]["apply"]) == ("200", REBOOT)
    assert found["restart_required"] == ["max_connections"]
    assert (rows["log_lock_waits"]["value"], rows["pg_stat_statements.max"]["value"]) == ("on", "9")
    assert "log_lock_waits" not in " ".join(found["notes"])
    aiven = _parameters.parameters(plan({}), "aiven", extra={"jit": "off", "max_files_per_process": 1000})
    assert aiven["parameters"][-1]["value"] == 1000


def test_versions_that_lack_a_setting() -> None:
    found = _parameters.parameters(plan({}, "web", 13), "rds")
    (row,) = [row for row in found["unsupported"] if row["setting"] == "client_connection_check_interval"]
    assert "14" in row["reason"] and "statement_timeout" in row["instead"]


def test_what_is_not_known_is_said() -> None:
    notes = " ".join(_parameters.parameters(everything(), "neon")["notes"])
    assert "own values of tcp_keepalives_idle" in notes and "wal_sender_timeout of a database" in notes
    notes = " ".join(_parameters.parameters(everything(), "azure")["notes"])
    assert "not known" not in notes and "keep their socket options" in notes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: managed(plan({}), "heroku"), "services are rds"),
        (lambda: managed({}, "rds"), "filter pgharden.connection.plan"),
        (lambda: managed({"server": {}}, "rds"), "filter pgharden.connection.plan"),
        (lambda: managed({"server": {"work_mem": "4MB"}, "policy": {}}, "rds"), "a plan has no such setting"),
        (lambda: managed({"server": {"tcp_user_timeout": "soon"}, "policy": {}}, "rds"), "no duration"),
        (lambda: managed({"server": {"tcp_keepalives_count": "x"}, "policy": {}}, "rds"), "Write 127 or less"),
        (lambda: managed({"server": {"tcp_keepalives_idle": "1d"}, "policy": {}}, "rds"), "Write 32767 s or less"),
        (lambda: managed(plan({}), "neon", databases="app"), "it is no list"),
        (lambda: managed(plan({}), "neon", databases=[""]), "none can have this name"),
        (lambda: managed(plan({}), "neon", databases=["a\0"]), "none can have this name"),
        (lambda: managed(plan({}), "neon", databases=[7]), "none can have this name"),
        (lambda: managed(plan({}), "rds", extra_parameters=["a"]), "no mapping"),
        (lambda: managed(plan({}), "rds", extra_parameters={"a b": 1}), "no name of a parameter"),
        (lambda: managed(plan({}), "rds", extra_parameters={"tcp_user_timeout": 1}), "the plan sets it"),
        (lambda: managed(plan({}), "rds", extra_parameters={"jit": True}), "text in quotes"),
        (lambda: managed(plan({}), "rds", extra_parameters={"jit": {"value": 1, "apply": "now"}}), "pending-reboot"),
        (lambda: managed(plan({}), "neon", extra_parameters={"jit": "on"}), "no parameters of its own"),
        (
            lambda: managed({**plan({}), "roles": {"a": {"tcp_user_timeout": "1s'; DROP"}}}, "rds"),
            "no duration",
        ),
    ],
)
def test_errors_are_one_sentence(call: t.Callable[[], t.Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=message):
        call()


def test_the_summary_is_that_of_a_hardening() -> None:
    text = "\n".join(managed(plan({}, "web"), "azure")["summary"])
    assert text.startswith("Azure Database for PostgreSQL Flexible Server: 5 parameters, 0 statements\n")
    assert "6 min 30 s → 71 s" in text and "instead: statement_timeout" in text.replace("\n    ", " ")
    text = "\n".join(managed(plan({}, "web"), "aiven", databases=["app"])["summary"])
    assert "1 parameter, 5 statements" in text and 'ALTER DATABASE "app": tcp_keepalives_idle = 35s' in text
    assert "tcp_keepalives_count = 6," in text
    assert max(map(len, text.splitlines())) <= 100
    assert "wal_sender_timeout = 53000ms\n" in "\n".join(managed(plan({}), "supabase")["summary"])
    rds = " ".join("\n".join(managed(plan({}, "web"), "rds")["summary"]).split())
    assert "tcp_keepalives_interval = 6 s, tcp_keepalives_count = 6, tcp_user_timeout = 71000 ms" in rds
    nothing = managed({"server": {}, "policy": {}}, "rds")
    assert nothing["summary"] == ["Amazon RDS for PostgreSQL: 0 parameters, 0 statements"]


def test_the_catalogue_is_one_that_postgresql_would_take() -> None:
    for name, service in SERVICES.items():
        assert service.sources and service.check and service.title and service.holder, name
        assert {*service.exposed, *service.read_only, *service.defaults} <= set(UNITS), name
        assert not set(service.exposed) & set(service.read_only), name
        for exposed in service.exposed.values():
            assert 0 <= exposed.low < exposed.high <= 2**31 - 1, name


def test_the_documented_services_are_those_there_are() -> None:
    documented = yaml.safe_load((ROOT / "plugins/filter/managed_parameters.yml").read_text("utf-8"))["DOCUMENTATION"]
    assert documented["options"]["service"]["choices"] == list(SERVICES)


def test_the_page_has_the_catalogue() -> None:
    lines = (ROOT / "docs/managed.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    head = next(row for row in rows if row[0] == "setting")
    assert head[2:] == list(SERVICES)
    found = {row[0].strip("`"): row[1:] for row in rows if row[0].strip("`") in UNITS}
    assert found.keys() == UNITS.keys()
    for name, (unit, *cells) in found.items():
        assert unit == UNITS[name]
        for service, cell in zip(SERVICES.values(), cells, strict=True):
            exposed = service.exposed.get(name)
            by_sql = "\N{EN DASH}" if name in SERVER_WIDE or name in service.read_only else "SQL"
            assert cell == (("API" if exposed.confirmed else "API?") if exposed else by_sql), (name, service.title)
    text = "\n".join(lines)
    assert all(
        source in text for service in SERVICES.values() for source in service.sources if "concepts" not in source
    )
