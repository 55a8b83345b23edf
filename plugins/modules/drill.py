#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: drill
short_description: Prove what is promised of dead connections by cutting real ones and timing it
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Opens connections of its own to a PostgreSQL server, brings each into a phase, makes a fault happen to it, and times
    how long the server takes to get rid of it. The measured time is compared with the promise that follows from the
    settings in force for that very session.
  - Nobody else's connection is touched, and no setting of anything. The connections are cut by an option of the drill's
    own sockets (IP_MINTTL), which needs no privilege and works from any Linux host that can log in over TCP.
  - A promise that is not kept is a failure. All that was measured is returned all the same.
options:
  side:
    description: Who has to notice that the other end is gone, the V(server) or the V(client) (libpq).
    type: str
    choices: [server, client]
    default: server
  phases:
    description:
      - Phases to drill; all of O(side) when empty.
      - Of the server V(idle), V(idle_unacknowledged) (idle, its last reply never acknowledged), V(executing) (asleep),
        V(executing_cpu) (computing; takes a processor of the server as long as it lasts), V(lock_wait), V(sending),
        V(idle_in_transaction), V(authenticating).
      - Of the client V(idle), V(waiting) (for a result), V(sending), V(connecting) (to a host that answers nothing).
    type: list
    elements: str
    default: []
  faults:
    description:
      - Faults to drill; when empty those that need no privilege, V(process_died) (killed), V(peer_vanished) (not one
        packet any more), V(short_outage) and V(slow_reader), which are to be survived.
      - V(path_forgot_flow) (a device on the path answers with RST) and V(probes_dropped) (a device drops bare keepalive
        probes) need CAP_NET_ADMIN.
      - Of the client V(peer_vanished).
    type: list
    elements: str
    default: []
  method:
    description:
      - V(socket) cuts a connection by an option of its socket.
      - V(namespace) gives each connection a network namespace and a link of its own, and takes the link down. It
        needs root on the server's own host, a server that listens on all addresses, and a pg_hba.conf that admits
        192.0.2.0/24.
    type: str
    choices: [socket, namespace]
    default: socket
  patience:
    description: Duration after which a session that is still there is not watched any longer.
    type: str
    default: 120s
  outage:
    description: Duration of V(short_outage). The default is nine tenths of what the settings promise to survive.
    type: str
  pause:
    description: Duration of the pause of V(slow_reader). The default is four fifths of tcp_user_timeout.
    type: str
  log_file:
    description:
      - The server's log on the host that the module runs on. The default is where the server says that it is, or where
        its standard error goes.
    type: path
  target_host:
    description:
      - Address to connect to. The default is O(login_host), or an address that the server listens on.
    type: str
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.login
attributes:
  check_mode:
    support: full
    details: Says what would be drilled and what is promised. One connection is cut for a moment to see if that works.
  diff_mode:
    support: none
  idempotent:
    support: full
  platform:
    support: full
    platforms: Linux
seealso:
  - module: pgharden.connection.harden
  - module: pgharden.connection.drill_report
"""

EXAMPLES = r"""
- name: Drill everything that needs no privilege
  pgharden.connection.drill:
    login_host: 127.0.0.1
    login_user: drill
    login_password: "{{ drill_password }}"

- name: Only what hurts most, for at most a minute
  pgharden.connection.drill:
    login_host: db.example.org
    login_user: drill
    login_password: "{{ drill_password }}"
    phases: [idle, executing]
    faults: [peer_vanished]
    patience: 60s
  delegate_to: app.example.org
"""

RETURN = r"""
cells:
  description: One row for each phase and fault.
  returned: when the drill took place, also when a promise was broken
  type: list
  elements: dict
  contains:
    phase:
      description: The phase, as in O(phases).
      type: str
    fault:
      description: The fault, as in O(faults).
      type: str
    promised:
      description:
        - Seconds by the formula until the session is gone; null if nothing bounds it.
        - Of a fault that is to be survived, the longest that is promised to be; null for any.
      type: float
    bound:
      description: The same with the slack of kernel timers.
      type: float
    formula:
      description: Name of the formula.
      type: str
    lasted:
      description: Seconds that a fault which is to be survived lasted.
      type: float
    measured:
      description: Seconds from the fault until the session was gone, null if it was not.
      type: float
    outcome:
      description: C(gone), C(still_there), C(survived) or C(lost); null in check mode.
      type: str
    verdict:
      description:
        - C(kept), C(broken), C(beyond_patience) (still there when O(patience) ended, and not promised to be gone by
          then), C(not_promised) (it ended although nothing says so, or an outage was longer than what is promised to
          be survived), or C(not_possible) (before a login the server's end is seen on its own host only); null in
          check mode.
      type: str
    reasons:
      description: Why a promise may have been broken, in words.
      type: list
      elements: str
    log:
      description: What the server's log says of that session.
      type: str
    text:
      description: The outcome in one line.
      type: str
settings:
  description: What is in force for the drilled sessions, in PostgreSQL's base units.
  returned: when the drill took place, also when a promise was broken
  type: dict
server:
  description: The server, and C(local), whether it runs on the host that the drill runs on.
  returned: when the drill took place, also when a promise was broken
  type: dict
client:
  description: Host and kernel that the drill runs on, and the options of its sockets.
  returned: when the drill took place, also when a promise was broken
  type: dict
side:
  description: As asked for.
  returned: when the drill took place, also when a promise was broken
  type: str
method:
  description: As asked for.
  returned: when the drill took place, also when a promise was broken
  type: str
patience:
  description: In seconds.
  returned: when the drill took place, also when a promise was broken
  type: float
tolerance:
  description: Seconds that are added to each C(bound) before a promise counts as broken.
  returned: when the drill took place, also when a promise was broken
  type: float
log:
  description: The C(source) that the lines of the log come from, or the C(reason) why there are none.
  returned: when the drill took place, also when a promise was broken
  type: dict
notes:
  description: What else a reader should know, in sentences.
  returned: when the drill took place, also when a promise was broken
  type: list
  elements: str
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure, unless promises were broken
  type: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pgharden.connection.plugins.module_utils import _duration, _options
from ansible_collections.pgharden.connection.plugins.module_utils._drill import _run, _wish
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "side": {"type": "str", "choices": ["server", "client"], "default": "server"},
            "phases": {"type": "list", "elements": "str", "default": []},
            "faults": {"type": "list", "elements": "str", "default": []},
            "method": {"type": "str", "choices": ["socket", "namespace"], "default": "socket"},
            "patience": {"type": "str", "default": "120s"},
            "outage": {"type": "str"},
            "pause": {"type": "str"},
            "log_file": {"type": "path"},
            "target_host": {"type": "str"},
            **_options.LOGIN,
        },
        supports_check_mode=True,
    )
    options = module.params

    def seconds(key: str) -> float | None:
        if options[key] is None:
            return None
        duration = _duration.parse(key, options[key])
        if not duration:
            raise Failure(
                "bad_duration",
                f"{key}: {options[key]}",
                "nothing can be seen in no time",
                "Write a duration that is longer than 0, such as 60s.",
                key=key,
            )
        return duration / 1000

    try:
        wish = _wish.Wish(
            side=options["side"],
            phases=options["phases"],
            faults=options["faults"],
            method=options["method"],
            patience=t.cast(float, seconds("patience")),
            outage=seconds("outage"),
            pause=seconds("pause"),
            log_file=options["log_file"],
            target_host=options["target_host"],
        )
        result = _run.run(_options.login(module), wish, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        if "msg" in result:
            module.fail_json(**result)
        module.exit_json(**result)


if __name__ == "__main__":
    main()
