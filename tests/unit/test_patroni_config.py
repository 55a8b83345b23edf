# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patroni's configurations: merged as Patroni does, patched without touching anything else."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._layers import _patroni_config as room

PASSWORD = "S3cret-Of-The-Test"


def applied(config: dict[str, t.Any], patch: dict[str, t.Any]) -> dict[str, t.Any]:
    """What Patroni's own patch_config makes of *config*, written down from its source."""
    config = copy.deepcopy(config)
    for name, value in patch.items():
        if value is None:
            config.pop(name, None)
        elif isinstance(value, dict) and isinstance(config.get(name), dict):
            config[name] = applied(config[name], value)
        else:
            config[name] = value
    return config


# ---- the local configuration


def test_files_in_their_order_and_then_the_environment() -> None:
    documents = [
        {"scope": "a", "restapi": {"listen": "1:1", "connect_address": "1:2"}, "postgresql": {"data_dir": "/a"}},
        "no mapping",
        None,
        {"restapi": {"listen": "2:2"}, "postgresql": "broken", "ctl": None},
        {"postgresql": {"data_dir": "/b"}},
    ]
    environment = {"PATRONI_NAME": "n", "PATRONI_RESTAPI_PASSWORD": PASSWORD, "PATRONI_SCOPE": "", "OTHER": "x"}
    assert room.merged(documents, environment) == {
        "scope": "a",
        "name": "n",
        "ctl": None,
        "restapi": {"listen": "2:2", "connect_address": "1:2", "authentication": {"password": PASSWORD}},
        "postgresql": {"data_dir": "/b"},
    }
    assert documents[0]["postgresql"] == {"data_dir": "/a"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("own", "url"),
    [
        ({"connect_address": "10.0.0.1:8008", "listen": "0.0.0.0:8009"}, "http://10.0.0.1:8008"),
        ({"connect_address": "node1:8008", "certfile": "/c"}, "https://node1:8008"),
        ({"listen": "0.0.0.0:8009"}, "http://127.0.0.1:8009"),
        ({"listen": "*:8009"}, "http://127.0.0.1:8009"),
        ({"listen": "[::]:8009"}, "http://127.0.0.1:8009"),
        ({"listen": "[fd00::1]:8009"}, "http://[fd00::1]:8009"),
        ({"listen": "127.0.0.1,10.0.0.1:8009"}, "http://127.0.0.1:8009"),
        ({"listen": "node1"}, "http://node1:8008"),
    ],
)
def test_where_the_api_is(own: dict[str, str], url: str) -> None:
    assert room.api({"restapi": own}, {}).url == url


def test_how_to_be_let_in() -> None:
    config = {
        "restapi": {
            "connect_address": "node1:8008",
            "cafile": "/clients.pem",
            "authentication": {"username": "u", "password": PASSWORD},
        },
        "ctl": {"certfile": "/cert.pem", "keyfile": "/key.pem"},
    }
    found = room.api(config, {"validate_certs": False})
    assert (found.user, found.password, found.ca_cert) == ("u", PASSWORD, "/clients.pem")
    assert (found.client_cert, found.client_key, found.validate_certs) == ("/cert.pem", "/key.pem", False)
    assert PASSWORD not in repr(found)
    assert PASSWORD not in str(found.files())
    assert room.api({**config, "ctl": {"cacert": "/ca.pem"}}, {}).ca_cert == "/ca.pem"
    options = {"api_url": "https://x:1/", "api_user": "me", "api_password": None, "api_ca_cert": "/mine.pem"}
    given = room.api(config, options)
    # A user of one's own does not get the password of another one.
    assert (given.url, given.user, given.password, given.ca_cert) == ("https://x:1", "me", None, "/mine.pem")
    nothing = room.api({}, {"api_url": "http://x:1"})
    assert (nothing.user, nothing.password, nothing.client_cert) == (None, None, None)


@pytest.mark.parametrize("url", ["node1:8008", "ftp://node1", "http://", f"http://u:{PASSWORD}@node1:8008"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Failure) as caught:
        room.api({}, {"api_url": url})
    assert caught.value.code == "bad_api_url"
    assert PASSWORD not in str(caught.value)


def test_no_address() -> None:
    with pytest.raises(Failure) as caught:
        room.api({"restapi": "broken"}, {})
    assert caught.value.code == "no_api_url"


# ---- the dynamic configuration


def test_reserved_parameters() -> None:
    room.refuse_reserved(["work_mem", "tcp_keepalives_idle"])
    with pytest.raises(Failure) as caught:
        room.refuse_reserved(["WAL_Level", "work_mem", "max_connections"])
    assert caught.value.code == "reserved_by_patroni"
    assert caught.value.asked == "overrides: max_connections, wal_level"


def test_reserved_are_patronis_own() -> None:
    """The list is that of the Patroni that the tests run with."""
    config = pytest.importorskip("patroni.postgresql.config", reason="Patroni is installed by requirements/dev.txt")
    assert sorted(name.lower() for name in config.ConfigHandler.CMDLINE_OPTIONS) == sorted(room.RESERVED)


DYNAMIC: dict[str, t.Any] = {
    "ttl": 30,
    "postgresql": {"use_slots": True, "parameters": {"TCP_Keepalives_Idle": 240, "fsync": True, "work_mem": "5MB"}},
    "slots": {"a": None},
}


def test_values_as_texts_and_as_they_are() -> None:
    names = ["tcp_keepalives_idle", "fsync", "missing"]
    assert room.values(DYNAMIC, names) == {"tcp_keepalives_idle": "240", "fsync": "on", "missing": None}
    assert room.raw(DYNAMIC, names) == {"tcp_keepalives_idle": 240, "fsync": True, "missing": None}
    assert room.values({"postgresql": None}, ["a"]) == {"a": None}


@pytest.mark.parametrize(
    "dynamic", [DYNAMIC, {"ttl": 30}, {"postgresql": {}}, {"postgresql": {"parameters": {}}}, {"postgresql": {"pg": 1}}]
)
def test_there_and_back(dynamic: dict[str, t.Any]) -> None:
    wanted = {"tcp_keepalives_idle": "35s", "tcp_user_timeout": "71s"}
    were, parents = room.raw(dynamic, wanted), room.parents(dynamic)
    after = applied(dynamic, room.patch(dynamic, wanted))
    assert room.values(after, wanted) == wanted
    before = str(dynamic)
    assert str(applied(after, room.patch_back(after, were, parents))) == before
    # every other key is as it was
    others = {key: value for key, value in after.items() if key != "postgresql"}
    assert others == {key: value for key, value in dynamic.items() if key != "postgresql"}


def test_a_spelling_is_kept() -> None:
    body = room.patch(DYNAMIC, {"tcp_keepalives_idle": "35s", "missing": None, "work_mem": None})
    assert body == {"postgresql": {"parameters": {"TCP_Keepalives_Idle": "35s", "work_mem": None}}}
    assert room.patch(DYNAMIC, {"missing": None}) == {}


def test_back_beside_what_others_have_added() -> None:
    """Others have used the mapping that the first run made: it stays."""
    after = {"postgresql": {"parameters": {"tcp_user_timeout": "71s", "work_mem": "1GB"}}}
    body = room.patch_back(after, {"tcp_user_timeout": None}, [])
    assert applied(after, body) == {"postgresql": {"parameters": {"work_mem": "1GB"}}}
    beside = {"postgresql": {"parameters": {"tcp_user_timeout": "71s"}, "pg_hba": []}}
    assert applied(beside, room.patch_back(beside, {"tcp_user_timeout": None}, [])) == {"postgresql": {"pg_hba": []}}


def test_timing() -> None:
    assert room.timing({}) == {"ttl": 30, "loop_wait": 10, "retry_timeout": 10}
    assert room.timing({"ttl": 20, "loop_wait": "5", "retry_timeout": None}) == {
        "ttl": 20,
        "loop_wait": 5,
        "retry_timeout": 10,
    }


# ---- the cluster


def test_cluster() -> None:
    answer = {
        "scope": "main",
        "pause": True,
        "members": [
            {"name": "a", "role": "leader", "state": "running", "host": "h", "port": 1, "api_url": "u", "timeline": 3},
            {"name": "b", "role": "replica", "lag": 7, "pending_restart": True, "pending_restart_reason": {"x": {}}},
            {"name": "c", "role": "replica", "lag": "unknown"},
            "no mapping",
        ],
    }
    found = room.cluster(answer)
    assert (found["scope"], found["leader"], found["paused"]) == ("main", "a", True)
    assert found["members"][0] == {
        "name": "a",
        "role": "leader",
        "state": "running",
        "host": "h",
        "port": 1,
        "api_url": "u",
        "lag": None,
        "pending_restart": False,
        "pending_restart_reason": None,
    }
    rows = [(row["lag"], row["pending_restart"], row["pending_restart_reason"]) for row in found["members"][1:]]
    assert rows == [(7, True, {"x": {}}), (None, False, None)]
    assert room.cluster({}) == {"scope": None, "leader": None, "paused": False, "members": []}
