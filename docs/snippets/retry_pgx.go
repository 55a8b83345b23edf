// pgx: a pool that hands out living connections, and bounded retries of idempotent work.

package main

import (
	"context"
	"errors"
	"io"
	"math/rand"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var transient = map[string]bool{ // and class 08
	"40001": true, "40P01": true, "53300": true, "57P01": true, "57P02": true, "57P03": true, "57P05": true,
}

func openPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	// pgx 5 does so by itself for what was idle for a second.
	config.BeforeAcquire = func(ctx context.Context, connection *pgx.Conn) bool { return connection.Ping(ctx) == nil }
	return pgxpool.ConnectConfig(ctx, config)
}

func isTransient(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return transient[answer.Code] || strings.HasPrefix(answer.Code, "08")
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || strings.Contains(err.Error(), "conn closed")
}

// run does work in one transaction, again after a transient failure, for as long as patience. It has to be idempotent.
func run(ctx context.Context, pool *pgxpool.Pool, work func(pgx.Tx) error, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for attempt := 0; ; attempt++ {
		err := pool.BeginFunc(ctx, work)
		most := 2 * time.Second
		if attempt < 5 {
			most = 100 * time.Millisecond << attempt
		}
		delay := time.Duration(rand.Int63n(int64(most)))
		if err == nil || !isTransient(err) || !time.Now().Add(delay).Before(deadline) {
			return err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
