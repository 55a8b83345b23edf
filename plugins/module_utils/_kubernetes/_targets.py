# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes: the kinds of objects that take settings of a plan, where, and what they do not take. A pure room.

Sources: the operators' custom resource definitions and code, CloudNativePG 1.24 to 1.30, Zalando's operator 1.12 to
2.0, Crunchy's operator 5.7 to 6.0; the Kubernetes documentation on sysctls.
"""

from __future__ import annotations

import typing as t

Path = t.Tuple[str, ...]
Version = t.Tuple[int, ...]

#: From this version on Kubernetes counts the three keepalive sysctls among the safe ones.
SAFE_SYSCTLS = (1, 29)


class Place(t.NamedTuple):
    """Where a part of a plan goes in a manifest, with operators of *since* or newer.

    It takes the settings of *only*, any where that is empty. What is *beside* them goes there where nothing is yet.
    """

    part: str
    path: Path
    since: Version = ()
    only: t.Sequence[str] = ()
    beside: t.Mapping[str, t.Any] = {}


class Lack(t.NamedTuple):
    """Why a part of a plan, or a setting of it, has no place, and what does its work."""

    reason: str
    instead: str = ""


class Target(t.NamedTuple):
    """A kind of object. Of a part with several places, the last that the operator is new enough for counts.

    *notes* are for plans that have the part or setting before them; *refused* are sysctls that one would think of, too.
    """

    operator: str
    api_version: str
    kind: str
    newest: Version
    places: tuple[Place, ...]
    lacks: t.Mapping[str, Lack] = {}
    notes: tuple[tuple[str, str], ...] = ()
    refused: t.Mapping[str, Lack] = {}

    @property
    def parts(self) -> list[str]:
        """The parts of a plan that this kind of object answers for."""
        return list(dict.fromkeys([*(place.part for place in self.places), *self.lacks]))


_FROM_PODS = (
    "tcp_keepalives_* of the server keep the connections of its clients; what connects from its pods (postgres_fdw, "
    "subscriptions) takes keepalives_* in its own connection string"
)
_IN_DSN = "{} in the connection string, by the filter conninfo"
_OWN_POD = "{} makes the security context of its pods itself and takes no sysctls"
_AUTO_CONF = "What ALTER SYSTEM has set on an instance outranks the manifest there: ALTER SYSTEM RESET it."

#: What the plan has for PgBouncer and a Pooler takes.
_POOLER = (
    *("tcp_keepalive", "tcp_keepidle", "tcp_keepintvl", "tcp_keepcnt", "tcp_user_timeout", "min_pool_size"),
    *("server_connect_timeout", "query_wait_timeout", "client_login_timeout", "server_idle_timeout"),
    *("server_lifetime", "idle_transaction_timeout", "client_idle_timeout"),
)

#: Where the kinds of workload have the specification of their pods.
_WORKLOADS = {
    "Pod": ("v1", ()),
    "Deployment": ("apps/v1", ("template", "spec")),
    "StatefulSet": ("apps/v1", ("template", "spec")),
    "DaemonSet": ("apps/v1", ("template", "spec")),
    "Job": ("batch/v1", ("template", "spec")),
    "CronJob": ("batch/v1", ("jobTemplate", "spec", "template", "spec")),
}

TARGETS: dict[str, Target] = {
    "cloudnativepg": Target(
        "CloudNativePG",
        "postgresql.cnpg.io/v1",
        "Cluster",
        (1, 30),
        (
            Place("server", ("spec", "postgresql", "parameters")),
            # One of our own replaces what the operator makes, and volumes would lose their group.
            Place("os", ("spec", "podSecurityContext"), (1, 28), beside={"runAsNonRoot": True, "fsGroup": 26}),
        ),
        {"os": Lack("", _FROM_PODS)},
        (
            (
                "os",
                "CloudNativePG replaces the pods one by one, with a switchover, when podSecurityContext changes; with "
                "OpenShift's security context constraints it ignores the field.",
            ),
            (
                "tcp_user_timeout",
                "The connections of standbys to the primary have the user timeout of the operator's own option "
                "STANDBY_TCP_USER_TIMEOUT at the standby's end (milliseconds; 5000 since CloudNativePG 1.28).",
            ),
            (
                "wal_sender_timeout",
                "CloudNativePG has 5s for wal_sender_timeout and wal_receiver_timeout where a manifest says nothing; "
                "this one says what the policy asks.",
            ),
        ),
    ),
    "cloudnativepg_pooler": Target(
        "CloudNativePG",
        "postgresql.cnpg.io/v1",
        "Pooler",
        (1, 30),
        (Place("pgbouncer", ("spec", "pgbouncer", "parameters"), only=_POOLER),),
        {
            "pgbouncer": Lack(
                "CloudNativePG refuses a Pooler that has it", "transaction_timeout of the server, since PostgreSQL 17"
            )
        },
    ),
    "zalando": Target(
        "Zalando's operator",
        "acid.zalan.do/v1",
        "postgresql",
        (2, 0),
        (Place("server", ("spec", "postgresql", "parameters")),),
        {"os": Lack(_OWN_POD.format("Zalando's operator"), _FROM_PODS)},
        (
            ("server", _AUTO_CONF),
            (
                "server",
                "Zalando's operator sets through Patroni what the manifest has; what is taken out of the manifest "
                "later stays as it was.",
            ),
            (
                "server",
                "Its connectionPooler has pool sizes and no timers: that takes a PgBouncer of your own.",
            ),
        ),
    ),
    "crunchy": Target(
        "Crunchy's operator",
        "postgres-operator.crunchydata.com/v1beta1",
        "PostgresCluster",
        (6, 0),
        (
            Place("server", ("spec", "patroni", "dynamicConfiguration", "postgresql", "parameters")),
            Place("server", ("spec", "config", "parameters"), (5, 8)),
        ),
        {"os": Lack(_OWN_POD.format("Crunchy's operator"), _FROM_PODS)},
        (("server", _AUTO_CONF),),
    ),
    "crunchy_pooler": Target(
        "Crunchy's operator",
        "postgres-operator.crunchydata.com/v1beta1",
        "PostgresCluster",
        (6, 0),
        (Place("pgbouncer", ("spec", "proxy", "pgBouncer", "config", "global")),),
        {},
        (("pgbouncer", "A cluster without PgBouncer gets one by this: spec.proxy.pgBouncer is what turns it on."),),
    ),
    **{
        kind.lower(): Target(
            "Kubernetes",
            api_version,
            kind,
            (1, 35),
            (Place("os", ("spec", *path, "securityContext")),),
            {"os": Lack("", _IN_DSN.format("keepalives_*"))},
            (
                (
                    "os",
                    "The nodes need Linux 4.5 or newer. Sysctls time only the sockets that turn keepalive on, as libpq "
                    "does.",
                ),
            ),
            {
                "net.ipv4.tcp_retries2": Lack(
                    "Kubernetes never counts it among the safe sysctls: a node turns a pod with it away unless its "
                    "kubelet allows it (allowedUnsafeSysctls)",
                    _IN_DSN.format("tcp_user_timeout"),
                )
            },
        )
        for kind, (api_version, path) in _WORKLOADS.items()
    },
}
