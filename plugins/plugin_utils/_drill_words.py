# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drill words, on the controller: what the table and the picture of a drill say alike."""

from __future__ import annotations

import collections
import re
import typing as t

from ..module_utils._duration import human

Cell = t.Mapping[str, t.Any]
Result = t.Mapping[str, t.Any]

#: What these do to a connection has to be survived; every other fault has to be noticed.
SURVIVED = ("short_outage", "slow_reader")

VERDICTS = {
    "kept": "kept",
    "broken": "BROKEN",
    "beyond_patience": "beyond patience",
    "not_promised": "not promised",
    "not_possible": "not possible",
    None: "",
}


def survival(cell: Cell) -> bool:
    """Whether the connection of this cell is to survive its fault."""
    return cell["fault"] in SURVIVED


def drilled(result: Result) -> bool:
    """Whether anything was measured: neither in check mode nor after a failure."""
    return any(cell["outcome"] for cell in result.get("cells", []))


def name(text: str) -> str:
    """A phase or a fault."""
    return text.replace("_cpu", " (CPU)").replace("_", " ")


def promised(cell: Cell) -> str:
    """What the settings in force promise."""
    if cell["promised"] is None:
        return "any" if survival(cell) else "never"
    return human(cell["promised"]) if cell["promised"] or survival(cell) else "at once"


def measured(cell: Cell) -> str:
    """What came of it; nothing in check mode."""
    outcome, seconds = cell["outcome"], cell["measured"]
    if outcome == "gone":
        return _took(seconds)
    if outcome == "lost" and seconds is not None:
        return f"lost after {_took(seconds)}"
    return name(outcome or "")


def _took(seconds: float) -> str:
    return human(seconds) if seconds >= 0.05 else "under 0.1 s"


def server(result: Result) -> str:
    """Which server it was."""
    one = result["server"]
    host = f"[{one['host']}]" if ":" in one["host"] else one["host"]
    version = one["version"].split()[0]  # a distribution adds its own
    return f"PostgreSQL {version} at {host}:{one['port']}{' with TLS' if one['tls'] else ''}"


def in_force(result: Result) -> t.Mapping[str, t.Any]:
    """What the promises follow from: the settings of the session, or those of the client's own socket."""
    values = result["settings"] if result["side"] == "server" else result["client"]["options"]
    return t.cast("t.Mapping[str, t.Any]", values)


def settings(result: Result) -> str:
    """What is in force, in short; where it came from does not have what is missing."""
    values = in_force(result)
    if values.get("keepalive", 1):
        idle, interval, count = (values[f"tcp_keepalives_{key}"] for key in ("idle", "interval", "count"))
        parts = [f"keepalive {human(idle)}, {human(interval)}, {count} times"]
    else:
        parts = ["keepalive off"]
    for label, key in (
        ("user timeout", "tcp_user_timeout"),
        ("check interval", "client_connection_check_interval"),
    ):
        if values.get(key) is not None:
            parts.append(f"{label} {human(values[key] / 1000) if values[key] else 'off'}")
    return "; ".join(parts)


def message(line: str) -> str:
    """A line of the server's log without what log_line_prefix put before it: two blanks follow the severity."""
    found = re.search(r"\w+: {2}\S.*", line)
    return found[0] if found else line


def count(results: t.Iterable[Result]) -> str:
    """How many promises were kept, over all *results*."""
    results = list(results)
    verdicts = collections.Counter(cell["verdict"] for result in results for cell in result.get("cells", []))
    patience = {result["patience"] for result in results if result.get("cells")}
    of = f" of {human(patience.pop())}" if len(patience) == 1 else ""
    if verdicts[None]:
        return f"{verdicts[None]} to be drilled, all side by side, for as long as the patience{of}"
    parts = [f"{verdicts['kept']} kept", f"{verdicts['broken']} broken"]
    if verdicts["beyond_patience"]:
        parts.append(f"{verdicts['beyond_patience']} beyond the patience{of}")
    parts += [
        f"{verdicts[verdict]} {VERDICTS[verdict]}" for verdict in ("not_promised", "not_possible") if verdicts[verdict]
    ]
    return ", ".join(parts)
