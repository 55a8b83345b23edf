# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for applications: what is read back from them is what was wanted."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml
from test_drivers_parameters import DRIVERS, WANTED

from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.module_utils._path import _drivers, _snippets


@DRIVERS
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_json_and_yaml_say_the_same(driver: str, form: str) -> None:
    found = _drivers.parameters(WANTED, driver)
    text = _snippets.render(WANTED, driver, form)
    read = json.loads(text) if form == "json" else yaml.safe_load(text)
    assert read == {"parameters": found["parameters"], "pool": found["pool"]}


@DRIVERS
def test_a_shell_reads_every_variable(driver: str) -> None:
    """systemd's EnvironmentFile has the same quotes."""
    text = _snippets.render(WANTED, driver, "env", "APP_DB_").decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    done = subprocess.run(["sh", "-eu", "-c", f"set -a\n{text}\nenv"], capture_output=True, text=True, check=True)
    read = {line for line in done.stdout.splitlines() if line.startswith("APP_DB_")}
    assert read == {line.replace('"', "") for line in lines}
    assert len(read) == len(lines) > 0


def test_names_of_variables() -> None:
    text = _snippets.render(WANTED, "node-postgres", "env", "DB_").decode().splitlines()
    assert "DB_KEEP_ALIVE_INITIAL_DELAY_MILLIS=35000" in text
    assert "DB_POOL_MAX_LIFETIME_SECONDS=1800" in text
    assert "NP_TCP_KEEPALIVE_TIME=35" in _snippets.render(WANTED, "npgsql", "env", "NP_").decode().splitlines()


def test_the_one_variable_that_libpq_reads() -> None:
    assert _snippets.render(WANTED, "psycopg", "env").decode().splitlines()[1:] == ["PGCONNECT_TIMEOUT=60"]
    for plan, driver in ((WANTED, "pgjdbc"), ({"keepalives": 1}, "libpq")):
        with pytest.raises(Failure, match="prefix") as problem:
            _snippets.render(plan, driver, "env")
        assert problem.value.code == "no_prefix"


def test_properties() -> None:
    hikari = _snippets.render(WANTED, "hikaricp", "properties").decode().splitlines()
    assert {"maxLifetime=1800000", "dataSource.tcpKeepAlive=true"} <= set(hikari)
    others = _snippets.render(WANTED, "asyncpg", "properties").decode().splitlines()
    assert {"parameters.server_settings.tcp_keepalives_idle=35", "pool.min_size=2"} <= set(others)
