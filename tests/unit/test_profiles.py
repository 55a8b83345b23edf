# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles on the controller: found by name or path, whole, and possible."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.pgharden.connection.plugins.module_utils import _plan, _policy, _settings
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure
from ansible_collections.pgharden.connection.plugins.plugin_utils import _profiles


def load(name: str) -> dict[str, object]:
    return _profiles.load(name, str)


def test_there_are_six() -> None:
    assert _profiles.names() == ["analytics", "cloud_nat", "interactive", "pooled", "replication", "web"]


@pytest.mark.parametrize("name", _profiles.names())
def test_each_holds_together_and_is_kept_by_its_plan(name: str) -> None:
    policy = _policy.parse(load(name))
    plan = _plan.make(policy, _plan.Facts(_plan.NEWEST))
    assert plan.unsupported == []
    assert set(plan.os) == {f"net.ipv4.tcp_keepalive_{one}" for one in ("time", "intvl", "probes")}
    assert _settings.SETTINGS[0] in plan.server


@pytest.mark.parametrize("name", _profiles.names())
def test_each_says_first_what_it_is_for_and_what_it_costs(name: str) -> None:
    lines = (_profiles.DIRECTORY / f"{name}.yml").read_text("utf-8").splitlines()
    assert lines[0] == "---"
    assert lines[1].startswith("# ")
    assert any(line.startswith("# Trade-off: ") for line in lines[2:4])


def test_a_pooler_keeps_its_idle_sessions() -> None:
    assert _policy.parse(load("pooled")).close_idle_session_after == 0


@pytest.mark.parametrize("name", ["own.yml", "own.yaml", "./own.yml", "dir/own"])
def test_a_name_with_a_slash_or_an_ending_is_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("connect_within: 7s\n")
    assert _profiles.load(name, lambda text: str(tmp_path / text)) == {"connect_within": "7s"}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (None, "unknown_profile", "web"),
        (b"", "bad_profile", "no mapping"),
        (b"- a\n- b\n", "bad_profile", "no mapping"),
        (b"connect_within: [1\nx: {\n", "bad_profile", "cannot be read"),
        (b"\xff\xfe\x00", "bad_profile", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_one_line_that_names_it(
    tmp_path: Path, content: bytes | None, code: str, words: str
) -> None:
    path = tmp_path / "own.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Failure) as raised:
        load(str(path))
    assert raised.value.code == code
    assert words in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unknown_name_lists_those_that_there_are() -> None:
    with pytest.raises(Failure, match="analytics, cloud_nat, interactive, pooled, replication, web") as raised:
        load("wep")
    assert raised.value.code == "unknown_profile"
