# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real servers for the tests: ``cluster`` is a clean one of each major, ``new_cluster`` makes special ones."""

from __future__ import annotations

import os
import typing as t

import pytest
from support import Cluster, Unavailable
from support.sources import MAJORS

REQUIRED = {int(major) for major in os.environ.get("PGHARDEN_REQUIRE_MAJORS", "").split()}


class NewCluster(t.Protocol):
    """As `Cluster.start`; the cluster is closed at the end of the test."""

    def __call__(self, major: int, **options: t.Any) -> Cluster: ...


def start(major: int, **options: t.Any) -> Cluster:
    """Start a cluster; a major that this machine has not is skipped, unless PGHARDEN_REQUIRE_MAJORS names it."""
    try:
        return Cluster.start(major, **options)
    except Unavailable as problem:
        if major in REQUIRED:
            pytest.fail(f"PGHARDEN_REQUIRE_MAJORS names {major}: {problem}", pytrace=False)
        pytest.skip(str(problem))


@pytest.fixture(params=MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    """Each supported major."""
    return int(request.param)


@pytest.fixture(scope="session")
def _clusters() -> t.Iterator[dict[int, Cluster]]:
    clusters: dict[int, Cluster] = {}
    yield clusters
    for cluster in clusters.values():
        cluster.close()


@pytest.fixture
def cluster(major: int, _clusters: dict[int, Cluster]) -> Cluster:
    """A server as it is after initdb. It is used again by later tests, after everything was put back."""
    used = _clusters.pop(major, None)
    if used:
        try:
            used.reset()
        except Exception:  # whatever a test did to it, the next one gets a clean server
            used.close()
            used = None
    _clusters[major] = used or start(major)
    return _clusters[major]


@pytest.fixture
def new_cluster() -> t.Iterator[NewCluster]:
    """Makes clusters with the options of `Cluster.start`."""
    clusters: list[Cluster] = []

    def new(major: int, **options: t.Any) -> Cluster:
        clusters.append(start(major, **options))
        return clusters[-1]

    yield new
    for cluster in reversed(clusters):
        cluster.close()
