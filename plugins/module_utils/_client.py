# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client, the run of a host with applications: policy to service file, snippets and sysctls, and back to the hop."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from . import _hop_run, _in_force, _kernel, _policy
from ._errors import Failure
from ._layers import _client, _os, _servicefile
from ._layers._files_layer import contents
from ._layers._layer import Layer, Outcome
from ._path import _drivers, _hops, _plans, _snippets
from ._path._driver import LIBPQ, POOL, TIMES, text
from ._path._hops import Hop, Socket
from ._systems import _table

Options = t.Mapping[str, t.Any]
#: The most that Linux takes for a socket.
_LARGEST = {"keepalives_idle": 32767, "keepalives_interval": 32767, "keepalives_count": 127}


def run(options: Options, check_mode: bool) -> dict[str, t.Any]:
    """Harden one host; *options* are those of the module ``client``. Returns what the module returns."""
    made = _hop_run.plan(_make, options, ())
    wanted = _numbers(made.settings)
    driver = _drivers.parameters(wanted, options["driver"])
    layers, client = _layers(options, wanted)
    place = options["service_file"] or (client.service_file if client else None) or "client"
    result, outcomes = _hop_run.run("client", place, layers, made, options, check_mode)
    found = _services(outcomes, check_mode)
    services = {service: _of(values, LIBPQ) for service, values in found.items()}
    hop = _hop(options, wanted, services, _os_values(outcomes, check_mode))
    if options["driver"] in _drivers.READ_SERVICES:
        hop = dataclasses.replace(hop, services=_lists(found))
    result["unsupported"] += [*_of_os(outcomes), *_of_driver(driver)]
    result["notes"] += driver["notes"]
    if not any(_hardened(values, wanted) for values in services.values()) and not options["snippets"]:
        result["notes"].append(
            "No service and no snippet has the parameters: an application gets them from its DSN alone."
        )
    return {
        **result,
        "service_file": client.service_file if client else None,
        "services": services,
        "hop": hop.as_dict(),
        "stale_sockets": _stale(options["server_port"], hop.server_side),
        "version": "",
    }


def _make(policy: _policy.Policy, version: _plans.Version) -> _plans.HopPlan:
    return _plans.HopPlan({name: str(value) for name, value in _plans.client(policy).items()})


def _numbers(settings: t.Mapping[str, str]) -> dict[str, int]:
    """The plan's numbers, with the operator's own. Raises Failure ``bad_override``."""
    numbers = {}
    for name, value in settings.items():
        least = 1 if name in TIMES else 0
        most = _LARGEST.get(name, 2**31 - 1)
        if name not in (*LIBPQ, *POOL):
            found = "clients have no such setting"
        elif not value.isdecimal() or not least <= int(value) <= most:
            found = f"it is no whole number from {least} to {most}"
        else:
            numbers[name] = int(value)
            continue
        raise Failure("bad_override", f"overrides: {name}: {value}", found, f"Names are {', '.join((*LIBPQ, *POOL))}.")
    return numbers


def _layers(options: Options, wanted: t.Mapping[str, int]) -> tuple[list[Layer], _client.ClientLayer | None]:
    layers: list[Layer] = []
    client = None
    snippets = {
        one["path"]: _snippets.render(wanted, one["driver"], one["format"], one["prefix"] or "")
        for one in options["snippets"]
    }
    service_file = None
    if "service_file" in options["layers"]:
        service_file = options["service_file"] or _client.service_file(options["service_scope"])
        if service_file is None and options["services"]:
            raise Failure(
                "unknown_place",
                f"services {', '.join(options['services'])} in the pg_service.conf of this host",
                "there is no pg_config that knows where that is, and none of the directories that distributions use",
                "Name the file with service_file, or install libpq.",
            )
    _check_places([*([service_file] if service_file else []), *(one["path"] for one in options["snippets"])])
    if service_file or snippets:
        keywords = {name: str(wanted[name]) for name in LIBPQ if name in wanted}
        client = _client.ClientLayer(service_file, options["services"], keywords, snippets)
        layers.append(client)
    if "os" in options["layers"]:
        series = (wanted.get(f"keepalives_{part}") for part in ("idle", "interval", "count"))
        asked = _table.arithmetic(_in_force.this_system()).settings(*series)
        layers.append(_os.OsLayer(asked, sysctl_file=options["sysctl_file"]))
    return layers, client


def _check_places(paths: t.Sequence[str]) -> None:
    """Raise Failure ``twice`` where two of them are one file, be it through a link."""
    places = [os.path.realpath(path) for path in paths]
    for path, place in zip(paths, places):
        if places.count(place) > 1:
            found = "it is asked for more than once, as service file or snippet"
            raise Failure("twice", f"writing {path}", found, "Give each its own path.")


def _services(outcomes: list[Outcome], check_mode: bool) -> dict[str, dict[str, str]]:
    """Each service as libpq reads it after the run, or would."""
    for outcome in outcomes:
        layer = outcome.layer
        if isinstance(layer, _client.ClientLayer) and layer.service_file:
            found = layer.planned(outcome.found) if check_mode else contents(layer.read())
            content = found[layer.service_file]
            return {service: _servicefile.values(content, service) for service in layer.services(content)}
    return {}


def _lists(services: t.Mapping[str, t.Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Those that name several hosts, without what is of no concern for failover: there may be a password."""
    several = {name: values for name, values in services.items() if "," in "".join(_of(values, _hops.HOSTS).values())}
    return {name: _of(values, _hops.CHOICE) for name, values in several.items()}


def _of(values: t.Mapping[str, str], names: t.Container[str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key in names}


def _hardened(values: t.Mapping[str, str], wanted: t.Mapping[str, int]) -> bool:
    return all(values.get(name) == str(wanted[name]) for name in LIBPQ if name in wanted)


def _os_values(outcomes: list[Outcome], check_mode: bool) -> t.Any:
    values = _in_force.kernel()
    for outcome in outcomes:
        layer = outcome.layer
        if check_mode and isinstance(layer, _os.OsLayer):
            left = {finding["key"] for finding in layer.unsupported(outcome.found)}
            settings = {key: value for key, value in layer.settings.items() if value is not None and key not in left}
            values = _in_force.foreseen(values, settings)
    return values


def _hop(options: Options, wanted: t.Mapping[str, int], services: t.Mapping[str, t.Any], kernel: t.Any) -> Hop:
    """What sockets of the driver have that gets its parameters from here; else what they have by themselves."""
    name = options["driver"]
    given: t.Mapping[str, int] = {}
    if any(one["driver"] == name for one in options["snippets"]):
        given = wanted
    elif name in _drivers.READ_SERVICES and services:
        # Of several, the one that has least of it.
        least = min(services.values(), key=lambda values: sum(values.get(key) == str(wanted.get(key)) for key in LIBPQ))
        given = {key: int(value) for key, value in least.items() if value.isdecimal()}
    rendered = _drivers.parameters(given, name)
    covers = rendered["covers"]
    return Hop(
        "client",
        driver=name,
        parameters={key: text(value) for key, value in rendered["parameters"].items() if not isinstance(value, dict)},
        max_age=given.get("pool_max_age", 0) * 1000 if "pool_max_age" in covers else 0,
        pooled_idle=given.get("pool_max_idle", 0) * 1000 if "pool_max_idle" in covers else 0,
        server_side=_drivers.socket(given, name),
        os=kernel,
    )


def _of_os(outcomes: list[Outcome]) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for outcome in outcomes:
        if isinstance(outcome.layer, _os.OsLayer):
            rows += outcome.layer.not_had(outcome.found)
    return rows


def _of_driver(driver: dict[str, t.Any]) -> list[dict[str, str]]:
    rows = []
    for row in driver["missing"]:
        reason = f"{row['reason']}; what covers it: {row['covered_by']}"
        rows.append({"layer": "client", "setting": row["setting"], "key": "", "reason": reason})
    return rows


def _stale(port: int, wanted: Socket | None) -> list[dict[str, t.Any]]:
    """Connections of this host to *port* elsewhere, whatever program has them."""
    sockets = [one for one in _kernel.established() if one.remote[1] == port]
    return _hop_run.stale(sockets, wanted or Socket())
