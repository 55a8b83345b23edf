# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""haproxy: what HAProxy does not do, or root may not see, is said and not promised."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from _haproxy import NEEDED, ONE, WEB, Proxy
from _hardening import profile
from support import Cluster, module_argv, places
from support.haproxies import CONFIG
from support.modules import module_input

pytestmark = NEEDED


@pytest.mark.parametrize("argument", ["", " tcp-ut 71s"])
@ONE
def test_server_with_a_name_has_no_user_timeout(cluster: Cluster, tmp_path: Path, argument: str) -> None:
    tmp_path.chmod(0o755)
    line = f"server one localhost:{cluster.port}{argument} check inter 2s"
    config = CONFIG.replace("server one 127.0.0.1:{server} check inter 2s", line)
    assert line in config
    with Proxy(cluster, tmp_path, config) as proxy:
        proxy.start()
        done = proxy.harden()
        assert (done["rc"], done["changed"]) == (0, True), done
        assert proxy.legs() == (WEB, (*WEB[:4], 0))
        assert done["hop"]["client_side"]["user_timeout"] == WEB[4]
        assert done["hop"]["server_side"]["user_timeout"] == 0
        assert [row["setting"] for row in done["unsupported"]] == ["listen pg: server one tcp-ut"]
        assert f"\t{line}   # the primary" in proxy.config_file.read_text().splitlines()
        assert proxy.harden()["changed"] is False


@pytest.mark.skipif(not places.is_root(), reason="gives up a capability of root")
@ONE
def test_root_of_a_container_may_not_see_whose_sockets_are_whose(cluster: Cluster, tmp_path: Path) -> None:
    with Proxy(cluster, tmp_path) as proxy:
        proxy.start()
        before = proxy.config_file.read_bytes()
        argv = cluster.argv(["setpriv", "--bounding-set=-sys_ptrace", *module_argv(None, "haproxy")])
        args = {
            "policy": profile("web"),
            "config_file": [str(proxy.config_file)],
            "revert_file": str(proxy.revert_file),
        }
        done = subprocess.run(argv, input=module_input(args), check=False, capture_output=True, text=True)
        assert done.stdout, done.stderr
        failure = json.loads(done.stdout)["failure"]
        assert failure["code"] == "forbidden"
        assert "SYS_PTRACE" in failure["remedy"]
        assert proxy.config_file.read_bytes() == before
