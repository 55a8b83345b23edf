#!/bin/sh
# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs on each machine: all that hardening could touch, as text that is the same if nothing has changed.
set -eu
cd /
set -- etc home var/lib/pgharden-connection var/lib/postgresql/15/main/postgresql.auto.conf
# The directory of the records stays, empty.
find "$@" ! -path var/lib/pgharden-connection -printf '%M %u %g %p %l\n' 2>/dev/null | sort || true
find "$@" -type f -exec sha256sum {} + 2>/dev/null | sort || true
grep -H . /proc/sys/net/ipv4/tcp_keepalive_* /proc/sys/net/ipv4/tcp_retries2
