// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

//! tokio-postgres: `connect` with rendered parameters, or `retry` under load.

mod connect;
mod load;
#[path = "../../../../docs/snippets/retry_tokio_postgres.rs"]
mod retry;

use std::error::Error;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let given: Value = serde_json::from_str(&line)?;
    let end = async move {
        let _ = input.read_to_string(&mut String::new()).await;
    };
    let result = match std::env::args().nth(1).as_deref() {
        Some("connect") => connect::main(&given, end).await,
        _ => load::main(&given, end).await,
    };
    if let Err(error) = &result {
        eprintln!("{error:?}");
    }
    std::process::exit(i32::from(result.is_err())) // without waiting for the end of the input
}
