#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: harden
short_description: Harden the connections of a PostgreSQL host from durations, all or nothing
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Takes what connections must survive and how soon a dead one must be gone, works out every setting of the server and
    of the kernel, applies them in one execution and checks that they are in force. After an error everything is put
    back as it was found.
  - Says what is then promised, in seconds for each phase of a session and each fault, before and after.
  - Never restarts the server and never ends a session, unless O(terminate_stale_sessions) says so.
options:
  overrides:
    description:
      - Parameters of the server with values of your own, which win over the plan. With V(null) a parameter of the plan
        is left alone. RV(not_kept) says what of the policy they break.
    type: dict
    default: {}
  layers:
    description:
      - Where settings are made, the kernel of the host and the PostgreSQL server.
      - The kernel is left alone, and its settings are RV(unsupported), if the server turns out to run in another
        network namespace, such as a container, or on another host. With V(os) alone no server is asked.
    type: list
    elements: str
    choices: [os, server]
    default: [os, server]
  scope:
    description:
      - For which sessions settings of the server are made.
      - V(server) is the whole server.
      - V(databases) is C(ALTER DATABASE ... SET), for the O(databases) that are named, else for each that O(login_user)
        owns, templates aside. V(roles) is C(ALTER ROLE ... SET), for the O(roles) that are named, else for
        O(login_user).
      - V(auto) is the whole server unless O(login_user) may not C(ALTER SYSTEM) what differs, or C(allow_alter_system)
        is off. Then it is the O(databases) and O(roles) that are named, else the databases that O(login_user) owns,
        else O(login_user) itself. RV(scope) says what was chosen and why.
      - Parameters that databases and roles cannot have are RV(unsupported) then, and what the whole server has already
        is not repeated.
    type: str
    choices: [auto, server, databases, roles]
    default: auto
  databases:
    description: The databases to set, where it is not the whole server. O(login_user) must own them.
    type: list
    elements: str
    default: []
  roles:
    description: The roles to set, where it is not the whole server. O(login_user) must be allowed to alter them.
    type: list
    elements: str
    default: []
  sysctl_file:
    description: The file for the kernel's settings at the next boot.
    type: path
    default: /etc/sysctl.d/90-pgharden-connection.conf
  revert_file:
    description:
      - Where to note what was found before the first hardening, for M(pgharden.connection.revert). Without it, a file
        for this host and port in C(/var/lib/pgharden-connection), or for other users than root in
        C(~/.local/state/pgharden-connection).
    type: path
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.policy
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
    details:
      - The server may run on any system when it is reached over the network. The kernel's settings are those of Linux,
        FreeBSD and macOS; what was run on a real system is Linux.
notes:
  - PostgreSQL 13 to 18.
  - On a managed service the kernel is the provider's, so that O(layers) is V([server]).
  - A server that Patroni manages is refused (C(managed_by_patroni)) where the whole of it would be set. Set it with
    C(pgharden.connection.patroni).
  - Needs C(become) for the kernel's settings, and to log in as another OS user (O(login_os_user)).
seealso:
  - module: pgharden.connection.revert
  - module: pgharden.connection.connection_info
"""

EXAMPLES = r"""
- name: Harden for web applications behind a load balancer
  pgharden.connection.harden:
    profile: web
  become: true

- name: Notice vanished clients sooner, and let two roles read slowly
  pgharden.connection.harden:
    profile: web
    policy:
      detect_dead_peer_within: 45s
      stop_orphaned_query_within: 45s
      slow_reader_grace: 10min
      slow_reader_roles: [reporting, backup]
  become: true

- name: Harden a server that is managed through its files, whose kernel belongs to somebody else
  pgharden.connection.harden:
    profile: analytics
    layers: [server]
    apply_through: config_file
    config_file: /var/lib/pgsql/17/data/postgresql.conf
  become: true

- name: Harden the databases of a managed service, as their owner
  pgharden.connection.harden:
    profile: cloud_nat
    layers: [server]
    databases: [shop, reports]
    login_host: shop.abc123.eu-central-1.rds.amazonaws.com
    login_user: shop_owner
    login_password: "{{ shop_owner_password }}"
  delegate_to: localhost
"""

RETURN = r"""
promises:
  description:
    - The worst case, for each phase of a session and each fault, before and after. C(seconds) is the formula of that
      name, C(bound) adds the slack of the kernel's timers, V(null) is never.
    - They are about the sessions that RV(scope) covers, the worst of them where they differ. C(roles) has what differs
      for single roles.
  returned: success, unless there is no server or it is down
  type: dict
  sample:
    before:
      - phase: idle
        fault: peer_vanished
        seconds: 7875.0
        bound: 8859.375
        formula: keepalive
        text: 2 h 11 min
scope:
  description:
    - For which sessions the server's settings are made, C(covers) (V(server), V(databases), V(roles), V(databases and
      roles)), with the C(databases) and C(roles).
    - The C(reason) says why it is not the whole server. Sessions of other databases and roles do not have the settings,
      and neither have those of databases that are made later.
  returned: success
  type: dict
  sample:
    covers: databases
    databases: [reports, shop]
    roles: []
    reason: shop_owner is neither superuser nor has been granted ALTER SYSTEM on them
plan:
  description: The settings that were worked out, C(server), C(roles) and C(os), with what they are C(unsupported) for.
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
  description: Settings that this host cannot have, with C(layer), C(setting), the policy's C(key) and the C(reason).
  returned: success
  type: list
  elements: dict
not_kept:
  description:
    - Keys of the policy that the settings in force do not keep, with C(wanted), C(promised) and C(phase). Either
      something is RV(unsupported) or RV(shadowed), or O(overrides) break it.
  returned: success
  type: list
  elements: dict
shadowed:
  description: Parameters that something else outranks, and what, as in M(pgharden.connection.server_settings).
  returned: success
  type: dict
notes:
  description: Trade-offs of the plan, in words.
  returned: success
  type: list
  elements: str
stale_sessions:
  description: Open sessions that still run on old socket options, as in M(pgharden.connection.server_settings).
  returned: success
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
hop:
  description: The server as a hop of its path, with what is in force; M(pgharden.connection.path_report) reads it.
  returned: success
  type: dict
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

from ansible_collections.pgharden.connection.plugins.module_utils import _harden, _options
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


def main() -> None:
    """Run the module. Its action plugin has put the profile into the policy by now."""
    module = AnsibleModule(
        argument_spec={
            "overrides": {"type": "dict", "default": {}},
            "layers": {"type": "list", "elements": "str", "choices": ["os", "server"], "default": ["os", "server"]},
            "scope": {"type": "str", "choices": ["auto", "server", "databases", "roles"], "default": "auto"},
            "databases": {"type": "list", "elements": "str", "default": []},
            "roles": {"type": "list", "elements": "str", "default": []},
            "sysctl_file": {"type": "path", "default": "/etc/sysctl.d/90-pgharden-connection.conf"},
            "revert_file": {"type": "path"},
            **_options.POLICY,
            **_options.LOGIN,
            **_options.SERVER,
        },
        required_if=_options.SERVER_REQUIRED_IF,
        supports_check_mode=True,
    )
    try:
        result = _harden.run(_options.login(module), module.params, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
