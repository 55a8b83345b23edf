#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer
short_description: Harden the connections of PgBouncer from the same policy, all or nothing
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Works out keepalive, timeouts and the life of pooled connections from the policy, edits them in an existing
    C(pgbouncer.ini), has PgBouncer read it again and checks that they are in force. After an error everything is put
    back as it was found.
  - Only settings of the plan are touched. Comments, order, includes, and what databases and users have of their own
    stay as they are.
  - Never restarts PgBouncer and never ends a client's connection.
options:
  overrides:
    description:
      - Settings of the section C([pgbouncer]) with values of your own, which win over the plan. With V(null) a setting
        of the plan is left alone.
    type: dict
    default: {}
  config_file:
    description:
      - The configuration file. Without it, that of the PgBouncer that runs here, or
        C(/etc/pgbouncer/pgbouncer.ini).
    type: path
  reload:
    description: Whether to have PgBouncer read its file again. Otherwise only the file is changed.
    type: bool
    default: true
  reload_through:
    description:
      - How to reload. V(console) asks at the admin console, which also tells what is in force. V(signal) sends SIGHUP.
      - V(auto) takes the console, and the signal where there is none of the login options and a login without them
        fails.
    type: str
    choices: [auto, console, signal]
    default: auto
  reconnect:
    description:
      - Whether to replace server connections that still run on old socket options, with C(RECONNECT). One that a client
        uses is replaced when it is released.
    type: bool
    default: false
  revert_file:
    description:
      - Where to note what was found before the first hardening, for M(pgharden.connection.revert). Without it, a file
        for this configuration file in C(/var/lib/pgharden-connection), or for other users than root in
        C(~/.local/state/pgharden-connection).
    type: path
  login_host:
    description: Host of the console. Without it, and without O(login_unix_socket), PgBouncer's Unix socket is used.
    type: str
  login_port:
    description: Port of the console. Without it, C(listen_port) of the configuration file.
    type: int
  login_user:
    description:
      - One of C(admin_users). Without it V(pgbouncer), whom PgBouncer lets in over its Unix socket without a password
        when the OS user is the one that it runs as.
    type: str
  login_password:
    description: Password of O(login_user).
    type: str
  login_unix_socket:
    description: Directory of PgBouncer's Unix socket.
    type: path
  login_os_user:
    description:
      - OS user to connect as. Root alone can use it; the connection is then made by a child process that has dropped
        its privileges. For the user V(pgbouncer) it is by itself the one that PgBouncer runs as.
    type: str
  ssl_mode:
    description: Whether and how TLS is used, as C(sslmode) of libpq.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: prefer
  ca_cert:
    description: File with the certificates of the authorities that the certificate of PgBouncer is checked against.
    type: path
    aliases: [ssl_rootcert]
  ssl_cert:
    description: File with the client's certificate.
    type: path
  ssl_key:
    description: File with the client's private key.
    type: path
  connect_params:
    description: Further keywords of libpq; they win over those from the other options.
    type: dict
    default: {}
requirements:
  - psycopg2 2.8 or newer on the host that the module runs on, for the console
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.policy
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The diff has settings of the plan only, so never a password of the configuration file.
  idempotent:
    support: full
  platform:
    support: full
    details:
      - Linux, whose socket options these are.
notes:
  - PgBouncer 1.16 to 1.25.
  - Needs C(become), to edit the file and to see the sockets of PgBouncer.
seealso:
  - module: pgharden.connection.harden
  - module: pgharden.connection.revert
"""

EXAMPLES = r"""
- name: Harden PgBouncer with the policy of the servers
  pgharden.connection.pgbouncer:
    profile: web
  become: true

- name: Log in with a password, and replace server connections that have the old socket options
  pgharden.connection.pgbouncer:
    policy:
      detect_dead_peer_within: 45s
    login_host: 127.0.0.1
    login_user: admin
    login_password: "{{ pgbouncer_admin_password }}"
    reconnect: true
  become: true

- name: See how many server connections are idle, without changing anything
  pgharden.connection.pgbouncer:
  become: true
  check_mode: true
  register: pooler
"""

RETURN = r"""
hop:
  description:
    - What is in force after the run, or in check mode would be. C(client_side) and C(server_side) have the options of
      either socket, idle and interval in seconds, timeouts in milliseconds, C(os) the values of the kernel.
  returned: success
  type: dict
plan:
  description: The settings that were worked out, with what they are C(unsupported) for.
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
  description: Settings that this PgBouncer cannot have, with C(layer), C(setting), the policy's C(key), the C(reason).
  returned: success
  type: list
  elements: dict
shadowed:
  description:
    - Settings that a database or user of the configuration file has of its own, with C(setting), C(section), C(name),
      C(value), C(file) and C(line). They win there and are left alone.
  returned: success
  type: list
  elements: dict
legs:
  description:
    - How the server of each C(database) is reached, its C(host), and whether that is a C(unix_socket), where there is
      no keepalive.
  returned: success
  type: list
  elements: dict
stale_sockets:
  description:
    - Open connections that still run on old socket options, by the kernel's timers, with C(local), C(remote), C(timer),
      C(seconds), C(detail), the C(leg) (client or server) and the C(remedy).
  returned: success
  type: list
  elements: dict
reconnected:
  description: Whether C(RECONNECT) was given.
  returned: success
  type: bool
idle_backends:
  description:
    - Server connections that no client uses, for each C(database) and C(user) how many are C(idle), for how many
      seconds the oldest was (C(longest_idle)), and what memory their processes have for themselves (C(memory_kb)),
      V(null) unless they run on this host.
    - V(null) without a login at the console.
  returned: success
  type: list
  elements: dict
restart_required:
  description: Settings whose new value needs a restart of PgBouncer.
  returned: success
  type: list
  elements: str
pgbouncer_down:
  description: Whether PgBouncer was down, so that only its file was changed and nothing checked by it.
  returned: success
  type: bool
config_file:
  description: The configuration file.
  returned: success
  type: str
version:
  description: The version of PgBouncer.
  returned: success
  type: str
notes:
  description: What else is worth knowing, in words.
  returned: success
  type: list
  elements: str
revert_file:
  description: Where what was found before the first hardening is noted.
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

from ansible_collections.pgharden.connection.plugins.module_utils import _options
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _pgbouncer_run

#: The options of a login, without the defaults that are a server's.
_LOGIN = {
    name: {key: value for key, value in spec.items() if key != "default" or name in ("ssl_mode", "connect_params")}
    for name, spec in _options.LOGIN.items()
    if name not in ("login_db", "connect_retry")
}


def main() -> None:
    """Run the module. Its action plugin has put the profile into the policy by now."""
    module = AnsibleModule(
        argument_spec={
            "overrides": {"type": "dict", "default": {}},
            "config_file": {"type": "path"},
            "reload": {"type": "bool", "default": True},
            "reload_through": {"type": "str", "choices": ["auto", "console", "signal"], "default": "auto"},
            "reconnect": {"type": "bool", "default": False},
            "revert_file": {"type": "path"},
            **_options.POLICY,
            **_LOGIN,
        },
        supports_check_mode=True,
    )
    try:
        _options.keep_secret(module)
        result = _pgbouncer_run.run(module.params, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
