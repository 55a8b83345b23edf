// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// Two workers that do idempotent work through the snippet's run until the end; prints what came of it.
"use strict";
const { openPool, run } = require(process.env.SNIPPET);
const { setTimeout: sleep } = require("timers/promises");
const lines = require("readline").createInterface({ input: process.stdin });

let ended = false;
let done = 0;
const failures = {};

async function worker(pool, given, number) {
  let request = 0;
  do {
    const key = `${given.name}-${number}-${request++}`;
    try {
      await run(pool, (client) => client.query("SELECT do_once($1, $2)", [given.name, key]), given.patience * 1000);
      done++;
    } catch (error) {
      failures[error.message] = (failures[error.message] ?? 0) + 1;
      await sleep(50);
    }
  } while (!ended);
}

lines.once("line", async (line) => {
  const given = JSON.parse(line);
  const { dbname, ...server } = given.server;
  const pool = openPool({ ...server, database: dbname });
  await Promise.all([worker(pool, given, 1), worker(pool, given, 2)]);
  console.log(JSON.stringify({ done, failures }));
  process.exit(0);
});
lines.once("close", () => (ended = true));
