# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""server_settings and values: what YAML can say, versions and kernels refuse, and the server calculates."""

from __future__ import annotations

import typing as t

import psycopg2
import psycopg2.extras
import pytest
from _settings import apply, in_force, majors, one_major, refuse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import Cluster, available_majors

from ansible_collections.pgharden.connection.plugins.module_utils import _guc
from ansible_collections.pgharden.connection.plugins.module_utils._errors import Failure

IDLE, CHECK = "tcp_keepalives_idle", "client_connection_check_interval"


#: What the server makes of the first spelling, and others that mean the same.
SPELLED: dict[str, tuple[str, list[t.Any]]] = {
    "log_duration": ("on", [True, "yes", "on", "true", 1]),
    "synchronous_commit": ("off", [False, "off", "OFF"]),
    "seq_page_cost": ("1.5", [1.5, "1.50", "15e-1"]),
    "deadlock_timeout": ("2", [1.5, 2, "2ms"]),
    "lock_timeout": ("90000", ["1.5min", "90s", 90000, "90000"]),
    "work_mem": ("524288", ["0.5GB", "512MB", 524288]),
    "vacuum_cost_delay": ("1.5", ["1500us", "1.5ms", 1.5]),
    "log_destination": ("stderr, csvlog", [["stderr", "csvlog"], "stderr, csvlog"]),
    "log_line_prefix": ("it's %m ", ["it's %m "]),
    "application_name": ("60", ["60", 60]),
    "archive_command": ("", [""]),
    "TimeZone": ("Europe/Berlin", ["Europe/Berlin"]),
}


@one_major
def test_values_of_yaml(cluster: Cluster) -> None:
    for number in range(max(len(spellings) for _shown, spellings in SPELLED.values())):
        wanted = {name: spellings[number % len(spellings)] for name, (_shown, spellings) in SPELLED.items()}
        assert apply(cluster, wanted)["changed"] is (number == 0), wanted
    found = dict(cluster.query("SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)", (list(SPELLED),)))
    assert found == {name: shown for name, (shown, _spellings) in SPELLED.items()}


@majors(17, 18)
def test_log_connections_became_a_list(cluster: Cluster, major: int) -> None:
    wanted: t.Any = True if major < 18 else ["receipt", "authorization"]
    for changed in (True, False):
        assert apply(cluster, {"log_connections": wanted, IDLE: 60})["changed"] is changed
    assert in_force(cluster, "log_connections") == ["on" if major < 18 else "receipt, authorization"]
    if major >= 18:
        assert apply(cluster, {"log_connections": True})["changed"]
        assert not apply(cluster, {"log_connections": "on"})["changed"]


def test_null_resets(cluster: Cluster) -> None:
    apply(cluster, {IDLE: 60, "work_mem": "5MB"})
    result = apply(cluster, {IDLE: None, "work_mem": "5MB"})
    assert result["changed"]
    assert in_force(cluster, IDLE, "work_mem") == ["7200", "5120"]
    assert IDLE not in cluster.auto_conf.read_text()
    assert not apply(cluster, {IDLE: None})["changed"]


@one_major
def test_values_that_nobody_can_have(cluster: Cluster) -> None:
    for wrong in ({"work_mem": {"a": 1}}, {"application_name": ["a", None]}, {IDLE: [60, 70]}, {IDLE: False}):
        refuse(cluster, {"tcp_keepalives_interval": 10, **wrong}, "bad_value")
    refuse(cluster, {IDLE: 60, "datestyle": "roman"}, "server_refused")


@one_major
def test_values_that_the_kernel_would_refuse(cluster: Cluster) -> None:
    limits = {IDLE: 32767, "tcp_keepalives_interval": 32767, "tcp_keepalives_count": 127}
    for name, limit in limits.items():
        assert str(limit) in refuse(cluster, {"work_mem": "5MB", name: limit + 1}, "out_of_kernel_range")
    refuse(cluster, {IDLE: "10h"}, "out_of_kernel_range", role="postgres")
    apply(cluster, limits)
    assert in_force(cluster, *limits) == list(map(str, limits.values()))


def test_parameters_of_other_versions(cluster: Cluster, major: int) -> None:
    since = {CHECK: 14, "idle_session_timeout": 14, "transaction_timeout": 17, "no_such_parameter": 99}
    for name, first in since.items():
        if major < first:
            place = {"role": "postgres"} if name == CHECK else {}
            assert name in refuse(cluster, {IDLE: 60, name: "1h"}, "unknown_parameter", **place)
        else:
            assert apply(cluster, {name: "1h"})["changed"]
            assert in_force(cluster, name) == ["3600000"]


@majors(15, 17)
def test_a_library_s_parameter(cluster: Cluster) -> None:
    """Before its library is loaded nobody can check its values; a line of a file makes it known, but not more."""
    name = "auto_explain.log_min_duration"
    message = refuse(cluster, {name: "5s"}, "unknown_parameter")
    assert "shared_preload_libraries" in message
    refuse(cluster, {name: "5s"}, "unknown_parameter", role="postgres")
    # The login's session is enough.
    load = {"connect_params": {"options": "-c session_preload_libraries=auto_explain"}}
    assert apply(cluster, {name: "5s"}, **load)["changed"]
    assert not apply(cluster, {name: 5000}, **load)["changed"]
    refuse(cluster, {name: "soon"}, "bad_value", **load)
    assert apply(cluster, {name: "7s"}, role="postgres", **load)["changed"]
    assert not apply(cluster, {name: 7000}, role="postgres", **load)["changed"]


# ---- the server's own arithmetic

NUMBERS = {
    "lock_timeout": ("us", "ms", "s", "min", "h", "d"),
    "work_mem": ("B", "kB", "MB", "GB", "TB"),
    "temp_buffers": ("B", "kB", "MB", "GB", "TB"),
    "vacuum_cost_delay": ("us", "ms", "s"),
    "vacuum_cost_limit": (),
    "seq_page_cost": (),
}
numbers = st.one_of(
    st.integers(-2, 10**10).map(str),
    st.integers(0, 2000).map(hex),
    st.integers(0, 2000).map(lambda number: f"0{number:o}"),
    st.decimals(0, 5000, places=3).map(str),
    st.sampled_from(["1e3", "1.5e2", ".5", "5.", "+7", "1e-3", "09", "1.5.5", "", "e5", "0x", "5 5"]),
)
cases = st.sampled_from(sorted(NUMBERS)).flatmap(
    lambda name: st.tuples(
        st.just(name), numbers, st.sampled_from(["", " ", "parsec", "KB", *NUMBERS[name]]), st.sampled_from(["", " "])
    )
)
words = st.tuples(
    st.sampled_from(["enable_seqscan", "client_min_messages"]),
    st.sampled_from(["on", "OFF", "True", "no", "1", "0", "2", "notice", "WARNING", "nothing", "", "on "]),
    st.just(""),
    st.just(""),
)


@pytest.fixture(scope="module", params=[major for major in available_majors() if major in (13, 18)])
def judge(request: pytest.FixtureRequest) -> t.Iterator[t.Any]:
    with Cluster.start(request.param) as cluster:
        connection = psycopg2.connect(**cluster.conninfo())
        connection.autocommit = True
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            yield cursor
        connection.close()


@settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=600,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=st.one_of(cases, words))
def test_the_server_makes_the_same_of_each_text(judge: t.Any, case: tuple[str, str, str, str]) -> None:
    name, text = case[0], "".join(case[1:])
    judge.execute("RESET ALL; SELECT * FROM pg_settings WHERE name = %s", (name,))
    guc = _guc.Guc.of(judge.fetchone())
    server: str | None = None
    try:
        judge.execute("SELECT set_config(%s, %s, false)", (name, text))
    except psycopg2.Error:
        pass
    else:
        judge.execute("SELECT setting FROM pg_settings WHERE name = %s", (name,))
        server = judge.fetchone()["setting"]
    try:
        ours: str | None = _guc.canonical(guc, text)
    except Failure:
        ours = None
    assert ours == server
