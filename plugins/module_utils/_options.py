# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options: argument specs that modules share, and what they become. `plugins/doc_fragments` documents each group."""

from __future__ import annotations

import typing as t

from . import _duration, _policy
from ._errors import Failure
from ._login import Login

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Spec = t.Dict[str, t.Dict[str, t.Any]]

LOGIN: Spec = {
    "login_host": {"type": "str"},
    "login_port": {"type": "int", "default": 5432},
    "login_user": {"type": "str", "default": "postgres"},
    "login_password": {"type": "str", "no_log": True},
    "login_unix_socket": {"type": "path"},
    "login_db": {"type": "str", "default": "postgres"},
    "login_os_user": {"type": "str"},
    "ssl_mode": {
        "type": "str",
        "choices": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"],
        "default": "prefer",
    },
    "ca_cert": {"type": "path", "aliases": ["ssl_rootcert"]},
    "ssl_cert": {"type": "path"},
    "ssl_key": {"type": "path", "no_log": False},
    "connect_params": {"type": "dict", "default": {}},
    "connect_retry": {"type": "str", "default": "10s"},
}

#: How the layer server writes and reloads.
SERVER: Spec = {
    "apply_through": {"type": "str", "choices": ["alter_system", "config_file"], "default": "alter_system"},
    "config_file": {"type": "path"},
    "reload": {"type": "bool", "default": True},
    "reload_timeout": {"type": "float", "default": 10},
    "terminate_stale_sessions": {"type": "bool", "default": False},
}
SERVER_REQUIRED_IF = [("apply_through", "config_file", ["config_file"])]


#: Durations are read by `_policy`, which says what is wrong with them better than a type would.
POLICY: Spec = {
    "profile": {"type": "str", "default": "web"},
    "policy": {"type": "dict", "default": {}, "options": {key: {"type": "raw"} for key in _policy.KEYS}},
}


def login(module: AnsibleModule) -> Login:
    """The login that *module*'s parameters describe; secrets in connect_params are kept out of every output."""
    keep_secret(module)
    parameters = module.params
    values = {key[len("login_") :]: parameters[key] for key in LOGIN if key.startswith("login_")}
    others = {key: parameters[key] for key in LOGIN if not key.startswith("login_")}
    try:
        others["connect_retry"] = _duration.parse("connect_retry", parameters["connect_retry"])
    except Failure as failure:
        module.fail_json(**failed(failure))
    return Login(**values, **others)


def keep_secret(module: AnsibleModule) -> None:
    """Keep secrets in connect_params out of every output."""
    for key, value in module.params["connect_params"].items():
        if value and ("password" in key or key == "dsn"):
            module.no_log_values.add(str(value))


def failed(failure: Failure) -> dict[str, t.Any]:
    """The arguments of fail_json: the one message that a user reads, and its parts."""
    return {"msg": str(failure), "failure": failure.as_dict()}
