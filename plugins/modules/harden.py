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
  profile:
    description:
      - The policy to start from, one of V(web), V(cloud_nat), V(pooled), V(analytics), V(interactive) and
        V(replication), or the path of a YAML file with a policy of your own on the controller.
    type: str
    default: web
  policy:
    description:
      - Keys that differ from the profile. Durations have a unit (V(350s), V(5min), V(1.5h)) or are V(off). With
        V(null) nothing is asked for that key, and what it would set is left alone.
    type: dict
    default: {}
    suboptions:
      path_idle_limit:
        description: The smallest idle timeout of any device on the path. Idle sessions are kept open below it.
        type: raw
      survive_lost_probes:
        description: So many keepalive probes in a row may get lost without the path or the session being given up.
        type: raw
      detect_dead_peer_within:
        description: A client that has vanished is noticed within this time, whatever its session was doing.
        type: raw
      stop_orphaned_query_within:
        description:
          - A statement or lock wait whose client is gone ends within this time. If it is not given,
            O(policy.detect_dead_peer_within) counts for these phases too.
        type: raw
      tolerate_outage_of:
        description: The network may be gone for this long without a session being lost.
        type: raw
      slow_reader_grace:
        description: A healthy client may stop reading its result for this long.
        type: raw
      slow_reader_roles:
        description: Roles whose sessions alone get O(policy.slow_reader_grace). Without them every session gets it.
        type: raw
      connect_within:
        description: A client must have logged in within this time.
        type: raw
      close_idle_in_transaction_after:
        description: A session that idles in a transaction is closed after this time.
        type: raw
      close_idle_session_after:
        description: A session that idles outside of a transaction is closed after this time.
        type: raw
      close_transaction_after:
        description: A transaction may last this long (PostgreSQL 17 and newer).
        type: raw
      detect_dead_standby_within:
        description: A standby, or the primary seen from it, that has vanished is noticed within this time.
        type: raw
  overrides:
    description:
      - Parameters of the server with values of your own, which win over the plan. With V(null) a parameter of the plan
        is left alone. RV(not_kept) says what of the policy they break.
    type: dict
    default: {}
  layers:
    description: Where settings are made, the kernel of the host and the PostgreSQL server.
    type: list
    elements: str
    choices: [os, server]
    default: [os, server]
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
      - The server may run on any system when it is reached over the network. The kernel's settings are those of Linux.
notes:
  - PostgreSQL 13 to 18.
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
"""

RETURN = r"""
promises:
  description:
    - The worst case, for each phase of a session and each fault, before and after. C(seconds) is the formula of that
      name, C(bound) adds the slack of the kernel's timers, V(null) is never.
    - Before is what was configured for the whole server. C(roles) has what differs for single roles.
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
            "profile": {"type": "str", "default": "web"},
            "policy": {"type": "dict", "default": {}, "options": _options.POLICY},
            "overrides": {"type": "dict", "default": {}},
            "layers": {"type": "list", "elements": "str", "choices": ["os", "server"], "default": ["os", "server"]},
            "sysctl_file": {"type": "path", "default": "/etc/sysctl.d/90-pgharden-connection.conf"},
            "revert_file": {"type": "path"},
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
