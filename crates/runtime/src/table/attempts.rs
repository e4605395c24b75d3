//! Writing: a transaction's body runs until it is committed, refused or has given way too often.

use std::time::Duration;

use salus_proto::Entropy as _;

use super::Database;
use super::failure::{self, Failed};
use super::transaction::{State, Transaction};
use crate::entropy::SystemEntropy;
use crate::error::{Error, Result};

/// Most attempts at one transaction.
const ATTEMPTS_MAX: u32 = 16;

/// Runs `body` as a transaction that is alone as far as it can tell, and makes what it wrote
/// durable: `transact!(db, "register", |tx| add(tx, &account).await)`.
///
/// The body is inline code that may use `.await` and `?`; it gives a `Result<T, E>` with
/// `E: From<Error>`, and so does the whole. Nothing is kept when that is an error. The body runs
/// again, up to 16 times, when another transaction got in the way, so it changes nothing but `tx`.
/// After [`Error::Unavailable`] the transaction may or may not have been committed.
#[macro_export]
macro_rules! transact {
    ($database:expr, $name:literal, |$tx:ident| $body:expr $(,)?) => {{
        let mut attempts = $crate::table::Attempts::new(&$database, $name);
        loop {
            let mut transaction = match attempts.begin().await {
                Ok(transaction) => transaction,
                Err(error) => break Err(::core::convert::From::from(error)),
            };
            let $tx = &mut transaction;
            let outcome = async { $body }.await;
            if let Some(outcome) = attempts.end(transaction, outcome).await {
                break outcome;
            }
        }
    }};
}

/// The attempts at one write transaction; [`transact!`](crate::transact) drives them. It is a macro
/// because the future of a method that takes an async closure is not `Send` to the compiler.
#[derive(Debug)]
pub struct Attempts<'d> {
    database: &'d Database,
    name: &'static str,
    made: u32,
}

impl<'d> Attempts<'d> {
    /// No attempt yet at the transaction `name`.
    pub fn new(database: &'d Database, name: &'static str) -> Self {
        Self {
            database,
            name,
            made: 0,
        }
    }

    /// Begins the next attempt.
    ///
    /// # Errors
    /// [`Error::Busy`] when there have been enough; failures of the engine.
    pub async fn begin(&mut self) -> Result<Transaction> {
        while self.made < ATTEMPTS_MAX {
            if self.made > 0 {
                back_off(self.made).await;
            }
            self.made += 1;
            match self.database.begin_write().await {
                Ok(transaction) => return Ok(transaction),
                Err(error) => match failure::sort(self.name, error) {
                    Failed::Conflict => {}
                    Failed::Error(error) => return Err(error),
                },
            }
        }
        Err(Error::Busy {
            name: self.name,
            attempts: self.made,
        })
    }

    /// Ends an attempt whose body gave `outcome`; `None` asks for another.
    pub async fn end<T, E: From<Error>>(
        &mut self,
        transaction: Transaction,
        outcome: Result<T, E>,
    ) -> Option<Result<T, E>> {
        match (transaction.state, outcome) {
            (State::Sound, Ok(value)) => match transaction.commit().await {
                Ok(()) => Some(Ok(value)),
                Err(error) => match failure::sort(self.name, error) {
                    Failed::Conflict => None,
                    Failed::Error(error) => Some(Err(error.into())),
                },
            },
            (State::Conflicted, _) => {
                transaction.rollback().await;
                None
            }
            (State::Sound | State::Failed, Err(error)) => {
                transaction.rollback().await;
                Some(Err(error))
            }
            (State::Failed, Ok(_)) => {
                transaction.rollback().await;
                let bug = Error::Bug {
                    what: format!("transaction `{}`", self.name),
                    detail: "its body went on after a statement failed; nothing was kept".into(),
                };
                Some(Err(bug.into()))
            }
        }
    }
}

/// Waits a random part of 1 ms × 2^attempt, at most of 128 ms, so that rivals part ways.
async fn back_off(attempt: u32) {
    let [draw] = SystemEntropy.array();
    let longest_us = 1_000_u64 << attempt.min(7);
    tokio::time::sleep(Duration::from_micros(longest_us * u64::from(draw) / 256)).await;
}
