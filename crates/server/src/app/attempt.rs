//! Refused attempts, for those who watch.

use salus_policy::{Operation, Relation};
use salus_proto::TimestampMs;
use salus_proto::api::Page;
use salus_proto::api::attempt::Attempt;
use salus_proto::ids::PrincipalId;
use salus_runtime::{from_row, params};

use super::{Actor, App};
use crate::problem::{Problem, Result};

struct Row {
    who: Vec<u8>,
    what: String,
    why: String,
    place: String,
    first_at: TimestampMs,
    last_at: TimestampMs,
    occurrences: u64,
}
from_row!(Row {
    who,
    what,
    why,
    place,
    first_at,
    last_at,
    occurrences
});

impl App {
    /// Refused attempts, the latest first; `before` is the time below which the page begins.
    pub(crate) async fn attempts(
        &self,
        actor: &Actor,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Page<Attempt>> {
        actor.must(Operation::WatchIntrusions, Relation::Stranger)?;
        self.watch.flush().await;
        let before = before.unwrap_or(i64::MAX as u64);
        let mut rows: Vec<Row> = {
            let tx = &mut self.database.read().await?;
            // Whole milliseconds at a time, so that a page never splits one.
            tx.all(
                "SELECT who, what, why, place, first_at, last_at, occurrences FROM attempt
                     WHERE last_at < $1 AND last_at >= COALESCE(
                       (SELECT last_at FROM attempt WHERE last_at < $1
                        ORDER BY last_at DESC LIMIT 1 OFFSET $2), 0)
                     ORDER BY last_at DESC, who, what, why, place",
                &params![before, limit - 1],
            )
            .await
        }?;
        let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = rows
            .last()
            .filter(|_| full)
            .map(|row| row.last_at.0.to_string());
        let items = rows.drain(..).map(attempt).collect::<Result<_>>()?;
        Ok(Page { items, next })
    }
}

fn attempt(row: Row) -> Result<Attempt> {
    let who = match row.who.as_slice() {
        [] => None,
        bytes => Some(PrincipalId(
            bytes.try_into().map_err(|_| Problem::internal())?,
        )),
    };
    let Row {
        what,
        why,
        place,
        first_at,
        last_at,
        occurrences,
        ..
    } = row;
    Ok(Attempt {
        at: last_at,
        first: first_at,
        who,
        what,
        why,
        place,
        count: occurrences,
    })
}
