# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters, what they have in common: a policy to the plan of every hop, and errors as Ansible wants them."""

from __future__ import annotations

import functools
import os
import re
import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils import _plan, _policy
from ..module_utils._errors import Failure
from ..module_utils._path import _plans
from . import _profiles

_Filter = t.TypeVar("_Filter", bound=t.Callable[..., t.Any])


def one_error(function: _Filter) -> _Filter:
    """A filter whose Failures are Ansible's errors; they have nothing in them that a Failure has not."""

    @functools.wraps(function)
    def filtered(*arguments: t.Any, **options: t.Any) -> t.Any:
        try:
            return function(*arguments, **options)
        except Failure as failure:
            raise AnsibleFilterError(str(failure)) from None

    return t.cast(_Filter, filtered)


def plan(
    policy: t.Any,
    profile: str = "web",
    version: int = _plan.NEWEST,
    platform: str = "linux",
    pgbouncer_version: str = "1.25",
    haproxy_version: str = "3.2",
) -> dict[str, t.Any]:
    """The settings of every hop that keep *policy*. Raises Failure."""
    if not isinstance(policy, t.Mapping):
        raise Failure("bad_policy", f"policy: {policy}", "it is no mapping", "Write one key: value a line.")
    whole = _policy.parse(policy, _profiles.load(str(profile), beside))
    server = _plan.make(whole, _plan.Facts(int(version), platform))
    pgbouncer = _plans.pgbouncer(whole, numbers("pgbouncer_version", pgbouncer_version))
    haproxy = _plans.haproxy(whole, numbers("haproxy_version", haproxy_version))
    unsupported = [*server.unsupported, *pgbouncer.unsupported, *haproxy.unsupported]
    return {
        "policy": whole.as_dict(),
        "server": server.server,
        "roles": server.roles,
        "os": server.os,
        "client": _plans.client(whole),
        "pgbouncer": pgbouncer.settings,
        "haproxy": haproxy.settings,
        "unsupported": [row._asdict() for row in unsupported],
        "notes": [*server.notes, *pgbouncer.notes, *haproxy.notes],
    }


def client_of(given: t.Any, asked: str) -> dict[str, int]:
    """What the plan of `plan` has for clients. Raises Failure ``bad_plan``."""
    client = given.get("client") if isinstance(given, t.Mapping) else None
    if not isinstance(client, t.Mapping):
        remedy = "Give it what the filter pgharden.connection.plan returns: policy | pgharden.connection.plan."
        raise Failure("bad_plan", asked, "this is no plan that has a part for clients", remedy)
    return {str(key): int(value) for key, value in client.items()}


def beside(name: str) -> str:
    """A profile's file, where ansible-playbook was started: filters are not told where the playbook is."""
    return os.path.abspath(os.path.expanduser(name))


def numbers(key: str, value: t.Any) -> tuple[int, ...]:
    """1.20 without quotes is the number 1.2, another version."""
    if not isinstance(value, str) or not re.fullmatch(r"\d+(\.\d+)*", value):
        raise Failure("bad_version", f"{key}: {value}", "it is no version in quotes", "Write it as '1.25'.")
    return tuple(map(int, value.split(".")))
