# Copyright (c) 2026 pgharden maintainers
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers of Go, a pure room; units as in the source and documentation of pgx 5 and lib/pq 1.10."""

from __future__ import annotations

import typing as t

from ._driver import Driver, Row, Values, query, text, with_unit, year_or

_GO_DIALER = (
    Row("KeepAliveConfig.Enable", "keepalives", bool),
    Row("KeepAliveConfig.Idle", "keepalives_idle", with_unit),
    Row("KeepAliveConfig.Interval", "keepalives_interval", with_unit),
    Row("KeepAliveConfig.Count", "keepalives_count"),
    Row("TCP_USER_TIMEOUT", "tcp_user_timeout"),
)
_GO_DEFAULTS = {"keepalives": 1, "keepalives_idle": 15, "keepalives_interval": 15, "keepalives_count": 9}
_GO_NOTE = (
    "KeepAliveConfig (Go 1.23) and TCP_USER_TIMEOUT are what a net.Dialer gives the socket: keywords of libpq for them"
    " would be sent to the server, which refuses them. Without a dialer Go has 15 s, 15 s, 9 probes."
)


def _go_dialer(own: Values, pool: Values) -> str:
    """A net.Dialer, as both Go drivers take it; TCP_USER_TIMEOUT is number 18 of Linux and in golang.org/x/sys/unix."""
    rows = ["dialer := &net.Dialer{"]
    keepalive = own.get("KeepAliveConfig", {})
    if keepalive:
        values = {name: _go(value) for name, value in keepalive.items()}
        rows.append(f"\tKeepAliveConfig: net.KeepAliveConfig{{{', '.join(f'{k}: {v}' for k, v in values.items())}}},")
    if own.get("TCP_USER_TIMEOUT"):
        rows += [
            "\tControl: func(network, address string, raw syscall.RawConn) (err error) {",
            "\t\tfailed := raw.Control(func(fd uintptr) {",
            "\t\t\terr = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, "
            f"{own['TCP_USER_TIMEOUT']})",
            "\t\t})",
            "\t\treturn errors.Join(failed, err)",
            "\t},",
        ]
    return "\n".join([*rows, "}"])


def _go(value: t.Any) -> str:
    """A duration such as 45s in Go's own arithmetic."""
    return f"{value[:-1]} * time.Second" if isinstance(value, str) else text(value)


def _pgx(own: Values, pool: Values) -> str:
    """config is what pgxpool.ParseConfig or pgx.ParseConfig gave; the former has it in ConnConfig."""
    return f"{_go_dialer(own, pool)}\nconfig.ConnConfig.DialFunc = dialer.DialContext"


#: pq.Dialer asks for a method that net.Dialer does not have; it is not called, since there is DialContext too.
_PQ_DIALER = """\
type pqDialer struct{ *net.Dialer }

func (dialer pqDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
\ttimed := *dialer.Dialer
\ttimed.Timeout = timeout
\treturn timed.Dial(network, address)
}

func harden(connector *pq.Connector, db *sql.DB) {"""


def _lib_pq(own: Values, pool: Values) -> str:
    """connector is what pq.NewConnector gave, db what sql.OpenDB made of it."""
    calls = [f"db.{name}({_go(value)})" for name, value in pool.items()]
    body = "\n".join([_go_dialer(own, pool), "connector.Dialer(pqDialer{dialer})", *calls])
    return "\n".join([_PQ_DIALER, *(f"\t{line}" for line in body.split("\n")), "}"])


def _only(*names: str) -> t.Callable[[Values, Values], str]:
    """The query of a URL where it takes but these, of the pool's too."""
    return lambda own, pool: query({name: one for name, one in {**own, **pool}.items() if name.startswith(names)}, {})


DRIVERS = {
    "pgx": Driver(
        (Row("connect_timeout", "connect_timeout"), *_GO_DIALER),
        (
            Row("pool_max_conn_idle_time", "pool_max_idle", year_or),
            Row("pool_max_conn_lifetime", "pool_max_age", year_or),
            Row("pool_min_conns", "pool_min_size"),
        ),
        untouched=_GO_DEFAULTS,
        notes=(_GO_NOTE, "pool_... are pgxpool's: pgx without a pool would send them to the server."),
        url=_only("connect_timeout", "pool_"),
        snippet=_pgx,
        proof="run",
    ),
    "lib/pq": Driver(
        (Row("connect_timeout", "connect_timeout"), *_GO_DIALER),
        (
            Row("SetConnMaxIdleTime", "pool_max_idle", with_unit),
            Row("SetConnMaxLifetime", "pool_max_age", with_unit),
            Row("SetMaxIdleConns", "pool_min_size"),
        ),
        untouched=_GO_DEFAULTS,
        notes=(_GO_NOTE,),
        url=_only("connect_timeout"),
        snippet=_lib_pq,
        proof="run",
    ),
}
