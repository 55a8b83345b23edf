// node-postgres: a pool whose connections are asked before use, and bounded retries of idempotent work.
"use strict";
const { Pool } = require("pg");
const { setTimeout: sleep } = require("timers/promises");

const TRANSIENT = new Set(["40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"]); // and class 08
const OF_THE_NETWORK = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"]);

function openPool(parameters) {
  const pool = new Pool({ max: 4, connectionTimeoutMillis: 10000, ...parameters });
  pool.on("error", () => {}); // an idle connection was lost; the pool drops it. Unheard, it ends the process
  return pool;
}

function isTransient(error) {
  if (error.code) {
    return TRANSIENT.has(error.code) || /^08...$/.test(error.code) || OF_THE_NETWORK.has(error.code);
  }
  return /^Connection terminated|timeout|not queryable/.test(error.message); // node-postgres' own words
}

/** work(client) in one transaction. */
async function once(pool, work) {
  const client = await pool.connect();
  const lost = () => {}; // lost between two statements: the next one fails
  client.on("error", lost);
  let broken;
  try {
    await client.query("SELECT 1"); // the ping: it fails before anything is done
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    broken = error;
    throw error;
  } finally {
    client.removeListener("error", lost);
    client.release(broken); // after an error the connection is not used again
  }
}

/** Again after a transient failure, for *patience* milliseconds. The work has to be idempotent. */
async function run(pool, work, patience = 30000) {
  const deadline = Date.now() + patience;
  for (let attempt = 0; ; attempt++) {
    const delay = Math.random() * Math.min(2000, 100 * 2 ** attempt);
    try {
      return await once(pool, work);
    } catch (error) {
      if (!isTransient(error) || Date.now() + delay >= deadline) throw error;
    }
    await sleep(delay);
  }
}

module.exports = { openPool, run };
