# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The least that a module which talks to PostgreSQL can do: one connection, one query. A yardstick of the bench."""

from __future__ import annotations

import psycopg2
from ansible.module_utils.basic import AnsibleModule

SETTINGS = [
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
    "client_connection_check_interval",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "login_host": {"type": "str", "required": True},
            "login_port": {"type": "int", "required": True},
            "login_user": {"type": "str", "default": "postgres"},
            "login_db": {"type": "str", "default": "postgres"},
        },
        supports_check_mode=True,
    )
    params = module.params
    connection = psycopg2.connect(
        host=params["login_host"], port=params["login_port"], user=params["login_user"], dbname=params["login_db"]
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY(%s)", (SETTINGS,))
        found = dict(cursor.fetchall())
    connection.close()
    module.exit_json(changed=False, settings=found)


if __name__ == "__main__":
    main()
