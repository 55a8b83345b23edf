# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where libpq looks for services: the environment, pg_config, what distributions have, or nowhere that is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils._layers import _client


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host without anything of PostgreSQL; programs are looked for in the directory that is given."""
    monkeypatch.delenv("PGSYSCONFDIR", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}")
    monkeypatch.setenv("HOME", "/home/app")
    monkeypatch.setattr(_client, "_DIRECTORIES", (str(tmp_path / "etc"),))
    return tmp_path


def pg_config(directory: Path, script: str) -> None:
    path = directory / "pg_config"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_nobody_knows(bare: Path) -> None:
    assert _client.service_file("system") is None
    assert _client.service_file("user") == "/home/app/.pg_service.conf"


def test_what_distributions_have(bare: Path) -> None:
    (bare / "etc").mkdir()
    assert _client.service_file("system") == f"{bare}/etc/pg_service.conf"
    pg_config(bare, "exit 1")
    assert _client.service_file("system") == f"{bare}/etc/pg_service.conf"


def test_pg_config_and_the_environment_win(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "etc").mkdir()
    pg_config(bare, '[ "$1" = --sysconfdir ] && echo "/opt/with space"')
    assert _client.service_file("system") == "/opt/with space/pg_service.conf"
    monkeypatch.setenv("PGSYSCONFDIR", "/srv/pg")
    assert _client.service_file("system") == "/srv/pg/pg_service.conf"
