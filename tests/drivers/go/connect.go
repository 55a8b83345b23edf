// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"database/sql"
	"reflect"
	"time"

	"github.com/jackc/pgx/v4/pgxpool"
	"github.com/lib/pq"
)

// The functions hardenPgx and harden are the rendered snippets; see support.drivers.

func connectPgx(asked given, end <-chan struct{}) {
	config, err := pgxpool.ParseConfig(asked.URL)
	check(err)
	if !asked.Plain {
		hardenPgx(config)
	}
	pool, err := pgxpool.ConnectConfig(context.Background(), config)
	check(err)
	connection, err := pool.Acquire(context.Background())
	check(err)
	check(connection.Ping(context.Background()))
	say(map[string]any{
		"pool_max_conn_idle_time": pool.Config().MaxConnIdleTime.Seconds(),
		"pool_max_conn_lifetime":  pool.Config().MaxConnLifetime.Seconds(),
		"pool_min_conns":          pool.Config().MinConns,
		"connect_timeout":         pool.Config().ConnConfig.ConnectTimeout.Seconds(),
	})
	<-end
}

func connectPq(asked given, end <-chan struct{}) {
	connector, err := pq.NewConnector(asked.URL)
	check(err)
	db := sql.OpenDB(connector)
	if !asked.Plain {
		harden(connector, db)
	}
	connection, err := db.Conn(context.Background())
	check(err)
	check(connection.PingContext(context.Background()))
	fields := reflect.ValueOf(db).Elem() // what it was told it tells nobody
	say(map[string]any{
		"SetConnMaxIdleTime": time.Duration(fields.FieldByName("maxIdleTime").Int()).Seconds(),
		"SetConnMaxLifetime": time.Duration(fields.FieldByName("maxLifetime").Int()).Seconds(),
		"SetMaxIdleConns":    fields.FieldByName("maxIdleCount").Int(),
	})
	<-end
}
