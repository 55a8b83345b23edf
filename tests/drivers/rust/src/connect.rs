// Copyright (c) 2026 pgharden maintainers
// GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

use std::error::Error;
use std::future::Future;

use serde_json::Value;
use tokio_postgres::NoTls;

/// Connects with a connection string or a URL, and waits for the end.
pub async fn main(given: &Value, end: impl Future<Output = ()>) -> Result<(), Box<dyn Error>> {
    let text = given["conninfo"].as_str().expect("a connection string");
    let (client, connection) = tokio_postgres::connect(text, NoTls).await?;
    tokio::spawn(connection);
    client.simple_query("SELECT 1").await?;
    println!("{{}}");
    end.await;
    Ok(())
}
