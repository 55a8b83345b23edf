# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden through configuration files, with the server up and down; and secrets that must not show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from _hardening import Host, NewCluster, profile
from support import Cluster


@pytest.fixture
def host(cluster: Cluster, tmp_path: Path) -> Host:
    return Host(cluster, tmp_path)


def through(path: Path) -> dict[str, str]:
    return {"apply_through": "config_file", "config_file": str(path)}


@pytest.mark.parametrize("major", [13, 18])
def test_a_file_is_edited_in_place(host: Host) -> None:
    before = host.state()
    options = through(host.cluster.config_file)
    foreseen = host.harden(check=True, **options)
    assert host.state() == before
    done = host.harden(**options)
    assert foreseen == done
    assert not host.wrong(done["plan"]["server"])
    assert host.files()[str(host.cluster.auto_conf)] == before["files"][str(host.cluster.auto_conf)]
    for way in ("tcp", "unix"):
        assert not host.harden(way=way, **options)["changed"]


@pytest.mark.parametrize("major", [14])
def test_alter_system_outranks_the_file_and_the_promise_says_so(host: Host) -> None:
    host.cluster.query("ALTER SYSTEM SET tcp_keepalives_idle = '20min'")
    host.cluster.reload()
    options = through(host.cluster.config_file)
    foreseen = host.harden(check=True, **options)
    done = host.harden(**options)
    again = host.harden(**options)
    assert host.settings()["tcp_keepalives_idle"] == "1200"
    assert done["shadowed"]["tcp_keepalives_idle"][0]["kind"] == "alter system"
    assert "detect_dead_peer_within" in {row["key"] for row in done["not_kept"]}
    assert foreseen == done
    assert (again["changed"], again["promises"]["after"], again["not_kept"]) == (
        False,
        done["promises"]["after"],
        done["not_kept"],
    )


@pytest.mark.parametrize("version", [13, 16, 18])
def test_a_server_that_is_down(new_cluster: NewCluster, version: int, tmp_path: Path) -> None:
    host = Host(new_cluster(version), tmp_path)
    host.cluster.stop()
    before = host.files()
    policy = profile("web", close_idle_session_after="1h", close_transaction_after="2h")
    options = through(host.cluster.config_file)
    foreseen = host.harden(policy, check=True, **options)
    assert host.files() == before
    done = host.harden(policy, **options)
    assert foreseen == done
    assert (done["rc"], done["changed"], done["server_down"], done["promises"]) == (0, True, True, {})
    assert not host.harden(policy, **options)["changed"]
    # It starts only if the plan has nothing that this major does not know: the version comes from PG_VERSION.
    host.cluster.start_again()
    assert not host.wrong(done["plan"]["server"])
    again = host.harden(policy, **options)
    assert (again["changed"], again["server_down"]) == (False, False)
    assert bool(again["not_kept"]) == (version < 17)


@pytest.mark.parametrize("up", [True, False])
def test_a_drop_in_of_debians_layout(new_cluster: NewCluster, up: bool, tmp_path: Path) -> None:
    host = Host(new_cluster(15, layout="debian"), tmp_path)
    if not up:
        host.cluster.stop()
    before = host.files()
    options = through(host.cluster.config_dir / "conf.d" / "50-hardening.conf")
    foreseen = host.harden(check=True, **options)
    assert host.files() == before
    done = host.harden(**options)
    assert foreseen == done
    assert (done["changed"], done["server_down"]) == (True, not up)
    assert {path: text for path, text in host.files().items() if path in before} == before
    if not up:
        host.cluster.start_again()
    assert not host.wrong(done["plan"]["server"])
    assert not host.harden(**options)["changed"]
    host.revert()
    assert host.files() == before


def test_a_drop_in_that_comes_after_another_setting(new_cluster: NewCluster, tmp_path: Path) -> None:
    host = Host(new_cluster(17, layout="debian"), tmp_path)
    drop_ins = host.cluster.config_dir / "conf.d"
    (drop_ins / "10-mine.conf").write_text("tcp_keepalives_idle = 20min\n")
    (drop_ins / "90-mine.conf").write_text("tcp_keepalives_interval = 2min\n")
    host.cluster.reload()
    options = through(drop_ins / "50-hardening.conf")
    done = host.harden(**options)
    values = host.settings()
    assert (values["tcp_keepalives_idle"], values["tcp_keepalives_interval"]) == ("35", "120")
    assert set(done["shadowed"]) == {"tcp_keepalives_interval"}
    assert "detect_dead_peer_within" in {row["key"] for row in done["not_kept"]}


@pytest.mark.parametrize("major", [16])
def test_a_version_that_cannot_be_known_is_one_clear_error(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere" / "postgresql.conf"
    path.parent.mkdir()
    shutil.copy(host.cluster.config_file, path)
    before = (host.state(), path.read_bytes())
    result = host.harden(login_port=1, **through(path))
    assert (result["rc"], result["failure"]["code"]) == (1, "unknown_version")
    assert (host.state(), path.read_bytes()) == before


@pytest.mark.parametrize("major", [16])
def test_alter_system_needs_a_server_that_is_up(host: Host) -> None:
    kernel = host.kernel()
    result = host.harden(login_port=1)
    assert (result["rc"], result["failure"]["code"], host.kernel()) == (1, "login_failed", kernel)


def test_a_password_never_shows(new_cluster: NewCluster, tmp_path: Path) -> None:
    host = Host(new_cluster(16, auth="scram"), tmp_path)
    secret = host.cluster.password
    results = [
        host.harden(login_password=secret),
        host.harden(connect_params={"password": secret}),
        host.harden(login_password=f"{secret}x"),
        host.harden(connect_params={"password": f"{secret}x", "no_such_keyword": "1"}),
        host.harden(login_password=secret, login_db=secret),
        host.revert(login_password=secret),
    ]
    assert [result["rc"] for result in results] == [0, 0, 1, 1, 1, 0]
    for result in results:
        assert secret not in json.dumps(result)
