#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_info
short_description: Say why connections to PostgreSQL were lost, with the evidence
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Goes by a server's logs, by packet captures, and by what server and host show now, puts together what they say of
    the same connection, and names the likeliest cause of each loss, what speaks for it and against it, the
    alternatives, and the evidence that would tell them apart.
  - Works on files that somebody sent as well as on a server. Statements, parameters and payload are in no output.
options:
  log_files:
    description:
      - Logs of the server, as files, directories or patterns; rotated and compressed ones (gzip, bzip2, xz; zstd and
        lz4 with their programs) too, in the formats stderr,
        csvlog and jsonlog. V(journal:NAME.service) is what systemd's journal has of a service. With a look at a server
        (O(live)) the default is where that server writes its log.
      - Also the log of the kernel there (C(journalctl -k), C(dmesg), kern.log), which says whether it killed a server
        process for want of memory.
    type: list
    elements: str
    default: []
  log_prefix:
    description: The server's C(log_line_prefix). The default is what the server says, or what fits the log.
    type: str
  log_timezone:
    description:
      - The server's C(log_timezone), such as V(Asia/Kolkata), for abbreviations in the log that several zones share, as
        C(IST) and C(CST). The default is what the server says, or the time zone of this host.
    type: str
  pooler_logs:
    description:
      - Logs of PgBouncer, and of HAProxy with C(option tcplog), on the hosts between clients and server; files,
        directories, patterns, or V(journal:NAME.service). They say which connections the pooler or proxy closed by
        itself. With a look at a host (O(live)) the default is where the poolers that run there write their logs. Among
        O(log_files) they are recognised, too.
    type: list
    elements: str
    default: []
  find_pooler_logs:
    description: Whether to look for the logs of poolers on the host; without, O(pooler_logs) has them all.
    type: bool
    default: true
  captures:
    description:
      - Packet captures (pcap, pcapng; also compressed as O(log_files) may be), with the side that each was made on.
        Files of one ring, as M(pgharden.connection.capture), tcpdump and dumpcap name them, are read as one.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file, or a directory or pattern.
        type: path
        required: true
      side:
        description: Where it was made.
        type: str
        choices: [server, client, router]
        required: true
  statistics:
    description:
      - Two looks, as RV(look) has them, to compare instead of two that are taken now. Also the rows of
        C(pg_stat_database) as a list, or under C(pg_stat_database) with the time beside them as C(at).
      - Where there is no capture, sessions that they count as abandoned or killed, and no log has, are losses as well.
    type: list
    elements: raw
    default: []
  client_hosts:
    description:
      - What clients' hosts showed in the minutes of the losses, each as RV(host) that this module returned there. Tells
        a client that was kept by its host from one that was late by itself.
      - An address that hosts with different C(addresses) share, such as that of a bridge, is left aside.
    type: list
    elements: dict
    default: []
  server_port:
    description: The server's port in captures and in the table of sockets. The default is O(login_port).
    type: int
  since:
    description: Only what happened since then, as a duration before now (V(2h)) or a time (V(2026-11-23 04:00:00+00)).
    type: str
  until:
    description: Only what happened until then.
    type: str
  live:
    description:
      - Whether to look at a server. The default is to do so if O(login_host) or O(login_unix_socket) is given, or
        neither O(log_files) nor O(captures) nor O(pooler_logs). By default a host on which no server listens, such as
        a client's or a pooler's, is looked at without one, for its sockets, counters, strain, and poolers' logs.
    type: bool
  watch:
    description: Duration between the two looks at a server.
    type: str
    default: 5s
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.info_module
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.login
attributes:
  platform:
    support: full
    platforms: posix
seealso:
  - module: pgharden.connection.capture
  - module: pgharden.connection.connection_info
"""

EXAMPLES = r"""
- name: What has happened in the last two hours on this server
  pgharden.connection.diagnosis_info:
    since: 2h
  become: true

- name: Files that somebody sent
  pgharden.connection.diagnosis_info:
    log_files: [/tmp/case-17/postgresql.log.gz]
    captures:
      - path: /tmp/case-17/app1.pcap
        side: client
"""

RETURN = r"""
causes:
  description: The causes of all losses, harmful ones first, the most frequent first.
  returned: success
  type: list
  elements: dict
  contains:
    cause:
      description: Its id, see docs/causes.
      type: str
    title:
      description: The same in words.
      type: str
    count:
      description: How many connections.
      type: int
    confidence:
      description: How sure that is, from 0 to 1, on average.
      type: float
    harmless:
      description: Whether nothing is wrong with that.
      type: bool
    first:
      description: When it happened first, in seconds since the epoch.
      type: float
    last:
      description: When it happened last.
      type: float
    clients:
      description: The addresses of the clients, each with its C(count).
      type: list
      elements: dict
    evidence_for:
      description: What speaks for it, the most frequent first.
      type: list
      elements: str
    devices:
      description: Who has the idle limit that was seen.
      type: list
      elements: str
    missing_evidence:
      description: What would tell it from its alternatives.
      type: list
      elements: str
    remedy:
      description: What to do.
      type: str
    prevented_by:
      description: Keys of a policy, or settings, that would have prevented it or made it short.
      type: list
      elements: str
losses:
  description: One row for each connection that was lost or refused.
  returned: success
  type: list
  elements: dict
  contains:
    time:
      description: When, in seconds since the epoch.
      type: float
    address:
      description: The client's address.
      type: str
    port:
      description: The client's port.
      type: int
    pid:
      description: The server process.
      type: int
    user:
      description: The role.
      type: str
    database:
      description: The database.
      type: str
    cause:
      description: As in RV(causes).
      type: str
    confidence:
      description: From 0 to 1.
      type: float
    harmless:
      description: As in RV(causes).
      type: bool
    alternatives:
      description: What else it may have been, each with its C(confidence).
      type: list
      elements: dict
    evidence_for:
      description: What speaks for it.
      type: list
      elements: str
    evidence_against:
      description: What speaks against it.
      type: list
      elements: str
    missing_evidence:
      description: What would tell it from its alternatives.
      type: list
      elements: str
    remedy:
      description: What to do.
      type: str
    prevented_by:
      description: As in RV(causes).
      type: list
      elements: str
missing_evidence:
  description:
    - Where there are logs and nothing else, the kinds of loss that no log of a server has, and what would show them.
  returned: success
  type: list
  elements: str
healthy:
  description: Whether nothing but harmless things was found.
  returned: success
  type: bool
sources:
  description: What was looked at, C(logs) and C(captures).
  returned: success
  type: dict
connections:
  description:
    - How many connections the logs have C(seen), how many C(normal_closes), and how many were C(empty), which is to say
      opened and closed without a login; RV(losses) has a row only for the first thousand of those.
  returned: success
  type: dict
suspects:
  description: Open sessions whose sockets say that nobody answers, each with a C(cause) and the C(evidence).
  returned: success
  type: list
  elements: dict
sockets:
  description:
    - What this host has to do with servers on other hosts, or in its own role of a client, a row for each C(address).
      How many connections are C(open), how many attempts have no answer yet (C(connecting)), how many the server has
      closed and the program on this host has not (C(closed_by_server)), and how many carry something that was sent
      repeatedly and not acknowledged (C(unanswered)).
  returned: success
  type: list
  elements: dict
standbys:
  description: Receivers of WAL, with the seconds since their last reply.
  returned: success
  type: list
  elements: dict
statistics:
  description: What the server and the kernel counted between two looks; null without.
  returned: success
  type: dict
look:
  description: The last look at the counters, for a comparison later.
  returned: success
  type: dict
host:
  description:
    - What may make this host answer late, C(reasons) in words. C(at) is when, C(pressure) the share of the last minute
      in which processes waited (PSI, per cent), C(run_queue) the processes a processor, C(memory_available) per cent,
      C(addresses) those under which other hosts know it, without loopback and link-local ones.
  returned: success
  type: dict
server:
  description: The server that was looked at, or null.
  returned: success
  type: dict
problems:
  description: What could not be read, a line for each.
  returned: success
  type: list
  elements: str
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pgharden.connection.plugins.module_utils import _options
from ansible_collections.pgharden.connection.plugins.module_utils._diagnosis import _run
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "log_files": {"type": "list", "elements": "str", "default": []},
            "log_prefix": {"type": "str"},
            "log_timezone": {"type": "str"},
            "pooler_logs": {"type": "list", "elements": "str", "default": []},
            "find_pooler_logs": {"type": "bool", "default": True},
            "captures": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "side": {"type": "str", "choices": ["server", "client", "router"], "required": True},
                },
            },
            "statistics": {"type": "list", "elements": "raw", "default": []},
            "client_hosts": {"type": "list", "elements": "dict", "default": []},
            "server_port": {"type": "int"},
            "since": {"type": "str"},
            "until": {"type": "str"},
            "live": {"type": "bool"},
            "watch": {"type": "str", "default": "5s"},
            **_options.LOGIN,
        },
        supports_check_mode=True,
    )
    try:
        result = _run.run(_options.login(module), module.params)
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(**result)


if __name__ == "__main__":
    main()
