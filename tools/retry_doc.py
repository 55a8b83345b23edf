# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes docs/snippets into docs/retry.md, byte for byte; --check only says if the page is up to date."""

from __future__ import annotations

import sys

import _tree

PAGE = _tree.ROOT / "docs" / "retry.md"
BEGIN, END = "<!-- begin: written by tools/retry_doc.py -->\n", "<!-- end -->\n"
SNIPPETS = {
    "retry_psycopg2.py": ("psycopg2", "python"),
    "retry_psycopg.py": ("psycopg 3 with psycopg_pool", "python"),
    "retry_sqlalchemy.py": ("SQLAlchemy", "python"),
    "retry_asyncpg.py": ("asyncpg", "python"),
    "Retry.java": ("pgjdbc with HikariCP", "java"),
    "retry_node_postgres.js": ("node-postgres", "js"),
    "retry_pgx.go": ("pgx 4 (pgx 5 has `pgx.BeginFunc(ctx, pool, work)`, and pgconn among its own packages)", "go"),
    "retry_tokio_postgres.rs": ("tokio-postgres with deadpool", "rust"),
    "retry_pg.rb": ("Ruby pg", "ruby"),
    "retry_pdo.php": ("PHP PDO", "php"),
}


def blocks() -> str:
    lines = []
    for name, (title, language) in SNIPPETS.items():
        text = (_tree.ROOT / "docs" / "snippets" / name).read_text(encoding="utf-8")
        lines.append(f"\n## {title}\n\n[{name}](snippets/{name})\n\n```{language}\n{text}```\n")
    return "".join(lines)


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    text = before + BEGIN + blocks() + "\n" + END + rest.split(END)[1]
    if text == page:
        return 0
    if "--check" in sys.argv[1:]:
        print(f"{PAGE.relative_to(_tree.ROOT)} is out of date: run tools/retry_doc.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
