# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prefix, a pure room: what log_line_prefix puts before a message, read back from a line of the log."""

from __future__ import annotations

import functools
import re
import typing as t

from ._clock import TIME

#: LOG, FATAL ... as the server's languages have them. Details, hints and statements are lines of the one before.
SEVERITIES = (
    "LOG LOGG DZIENNIK СООБЩЕНИЕ ЗАПИСУВАННЯ ログ 로그 日志 ჟურნალი",
    "FATAL FATALE FATALT KATASTROFALNY ÖLÜMCÜL ВАЖНО ФАТАЛЬНО 치명적오류 致命错误 ფატალური",
    "ERROR FEHLER ERREUR ERRORE FEL BŁĄD ERRO HATA ОШИБКА ПОМИЛКА 오류 错误 შეცდომა",
    "WARNING WARNUNG ATTENTION ATTENZIONE VARNING AVISO UYARI ПРЕДУПРЕЖДЕНИЕ ПОПЕРЕДЖЕННЯ 경고 警告 გაფრთხილება",
    "PANIC PANIK PANICO PANIKA PÂNICO ПАНИКА ПАНІКА 손상 比致命错误还过分的错误 პანიკა",
    "DEBUG DEPURAÇÃO ОТЛАДКА НАЛАГОДЖЕННЯ 디버그 调试 გამართვა",
)
#: Any of those words -> the English one.
SEVERITY = {word: words.split()[0] for words in SEVERITIES for word in words.split()}

#: What each escape may stand for. A name has at most 63 bytes, which also bounds the search for its end.
NAME = r".{0,63}?"
HOST = r"\[\w+\]|[^\s()\[\],]*"
PEER = rf"(?:{HOST})(?:\(\d+\))?"
_ESCAPES = {
    "a": NAME,
    "u": NAME,
    "d": NAME,
    "r": PEER,
    "h": HOST,
    "L": HOST,
    "b": NAME,
    "p": r"\d+",
    "P": r"\d*",
    "t": TIME,
    "m": TIME,
    "n": r"\d+(?:\.\d+)?",
    "s": TIME,
    "i": NAME,
    "e": r"[0-9A-Z]{5}",
    "c": r"[0-9a-f]+\.[0-9a-f]+",
    "l": r"\d+",
    "v": r"[-\d/]*",
    "x": r"\d*",
    "Q": r"-?\d*",
}
_ESCAPE = re.compile(r"%(?:%|(-?\d*)([A-Za-z]))|([^%]+)")
MESSAGE = rf"(?P<severity>{'|'.join(sorted(SEVERITY, key=len, reverse=True))}):  (?:(?P<code>[0-9A-Z]{{5}}): )?"

#: What packages, services and guides use, those with more to tell first.
KNOWN = (
    "%m [%p] %q%u@%d ",  # Debian, Ubuntu
    "%t:%r:%u@%d:[%p]:",  # Amazon RDS
    "%m:%r:%u@%d:[%p]:%l:%e:%s:%v:%x:%c:%q%a:",  # Amazon Aurora, RDS, with more
    "%t [%p]: [%l-1] db=%d,user=%u,app=%a,client=%h ",  # pgBadger's guide
    "%t [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%t [%p]: db=%d,user=%u,app=%a,client=%h ",
    "%t [%p]: user=%u,db=%d,app=%a,client=%h ",
    "%m [%p] %q[user=%u,db=%d,app=%a] ",  # Google Cloud SQL and its like
    "[%p]: [%l-1] db=%d,user=%u ",
    "%m [%p]: [%l-1] db=%d,user=%u,app=%a,client=%h ",
    "%m [%p]: [%l-1] user=%u,db=%d,app=%a,client=%h ",
    "%m [%p] %r %q%u@%d ",
    "%m [%p] %q%u@%d/%a ",
    "%m %e [%p] %q%u@%d ",
    "%m [%p] %e %q%u@%d ",
    "%t-%c-",  # Azure
    "%t [%p] %q%u@%d ",
    "%t [%p-%l] %q%u@%d ",  # Debian before 10
    "%m [%p] ",  # PostgreSQL's own
    "%m [%p]: ",
    "%t [%p]: ",
    "%t [%p] ",
    "< %m > ",  # PGDG on Red Hat, older
    "%m ",
    "%t ",
)

#: Whatever is before the severity, with what can be told by its looks; a label like STATEMENT is not passed over.
ANY = re.compile(rf"(?P<before>\S(?:(?!:  ).){{0,400}}?|){MESSAGE}")
_ADDRESS = r"(?:\d{1,3}\.){3}\d{1,3}|(?=[\w:]*::)[0-9A-Fa-f:]{2,39}|(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"
_EDGE = r"(?:^|$|[\s|(){}<>\[\],;/#])"
_LOOKS = (
    re.compile(rf"(?P<m>{TIME})"),
    re.compile(rf"{_EDGE}(?P<n>\d{{10}}\.\d{{3}})(?={_EDGE})"),
    re.compile(r"\[(?P<p>\d+)(?:[-:]\d+)?\]|\b(?:pid|PID|p)[=: ](?P<p2>\d+)"),
    re.compile(r"(?:^|[\s,=:|;{<\[])(?P<r>(?:[0-9A-Fa-f:.]{3,45}|[\w.-]{1,255})\(\d{1,5}\))"),
    re.compile(r"\b(?:client|host|h)=(?P<h>[^\s,()|;]+)"),
    re.compile(r"\b(?:user|usr|u)=(?P<u>[^\s,|;]+)"),
    re.compile(r"\b(?:db|database|d)=(?P<d>[^\s,|;]+)"),
    re.compile(r"\b(?:app|application|a)=(?P<a>[^,\]|;]*?)(?=[,\]\s|;]|$)"),
    re.compile(r"(?:^|[\s,\[:|;{<(])(?P<e>[0-9][0-9A-Z]{4}|XX000)(?=[\s,\]:|;}>)]|$)"),
    re.compile(r"\b(?P<c>[0-9a-f]{8}\.[0-9a-f]{1,6})\b"),
    re.compile(r"(?:^|[\s:])(?P<u2>[^\s@=:\[\]]+)@(?P<d2>[^\s@=:\[\]]+)(?=[\s:]|$)"),
    re.compile(rf"{_EDGE}(?P<h2>{_ADDRESS})(?={_EDGE})"),
)
#: A number by itself, of which nothing else tells what it is; whose line it is may be said better.
_BARE_PROCESS = re.compile(rf"{_EDGE}(?P<p>[1-9]\d{{1,6}})(?={_EDGE})")


@functools.lru_cache(maxsize=None)
def compiled(prefix: str) -> t.Pattern[str]:
    """Matches the start of a line up to its message; groups are named by the escapes, ``severity`` and ``code``."""
    parts = []
    seen = set()
    optional = 0
    for found in _ESCAPE.finditer(prefix):
        padding, escape, literal = found.groups()
        if literal:
            parts.append(re.escape(literal))
        elif escape is None:
            parts.append("%")
        elif escape == "q":
            # Processes without a session stop here.
            parts.append("(?:")
            optional += 1
        elif escape in _ESCAPES:
            name = f"(?P<{escape}>{_ESCAPES[escape]})" if escape not in seen else f"(?:{_ESCAPES[escape]})"
            seen.add(escape)
            # Padded on the right, or on the left; also where there is nothing to show.
            parts.append({"": name, "-": rf"{name}\ *"}.get(padding[:1], rf"\ *{name}"))
    return re.compile("".join(parts) + ")?" * optional + MESSAGE)


def guess(lines: t.Sequence[str]) -> t.Pattern[str] | None:
    """What most of these lines begin with, None if none of them looks like a line of a server."""
    fits = [(sum(1 for line in lines if _fits(pattern, line)), pattern) for pattern in map(compiled, KNOWN)]
    most, best = max(fits, key=lambda fit: fit[0])
    anything = sum(1 for line in lines if ANY.match(line))
    if most * 2 >= anything > 0 and most:
        return best
    return ANY if anything else None


def _fits(pattern: t.Pattern[str], line: str) -> bool:
    """Whether it also makes sense: names with blanks have other things in them."""
    found = pattern.match(line)
    return found is not None and not any(" " in value for name, value in fields(found).items() if name in "ud")


def fields(found: t.Match[str]) -> dict[str, str]:
    """What a match of `compiled` or `ANY` says, by escape letters; empty ones left out."""
    known = {name: value.strip() for name, value in found.groupdict().items() if value}
    if "before" in known:
        before = known.pop("before")
        for look in _LOOKS:
            seen = look.search(before)
            if seen:
                known.update({name[0]: value for name, value in seen.groupdict().items() if value})
                before = look.sub(" ", before, count=1)  # what is told is not to be taken for something else
        process = None if "p" in known or "c" in known else _BARE_PROCESS.search(before)
        if process:
            known["p"] = process["p"]
    return known
