#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dsn_info
short_description: Check that a DSN really yields a socket with the options that the policy wants
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Connects as an application with libpq would, asks the kernel for the options and the armed timer of that very
    socket, and compares them with the plan.
  - Nothing is changed, and the DSN is shown nowhere.
options:
  dsn:
    description:
      - A connection string or URI of libpq. It may name a service. What it leaves out, libpq takes from the
        environment and from its own defaults, as for the application.
    type: str
    required: true
  connect_params:
    description: Further keywords of libpq; they win over those of O(dsn).
    type: dict
    default: {}
  login_os_user:
    description:
      - OS user to connect as, who may have a service file, a password file, or peer authentication of his own. Root
        alone can use it; the connection is then made by a child process that has dropped its privileges.
    type: str
  connect_retry:
    description: For how long a login is tried again that fails for a reason that passes; V(off) for one attempt.
    type: str
    default: 10s
  fail_on_difference:
    description: Whether the module fails where RV(differs) is not empty.
    type: bool
    default: false
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.attributes.info_module
  - pgharden.connection.policy
attributes:
  platform:
    support: full
    details:
      - The armed timer is seen on Linux alone.
requirements:
  - psycopg2 2.8 or newer on the host that the module runs on
seealso:
  - module: pgharden.connection.client
  - plugin: pgharden.connection.conninfo
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Does the application's service have the timers of the policy?
  pgharden.connection.dsn_info:
    dsn: service=orders
    profile: web
    login_os_user: app
    fail_on_difference: true
  become: true
"""

RETURN = r"""
socket:
  description:
    - What the kernel has on the client's end, under the names of libpq, in seconds but for C(tcp_user_timeout), which
      is in milliseconds; C(local) and C(remote) address and port; the C(timer) that is armed, its C(kind) and the
      C(seconds) to go.
    - Over a Unix socket there is nothing but C(unix_socket).
  returned: success
  type: dict
keywords:
  description: What libpq went by of these, those of a service included.
  returned: success
  type: dict
wanted:
  description: What the plan has for a client.
  returned: success
  type: dict
differs:
  description: Where the two differ, with C(setting), C(wanted) and C(found).
  returned: success
  type: list
  elements: dict
through:
  description:
    - Signs of a pooler, proxy or address translation on the way, with C(name), C(seen_in) and C(evidence). Behind it is
      another connection with timers of its own.
  returned: success
  type: list
  elements: dict
policy:
  description: The policy that the plan keeps, the profile and O(policy) together.
  returned: success
  type: dict
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pgharden.connection.plugins.module_utils import _dsn_info, _duration, _options
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

_REMEDY = "Merge the plan into the DSN (filter pgharden.connection.conninfo), or into its service (module client)."


def main() -> None:
    """Run the module. Its action plugin has put the profile into the policy by now."""
    module = AnsibleModule(
        argument_spec={
            "dsn": {"type": "str", "required": True, "no_log": True},
            "fail_on_difference": {"type": "bool", "default": False},
            **{key: _options.LOGIN[key] for key in ("connect_params", "login_os_user", "connect_retry")},
            **_options.POLICY,
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        retry = _duration.parse("connect_retry", options["connect_retry"])
        login = _dsn_info.login_of(options["dsn"], options["connect_params"], options["login_os_user"], retry)
        parameters = options["connect_params"]
        secrets = [login.password, *(value for key, value in parameters.items() if "password" in key)]
        module.no_log_values.update(str(secret) for secret in secrets if secret)
        result = _dsn_info.look(login, options["policy"])
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        if options["fail_on_difference"] and result["differs"]:
            found = "; ".join(f"{row['setting']} is {row['found']}, not {row['wanted']}" for row in result["differs"])
            difference = Failure("differs", "connecting as the DSN says", found, _REMEDY)
            module.fail_json(**_options.failed(difference), **result)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
