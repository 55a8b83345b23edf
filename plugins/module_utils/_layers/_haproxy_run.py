# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HAProxy run: one host, from the options of the module ``haproxy`` to what it returns."""

from __future__ import annotations

import re
import typing as t

from .. import _hop_run, _in_force
from .._errors import Failure
from .._path import _plans
from .._path._hops import Hop
from . import _haproxy_checks, _haproxy_kernel, _haproxy_process, _haproxy_program, _haproxy_sections, _haproxy_settings
from ._haproxy import HAProxyLayer
from ._haproxy_program import Program


def run(options: t.Mapping[str, t.Any], check_mode: bool) -> dict[str, t.Any]:
    """Harden HAProxy on this host; *options* are those of the module ``haproxy``."""
    _hop_run.plan(_plans.haproxy, options, (9,))  # bad input ends here, before anything is asked of the host
    given = _haproxy_process.expand(options["config_file"] or ())
    instance = _haproxy_process.find(given)
    files = instance.files if instance else given or (_haproxy_program.DEFAULT_FILE,)
    program = Program(instance, files)
    version = program.version()
    made = _hop_run.plan(_plans.haproxy, options, tuple(map(int, re.findall(r"\d+", version)[:2])))
    layer = HAProxyLayer(
        program,
        _haproxy_settings.normal(made.settings),
        sections=options["sections"],
        ports=options["ports"],
        reload=options["reload"],
        reload_timeout=options["reload_timeout"],
    )
    result, outcomes = _hop_run.run("haproxy", files[0], [layer], made, options, check_mode)
    planned = layer.planned(outcomes[0].found) if check_mode else None
    result["notes"] += layer.notes
    if "tcp-ut" in made.settings:
        chosen = layer.chosen(layer.current(planned))
        result["unsupported"] += [_without_user_timeout(one) for one in _haproxy_sections.named_servers(chosen)]
    return {
        **result,
        "version": version,
        "haproxy_down": instance is None,
        **_in_the_end(layer, version, planned, result),
    }


def _without_user_timeout(server: str) -> dict[str, str]:
    reason = "HAProxy drops tcp-ut where the address of a server is a name; write it as a number"
    return {"layer": "haproxy", "setting": f"{server} tcp-ut", "key": "detect_dead_peer_within", "reason": reason}


def _in_the_end(layer: HAProxyLayer, version: str, planned: t.Any, result: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    config = layer.current(planned)
    chosen = layer.chosen(config)
    hop = Hop(kind="haproxy", version=version, os=_in_force.kernel())
    stale: list[dict[str, t.Any]] = []
    try:
        hop = Hop(
            kind="haproxy",
            version=version,
            client_side=_haproxy_sections.client_side(config, chosen),
            server_side=_haproxy_sections.server_side(chosen),
            checks=_haproxy_checks.checks(chosen),
            os=hop.os,
        )
        if layer.haproxy.instance:
            stale = _haproxy_kernel.stale_sockets(layer.haproxy.instance, config, chosen)
    except Failure as failure:
        if failure.code != "unknown_variable":
            raise
        result["notes"].append(f"What is in force cannot be told: {failure}")
    return {"hop": hop.as_dict(), "sections": [one.label for one in chosen], "stale_sockets": stale}
