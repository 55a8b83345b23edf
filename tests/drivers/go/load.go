// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v4"
)

// load has two workers do idempotent work through the snippet's run until the end, and says what came of it.
func load(asked given, end <-chan struct{}) {
	ctx := context.Background()
	pool, err := openPool(ctx, asked.URL)
	check(err)
	var lock sync.Mutex
	var workers sync.WaitGroup
	done, failures := 0, map[string]int{}
	worker := func(number int) {
		defer workers.Done()
		for request := 0; ; request++ {
			key := fmt.Sprintf("%s-%d-%d", asked.Name, number, request)
			err := run(ctx, pool, func(transaction pgx.Tx) error {
				_, err := transaction.Exec(ctx, "SELECT do_once($1, $2)", asked.Name, key)
				return err
			}, time.Duration(asked.Patience*float64(time.Second)))
			lock.Lock()
			if err == nil {
				done++
			} else {
				failures[err.Error()]++
			}
			lock.Unlock()
			if err != nil {
				time.Sleep(50 * time.Millisecond)
			}
			select {
			case <-end:
				return
			default:
			}
		}
	}
	workers.Add(2)
	go worker(1)
	go worker(2)
	workers.Wait()
	say(map[string]any{"done": done, "failures": failures})
}
