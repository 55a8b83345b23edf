// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// pgx and lib/pq: "connect" with rendered parameters, or "retry" under load.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

type given struct {
	Driver   string
	URL      string
	Plain    bool // without the rendered snippet
	Name     string
	Patience float64
}

func main() {
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	check(err)
	var asked given
	check(json.Unmarshal(line, &asked))
	end := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, input)
		close(end)
	}()
	switch {
	case os.Args[1] == "retry":
		load(asked, end)
	case asked.Driver == "pgx":
		connectPgx(asked, end)
	default:
		connectPq(asked, end)
	}
}

func say(value any) {
	text, err := json.Marshal(value)
	check(err)
	fmt.Println(string(text))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
