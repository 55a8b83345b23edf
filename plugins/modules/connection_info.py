#!/usr/bin/python
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: connection_info
short_description: Read all that the connections of a PostgreSQL host depend on
version_added: 0.1.0
author: pgharden maintainers (@pgharden)
description:
  - Reads in one execution what is configured in every layer of a server, what a fresh TCP session really gets, what the
    kernel of the host adds, and what is promised with all that.
  - Changes nothing. Needs no superuser. What the login may not see is listed with the privilege that would help.
options:
  require_server:
    description:
      - Whether it is a failure when the server is down. If not, the host's kernel and processes are still read, and
        RV(server) is V(null).
      - A login that a running server refuses is always a failure.
    type: bool
    default: false
  revert_file:
    description: The O(pgharden.connection.harden#module:revert_file) that the host was hardened with, if it was given.
    type: path
extends_documentation_fragment:
  - pgharden.connection.attributes
  - pgharden.connection.attributes.info_module
  - pgharden.connection.attributes.actiongroup
  - pgharden.connection.login
attributes:
  platform:
    support: full
    details:
      - The server may run on any system when it is reached over the network. The kernel's settings are those of Linux.
notes:
  - PostgreSQL 13 to 18.
  - With a login over a Unix socket, a second one over TCP is tried with the same credentials, at up to three of the
    server's C(listen_addresses) and for at most three seconds each. A login that is refused leaves a line in the
    server's log.
seealso:
  - module: pgharden.connection.harden
  - module: pgharden.connection.server_settings
"""

EXAMPLES = r"""
- name: See what the connections of this host depend on
  pgharden.connection.connection_info:
  become: true
  register: connections

- name: Show how soon a client that vanished is noticed
  ansible.builtin.debug:
    msg: "{{ item.phase }}: {{ item.text }}"
  loop: "{{ connections.promises | selectattr('fault', 'eq', 'peer_vanished') }}"

- name: Fail where a session does not get what is configured, because the kernel refuses it
  ansible.builtin.assert:
    that: connections.effective.settings.tcp_keepalives_idle == connections.settings.tcp_keepalives_idle.value
  when:
    - connections.effective.settings is not none
    - connections.settings.tcp_keepalives_idle.value != "0"

- name: Read a managed service from outside, as a role that may see statistics
  pgharden.connection.connection_info:
    login_host: db.example.com
    login_user: monitoring
    login_password: "{{ vault_monitoring_password }}"
    ssl_mode: verify-full
    ca_cert: /etc/ssl/certs/ca-certificates.crt
  delegate_to: localhost
"""

RETURN = r"""
server:
  description: The server, V(null) if it is down.
  returned: success
  type: dict
  contains:
    version:
      description: Its version, also as a number in C(version_num).
      type: str
      returned: always
      sample: "17.6"
    platform:
      description: V(linux), V(windows), V(darwin), V(freebsd) or V(other).
      type: str
      returned: always
    in_recovery:
      description: Whether it is a standby.
      type: bool
      returned: always
    data_directory:
      description: V(null) if the login may not see it, as C(config_file).
      type: str
      returned: always
    config_file:
      description: The server's first configuration file.
      type: str
      returned: always
    listen_addresses:
      description: Where it listens, on C(port).
      type: str
      returned: always
    user:
      description: The role of the login, and in C(superuser) whether it is one.
      type: str
      returned: always
    configuration_errors:
      description:
        - Lines of the configuration files that are in error, with C(sourcefile), C(sourceline), C(name) and C(error).
          One that is C(fatal) makes the server ignore all of its files on a reload, and not start again.
        - Also has settings that wait for a restart.
      type: list
      elements: dict
      returned: always
    pending_restart:
      description: The names of all parameters that wait for a restart, whatever they are about.
      type: list
      elements: str
      returned: always
    date:
      description: The server's date, in UTC.
      type: str
      returned: always
      sample: "2026-11-23"
    unreadable:
      description: What the login may not see, and the C(privilege) that would help.
      type: list
      elements: dict
      returned: always
      sample:
        - what: "the sessions of other roles: counts, stale ones"
          privilege: membership in pg_read_all_stats (or pg_monitor)
server_down:
  description: Whether the server is down.
  returned: success
  type: bool
reason:
  description: Why there is no RV(server).
  returned: success
  type: str
settings:
  description: Each parameter that connections depend on and that this version of the server knows.
  returned: success
  type: dict
  contains:
    value:
      description:
        - What is configured for the whole server, in C(unit). For C(tcp_) parameters too, over a Unix socket too.
        - V(null) where the login may not read the files and has a value of its own, which hides it.
      type: str
      returned: always
    source:
      description: Where it comes from, with C(sourcefile) and C(sourceline) if that is a file.
      type: str
      returned: always
    pending_restart:
      description: Whether it waits for a restart.
      type: bool
      returned: always
    shadowed_by:
      description: What wins over it for some or all sessions, as in M(pgharden.connection.server_settings).
      type: list
      elements: dict
      returned: always
    layers:
      description:
        - C(file) has every line that sets it, in the server's order, with C(value) as it is written, C(sourcefile),
          C(sourceline) and whether it is the one that is C(applied); V(null) if the login may not read that.
        - C(database), C(role) and C(role_in_database) have the overrides made with C(ALTER DATABASE) and C(ALTER ROLE),
          each with its C(value). A C(role) of V(null) is C(ALTER ROLE ALL).
        - C(session) is what the login's own session started with, C(value) and C(source).
      type: dict
      returned: always
  sample:
    tcp_keepalives_idle:
      value: "60"
      unit: s
      source: configuration file
      sourcefile: /var/lib/postgresql/17/main/postgresql.auto.conf
      sourceline: 3
      pending_restart: false
      shadowed_by:
        - {kind: role, value: "300", role: backup, database: null}
      layers:
        file:
          - {value: 60s, sourcefile: /var/lib/postgresql/17/main/postgresql.auto.conf, sourceline: 3, applied: true}
        database: []
        role:
          - {role: backup, value: "300"}
        role_in_database: []
        session: {value: "60", source: configuration file}
effective:
  description: What a fresh TCP session gets; V(null) if the server is down.
  returned: success
  type: dict
  contains:
    through:
      description:
        - V(login) if the login goes over TCP itself, V(new_session) if one over TCP was opened with its credentials.
        - V(bare_connection) if that was not possible. Then there are no C(settings), but the server arms its keepalive
          also for a connection that never logs in.
        - V(null) if there was no connection over TCP at all.
      type: str
      returned: always
    host:
      description: The address of the server that was connected to.
      type: str
      returned: always
    settings:
      description: The values in that session. Of the C(tcp_) parameters, what its socket has according to the kernel.
      type: dict
      returned: always
    kernel:
      description:
        - The C(timer) that the kernel has armed on the server's side of that socket, and the C(seconds) left of it.
        - V(null) where that socket is in the kernel of another host, or in another network namespace.
      type: dict
      returned: always
    reason:
      description: Why no session could be had over TCP.
      type: str
      returned: always
  sample:
    through: new_session
    host: 127.0.0.1
    settings: {tcp_keepalives_idle: "60", tcp_keepalives_interval: "10", tcp_keepalives_count: "6"}
    kernel: {timer: keepalive, seconds: 59.99}
    reason:
kernel:
  description: The TCP settings of this host's kernel.
  returned: success
  type: dict
  contains:
    sysctls:
      description:
        - By name, the C(value) in force and the C(reason) why it could not be set from here, as in
          M(pgharden.connection.tcp_sysctl), V(null) if it could.
        - C(persistent) is the C(value) that a file sets at the next boot, with its C(file) and C(line).
        - C(overridden) has the lines of the same kind that lose to that one.
      type: dict
      returned: always
    namespace:
      description: V(initial) in the network namespace of the machine, V(other) in one of a container.
      type: str
      returned: always
    of_server:
      description:
        - Whether it is the server's kernel and namespace, by a connection over TCP, or by the process at the other end
          of a Unix socket. V(null) if neither could tell.
      type: bool
      returned: always
    counters:
      description: What this network namespace has counted since it was made, of C(/proc/net/netstat) and C(snmp).
      type: dict
      returned: always
  sample:
    sysctls:
      net.ipv4.tcp_keepalive_time: {value: "7200", reason: null, persistent: null, overridden: []}
    namespace: initial
    of_server: true
    counters: {TCPAbortOnTimeout: 3, ListenOverflows: 0}
promises:
  description:
    - The worst case, for each phase of a session and each fault, with what is configured for the whole server.
      C(seconds) is the formula of that name, C(bound) adds the slack of the kernel's timers, V(null) is never.
    - Where the server is on another host, the kernel's values are those that a session there shows, or its
      defaults.
  returned: success
  type: list
  elements: dict
  sample:
    - phase: idle
      fault: peer_vanished
      seconds: 120.0
      bound: 135.0
      formula: keepalive
      text: 2 min
sessions:
  description: The sessions of clients, this login's aside; V(null) if the server is down.
  returned: success
  type: dict
  contains:
    total:
      description: How many there are, and of these C(over_tcp), C(idle), C(idle_in_transaction) and C(active).
      type: int
      returned: always
    stale:
      description: Open sessions on old socket options, as in M(pgharden.connection.server_settings).
      type: list
      elements: dict
      returned: always
    databases:
      description:
        - For each database its C(datname), C(numbackends) and C(stats_reset).
        - From PostgreSQL 14 on also how many C(sessions) there were since then, and of these how many ended as
          C(sessions_abandoned), C(sessions_fatal) and C(sessions_killed).
      type: list
      elements: dict
      returned: always
    notable:
      description:
        - Sessions that are worth a look. C(counts) says how many there are for each reason, C(rows) has the worst 50,
          with C(pid), C(role), C(database), C(application_name), C(client_addr), C(client_port), the C(state) and the
          C(seconds) in it, the C(reasons), and C(blocked_by), the process ids of those whose locks it waits for.
        - The reasons are V(silent) and V(not_reading) (the kernel of the server's host has C(evidence) that the client
          does not answer, or does not read), V(blocked), V(idle_in_transaction) for a minute, V(idle) for an hour.
        - Of more than 1000 sessions, those are looked at that wait for a lock, then those in a transaction, then those
          that have been in their state for longest.
      type: dict
      returned: always
      sample:
        counts: {silent: 1, blocked: 0, idle_in_transaction: 1, not_reading: 0, idle: 0}
        rows:
          - pid: 4711
            role: app
            database: shop
            application_name: worker
            client_addr: 10.0.0.7
            client_port: 51234
            state: idle in transaction
            seconds: 600.0
            reasons: [silent, idle_in_transaction]
            blocked_by: []
            evidence: keepalive probed 2 times and got no answer
    pooler_roles:
      description: The roles of sessions that are called after a pooler.
      type: list
      elements: str
      returned: always
replication:
  description: What the login may see of replication; V(null) if the server is down.
  returned: success
  type: dict
  contains:
    standbys:
      description:
        - The receivers of WAL, with C(pid), C(application_name), C(client_addr), C(client_port), C(state),
          C(sync_state), and the kernel's C(evidence) that one does not answer, V(null) if there is none.
      type: list
      elements: dict
      returned: always
    slots:
      description:
        - The slots that stay, with C(slot_name), C(slot_type), C(active), C(wal_status), whether it is C(synced) from
          the primary (V(null) before PostgreSQL 17), and the C(retained_bytes) of WAL, V(null) where none is kept.
      type: list
      elements: dict
      returned: always
    receiver:
      description: The C(status) of the WAL receiver, V(null) if none runs.
      type: dict
      returned: always
    primary_conninfo:
      description:
        - Of that connection string whether it goes over a C(unix_socket), and those of its keywords that concern TCP
          (C(keepalives), C(keepalives_idle), C(keepalives_interval), C(keepalives_count), C(tcp_user_timeout),
          C(connect_timeout)). Nothing else of it is returned.
        - V(null) if it is empty, or if the login may not read it.
      type: dict
      returned: always
  sample:
    standbys: []
    slots:
      - slot_name: standby1
        slot_type: physical
        active: false
        wal_status: extended
        synced: false
        retained_bytes: 16777216
    receiver:
    primary_conninfo:
hardened:
  description:
    - What M(pgharden.connection.harden) has last put in force, C(settings) of the C(server) in base units and of the
      C(os), since when (C(time)) and by which C(profile).
    - C(scope) is V(null) for the whole server. Else it has the C(databases) and C(roles) that were set, and what these
      cannot have (C(unsupported)).
    - V(null) where it never ran, or where its note may not be read.
  returned: success
  type: dict
patroni:
  description:
    - The member of a Patroni cluster that this server is, V(null) where no Patroni of this host runs it.
    - C(cluster) as M(pgharden.connection.patroni) returns it, its C(timing) (C(ttl), C(loop_wait), C(retry_timeout) in
      seconds), and of the parameters that connections depend on those in its dynamic configuration (C(parameters)) and
      in the member's own (C(local), with C(value), C(sourcefile) and C(sourceline)).
    - C(reason) says why it could not be asked, when the rest is V(null) or empty.
  returned: success
  type: dict
poolers:
  description:
    - Poolers and proxies that give themselves away, each with its C(name) and the C(evidence).
    - They are C(seen_in) V(pg_stat_activity), V(processes) of this host, or V(login) if the login came through one.
  returned: success
  type: list
  elements: dict
  sample:
    - name: pgbouncer
      seen_in: processes
      evidence: process 812
failure:
  description: What the message says, in parts, C(code) (stable), C(asked), C(found) and C(remedy) among them.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.pgharden.connection.plugins.module_utils import _hardened, _info, _options, _state
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "require_server": {"type": "bool", "default": False},
            "revert_file": {"type": "path"},
            **_options.LOGIN,
        },
        supports_check_mode=True,
    )
    login = _options.login(module)
    revert_file = module.params["revert_file"] or _state.path_for(login)
    try:
        result = {**_info.collect(login, module.params["require_server"]), "hardened": _hardened.read(revert_file)}
    except Failure as failure:
        module.fail_json(**_options.failed(failure))
    else:
        module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
