#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni
short_description: Harden the connections of a PostgreSQL cluster that Patroni manages
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Works out the settings of the server from the policy and puts what differs into C(postgresql.parameters) of the
    cluster's dynamic configuration, through the REST API of the member that it runs on. Then it waits until that
    member's server has them in force. After an error the configuration is put back as it was found.
  - To be run on every member of the cluster, one after the other. The first run changes the configuration, which is
    one for all members, the others only verify that theirs have it in force.
  - Only parameters of the plan and of O(overrides) are touched. Other keys of the dynamic configuration, the local
    configuration of members and C(postgresql.auto.conf) stay as they are; what of them outranks a value is named.
  - Never uses C(ALTER SYSTEM), never restarts a server, never ends a session.
options:
  overrides:
    description:
      - Parameters of the server with values of your own, which win over the plan. With V(null) a parameter of the plan
        is left alone. RV(not_kept) says what of the policy they break.
      - Those that Patroni passes to PostgreSQL on the command line (V(max_connections), V(wal_level) and others) are
        refused.
    type: dict
    default: {}
  api_url:
    description:
      - The REST API of the member that is logged in to, for example V(https://node1:8008). Without it, it is read from
        the local configuration of the Patroni that runs here, which its process names.
    type: str
  api_user:
    description:
      - User for changing the configuration, where C(restapi.authentication) wants one. Without it and
        O(api_password), the ones in the member's own configuration.
    type: str
  api_password:
    description: Password of O(api_user).
    type: str
  api_ca_cert:
    description:
      - File with the certificates of the authorities that the certificate of the REST API is checked against. Without
        it, C(ctl.cacert) or C(restapi.cafile) of the member's own configuration, or else those of the system.
    type: path
  api_client_cert:
    description:
      - File with a client certificate, where C(restapi.verify_client) wants one. Without it, C(ctl.certfile) of the
        member's own configuration.
    type: path
  api_client_key:
    description:
      - File with the private key of O(api_client_cert), unless that has it. Without it, C(ctl.keyfile) of the member's
        own configuration.
    type: path
  validate_certs:
    description: Whether the certificate of the REST API has to be valid.
    type: bool
    default: true
  settle_timeout:
    description:
      - How long this member may take to apply the settings. Patroni does so at its next loop, C(loop_wait) later at
        most.
    type: str
    default: 60s
  revert_file:
    description:
      - Where to note what was found before the first hardening, for M(pgharden.connection.revert). Without it, a file
        for this host and port in C(/var/lib/pgharden-connection), or for other users than root in
        C(~/.local/state/pgharden-connection).
      - The member whose run changes the configuration has the note.
    type: path
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.policy
  - pgharden.connection.login
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - The diff has parameters of the plan only, so never a secret of a configuration.
  idempotent:
    support: full
  platform:
    support: full
    details:
      - Linux, where Patroni's process is looked for. With O(api_url) it is not needed.
requirements:
  - PyYAML on the host that the module runs on, to read Patroni's local configuration
notes:
  - PostgreSQL 13 to 18, Patroni 3 and 4.
  - Needs C(become), to read Patroni's local configuration and to log in as another OS user (O(login_os_user)).
  - The kernel of each member is hardened by M(pgharden.connection.harden) with V(layers=[os]); the role
    P(pgharden.connection.patroni#role) does both.
seealso:
  - module: pgharden.connection.harden
  - module: pgharden.connection.revert
"""

EXAMPLES = r"""
- name: Harden a cluster, one member after the other
  pgharden.connection.patroni:
    profile: web
  become: true
  throttle: 1

- name: With credentials and a certificate authority of your own
  pgharden.connection.patroni:
    profile: replication
    api_url: https://node1.example.com:8008
    api_user: admin
    api_password: "{{ patroni_restapi_password }}"
    api_ca_cert: /etc/ssl/certs/patroni-ca.pem
  become: true
  throttle: 1

- name: See what would change, and what outranks it on each member
  pgharden.connection.patroni:
    profile: web
  become: true
  check_mode: true
  diff: true
"""

RETURN = r"""
cluster:
  description:
    - The cluster as this member sees it, its C(scope), C(leader), whether it is C(paused), and its C(members), each
      with C(name), C(role), C(state), C(host), C(port), C(lag) (bytes), C(pending_restart) and
      C(pending_restart_reason).
    - C(own) is the member of this run. C(seen) tells whether a member has seen the configuration, V(null) where it
      does not answer.
  returned: success
  type: dict
  sample:
    scope: main
    leader: node1
    paused: false
    members:
      - name: node1
        role: leader
        state: running
        host: 10.0.0.1
        port: 5432
        lag: null
        pending_restart: false
        pending_restart_reason: null
        own: true
        seen: true
promises:
  description:
    - The worst case on this member, for each phase of a session and each fault, before and after, as in
      M(pgharden.connection.harden).
  returned: success
  type: dict
plan:
  description: The settings that were worked out, C(server) and C(roles), with what they are C(unsupported) for.
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
  description: Settings that this server cannot have, with C(layer), C(setting), the policy's C(key) and the C(reason).
  returned: success
  type: list
  elements: dict
not_kept:
  description:
    - Keys of the policy that the settings in force on this member do not keep, with C(wanted), C(promised) and
      C(phase).
  returned: success
  type: list
  elements: dict
shadowed:
  description:
    - Parameters that something else outranks on this member, for each a list with C(kind), C(value), and
      C(sourcefile) and C(sourceline), or C(role) and C(database). C(ALTER SYSTEM) and the member's local
      configuration hide what the cluster has; so do C(ALTER ROLE) and C(ALTER DATABASE) for their sessions.
  returned: success
  type: dict
restart_required:
  description: Parameters whose new value needs a restart of this member.
  returned: success
  type: list
  elements: str
stale_sessions:
  description:
    - Open sessions of this member that still run on old socket options, as in M(pgharden.connection.server_settings).
  returned: success
  type: list
  elements: dict
notes:
  description: What else is worth knowing, in words.
  returned: success
  type: list
  elements: str
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

from ansible_collections.pgharden.connection.plugins.module_utils import _options
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _patroni_run


def main() -> None:
    """Run the module. Its action plugin has put the profile into the policy by now."""
    module = AnsibleModule(
        argument_spec={
            "overrides": {"type": "dict", "default": {}},
            "api_url": {"type": "str"},
            "api_user": {"type": "str"},
            "api_password": {"type": "str", "no_log": True},
            "api_ca_cert": {"type": "path"},
            "api_client_cert": {"type": "path"},
            "api_client_key": {"type": "path", "no_log": False},
            "validate_certs": {"type": "bool", "default": True},
            "settle_timeout": {"type": "str", "default": "60s"},
            "revert_file": {"type": "path"},
            **_options.POLICY,
            **_options.LOGIN,
        },
        supports_check_mode=True,
    )
    # It is refused there, and has to be kept out of what is shown all the same.
    in_url = (module.params["api_url"] or "").rpartition("@")[0].rpartition(":")[2]
    if in_url:
        module.no_log_values.add(in_url)
    try:
        result = _patroni_run.run(_options.login(module), module.params, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
