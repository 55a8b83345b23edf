# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What connection_info returns of a host that is as it should be, for the tests of an audit's rules."""

from __future__ import annotations

import copy
import typing as t
from pathlib import Path

import yaml
from _policies import value_of

from ansible_collections.pgharden.connection.plugins.module_utils import _plan, _policy, _settings

Facts = dict[str, t.Any]
AUTO = "/var/lib/postgresql/17/main/postgresql.auto.conf"
CONF = "/etc/postgresql/17/main/postgresql.conf"
OWN_SYSCTLS = "/etc/sysctl.d/90-pgharden-connection.conf"
PROFILES = Path(__file__).resolve().parents[2] / "plugins" / "plugin_utils" / "profiles"

_UNITS = {
    "tcp_keepalives_idle": "s",
    "tcp_keepalives_interval": "s",
    "authentication_timeout": "s",
    "wal_receiver_status_interval": "s",
    "tcp_user_timeout": "ms",
    "client_connection_check_interval": "ms",
    "idle_session_timeout": "ms",
    "idle_in_transaction_session_timeout": "ms",
    "transaction_timeout": "ms",
    "statement_timeout": "ms",
    "wal_sender_timeout": "ms",
    "wal_receiver_timeout": "ms",
}
_DEFAULTS = {
    **dict.fromkeys(_UNITS, "0"),
    "tcp_keepalives_count": "0",
    "authentication_timeout": "60",
    "wal_sender_timeout": "60000",
    "wal_receiver_timeout": "60000",
    "wal_receiver_status_interval": "10",
    "max_connections": "100",
    "superuser_reserved_connections": "3",
    "reserved_connections": "0",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_line_prefix": "%m [%p] %q%u@%d %r %e ",
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "lc_messages": "C",
}
_KERNEL = {
    "tcp_keepalive_time": "7200",
    "tcp_keepalive_intvl": "75",
    "tcp_keepalive_probes": "9",
    "tcp_retries2": "15",
    "tcp_syn_retries": "6",
    "tcp_fin_timeout": "60",
    "tcp_orphan_retries": "0",
}
_SERVER = {
    "version": "17.6",
    "version_num": 170006,
    "platform": "linux",
    "in_recovery": False,
    "listen_addresses": "*",
    "port": 5432,
    "user": "postgres",
    "date": "2026-06-01",
    "configuration_errors": [],
    "pending_restart": [],
    "unreadable": [],
}


def profile(name: str, **changes: t.Any) -> _policy.Policy:
    """A profile as the policy that it is."""
    return _policy.parse(changes, yaml.safe_load((PROFILES / f"{name}.yml").read_text(encoding="utf-8")))


def setting(name: str, value: str, source: str = "configuration file") -> Facts:
    """One parameter, as it is configured for the whole server."""
    line = {"value": value, "sourcefile": AUTO, "sourceline": 3, "applied": True}
    of_file = source == "configuration file"
    return {
        "value": value,
        "unit": _UNITS.get(name),
        "source": source,
        "sourcefile": AUTO if of_file else None,
        "sourceline": 3 if of_file else None,
        "pending_restart": False,
        "shadowed_by": [],
        "layers": {
            "file": [line] if of_file else [],
            "database": [],
            "role": [],
            "role_in_database": [],
            "session": {"value": value, "source": source},
        },
    }


def hardened(policy: _policy.Policy | None = None, major: int = 17) -> Facts:
    """A server with the plan of *policy* (profile web) and with logs that a diagnosis can use."""
    plan = _plan.make(policy or profile("web"), _plan.Facts(major))
    values = {**_DEFAULTS, **{name: str(value_of(name, text)) for name, text in plan.server.items()}}
    settings = {
        name: setting(name, value, "configuration file" if name in plan.server else "default")
        for name, value in values.items()
        if _plan.SINCE.get(name, 0) <= major
    }
    for role, own in plan.roles.items():
        for name, text in own.items():
            settings[name]["layers"]["role"].append({"role": role, "value": text})
    untouched: Facts = {"reason": None, "persistent": None, "overridden": []}
    sysctls = {key: {"value": value, **untouched} for key, value in _KERNEL.items()}
    for number, (key, wanted) in enumerate(plan.os.items()):
        persistent = {"value": str(wanted), "file": OWN_SYSCTLS, "line": number + 2}
        sysctls[key.rpartition(".")[2]].update(value=str(wanted), persistent=persistent)
    effective = {name: values[name] for name in settings if name in _settings.SETTINGS}
    return {
        "server": {**copy.deepcopy(_SERVER), "version": f"{major}.6", "version_num": major * 10000 + 6},
        "server_down": False,
        "reason": None,
        "settings": settings,
        "effective": {
            "through": "new_session",
            "host": "127.0.0.1",
            "settings": effective,
            "kernel": {"timer": "keepalive", "seconds": 44.0},
            "reason": None,
        },
        "kernel": {
            "sysctls": {f"net.ipv4.{key}": row for key, row in sysctls.items()},
            "namespace": "initial",
            "of_server": True,
            "counters": {"TCPAbortOnTimeout": 0, "ListenOverflows": 0},
        },
        "promises": [],
        "sessions": {
            "total": 4,
            "idle": 3,
            "stale": [],
            "databases": [
                {
                    "datname": "shop",
                    "numbackends": 4,
                    "sessions": 1000,
                    "sessions_abandoned": 1,
                    "sessions_fatal": 1,
                    "sessions_killed": 1,
                    "stats_reset": None,
                }
            ],
            "notable": {"counts": {}, "rows": []},
            "pooler_roles": [],
        },
        "replication": {"standbys": [], "slots": [], "receiver": None, "primary_conninfo": None},
        "patroni": None,
        "poolers": [],
    }


def put(facts: Facts, path: str, value: t.Any) -> None:
    """Set what *path* names, its keys parted by slashes."""
    *keys, last = path.split("/")
    for key in keys:
        facts = facts[key]
    facts[last] = value


def configure(facts: Facts, name: str, value: str) -> None:
    """Set a parameter for the whole server, in all places that tell of it."""
    facts["settings"][name] = setting(name, value)
    if name in facts["effective"]["settings"]:
        facts["effective"]["settings"][name] = value


def session(reason: str, **changes: t.Any) -> Facts:
    """One session that is worth a look."""
    row = {
        "pid": 4711,
        "role": "app",
        "database": "shop",
        "application_name": "worker",
        "client_addr": "10.0.0.7",
        "client_port": 51234,
        "state": "idle",
        "seconds": 7200.0,
        "blocked_by": [],
        "reasons": [reason],
        "evidence": None,
    }
    return {**row, **changes}
