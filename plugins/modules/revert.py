#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: revert
short_description: Put a host back as it was before it was first hardened
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Puts back what M(pgharden.connection.harden) or M(pgharden.connection.patroni) noted before its first change,
    however often it ran since, and removes that note. So it does for the programs in O(programs). Without a note there
    is nothing to do.
  - Settings of others are left alone. A configuration file is put back byte for byte if nobody has edited it since.
    Otherwise only the settings of the plan are, and those that were not set before are commented out.
options:
  revert_file:
    description:
      - The note to go by. Without it, the one that M(pgharden.connection.harden) makes by itself for this host and
        port, and those of the O(programs).
    type: path
  programs:
    description:
      - Programs on the path to the server that are put back too, as far as they were hardened on this host. They are
        not looked for when there is O(revert_file).
    type: list
    elements: str
    choices: [pgbouncer, haproxy, client]
    default: [pgbouncer, haproxy, client]
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.login
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
seealso:
  - module: pgharden.connection.harden
"""

EXAMPLES = r"""
- name: Put everything back as it was found
  pgharden.connection.revert:
  become: true
"""

RETURN = r"""
changes:
  description: What changed, for each place a list of C(name), C(before) and C(after).
  returned: success
  type: dict
skipped_entries:
  description: What there is nothing left of to put back, in words.
  returned: success
  type: list
  elements: str
notes:
  description: What else is worth knowing, such as what could not be read back, in words.
  returned: success
  type: list
  elements: str
revert_files:
  description: The notes that were gone by.
  returned: success
  type: list
  elements: str
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

from ansible_collections.pgharden.connection.plugins.module_utils import _options, _revert, _state
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

_PROGRAMS = ["pgbouncer", "haproxy", "client"]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "revert_file": {"type": "path"},
            "programs": {"type": "list", "elements": "str", "choices": _PROGRAMS, "default": _PROGRAMS},
            **_options.LOGIN,
        },
        supports_check_mode=True,
    )
    login = _options.login(module)
    only = module.params["revert_file"]
    paths = [only] if only else [_state.path_for(login), *_state.paths_of(module.params["programs"])]
    try:
        result = _revert.revert(paths, login, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
