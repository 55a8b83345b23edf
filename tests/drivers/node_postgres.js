// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// node-postgres: a pool, with rendered parameters or with the rendered URL.
"use strict";
const { Pool } = require("pg");
const lines = require("readline").createInterface({ input: process.stdin });

lines.once("line", async (line) => {
  const { server, parameters, pool: ofPool, uri } = JSON.parse(line);
  const { dbname, ...rest } = server;
  const address = uri ? { connectionString: uri } : { database: dbname, ...rest, ...parameters };
  const pool = new Pool({ ...address, ...ofPool });
  const clients = await Promise.all([pool.connect(), pool.connect()]);
  await Promise.all(clients.map((client) => client.query("SELECT 1")));
  const said = Object.fromEntries(["idleTimeoutMillis", "maxLifetimeSeconds", "min"].map((name) => [name, pool.options[name]]));
  console.log(JSON.stringify({ ...said, connectionTimeoutMillis: pool.options.connectionTimeoutMillis }));
});
lines.once("close", () => process.exit(0));
