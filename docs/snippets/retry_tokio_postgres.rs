//! tokio-postgres with deadpool: a pool that asks connections before use, and bounded retries of idempotent work.

use std::error::Error;
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::{NoTls, Transaction};

// and class 08
const TRANSIENT: [&str; 7] = ["40001", "40P01", "53300", "57P01", "57P02", "57P03", "57P05"];

pub fn open_pool(conninfo: &str) -> Result<Pool, Box<dyn Error>> {
    let ping = ManagerConfig { recycling_method: RecyclingMethod::Verified };
    let manager = Manager::from_config(conninfo.parse()?, NoTls, ping);
    let wait = Timeouts::wait_millis(10_000);
    Ok(Pool::builder(manager).max_size(4).runtime(Runtime::Tokio1).timeouts(wait).build()?)
}

fn is_transient(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => TRANSIENT.contains(&code.code()) || code.code().starts_with("08"),
        // No answer of the server: the connection was lost, or there was none.
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}

/// Work in one transaction, again after a transient failure, for as long as `patience`. It has to be idempotent.
pub async fn run<T>(
    pool: &Pool,
    patience: Duration,
    work: impl AsyncFn(&Transaction<'_>) -> Result<T, tokio_postgres::Error>,
) -> Result<T, PoolError> {
    let deadline = Instant::now() + patience;
    let mut most = Duration::from_millis(100);
    loop {
        let error = match once(pool, &work).await {
            Err(error) => error,
            done => return done,
        };
        let delay = most.mul_f64(fastrand::f64());
        let transient = matches!(&error, PoolError::Backend(error) if is_transient(error));
        if !transient || Instant::now() + delay >= deadline {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
        most = Duration::from_secs(2).min(most * 2);
    }
}

async fn once<T>(
    pool: &Pool,
    work: &impl AsyncFn(&Transaction<'_>) -> Result<T, tokio_postgres::Error>,
) -> Result<T, PoolError> {
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    let result = work(&transaction).await?;
    transaction.commit().await?;
    Ok(result)
}
