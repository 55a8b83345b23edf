#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy
short_description: Harden both legs of a HAProxy in front of PostgreSQL, from the same durations as the server
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Sets keepalive, user timeout and timeouts in those sections of a HAProxy configuration that carry PostgreSQL, for
    the connections of clients and for those to servers. HTTP sections are never touched, and in the others all lines
    but those of these settings stay as they are.
  - The edited configuration is first read by C(haproxy -c). One that is refused is never installed.
  - Reloads HAProxy so that open sessions go on, and then looks at both legs of a new connection with the eyes of the
    kernel. After an error everything is put back as it was found, and reloaded again.
options:
  config_file:
    description:
      - Files or directories of the configuration, as HAProxy's own C(-f) takes them. Without it, those that the
        running HAProxy was started with, or V(/etc/haproxy/haproxy.cfg).
    type: list
    elements: path
  sections:
    description:
      - Names of the sections that carry PostgreSQL, such as V(pg) or V(listen pg). The backends that they name belong
        to them.
      - Without it they are found, as sections in TCP mode that listen on one of O(ports) or have servers there, or with
        C(option pgsql-check), and what these lead to or are led to by.
    type: list
    elements: str
    default: []
  ports:
    description: Ports of PostgreSQL and PgBouncer, by which sections are found.
    type: list
    elements: int
    default: [5432, 5433, 6432]
  overrides:
    description:
      - Settings of HAProxy with values of your own, which win over the plan, such as V(timeout client). An C(option) is
        V(on) or V(off), V(tcp-ut) is the argument of lines C(bind) and C(server). With V(null) a setting is left alone.
    type: dict
    default: {}
  reload:
    description: Whether HAProxy is to read its files again.
    type: bool
    default: true
  reload_timeout:
    description: Seconds to wait until new processes have taken over.
    type: float
    default: 10
  revert_file:
    description:
      - Where to note what was found before the first hardening, for M(pgharden.connection.revert). Without it, a file
        for this configuration in C(/var/lib/pgharden-connection), or for other users than root in
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
notes:
  - HAProxy 2.2 to 3.2. The times and the count of keepalive came with 2.3, before that it has those of the kernel.
  - Needs C(become), to look at the sockets of HAProxy and to reload it.
seealso:
  - module: pgharden.connection.harden
  - module: pgharden.connection.pgbouncer
  - module: pgharden.connection.revert
"""

EXAMPLES = r"""
- name: Give both legs of HAProxy the timers of the server
  pgharden.connection.haproxy:
    profile: web
  become: true

- name: The same where HAProxy carries more than PostgreSQL on these ports
  pgharden.connection.haproxy:
    profile: web
    sections: [pg_primary, pg_replicas]
    overrides:
      timeout client: 12h
      timeout server: 12h
  become: true
"""

RETURN = r"""
hop:
  description:
    - What is in force on either side, as M(pgharden.connection.path_report) takes it. Where sections differ it is the
      weakest of each. In check mode what would be in force.
  returned: success
  type: dict
sections:
  description: The sections that carry PostgreSQL.
  returned: success
  type: list
  elements: str
stale_sockets:
  description:
    - Open connections that still run on older options, or are held by processes from before a reload, with C(local),
      C(remote), C(timer), C(seconds) and C(detail).
  returned: success
  type: list
  elements: dict
haproxy_down:
  description: Whether no HAProxy runs with this configuration, so that only its files were changed.
  returned: success
  type: bool
version:
  description: The version of HAProxy.
  returned: success
  type: str
  sample: 2.6.12-1+deb12u4
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
  description: Settings that this version cannot have, with C(layer), C(setting), the policy's C(key) and the C(reason).
  returned: success
  type: list
  elements: dict
notes:
  description: Trade-offs of the plan, and what could not be looked at, in words.
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
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _haproxy_run


def main() -> None:
    """Run the module. Its action plugin has put the profile into the policy by now."""
    module = AnsibleModule(
        argument_spec={
            "config_file": {"type": "list", "elements": "path"},
            "sections": {"type": "list", "elements": "str", "default": []},
            "ports": {"type": "list", "elements": "int", "default": [5432, 5433, 6432]},
            "overrides": {"type": "dict", "default": {}},
            "reload": {"type": "bool", "default": True},
            "reload_timeout": {"type": "float", "default": 10},
            "revert_file": {"type": "path"},
            **_options.POLICY,
        },
        supports_check_mode=True,
    )
    try:
        result = _haproxy_run.run(module.params, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
