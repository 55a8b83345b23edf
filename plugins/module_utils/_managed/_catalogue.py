# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Managed services: the catalogue, a pure room. What each one lets its users set, as its documentation says.

`sources` has the pages. `Exposed.confirmed` is false where no page that was read has the parameter; PostgreSQL has it,
so the service may, and its `check` shows it. docs/managed.md has the same as a table.
"""

from __future__ import annotations

import typing as t

from ._service import UNITS, Exposed, Service

_READ, _UNREAD = Exposed(), Exposed(confirmed=False)
#: PostgreSQL does not take 0 for it.
_AUTHENTICATION = Exposed(1, 600)


def _exposed(read: t.Iterable[str], unread: t.Iterable[str] = ()) -> dict[str, Exposed]:
    rows = {**dict.fromkeys(read, _READ), **dict.fromkeys(unread, _UNREAD)}
    if "authentication_timeout" in rows:
        rows["authentication_timeout"] = _AUTHENTICATION._replace(confirmed=rows["authentication_timeout"].confirmed)
    return {name: rows[name] for name in UNITS if name in rows}


_TCP = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
_AMAZON = (*_TCP, "client_connection_check_interval", "authentication_timeout", "wal_sender_timeout")
_AMAZON_DEFAULTS = {
    "tcp_keepalives_idle": 300,
    "tcp_keepalives_interval": 30,
    "tcp_keepalives_count": 2,
    "tcp_user_timeout": 0,
    "client_connection_check_interval": 0,
}
_AMAZON_DEAD = "Appendix.PostgreSQL.CommonDBATasks.DeadConnectionHandling.html"

SERVICES = {
    "rds": Service(
        title="Amazon RDS for PostgreSQL",
        holder="DB parameter group",
        database="postgres",
        # The list of parameters has no timeout of sessions and "some (but not all)" of the rest.
        exposed=_exposed(
            [*_AMAZON, "wal_receiver_timeout"],
            ["idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout"],
        ),
        defaults=_AMAZON_DEFAULTS,
        check="aws rds describe-engine-default-parameters --db-parameter-group-family postgres17",
        notes=("A default parameter group cannot be changed: the instance needs one of your own.",),
        sources=(
            "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.Parameters.html",
            f"https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/{_AMAZON_DEAD}",
        ),
    ),
    "aurora": Service(
        title="Amazon Aurora PostgreSQL",
        holder="DB cluster parameter group",
        database="postgres",
        exposed=_exposed(
            [*_AMAZON, "idle_session_timeout", "idle_in_transaction_session_timeout", "wal_receiver_timeout"],
            ["transaction_timeout"],
        ),
        defaults={
            **_AMAZON_DEFAULTS,
            "idle_in_transaction_session_timeout": 86_400_000,
            "wal_receiver_timeout": 30_000,
        },
        check="aws rds describe-engine-default-cluster-parameters --db-parameter-group-family aurora-postgresql17",
        notes=(
            "A parameter that the DB parameter group of an instance has too comes from there, not from the cluster's.",
        ),
        sources=(
            "https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/"
            "AuroraPostgreSQL.Reference.ParameterGroups.html",
            f"https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/{_AMAZON_DEAD}",
        ),
    ),
    "azure": Service(
        title="Azure Database for PostgreSQL Flexible Server",
        holder="server",
        database="postgres",
        exposed=_exposed(
            name for name in UNITS if name not in ("client_connection_check_interval", "authentication_timeout")
        ),
        defaults={
            "tcp_keepalives_idle": 120,
            "tcp_keepalives_interval": 30,
            "tcp_keepalives_count": 9,
            "tcp_user_timeout": 0,
            "client_connection_check_interval": 0,
            "idle_session_timeout": 0,
            "idle_in_transaction_session_timeout": 0,
            "transaction_timeout": 0,
            "authentication_timeout": 30,
            "wal_sender_timeout": 60_000,
            "wal_receiver_timeout": 60_000,
        },
        read_only={
            "client_connection_check_interval": "it is read-only there, and only 0 is allowed; "
            "whether ALTER ROLE or SET may change it is not known",
            "authentication_timeout": "it is read-only there, at 30 s",
        },
        instead={
            "client_connection_check_interval": "statement_timeout for roles whose statements have a limit, "
            "idle_session_timeout for sessions left behind, and a timeout with a cancel request at the client",
        },
        check="az postgres flexible-server parameter list --resource-group GROUP --server-name SERVER",
        sources=(
            "https://learn.microsoft.com/azure/postgresql/server-parameters/concepts-server-parameters",
            "https://github.com/MicrosoftDocs/azure-databases-docs/tree/main/articles/postgresql/server-parameters/includes",
        ),
    ),
    "cloudsql": Service(
        title="Google Cloud SQL for PostgreSQL",
        holder="instance",
        database="postgres",
        exposed=_exposed([], UNITS),
        defaults={},
        check="gcloud sql flags list --database-version=POSTGRES_17",
        notes=(
            "gcloud and the API replace the whole list of flags: name those that the instance has already as well.",
        ),
        sources=("https://cloud.google.com/sql/docs/postgres/flags",),
    ),
    "alloydb": Service(
        title="Google AlloyDB for PostgreSQL",
        holder="instance",
        database="postgres",
        exposed=_exposed([], UNITS),
        defaults={},
        check="the page https://cloud.google.com/alloydb/docs/reference/database-flags",
        notes=(
            "gcloud and the API replace the whole list of flags: name those that the instance has already as well.",
            "Flags belong to one instance: set them on each read pool too.",
        ),
        sources=("https://cloud.google.com/alloydb/docs/reference/database-flags",),
    ),
    "aiven": Service(
        title="Aiven for PostgreSQL",
        holder="service",
        database="defaultdb",
        # pg of pg_user_config has none of the parameters of sockets; 604800000 ms are seven days.
        exposed={
            "idle_in_transaction_session_timeout": Exposed(0, 604_800_000),
            "wal_sender_timeout": Exposed(),
        },
        defaults={"tcp_keepalives_idle": 180, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 6},
        check="avn service types -v",
        notes=("Terraform cannot take a setting of the service configuration away again.",),
        sources=(
            "https://registry.terraform.io/providers/aiven/aiven/latest/docs/resources/pg",
            "https://aiven.github.io/aiven-operator/resources/postgresql.html",
            "https://aiven.io/docs/products/postgresql/reference/idle-connections",
        ),
        value="number",
    ),
    "neon": Service(
        title="Neon",
        holder="database",
        database="neondb",
        exposed={},
        defaults={
            "client_connection_check_interval": 60_000,
            "idle_in_transaction_session_timeout": 300_000,
            "wal_sender_timeout": 10_000,
        },
        check="SELECT name FROM pg_settings WHERE context = 'user'",
        notes=(
            "A compute that suspends itself (after 5 min by default) ends its idle sessions, whatever is set here.",
        ),
        sources=("https://neon.com/docs/reference/compatibility",),
    ),
    "supabase": Service(
        title="Supabase",
        holder="project",
        database="postgres",
        exposed={"wal_sender_timeout": Exposed()},
        defaults={},
        check="SELECT name FROM pg_settings WHERE context = 'user'",
        notes=(
            "The CLI restarts the database unless it is given --no-restart.",
            "Supavisor has its own timeouts; these settings reach the sessions that it opens to the database.",
        ),
        sources=("https://supabase.com/docs/guides/database/custom-postgres-config",),
        value="unit",
    ),
}
