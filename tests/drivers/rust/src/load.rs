// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};

use crate::retry::{open_pool, run};

/// Two workers that do idempotent work through the snippet's `run` until the end; prints what came of it.
pub async fn main(given: &Value, end: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
    let name = given["name"].as_str().expect("a name");
    let patience = Duration::from_secs_f64(given["patience"].as_f64().expect("seconds"));
    let pool = open_pool(given["conninfo"].as_str().expect("a connection string"))?;
    let ended = Cell::new(false);
    let done = Cell::new(0u32);
    let failures = RefCell::new(BTreeMap::<String, u32>::new());
    let worker = |number: u32| {
        let (pool, ended, done, failures) = (&pool, &ended, &done, &failures);
        async move {
            for request in 0.. {
                let key = format!("{name}-{number}-{request}");
                let result = run(pool, patience, async |transaction| {
                    transaction.execute("SELECT do_once($1, $2)", &[&name, &key]).await
                });
                match result.await {
                    Ok(_) => done.set(done.get() + 1),
                    Err(error) => {
                        *failures.borrow_mut().entry(error.to_string()).or_default() += 1;
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
                if ended.get() {
                    return;
                }
            }
        }
    };
    let stop = async {
        end.await;
        ended.set(true);
    };
    tokio::join!(worker(1), worker(2), stop);
    println!("{}", json!({"done": done.get(), "failures": *failures.borrow()}));
    Ok(())
}
