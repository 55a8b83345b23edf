#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: capture
short_description: Capture the packets of PostgreSQL connections in a ring of files, without what was said
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Runs tcpdump for a while on a client's or a server's host, and keeps the newest packets in a ring of files that can
    neither grow without end nor fill the disk. To be read with any tool for packet captures.
  - Only headers are kept. Payload (statements, passwords, results) is taken off before a file is written, so that it is
    never on a disk; the files still say how long it was. ICMP messages about these connections are kept as well.
  - tcpdump ends with the module, however that ends.
options:
  for:
    description: Duration of the capture.
    type: str
    default: 10min
  ports:
    description: Ports of servers and poolers.
    type: list
    elements: int
    default: [5432]
  addresses:
    description: Addresses or networks; only connections from or to one of them are captured. All when empty.
    type: list
    elements: str
    default: []
  interface:
    description: Interface to capture on; V(any) for all of them.
    type: str
    default: any
  directory:
    description:
      - Directory for the files. It is made, for its owner alone, where it is missing. The files are readable by their
        owner alone in any case.
      - The default is a new one below C(/var/tmp).
    type: path
  file_size:
    description: Size at which a new file begins, in kB, MB, GB or TB; 512kB or more.
    type: str
    default: 20MB
  files:
    description: How many files are kept; then the oldest gives way to the next.
    type: int
    default: 20
  rotate_every:
    description: Duration after which a new file begins also when the last is not full.
    type: str
  payload:
    description:
      - Whether to keep payload, which has what clients and server said to each other, passwords among it where there is
        no TLS.
    type: bool
    default: false
  snap_length:
    description: With O(payload=true), how many bytes of a packet are kept; all by default.
    type: int
  least_free:
    description:
      - How much must stay free on the file system, in kB, MB, GB or TB. The capture stops before less is free, or when
        the file system is about to run out of inodes.
    type: str
    default: 1GB
  user:
    description:
      - OS user that tcpdump becomes once it has opened the interface, if root runs it. The default is C(tcpdump) or
        C(nobody).
    type: str
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
attributes:
  check_mode:
    support: full
    details: Opens the interface to see if that is permitted, captures nothing, and says what it would capture.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each run makes new files.
  platform:
    support: full
    platforms: Linux
requirements:
  - tcpdump
  - root, or the capability CAP_NET_RAW for tcpdump
notes:
  - Run it with C(async), so that a long capture does not depend on the control connection; the role
    P(pgharden.connection.capture#role) does. SIGTERM ends it early, with all that was captured until then.
seealso:
  - module: pgharden.connection.drill
"""

EXAMPLES = r"""
- name: Capture for half an hour
  pgharden.connection.capture:
    for: 30min
  become: true
  async: 3600
  poll: 15

- name: Only what one client says to the pooler and to the server
  pgharden.connection.capture:
    for: 2h
    ports: [5432, 6432]
    addresses: [10.0.0.7]
    rotate_every: 10min
    directory: /srv/captures
  become: true
  async: 10800
  poll: 15
"""

RETURN = r"""
directory:
  description: Where the files are.
  returned: success, not in check mode
  type: str
files:
  description: The files, oldest first; those that gave way to newer ones are gone.
  returned: success, not in check mode; below C(failure) when tcpdump ended by itself
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
    size:
      description: In bytes.
      type: int
    packets:
      description: How many packets are in it.
      type: int
    first:
      description: Time of its first packet, such as C(2026-11-23T01:44:00.123456Z).
      type: str
    last:
      description: Time of its last packet.
      type: str
stopped_because:
  description: C(time), C(signal), C(free_bytes) or C(free_inodes).
  returned: success, not in check mode
  type: str
seconds:
  description: How long it captured.
  returned: success, not in check mode
  type: float
packets_captured:
  description: tcpdump's own count; null if it had to be killed. It has ICMP messages about other connections, too.
  returned: success, not in check mode
  type: int
packets_dropped:
  description: How many the kernel dropped because tcpdump or the disk was too slow.
  returned: success, not in check mode
  type: int
packets_overwritten:
  description: How many were in files that gave way to newer ones.
  returned: success, not in check mode
  type: int
filter:
  description: Which packets, in the language of tcpdump.
  returned: success
  type: str
interface:
  description: As asked for.
  returned: success
  type: str
payload:
  description: As asked for.
  returned: success
  type: bool
room:
  description: Bytes that the files have at most.
  returned: success
  type: int
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pgharden.connection.plugins.module_utils import _duration, _options
from ansible_collections.pgharden.connection.plugins.module_utils._capture import _run, _wish
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "for": {"type": "str", "default": "10min"},
            "ports": {"type": "list", "elements": "int", "default": [5432]},
            "addresses": {"type": "list", "elements": "str", "default": []},
            "interface": {"type": "str", "default": "any"},
            "directory": {"type": "path"},
            "file_size": {"type": "str", "default": "20MB"},
            "files": {"type": "int", "default": 20},
            "rotate_every": {"type": "str"},
            "payload": {"type": "bool", "default": False},
            "snap_length": {"type": "int"},
            "least_free": {"type": "str", "default": "1GB"},
            "user": {"type": "str"},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        wish = _wish.Wish(
            seconds=_duration.parse("for", options["for"]) / 1000,
            ports=options["ports"],
            addresses=options["addresses"],
            interface=options["interface"],
            directory=options["directory"],
            file_size=_wish.size("file_size", options["file_size"]),
            files=options["files"],
            rotate_every=_duration.parse("rotate_every", options["rotate_every"] or "off") / 1000,
            payload=options["payload"],
            snap_length=options["snap_length"],
            least_free=_wish.size("least_free", options["least_free"]),
            user=options["user"],
        )
        result = _run.run(wish, module.check_mode)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        if result.get("packets_dropped"):
            module.warn(f"the kernel dropped {result['packets_dropped']} packets: the files have gaps")
        if result.get("files") == []:
            ports = ", ".join(map(str, options["ports"]))
            module.warn(f"nothing was captured: no packet from or to port {ports} came by")
        module.exit_json(**result)


if __name__ == "__main__":
    main()
