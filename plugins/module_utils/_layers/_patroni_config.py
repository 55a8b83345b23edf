# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's configurations, a pure room: the local one of a member, and the dynamic one of its cluster.

The dynamic one is in the DCS and the same for all members; `postgresql.parameters` in the local one wins over it. Other
keys than ours are never touched: a change is a patch of single parameters, and null in it takes one out.
"""

from __future__ import annotations

import dataclasses
import typing as t

from .. import _guc
from .._errors import Failure

Config = t.Dict[str, t.Any]

#: Patroni passes these on the command line, which outranks every file, and looks after the order of restarts.
RESERVED = (
    "cluster_name",
    "hot_standby",
    "listen_addresses",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_wal_senders",
    "max_worker_processes",
    "port",
    "track_commit_timestamp",
    "wal_keep_segments",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
)
#: What of the environment of its process concerns us; it wins over the files.
_ENVIRONMENT = {
    "PATRONI_SCOPE": ("scope",),
    "PATRONI_NAME": ("name",),
    "PATRONI_RESTAPI_LISTEN": ("restapi", "listen"),
    "PATRONI_RESTAPI_CONNECT_ADDRESS": ("restapi", "connect_address"),
    "PATRONI_RESTAPI_CERTFILE": ("restapi", "certfile"),
    "PATRONI_RESTAPI_CAFILE": ("restapi", "cafile"),
    "PATRONI_RESTAPI_USERNAME": ("restapi", "authentication", "username"),
    "PATRONI_RESTAPI_PASSWORD": ("restapi", "authentication", "password"),
    "PATRONI_CTL_CACERT": ("ctl", "cacert"),
    "PATRONI_CTL_CERTFILE": ("ctl", "certfile"),
    "PATRONI_CTL_KEYFILE": ("ctl", "keyfile"),
    "PATRONI_POSTGRESQL_DATA_DIR": ("postgresql", "data_dir"),
}
#: Patroni's own defaults, in seconds.
_LOOP = {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}


@dataclasses.dataclass(frozen=True)
class Api:
    """Where a member's REST API is, and how to be let in. The password is in no text of it."""

    url: str
    user: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    validate_certs: bool = True

    def files(self) -> dict[str, t.Any]:
        """What a record may keep: no secret."""
        return {
            "api_url": self.url,
            "api_ca_cert": self.ca_cert,
            "api_client_cert": self.client_cert,
            "api_client_key": self.client_key,
            "validate_certs": self.validate_certs,
        }


# ---- the local configuration


def merged(documents: t.Iterable[t.Any], environment: t.Mapping[str, str]) -> Config:
    """What Patroni makes of its files, in their order, and of its environment; what is no mapping says nothing."""
    config: Config = {}
    for document in documents:
        if isinstance(document, t.Mapping):
            _lay_over(config, document)
    for name, keys in _ENVIRONMENT.items():
        if environment.get(name):
            value: t.Any = environment[name]
            for key in reversed(keys):
                value = {key: value}
            _lay_over(config, value)
    return config


def _lay_over(config: Config, other: t.Mapping[t.Any, t.Any]) -> None:
    for key, value in other.items():
        if isinstance(value, t.Mapping):
            here = config.get(key)
            below = dict(here) if isinstance(here, t.Mapping) else {}
            _lay_over(below, value)
            config[key] = below
        else:
            config[key] = value


def part(config: t.Any, *keys: str) -> Config:
    """A mapping within *config*; empty where there is none."""
    for key in keys:
        config = config.get(key) if isinstance(config, t.Mapping) else None
    return dict(config) if isinstance(config, t.Mapping) else {}


def api(config: Config, options: t.Mapping[str, t.Any]) -> Api:
    """How to reach the REST API: what *options* say, and for the rest the member's own local *config*.

    Raises Failure ``no_api_url`` and ``bad_api_url``.
    """
    own, ctl = part(config, "restapi"), part(config, "ctl")
    given = options.get("api_user") is not None or options.get("api_password") is not None
    login = {} if given else part(own, "authentication")
    return Api(
        url=_url(options.get("api_url") or _own_url(own)),
        user=_text(options.get("api_user") if given else login.get("username")),
        password=_text(options.get("api_password") if given else login.get("password")),
        ca_cert=options.get("api_ca_cert") or _text(ctl.get("cacert") or own.get("cafile")),
        client_cert=options.get("api_client_cert") or _text(ctl.get("certfile")),
        client_key=options.get("api_client_key") or _text(ctl.get("keyfile")),
        validate_certs=options.get("validate_certs", True),
    )


def _own_url(own: Config) -> str:
    """Where the others reach it is where its certificate is made for."""
    scheme = "https" if own.get("certfile") else "http"
    address = str(own.get("connect_address") or own.get("listen") or "")
    if not address:
        raise Failure(
            "no_api_url",
            "finding Patroni's REST API",
            "the member's configuration has neither restapi.connect_address nor restapi.listen",
            "Give api_url.",
        )
    host, colon, port = address.rpartition(":")
    # several addresses may be listened on; of "every address" the local one does
    host = (host if colon else port).split(",")[0].strip()
    anywhere = host.strip("[]") in ("", "*", "0.0.0.0", "::")
    return f"{scheme}://{'127.0.0.1' if anywhere else host}:{port if colon else '8008'}"


def _url(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    problem = ""
    if not mark or scheme not in ("http", "https") or not rest.strip("/"):
        problem = "it is no URL"
    elif "@" in rest:
        problem = "there are credentials in it"
    if problem:
        # without the text: it may have a password
        remedy = "Write http://host:8008 or https://host:8008, and the credentials as api_user and api_password."
        raise Failure("bad_api_url", "api_url", problem, remedy)
    return url.rstrip("/")


def _text(value: t.Any) -> str | None:
    return None if value is None else str(value)


# ---- the dynamic configuration


def refuse_reserved(names: t.Iterable[str]) -> None:
    """Raise Failure ``reserved_by_patroni`` for parameters that are not for us to set."""
    reserved = sorted({name.lower() for name in names}.intersection(RESERVED))
    if reserved:
        raise Failure(
            "reserved_by_patroni",
            f"overrides: {', '.join(reserved)}",
            "Patroni passes it to PostgreSQL on the command line, and its change needs restarts in the right order",
            "Leave it out here, and change it with patronictl edit-config and patronictl restart.",
        )


def values(dynamic: Config, names: t.Iterable[str]) -> dict[str, str | None]:
    """The parameters *names* (in small letters) as texts, None where the configuration has none."""
    there = {str(key).lower(): value for key, value in part(dynamic, "postgresql", "parameters").items()}
    return {name: None if there.get(name) is None else _guc.text(there[name]) for name in names}


def raw(dynamic: Config, names: t.Iterable[str]) -> Config:
    """The same as they are written there, with the types that they have, for putting them back."""
    there = {str(key).lower(): value for key, value in part(dynamic, "postgresql", "parameters").items()}
    return {name: there.get(name) for name in names}


def parents(dynamic: Config) -> list[str]:
    """Which of the two mappings around the parameters there are."""
    above = "postgresql" in dynamic
    return [
        *(["postgresql"] if above else []),
        *(["parameters"] if "parameters" in part(dynamic, "postgresql") else []),
    ]


def patch(dynamic: Config, wanted: t.Mapping[str, t.Any]) -> Config:
    """The body of the PATCH that makes the parameters what is *wanted*, in the spelling that they have there."""
    spelled = {str(key).lower(): str(key) for key in part(dynamic, "postgresql", "parameters")}
    body = {spelled.get(name, name): value for name, value in wanted.items() if value is not None or name in spelled}
    return {"postgresql": {"parameters": body}} if body else {}


def patch_back(dynamic: Config, wanted: t.Mapping[str, t.Any], there: t.Container[str]) -> Config:
    """The same for putting back: a mapping that was not *there* (see `parents`) goes when nothing is left in it."""
    body = patch(dynamic, wanted)
    parameters = part(dynamic, "postgresql", "parameters")
    left = {name for name in parameters if wanted.get(str(name).lower(), "") is not None}
    arriving = any(value is not None for value in wanted.values())
    if left or arriving or "parameters" in there or not body:
        return body
    above = set(part(dynamic, "postgresql")) - {"parameters"}
    if above or "postgresql" in there:
        return {"postgresql": {"parameters": None}}
    return {"postgresql": None}


def timing(dynamic: Config) -> dict[str, int]:
    """``ttl``, ``loop_wait`` and ``retry_timeout`` in seconds; Patroni's defaults where they are not given."""
    found = {}
    for name, default in _LOOP.items():
        value = str(dynamic.get(name, default))
        found[name] = int(value) if value.isdigit() else default
    return found


# ---- the cluster


def cluster(answer: Config) -> dict[str, t.Any]:
    """What GET /cluster says: ``scope``, ``leader``, ``paused`` and ``members``."""
    members = [_member(one) for one in answer.get("members") or () if isinstance(one, t.Mapping)]
    leaders = [one["name"] for one in members if one["role"] in ("leader", "standby_leader")]
    return {
        "scope": answer.get("scope"),
        "leader": leaders[0] if leaders else None,
        "paused": bool(answer.get("pause")),
        "members": members,
    }


def _member(row: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    keys = ("name", "role", "state", "host", "port", "api_url")
    lag = row.get("lag")
    return {
        **{key: row.get(key) for key in keys},
        "lag": lag if isinstance(lag, int) else None,  # "unknown" where there is no figure
        "pending_restart": bool(row.get("pending_restart")),
        "pending_restart_reason": row.get("pending_restart_reason") or None,
    }
