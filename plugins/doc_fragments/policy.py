# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that `_options.POLICY` defines."""

from __future__ import annotations


class ModuleDocFragment:
    """Profile and policy, as every module takes them that plans settings."""

    DOCUMENTATION = r"""
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
      close_pooled_connection_after:
        description: A pooled connection that nobody uses is closed after this time, by poolers and pools of drivers.
        type: raw
      replace_pooled_connection_after:
        description: A pooled connection is closed at this age and another takes its place.
        type: raw
      spare_pooled_connections:
        description: So many unused connections a pool keeps open all the same.
        type: raw
"""
