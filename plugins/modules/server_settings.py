#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_settings
short_description: Set parameters of a PostgreSQL server, role or database, all or none
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Sets any number of parameters in one execution, with one reload, and checks that the server has taken them. After an
    error everything is put back as it was found.
  - Compares what is configured (files, C(ALTER SYSTEM), overrides), in the units that the server states. C(SHOW) is not
    asked, which is 0 for the C(tcp_) parameters over a Unix socket.
  - Refuses to reload when a line elsewhere in the configuration files would make the server ignore all of them.
options:
  settings:
    description:
      - The name of each parameter with its value, with or without a unit. A list is written with commas.
      - A parameter of a library, such as C(auto_explain.log_min_duration), can be set only once the library is loaded,
        because nothing could check its value before.
      - With V(null) it is no longer set in that place.
    type: dict
    required: true
  role:
    description: Set the parameters for this role only.
    type: str
  database:
    description: Set the parameters for this database only, or together with O(role) for that role in that database.
    type: str
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.login
  - pgharden.connection.server
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
notes:
  - PostgreSQL 13 to 18.
  - A session that is open takes new socket options with its client's next message, or those of a role or database not
    at all. Until then, or until it ends, it is one of RV(stale_sessions).
  - Settings of the whole server are refused where Patroni manages it (C(managed_by_patroni)); to take one away, with
    V(null), is not. Settings of roles and databases are in the catalogs, and replicated.
  - A login that is no superuser cannot see what has not been reloaded. GRANT it SELECT on C(pg_file_settings) and
    EXECUTE on C(pg_show_all_file_settings()) where that matters.
seealso:
  - module: pgharden.connection.harden
"""

EXAMPLES = r"""
- name: Notice clients that vanished after 120 seconds
  pgharden.connection.server_settings:
    settings:
      tcp_keepalives_idle: 60s
      tcp_keepalives_interval: 10s
      tcp_keepalives_count: 6
      tcp_user_timeout: 2min
  become: true

- name: Let the backup role read slowly
  pgharden.connection.server_settings:
    role: backup
    settings:
      tcp_user_timeout: 15min
  become: true

- name: Edit a configuration file instead, also while the server is down
  pgharden.connection.server_settings:
    apply_through: config_file
    config_file: /etc/postgresql/15/main/conf.d/connection.conf
    settings:
      client_connection_check_interval: 10s
      idle_session_timeout:
  become: true
"""

RETURN = r"""
settings:
  description: Each parameter, before and after. In check mode, after is what was found.
  returned: success, unless the server is down
  type: dict
  contains:
    before:
      description: What was found, with the same keys as C(after).
      type: dict
      returned: always
    after:
      description:
        - C(value) and C(unit) as configured for the whole server, where it comes from (C(source), C(sourcefile),
          C(sourceline)), C(pending_restart), and C(shadowed_by).
        - C(shadowed_by) lists what wins over the place that was set, each with its C(kind), C(value), and the file and
          line, or role and database.
      type: dict
      returned: always
      sample:
        value: "60"
        unit: s
        source: configuration file
        sourcefile: /var/lib/postgresql/15/main/postgresql.auto.conf
        sourceline: 3
        pending_restart: false
        shadowed_by: []
stale_sessions:
  description:
    - Open sessions that still run on old socket options, each with C(pid), C(role), C(database), C(client_addr),
      C(client_port), C(backend_start), C(last_message) and the C(evidence).
  returned: success, unless the server is down
  type: list
  elements: dict
terminated:
  description: Process ids of the sessions that O(terminate_stale_sessions) ended.
  returned: success
  type: list
  elements: int
restart_required:
  description: Parameters whose new value needs a restart of the server.
  returned: success
  type: list
  elements: str
server_down:
  description: Whether the server was down, so that only O(config_file) was changed and nothing checked by the server.
  returned: success
  type: bool
diff:
  description: The values that change. In check mode, the same as the real run then has.
  returned: success
  type: list
  elements: dict
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pgharden.connection.plugins.module_utils import _options
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _layer, _server_run


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "role": {"type": "str"},
            "database": {"type": "str"},
            **_options.LOGIN,
            **_options.SERVER,
        },
        required_if=_options.SERVER_REQUIRED_IF,
        supports_check_mode=True,
    )
    parameters = module.params
    try:
        with _server_run.open_server(_options.login(module), parameters["apply_through"]) as database:
            layer = _server_run.layer(
                database, parameters["settings"], parameters, parameters["role"], parameters["database"]
            )
            (outcome,) = _layer.reconcile([layer], module.check_mode)
            result = _server_run.result(layer, outcome, module.check_mode, parameters["terminate_stale_sessions"])
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
