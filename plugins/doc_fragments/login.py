# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options that `_options.LOGIN` defines."""

from __future__ import annotations


class ModuleDocFragment:
    """The login options, and what the host must have."""

    DOCUMENTATION = r"""
options:
  login_host:
    description:
      - Host to connect to. Without it, and without O(login_unix_socket), the local Unix socket of libpq is used, or
        where there is none, that in C(/run/postgresql) or C(/tmp).
    type: str
  login_port:
    description: Port to connect to.
    type: int
    default: 5432
  login_user:
    description: Role to log in as.
    type: str
    default: postgres
  login_password:
    description: Password of O(login_user).
    type: str
  login_unix_socket:
    description: Directory of the Unix socket to connect to.
    type: path
  login_db:
    description: Database to connect to.
    type: str
    default: postgres
  login_os_user:
    description:
      - OS user to connect as, for peer authentication. Root alone can use it; the connection is then made by a child
        process that has dropped its privileges, so that C(become_user) is not needed.
      - When root connects over a Unix socket without O(login_password), this is the OS user with the name of
        O(login_user), if there is one.
    type: str
  ssl_mode:
    description: Whether and how TLS is used, as C(sslmode) of libpq.
    type: str
    choices: [disable, allow, prefer, require, verify-ca, verify-full]
    default: prefer
  ca_cert:
    description: File with the certificates of the authorities that the server's certificate is checked against.
    type: path
    aliases: [ssl_rootcert]
  ssl_cert:
    description: File with the client's certificate.
    type: path
  ssl_key:
    description: File with the client's private key.
    type: path
  connect_params:
    description:
      - Further keywords of libpq; they win over those from the other options.
    type: dict
    default: {}
  connect_retry:
    description:
      - For how long a login is tried again that fails for a reason that passes, because the server starts, has no
        connection free, or cannot be reached. V(off) for one attempt alone.
      - A wrong password, role or database is never tried twice, and neither is a Unix socket that is not there.
    type: str
    default: 10s
requirements:
  - psycopg2 2.8 or newer on the host that the module runs on
"""
