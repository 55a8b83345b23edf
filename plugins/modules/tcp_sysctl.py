#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: tcp_sysctl
short_description: Set the kernel's TCP settings, now and for the next boot
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Sets sysctls named C(net.ipv4.tcp_*) (Linux) or C(net.inet.tcp.*) (FreeBSD, macOS) in the kernel and in a file that
    is read at boot. Either is repaired when it is not as wanted, and nothing is written when both are.
  - All or nothing. When the kernel refuses a value, everything is put back and the task fails.
  - Says which other file wins over that file at boot, with its line, as RV(settings.shadowed_by).
  - In a container C(/proc/sys) is usually read-only. What cannot be set there is listed as RV(unsupported), with what
    to do instead, and is not written to the file either, as nothing would apply it.
options:
  settings:
    description:
      - The name of each setting with its number, such as V(net.ipv4.tcp_keepalive_time) with V(60).
      - FreeBSD and macOS have V(net.inet.tcp.keepidle) and V(net.inet.tcp.keepintvl) in milliseconds. A name that
        belongs to another system is listed as RV(unsupported).
      - These count for IPv6 as well. For settings of any other name use M(ansible.posix.sysctl).
      - With V(null) it is taken out of O(sysctl_file), and its live value stays as it is.
      - What O(sysctl_file) has besides (other settings, comments) is kept.
    type: dict
    required: true
  sysctl_file:
    description:
      - The file for the next boot. It is created with mode C(0644) when it is missing, and removed when nothing is left
        in it.
      - Files are applied in the order of their names, whichever directory they are in; the last that has a setting
        decides. V(90) wins over what distributions and images ship, and leaves V(99) to whoever wants the last word.
      - On FreeBSD the default means C(/etc/sysctl.conf), on macOS
        C(/Library/LaunchDaemons/pgharden.connection.sysctl.plist), a job of launchd, which is loaded with C(launchctl)
        as well. A file that is no C(.plist) is written as C(sysctl.conf) on macOS, whose old releases read
        C(/etc/sysctl.conf).
    type: path
    default: /etc/sysctl.d/90-pgharden-connection.conf
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.actiongroup
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
      - What was run on a real system is Linux. For FreeBSD and macOS the answers of their programs were played from
        records, see the page about systems.
    platforms: linux, freebsd, darwin
notes:
  - Needs root, that is C(become). On Windows use the role P(pgharden.connection.windows#role).
  - A network namespace has values of its own and does not inherit those of the host. Set them where the server runs.
  - A changed value does not reach a connection that already waits for its first keepalive probe, nor one whose program
    asked for a value of its own.
seealso:
  - module: pgharden.connection.harden
  - module: pgharden.connection.server_settings
"""

EXAMPLES = r"""
- name: Notice a client that vanished after 120 seconds
  pgharden.connection.tcp_sysctl:
    settings:
      net.ipv4.tcp_keepalive_time: 60
      net.ipv4.tcp_keepalive_intvl: 10
      net.ipv4.tcp_keepalive_probes: 6

- name: Leave the number of retransmissions to others again
  pgharden.connection.tcp_sysctl:
    settings:
      net.ipv4.tcp_retries2:

- name: The same 120 seconds on FreeBSD and macOS
  pgharden.connection.tcp_sysctl:
    settings:
      net.inet.tcp.keepidle: 60000
      net.inet.tcp.keepintvl: 10000
      net.inet.tcp.keepcnt: 6
"""

RETURN = r"""
settings:
  description: Each setting of O(settings), before and after. In check mode, after is what it would be.
  returned: success
  type: dict
  contains:
    live:
      description: The number in force in the kernel, C(before) and C(after), as text; V(null) if there is none.
      type: dict
      returned: always
      sample: {"before": "7200", "after": "60"}
    persistent:
      description:
        - What the files set it to, C(before) and C(after), each with its C(value), C(file) and C(line).
        - It is V(null) if no file does. O(sysctl_file) may not be the one that decides, see RV(settings.shadowed_by).
      type: dict
      returned: always
      sample:
        before:
        after: {"value": "60", "file": "/etc/sysctl.d/90-pgharden-connection.conf", "line": 4}
    shadowed_by:
      description:
        - The C(value), C(file) and C(line) that wins over O(sysctl_file), V(null) if none does.
        - C(when) is V(boot), or V(sysctl --system) for C(/etc/sysctl.conf), which systemd does not read.
        - C(detail) says it in words.
      type: dict
      returned: always
      sample:
        value: "7200"
        file: /etc/sysctl.d/99-sysctl.conf
        line: 12
        when: boot
        detail: "/etc/sysctl.d/99-sysctl.conf:12 wins over /etc/sysctl.d/90-pgharden-connection.conf at boot: ..."
unsupported:
  description:
    - What is not as wanted and cannot be set here. C(key) is the name of the setting, C(detail) says what to do.
    - C(reason) is V(read_only) where C(/proc/sys) or the directory of O(sysctl_file) is, V(absent) where the kernel
      does not have the setting, or V(forbidden) where it refuses it to the root of a container or jail. Refused to a
      user that is not root, the task fails.
  returned: success
  type: list
  elements: dict
  sample:
    - key: net.ipv4.tcp_keepalive_time
      reason: read_only
      detail: "net.ipv4.tcp_keepalive_time is 7200 and /proc/sys is read-only, as in most containers: set it where ..."
namespace:
  description:
    - V(initial) in the network namespace of the machine, V(other) in one of a container, V(null) where nothing tells.
  returned: success
  type: str
  sample: initial
diff:
  description: The values that change, for each place that changes. In check mode, the same as the real run then has.
  returned: success
  type: list
  elements: dict
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
  sample:
    code: out_of_kernel_range
    asked: set net.ipv4.tcp_keepalive_probes to 200
    found: Linux takes 1 to 127 for a socket
    remedy: Choose a number from 1 to 127.
    key: net.ipv4.tcp_keepalive_probes
    minimum: 1
    maximum: 127
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers._layer import reconcile
from ansible_collections.pgharden.connection.plugins.module_utils._layers._os import SYSCTL_FILE, OsLayer
from ansible_collections.pgharden.connection.plugins.module_utils._layers._sysctlconf import single_number


def numbers(settings: t.Mapping[str, t.Any]) -> dict[str, int | None]:
    """The option with numbers for what a template made of them."""
    result = {key: None if value is None else single_number(str(value)) for key, value in settings.items()}
    for key, value in settings.items():
        if value is not None and result[key] is None:
            raise Failure("not_a_number", f"set {key}", f"'{value}' is no whole number", "Give one, or null.", key=key)
    return result


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Make the settings so, unless in check mode, and tell what that is."""
    layer = OsLayer(numbers(module.params["settings"]), sysctl_file=module.params["sysctl_file"])
    unsupported = layer.unsupported(layer.read())
    refused = [one["key"] for one in unsupported if one["reason"] == "forbidden"]
    if refused and os.geteuid() != 0:
        # In a container even root may be refused, and nothing can be done about it here; this has a simple remedy.
        raise Failure(
            "not_root", f"set {', '.join(refused)}", f"user {os.geteuid()} may not", "Run the task as root (become)."
        )
    (outcome,) = reconcile([layer], module.check_mode)
    found, content = outcome.found, layer.planned(outcome.found)
    shadowed_by = {one["key"]: one["shadowed_by"] for one in layer.shadowed(found, content)}
    for finding in [one["detail"] for one in unsupported] + [one["detail"] for one in shadowed_by.values()]:
        module.warn(finding)
    after = {row.name: row.after for row in outcome.changes[0].rows}
    persistent = layer.persistent(content)
    return {
        "changed": outcome.changed,
        "diff": [one.diff() for one in outcome.changes if one],
        "settings": {
            key: {
                "live": {"before": live["value"], "after": after.get(key, live["value"])},
                "persistent": {"before": found["persistent"][key], "after": persistent[key]},
                "shadowed_by": shadowed_by.get(key),
            }
            for key, live in found["live"].items()
        },
        "unsupported": unsupported,
        "namespace": found["namespace"],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "sysctl_file": {"type": "path", "default": SYSCTL_FILE},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module)
    except Failure as failure:
        module.fail_json(msg=str(failure), failure=failure.as_dict())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
