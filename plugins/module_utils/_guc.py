# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GUC values, a pure room: compares values of parameters in the units and ranges that the server itself states.

Nothing here knows a parameter by name: type, unit, range and choices come from pg_settings. Only the grammar of
numbers and units (src/backend/utils/misc/guc.c, parse_int and convert_to_base_unit) is written down.
"""

from __future__ import annotations

import math
import re
import typing as t

from . import _duration
from ._errors import Failure

_NUMBER = re.compile(r"\s*([+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?))\s*([A-Za-z]*)\s*", re.ASCII)
_BYTES = {"B": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_SMALLER = {"d": "h", "h": "min", "min": "s", "s": "ms", "ms": "us", "TB": "GB", "GB": "MB", "MB": "kB", "kB": "B"}
_BOOLEAN = {"on": "on", "true": "on", "yes": "on", "1": "on", "off": "off", "false": "off", "no": "off", "0": "off"}
#: The server takes a boolean's beginnings too, but for the o that on and off share (parse_bool_with_len in bool.c).
_ABBREVIATED = {word[:end]: _BOOLEAN[word] for word in _BOOLEAN for end in range(1, len(word) + 1) if word[:end] != "o"}


class Guc(t.NamedTuple):
    """What the server says of one parameter; the fields are the columns of pg_settings."""

    name: str
    vartype: str
    unit: str | None = None
    context: str = "user"
    min_val: str | None = None
    max_val: str | None = None
    enumvals: tuple[str, ...] = ()
    boot_val: str | None = None

    @classmethod
    def of(cls, row: t.Mapping[str, t.Any]) -> Guc:
        """From a row of pg_settings."""
        values = {name: row[name] for name in cls._fields}
        return cls(**{**values, "enumvals": tuple(row["enumvals"] or ())})


def text(value: t.Any) -> str:
    """A value of a playbook as PostgreSQL spells it: true and false are on and off, a list has commas."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text, value))
    if value is None or isinstance(value, dict):
        raise Failure("bad_value", f"the value {value}", "a parameter cannot have it", "Write a text, number or list.")
    return str(value)


def canonical(guc: Guc, value: t.Any) -> str:
    """*value* as pg_settings would show it, in the parameter's base unit: 1.5min of a parameter in seconds is 90.

    Raises Failure ``bad_value`` for what the server would refuse.
    """
    given = text(value)
    if guc.vartype == "bool":
        return _choice(guc, given, _ABBREVIATED, "on or off")
    if guc.vartype == "enum":
        choices = {choice.lower(): choice for choice in guc.enumvals}
        # An enumeration that has on and off takes their other names too, though pg_settings does not list them.
        hidden = _BOOLEAN if {"on", "off"} <= set(choices) else {}
        return _choice(guc, given, {**hidden, **choices}, f"one of {', '.join(guc.enumvals)}")
    if guc.vartype in ("integer", "real"):
        return _number(guc, given)
    return given


def shown(guc: Guc, value: str | None) -> str | None:
    """A canonical value with its unit, for people: ``90s``."""
    if value is None or guc.unit is None or not re.fullmatch(r"[1-9]\d*", value):
        return value
    if guc.unit in _duration.UNITS:
        return _duration.spell(round(int(value) * _duration.UNITS[guc.unit]))
    return f"{value}{guc.unit}" if guc.unit in _BYTES else f"{value} x {guc.unit}"


def same_text(one: str, other: str) -> bool:
    """Whether two spellings mean the same, when no server is there to tell the unit of a bare number."""
    if one == other:
        return True
    try:
        return _duration.parse("", one) == _duration.parse("", other)
    except Failure:
        return False


def _choice(guc: Guc, given: str, choices: t.Mapping[str, str], expected: str) -> str:
    if given.lower() not in choices:
        raise _bad(guc, given, expected)
    return choices[given.lower()]


def _number(guc: Guc, given: str) -> str:
    integer = guc.vartype == "integer"
    kind = f"a{' whole' if integer else ''} number"
    if guc.unit:
        kind += f" in {guc.unit} (or with a unit)"
    expected = f"{kind} from {guc.min_val} to {guc.max_val}"
    match = _NUMBER.fullmatch(given)
    factor = _factor(match.group(2), guc.unit) if match else None
    if match is None or factor is None:
        raise _bad(guc, given, expected)
    digits = match.group(1)
    if integer and re.match(r"[+-]?0[0-7]*[89]", digits):
        raise _bad(guc, given, expected)  # strtol takes the leading 0 for the sign of an octal number
    if re.fullmatch(r"[+-]?0[xX].+", digits):
        number: float = int(digits, 16)
    elif integer and re.fullmatch(r"[+-]?0[0-7]+", digits):
        number = int(digits, 8)  # as strtol reads it
    else:
        number = float(digits)
    number *= factor
    if math.isinf(number):
        raise _bad(guc, given, expected)
    step = _SMALLER.get(match.group(2))
    if step and _factor(step, guc.unit) is not None:
        # A fraction of a unit is rounded to the next smaller one: 0.0001h is no minute, so it is 0.
        step_factor = t.cast(float, _factor(step, guc.unit))
        number = round(number / step_factor) * step_factor
    if integer:
        number = round(number)
    if not float(guc.min_val or "-inf") <= number <= float(guc.max_val or "inf"):
        raise _bad(guc, given, expected)
    return str(number) if integer else format(number, "g")


def _factor(unit: str, base: str | None) -> float | None:
    """What a number in *unit* is to be multiplied with to be in *base*; None where the two do not go together."""
    if not unit:
        return 1
    if base is None:
        return None
    times, base_unit = t.cast("re.Match[str]", re.fullmatch(r"(\d*)(.*)", base)).groups()
    for family in (_duration.UNITS, _BYTES):
        if unit in family and base_unit in family:
            return family[unit] / (family[base_unit] * int(times or 1))
    return None


def _bad(guc: Guc, given: str, expected: str) -> Failure:
    return Failure("bad_value", f"{guc.name} = {given}", "the server would refuse this value", f"Write {expected}.")
