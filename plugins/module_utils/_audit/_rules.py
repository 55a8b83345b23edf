# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules, a pure room: the catalogue of an audit, what is wrong on one host, and what is ignored there with a reason."""

from __future__ import annotations

import fnmatch
import typing as t

from .._errors import Failure
from .._findings import Finding, ranked
from .._policy import Policy
from . import (
    _rules_of_host,
    _rules_of_kernel,
    _rules_of_logging,
    _rules_of_patroni,
    _rules_of_policy,
    _rules_of_replication,
    _rules_of_sessions,
    _rules_of_settings,
    _rules_of_timeouts,
    _scope,
)
from ._host import Facts, Host

_OF_HOSTS = (
    *_rules_of_settings.RULES,
    *_rules_of_timeouts.RULES,
    *_rules_of_policy.RULES,
    *_rules_of_kernel.RULES,
    *_rules_of_sessions.RULES,
    *_rules_of_replication.RULES,
    *_rules_of_logging.RULES,
    *_rules_of_host.RULES,
    *_rules_of_patroni.RULES,
)
#: Those of a whole path, which `_path._findings` judges.
_OF_PATHS = {
    "PGC401": ("warning", "A hop closes idle connections before its neighbour's keepalive has begun"),
    "PGC402": ("warning", "Keepalive is relied upon to keep a connection from a proxy's idle timeout"),
    "PGC403": ("error", "A pooler keeps unused connections longer than the server does"),
    "PGC404": ("warning", "A pool's connections live longer than a device lets them"),
    "PGC405": ("error", "A proxy closes connections during long statements"),
    "PGC406": ("info", "A leg is a Unix socket"),
    "PGC407": ("warning", "Keepalive is off on one side of a hop"),
    "PGC408": ("error", "libpq's parameters have keepalives_idle=0"),
    "PGC409": ("error", "No end of a leg probes before a device forgets the connection"),
    "PGC410": ("warning", "A client's pool keeps unused connections longer than the next hop does"),
    "PGC411": ("warning", "A proxy keeps the sessions of a leader that it has marked down"),
    "PGC412": ("error", "The health check cannot tell the leader"),
    "PGC413": ("warning", "A proxy is slower to give a leader up than Patroni is to make another one"),
    "PGC414": ("info", "How long a failover takes"),
    "PGC415": ("warning", "A list of hosts without connect_timeout"),
    "PGC416": ("warning", "A list of hosts without target_session_attrs"),
}
#: Every id, with its severity and its title; `docs/findings` has a page for each.
RULES: dict[str, tuple[str, str]] = dict(
    sorted({**{one.id: (one.severity, one.title) for one in _OF_HOSTS}, **_OF_PATHS}.items())
)


class Ignored(t.NamedTuple):
    """A finding that somebody does not want to hear of, and why."""

    finding: Finding
    reason: str


def findings(facts: Facts, policy: Policy | None = None) -> list[Finding]:
    """What is wrong on one host, the worst first: *facts* is what connection_info returned.

    Without a *policy* only what is wrong whatever one wants. What the facts do not tell is not judged. Where databases
    and roles were hardened, and not the whole server, their sessions are judged.
    """
    hosts = [Host(view, policy) for view in _scope.views(facts)]
    return ranked(dict.fromkeys(finding for host in hosts for one in _OF_HOSTS for finding in one.findings(host)))


def ignore(
    found: t.Iterable[Finding], wishes: t.Iterable[t.Mapping[str, t.Any]]
) -> tuple[list[Finding], list[Ignored]]:
    """Part *found* into what is kept and what is ignored, by *wishes* with an ``id``, a ``reason``, maybe a ``where``.

    A ``where`` is compared with the finding's own, and may have * and ? in it. Raises Failure ``bad_ignore`` for an id
    that no rule has and for a wish without a reason.
    """
    wishes = list(wishes)
    for wish in wishes:
        _check(wish)
    kept: list[Finding] = []
    ignored: list[Ignored] = []
    for finding in found:
        reasons = [str(wish["reason"]) for wish in wishes if _concerns(wish, finding)]
        if reasons:
            ignored.append(Ignored(finding, reasons[0]))
        else:
            kept.append(finding)
    return kept, ignored


def _check(wish: t.Any) -> None:
    if not isinstance(wish, t.Mapping):
        remedy = "Write {id: ..., reason: ...}, perhaps with a where."
        raise Failure("bad_ignore", f"ignore {wish}", "it is no mapping", remedy)
    if wish.get("id") not in RULES:
        problem, remedy = "no rule has that id", "docs/findings.md has the ids."
    elif not str(wish.get("reason") or "").strip():
        problem, remedy = "it has no reason", "Say why in reason: the report shows it."
    else:
        return
    raise Failure("bad_ignore", f"ignore {wish.get('id')}", problem, remedy)


def _concerns(wish: t.Mapping[str, t.Any], finding: Finding) -> bool:
    where = wish.get("where")
    return wish["id"] == finding.id and (
        not where or where == finding.where or fnmatch.fnmatchcase(finding.where, str(where))
    )
