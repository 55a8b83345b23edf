# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the profiles into docs/profiles.md, with what they are planned to; --check only says if that is up to date."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import _tree
import yaml

sys.path.insert(0, str(_tree.ROOT / ".ansible" / "collections"))

from ansible_collections.pgharden.connection.plugins.module_utils import (
    _detection,
    _duration,
    _guc,
    _plan,
    _policy,
    _promises,
    _settings,
)

PAGE = _tree.ROOT / "docs" / "profiles.md"
BEGIN, END = "<!-- begin: written by tools/profiles_doc.py -->\n", "<!-- end -->\n"
SERVER = _plan.Facts(_plan.NEWEST)


class Profile(t.NamedTuple):
    name: str
    comment: str
    policy: _policy.Policy
    plan: _plan.Plan
    settings: _settings.Settings


def load(path: Path) -> Profile:
    text = path.read_text(encoding="utf-8")
    comment = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    policy = _policy.parse({}, yaml.safe_load(text))
    plan = _plan.make(policy, SERVER)
    values = {name: int(_guc.canonical(parameter(name), value)) for name, value in plan.server.items()}
    return Profile(path.stem, comment, policy, plan, _settings.Settings.of(values))


def parameter(name: str) -> _guc.Guc:
    """What a server would say of it."""
    in_seconds = name in ("tcp_keepalives_idle", "tcp_keepalives_interval", "authentication_timeout")
    unit = None if name == "tcp_keepalives_count" else "s" if in_seconds else "ms"
    return _guc.Guc(name, "integer", unit, min_val="0", max_val=str(_duration.LONGEST))


def table(corner: str, profiles: list[Profile], rows: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    head = [corner, *(profile.name for profile in profiles)]
    cells = [[f"`{name}`", *row] for name, row in rows.items() if any(row)]
    return ["", *(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *cells]), ""]


def noticed(phase: str, profile: Profile) -> str:
    promise = _promises.promise(phase, "peer_vanished", profile.settings)
    return f"{_duration.human(promise.seconds)} ({_duration.human(promise.bound)})"


def tables() -> str:
    profiles = [load(path) for path in sorted((_tree.ROOT / "plugins" / "plugin_utils" / "profiles").glob("*.yml"))]
    wanted = [profile.policy.as_dict() for profile in profiles]
    survived = {
        "idle": _detection.idle_outage_survived,
        "sending": _detection.in_flight_outage_survived,
    }
    lines = []
    for profile in profiles:
        what, _dummy, tradeoff = profile.comment.partition("Trade-off: ")
        lines += ["", f"### {profile.name}", "", what.strip(), "", f"*Trade-off*: {tradeoff}"]
    lines += ["", "### Side by side", "", "The policies:"]
    lines += table("key", profiles, {key: [str(row.get(key) or "") for row in wanted] for key in _policy.KEYS})
    lines += [f"What is planned for PostgreSQL {SERVER.version} on Linux:"]
    names = dict.fromkeys(name for profile in profiles for name in profile.plan.server)
    rows = {name: [profile.plan.server.get(name, "") for profile in profiles] for name in names}
    lines += table("setting", profiles, rows)
    lines += ["What is then promised when a client vanishes: noticed after (with timers that are late, at the latest):"]
    phases = {phase: [noticed(phase, profile) for profile in profiles] for phase in _promises.PHASES}
    lines += table("phase", profiles, phases)
    lines += ["Outages that are survived for certain:"]
    os = _settings.OsValues()
    rows = {name: [_duration.human(rule(p.settings, os)) for p in profiles] for name, rule in survived.items()}
    lines += table("phase", profiles, rows)
    return "\n".join(lines[1:])


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    text = before + BEGIN + "\n" + tables() + "\n" + END + rest.split(END)[1]
    if text == page:
        return 0
    if sys.argv[1:] == ["--check"]:
        print(f"{PAGE.relative_to(_tree.ROOT)} is out of date: run tools/profiles_doc.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
