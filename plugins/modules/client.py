#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: client
short_description: Harden the client's end of PostgreSQL connections, from the same policy as the server
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Writes keepalive, user timeout and connection timeout into the services of a C(pg_service.conf), into files that
    applications read, and sets the kernel's keepalive times, because many drivers set none. All of it or nothing.
  - Says what the application's driver cannot set, and what covers it.
  - Comments, order and other keywords of a service file stay as they are.
options:
  driver:
    description:
      - The driver of the applications, as in the filter P(pgharden.connection.client_parameters#filter).
      - It decides what RV(hop) and RV(unsupported) say, and changes nothing.
    type: str
    default: libpq
  layers:
    description: Where settings are made, the kernel of the host and the service file.
    type: list
    elements: str
    choices: [os, service_file]
    default: [os, service_file]
  service_scope:
    description:
      - The service file for everybody (V(system), in the directory that C(PGSYSCONFDIR) or C(pg_config --sysconfdir)
        names), or the one of the OS user that runs the task (V(user), C(~/.pg_service.conf); see C(become_user)).
    type: str
    choices: [system, user]
    default: system
  service_file:
    description: The service file, instead of the one that O(service_scope) gives.
    type: path
  services:
    description:
      - Services that get the settings. One that is not there is made; an application then adds C(service=NAME) to its
        connection string. Without this option it is all that are there.
    type: list
    elements: str
  snippets:
    description: Files with the parameters of a driver, which belong to this module and have no secrets.
    type: list
    elements: dict
    default: []
    suboptions:
      driver:
        description: The driver, as in the filter P(pgharden.connection.client_parameters#filter).
        type: str
        required: true
      path:
        description:
          - The file, in a directory that is there. A new one gets mode 0644 and the owner of its directory.
        type: path
        required: true
      format:
        description: What the application reads.
        type: str
        choices: [env, properties, json, yaml]
        required: true
      prefix:
        description:
          - What the variables of an V(env) file begin with. Without it there is only C(PGCONNECT_TIMEOUT), the one
            variable of these that libpq reads.
        type: str
  overrides:
    description:
      - Settings with numbers of your own, under the names of libpq, which win over the plan. With V(null) a setting of
        the plan is left alone.
    type: dict
    default: {}
  server_port:
    description: The port of the next hop, for RV(stale_sockets).
    type: int
    default: 5432
  sysctl_file:
    description: The file for the kernel's settings at the next boot.
    type: path
    default: /etc/sysctl.d/90-pgharden-connection.conf
  revert_file:
    description:
      - Where to note what was found before the first hardening, for M(pgharden.connection.revert). Without it, a file
        for this service file in C(/var/lib/pgharden-connection), or for other users than root in
        C(~/.local/state/pgharden-connection).
    type: path
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.policy
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
    details:
      - The kernel's settings are those of Linux, FreeBSD and macOS; what was run on a real system is Linux.
notes:
  - Needs C(become) for the kernel's settings and the service file for everybody.
  - Applications see a changed service file or snippet when they connect anew.
seealso:
  - module: pgharden.connection.dsn_info
  - plugin: pgharden.connection.client_parameters
    plugin_type: filter
  - plugin: pgharden.connection.conninfo
    plugin_type: filter
"""

EXAMPLES = r"""
- name: All services of the host, and its kernel
  pgharden.connection.client:
    profile: web
  become: true

- name: A service of the user app, and properties for its pool
  pgharden.connection.client:
    profile: web
    policy:
      replace_pooled_connection_after: 30min
    driver: hikaricp
    layers: [service_file]
    service_scope: user
    services: [orders]
    snippets:
      - driver: hikaricp
        path: /srv/app/config/hikari.properties
        format: properties
  become: true
  become_user: app
"""

RETURN = r"""
hop:
  description:
    - The hop as it is in force after the run, or in check mode would be. C(server_side) has what sockets of O(driver)
      get from a snippet or from the services, or where there are none, what the driver does by itself.
  returned: success
  type: dict
services:
  description: The keywords of libpq in each service that was asked for, as they are after the run.
  returned: success
  type: dict
service_file:
  description: The service file, if one was asked for.
  returned: success
  type: str
plan:
  description: The C(settings) that were worked out, under the names of libpq.
  returned: success
  type: dict
policy:
  description: The policy that the plan keeps, the profile and O(policy) together.
  returned: success
  type: dict
changes:
  description: What changed, for each place a list of C(name), C(before) and C(after).
  returned: success
  type: dict
unsupported:
  description:
    - Settings that this host or O(driver) cannot have, with C(layer), C(setting), the policy's C(key) and the
      C(reason).
  returned: success
  type: list
  elements: dict
notes:
  description: What else there is to know of O(driver), in words.
  returned: success
  type: list
  elements: str
stale_sockets:
  description:
    - Open connections to O(server_port) elsewhere whose keepalive timer is off or longer than that of RV(hop), with
      C(local), C(remote), C(timer), C(seconds) and C(detail).
  returned: success
  type: list
  elements: dict
revert_file:
  description: Where what was found before the first hardening is noted.
  returned: success
  type: str
version:
  description: Empty, since it is the application that has a driver with a version.
  returned: success
  type: str
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

from ansible_collections.pgharden.connection.plugins.module_utils import _client, _options
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


def main() -> None:
    """Run the module. Its action plugin has put the profile into the policy by now."""
    module = AnsibleModule(
        argument_spec={
            "driver": {"type": "str", "default": "libpq"},
            "layers": {
                "type": "list",
                "elements": "str",
                "choices": ["os", "service_file"],
                "default": ["os", "service_file"],
            },
            "service_scope": {"type": "str", "choices": ["system", "user"], "default": "system"},
            "service_file": {"type": "path"},
            "services": {"type": "list", "elements": "str"},
            "snippets": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "driver": {"type": "str", "required": True},
                    "path": {"type": "path", "required": True},
                    "format": {"type": "str", "choices": ["env", "properties", "json", "yaml"], "required": True},
                    "prefix": {"type": "str"},
                },
            },
            "overrides": {"type": "dict", "default": {}},
            "server_port": {"type": "int", "default": 5432},
            "sysctl_file": {"type": "path", "default": "/etc/sysctl.d/90-pgharden-connection.conf"},
            "revert_file": {"type": "path"},
            **_options.POLICY,
        },
        supports_check_mode=True,
    )
    try:
        result = _client.run(module.params, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
