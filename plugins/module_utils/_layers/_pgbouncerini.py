# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PgBouncer configuration file room (pure): reads and edits the bytes of a pgbouncer.ini as PgBouncer reads them.

The rules are those of libusual's ``cfparser.c`` and were tried on PgBouncer 1.18: a comment has a line of its own,
names have a case, ``%include`` goes on in the section that it stands in, and whatever cannot be read ends the loading.
Every header ``[pgbouncer]`` sets all of that section back to its defaults, so only what follows the last one counts,
and of that the last assignment.

Text is UTF-8 with surrogate escapes: bytes that are no UTF-8 pass through values and names unharmed.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
import typing as t

from .._errors import Failure

MAIN = "pgbouncer"
_SECTIONS = (MAIN, "databases", "users", "peers")
#: A setting that is there in every version that has [peers] (1.19).
_OF_PEERS = "peer_id"
_DEEPEST = 10

_BLANKS = re.compile(rb"[ \t\n\r\v\f]*")
_INCLUDE = re.compile(rb"%include[ \t]+(?P<value>[^\n]*)")
_COMMENT = re.compile(rb"[#;][^\n]*")
_SECTION = re.compile(rb"\[(?P<name>[^]\n]*)\]")
_SETTING = re.compile(rb"(?:'(?P<quoted>[^']+)'|(?P<name>[A-Za-z0-9_.*-]*))[ \t]*=[ \t]*(?P<value>[^\n]*)")
_PAIR = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?:'(?P<quoted>(?:[^']|'')*)'|(?P<plain>\S*))")

#: Keys of a [databases] or [users] entry that outrank the setting of that name in [pgbouncer], and no secrets.
_OVERRIDES = {
    **{
        name: name
        for name in (
            "pool_mode",
            "min_pool_size",
            "reserve_pool_size",
            "max_db_connections",
            "max_user_connections",
            "server_lifetime",
            "query_timeout",
            "query_wait_timeout",
            "idle_transaction_timeout",
            "transaction_timeout",
            "client_idle_timeout",
        )
    },
    "pool_size": "default_pool_size",
    "reserve_pool": "reserve_pool_size",
}

#: Gives the bytes of an included file by the path as it is written, None where there is none.
Load = t.Callable[[str], t.Optional[bytes]]


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing that a file says. *kind* is setting, section, include or error; *section* is the one in effect then.

    *start* and *end* are offsets in its file, *value_span* those of a setting's value. *name* of an error is what is
    wrong: never the text of the line, which may hold a password. *depth* is 0 in the main file.
    """

    kind: str
    path: str
    line: int
    name: str
    value: str
    section: str
    start: int
    end: int
    value_span: tuple[int, int]
    depth: int


def items(path: str, data: bytes, load: Load) -> list[Item]:
    """All that the file at *path* and those that it includes say, in the order in which PgBouncer takes it.

    An include comes after what it included. Nothing comes after an error.
    """
    found: list[Item] = []
    _walk(path, data, load, 0, found)
    return found


def problems(found: t.Sequence[Item], known: t.Container[str] | None) -> list[Item]:
    """Items that PgBouncer would not take; *known* are the names that [pgbouncer] may have, if they are known."""
    wrong = []
    sections = _SECTIONS if known is None or _OF_PEERS in known else _SECTIONS[:-1]
    for item in found:
        if (
            item.kind == "error"
            or (item.kind == "section" and item.name not in sections)
            or (item.kind == "setting" and not item.section)
            or (item.kind == "setting" and item.section == MAIN and known is not None and item.name not in known)
        ):
            wrong.append(item)
    return wrong


def effective(found: t.Sequence[Item]) -> dict[str, Item]:
    """The assignment that decides, for each setting of [pgbouncer]."""
    decisive: dict[str, Item] = {}
    for item in found:
        if item.kind == "section" and item.name == MAIN:
            decisive = {}
        elif item.kind == "setting" and item.section == MAIN:
            decisive[item.name] = item
    return decisive


def values(found: t.Sequence[Item]) -> dict[str, str]:
    """The value that decides, for each setting of [pgbouncer]."""
    return {name: item.value for name, item in effective(found).items()}


def values_in(data: bytes | None) -> dict[str, str]:
    """What this file alone says in [pgbouncer]."""
    return values(items("", data or b"", lambda path: b""))


def port(settings: t.Mapping[str, str], path: str) -> int:
    """Where PgBouncer listens. Raises Failure ``bad_config_file`` where that is no number: there it stops reading."""
    text = settings.get("listen_port", "6432")
    if text.isdecimal():
        return int(text)
    found = f"listen_port = {text} is no number"
    remedy = "Correct that line first; a comment has a line of its own."
    raise Failure("bad_config_file", f"settings of PgBouncer in {path}", found, remedy)


def overrides(found: t.Sequence[Item]) -> list[dict[str, t.Any]]:
    """What single databases and users have of their own: setting, section, name, value, file, line."""
    rows = []
    for item in found:
        if item.kind == "setting" and item.section in ("databases", "users"):
            for key, value in _pairs(item.value).items():
                if key in _OVERRIDES:
                    place = {"section": item.section, "name": item.name, "file": item.path, "line": item.line}
                    rows.append({"setting": _OVERRIDES[key], "value": value, **place})
    return rows


def server_legs(found: t.Sequence[Item]) -> list[dict[str, t.Any]]:
    """Where each database's server is reached: ``database``, ``host`` (None: the default socket), ``unix_socket``."""
    rows: dict[str, dict[str, t.Any]] = {}
    for item in found:
        if item.kind == "setting" and item.section == "databases":
            host = _pairs(item.value).get("host")
            # a host that is empty, a path or an abstract name is a Unix socket
            unix = not host or host[0] in "/@"
            rows[item.name] = {"database": item.name, "host": host or None, "unix_socket": unix}
    return list(rows.values())


def edit(path: str, data: bytes, settings: t.Mapping[str, str | None], load: Load) -> bytes:
    """The file with each of *settings* in force, or not set in it at all where that is None; all else is kept.

    The assignment that decides gets the value, if it is in this file. Else a line is added, below the commented-out
    sample or at the end of the section, where it outranks the files that are included. Raises Failure ``outranked``
    where there is no such place, ``bad_value``.
    """
    for name, value in settings.items():
        found = items(path, data, load)
        decisive = effective(found).get(name)
        if value is None:
            data = _comment_out(data, [item for item in found if item.depth == 0 and _sets(item, name)])
        elif decisive is None or decisive.depth:
            data = _insert(path, data, found, decisive, name, value)
        # In a number that has to be whole PgBouncer takes no fraction, not even .0.
        elif not same(decisive.value, value) or ("." in decisive.value and "." not in value):
            start, end = decisive.value_span
            data = data[:start] + _written(name, value) + data[end:]
    return data


def same(one: str | None, other: str | None) -> bool:
    """Whether PgBouncer takes both for the same: times may have a fraction, words have no case."""
    if one is None or other is None:
        return one is other
    try:
        return float(one) == float(other)
    except ValueError:
        return one.lower() == other.lower()


def _walk(path: str, data: bytes, load: Load, depth: int, found: list[Item]) -> None:
    """Append the items of one file."""
    text = data.partition(b"\0")[0]  # to PgBouncer the file is a C string
    position = 0
    while not (found and found[-1].kind == "error"):
        position = _end(_BLANKS.match(text, position))
        if position == len(text):
            return
        comment = _COMMENT.match(text, position)
        if comment:
            position = comment.end()
            continue
        section = found[-1].section if found else ""
        kind, name, span, end = _token(text, position)
        value = _decode(text[span[0] : span[1]])
        if kind == "include":
            name, included = value, load(value)
            if depth >= _DEEPEST:
                kind, name = "error", "its files are included too deeply"
            elif included is None:
                kind, name = "error", f"there is no file {value} to include"
            else:
                _walk(value, included, load, depth + 1, found)
                if found and found[-1].kind == "error":
                    return
                section = found[-1].section if found else ""
        if kind == "section":
            section = name
        line = text.count(b"\n", 0, position) + 1
        found.append(Item(kind, path, line, name, value, section, position, end, span, depth))
        position = end


def _token(text: bytes, position: int) -> tuple[str, str, tuple[int, int], int]:
    """What begins there: its kind, its name, where its value is, and where it ends."""
    match = _INCLUDE.match(text, position)
    if match:
        start, end = match.span("value")
        return "include", "", (start, start + len(text[start:end].rstrip())), end
    match = _SECTION.match(text, position)
    if match:
        return "section", _decode(match["name"]), (match.end(), match.end()), match.end()
    match = _SETTING.match(text, position)
    if match:
        start, end = match.span("value")
        return "setting", _decode(match["quoted"] or match["name"]), (start, start + len(text[start:end].rstrip())), end
    wrong = "it begins with a byte order mark" if text.startswith(codecs.BOM_UTF8) else "it cannot be read"
    return "error", wrong, (position, position), position


def _end(match: t.Match[bytes] | None) -> int:
    return match.end() if match else 0


def _sets(item: Item, name: str) -> bool:
    return item.kind == "setting" and item.section == MAIN and item.name == name


def _pairs(value: str) -> dict[str, str]:
    """The pairs of a connection string, which is what an entry of [databases] or [users] has."""
    pairs, position = {}, 0
    match = _PAIR.match(value)
    while match:
        quoted = match["quoted"]
        pairs[match["name"]] = match["plain"] if quoted is None else quoted.replace("''", "'")
        position = match.end()
        match = _PAIR.match(value, position)
    return pairs


def _comment_out(data: bytes, active: list[Item]) -> bytes:
    """The last one first, so that the offsets of the others stay true."""
    for item in reversed(active):
        data = data[: item.start] + b";" + data[item.start :]
    return data


def _insert(path: str, data: bytes, found: list[Item], decisive: Item | None, name: str, value: str) -> bytes:
    spaces = _spaces(data, found, decisive)
    if not spaces:
        last = decisive or next((item for item in reversed(found) if item.section == MAIN), None)
        if last is None:
            lacks = "it has no section [pgbouncer]"
            if found and found[-1].kind == "error":
                lacks = f"PgBouncer stops reading at {found[-1].path}:{found[-1].line}: {found[-1].name}"
            raise Failure("bad_config_file", f"set {name} in {path}", lacks, "Correct the file first.")
        where = f"{last.path}:{last.line} decides, and no line of this file comes after it in the section [pgbouncer]"
        remedy = f"Set it in {last.path}, or have that file included above the section."
        raise Failure("outranked", f"set {name} in {path}", where, remedy, file=last.path, line=last.line)
    place = spaces[-1][0]
    sample = re.compile(rb"[ \t]*[#;][#; \t]*" + re.escape(_encode(name)) + rb"[ \t]*=[^\n]*(?:\n|\Z)")
    for start, end in spaces:
        for line in re.finditer(rb"[^\n]+(?:\n|\Z)", data[start:end]):
            if sample.fullmatch(line[0]):
                place = start + line.end()
    above = data[:place]
    # The line above tells the line ending, unless it is a last line that has none.
    ending = b"\r\n" if above[: above.rfind(b"\n") + 1].endswith(b"\r\n") else b"\n"
    if not above.endswith(b"\n"):
        above += ending
    return above + _encode(name) + b" = " + _written(name, value) + ending + data[place:]


def _spaces(data: bytes, found: list[Item], decisive: Item | None) -> list[tuple[int, int]]:
    """Where this file has room (from the start of a line to the next item) for a line that decides in [pgbouncer]."""
    first = found.index(decisive) if decisive else -1
    headers = [index for index, item in enumerate(found) if item.kind == "section" and item.name == MAIN]
    if not headers:
        return []
    spaces = []
    own = [index for index, item in enumerate(found) if item.depth == 0]
    for index, following in zip(own, [*own[1:], None]):
        item = found[index]
        start = data.find(b"\n", item.end) + 1 or len(data)
        end = len(data) if following is None else found[following].start
        if item.section == MAIN and item.kind != "error" and index >= max(headers[-1], first) and start <= end:
            spaces.append((start, end))
    return spaces


def _written(name: str, value: str) -> bytes:
    raw = _encode(value)
    if not raw or raw != raw.strip() or b"\n" in raw or b"\0" in raw:
        remedy = "Give it as one line of text without blanks around it."
        raise Failure("bad_value", f"set {name!r} in a pgbouncer.ini", "the file cannot hold this value", remedy)
    return raw


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
