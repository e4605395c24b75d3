//! What this node does on its own when entries become final: hands class keys over, takes them back,
//! grants people their own records by policy, and finishes batches that a crash left half done.
//!
//! A reader of the log with a position of its own. Each act is repeatable, and the position moves only
//! after it, so everything is done at least once.

use core::time::Duration;
use std::sync::Arc;

use salus_proto::command::{Action, Entry, Outcome};
use salus_proto::ids::{AccessId, BatchId};
use salus_runtime::{params, transact};
use salus_vault::{RevokedAccess, decide_own_records};

use crate::app::App;
use crate::app::command::command_of;
use crate::node::decode_entry;
use crate::problem::Result;

/// Name of the position.
const READER: &str = "custodian";
/// Most entries between two moves of the position.
const STEP: usize = 256;
/// How long to wait after something failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Follows the log until the server stops.
pub(crate) async fn follow(app: Arc<App>) {
    let mut stopping = app.stopping.subscribe();
    let mut next = None;
    loop {
        let at = match go_on(&app, &mut next).await {
            Ok(at) => at,
            Err(problem) => {
                tracing::warn!(
                    code = problem.code(),
                    "what follows from an entry is held up"
                );
                tokio::select! {
                    () = app.clock.sleep(PAUSE) => continue,
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
            }
        };
        tokio::select! {
            grown = app.ledger.executed(at + 1) => if grown.is_err() { return },
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Does what follows from every entry so far; returns the index of the one that comes next.
async fn go_on(app: &App, position: &mut Option<u64>) -> Result<u64> {
    let mut next = match *position {
        Some(next) => next,
        None => {
            app.finish_batches().await?;
            stored_position(app).await?
        }
    };
    loop {
        *position = Some(next);
        let rows = app.view()?.entries(next, STEP)?;
        if rows.is_empty() {
            return Ok(next);
        }
        for (index, bytes) in rows {
            act(app, &decode_entry(&bytes)?).await?;
            next = index + 1;
        }
        transact!(app.database, "move custodian", |tx| {
            tx.execute(
                "INSERT INTO log_position (reader, next_entry) VALUES ($1, $2)
                 ON CONFLICT (reader) DO UPDATE SET next_entry = excluded.next_entry
                 WHERE excluded.next_entry > log_position.next_entry",
                &params![READER, next],
            )
            .await
        })?;
    }
}

async fn stored_position(app: &App) -> Result<u64> {
    let sql = "SELECT next_entry FROM log_position WHERE reader = $1";
    let row: Option<(u64,)> = app
        .database
        .read()
        .await?
        .optional(sql, &params![READER])
        .await?;
    Ok(row.map_or(0, |(next,)| next))
}

async fn act(app: &App, entry: &Entry) -> Result<()> {
    if entry.outcome != Outcome::Accepted {
        return Ok(());
    }
    match command_of(entry)?.action {
        Action::RequestAccess { access, .. } if app.policy.approve_own_records => {
            approve_own(app, access).await
        }
        Action::DecideAccess { access, .. } => app.hand_over(access).await,
        Action::RevokeAccess { access, .. } => take_back(app, access).await,
        Action::AnchorBatch { batch, .. } => note_anchored(app, batch, entry.index).await,
        _ => Ok(()),
    }
}

/// Marks a batch that is staged here and was anchored, however that came about.
async fn note_anchored(app: &App, batch: BatchId, entry: u64) -> Result<()> {
    match app.vault.anchored(batch, entry).await {
        // Somebody else's batch.
        Ok(()) | Err(salus_vault::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn take_back(app: &App, access: AccessId) -> Result<()> {
    let view = app.view()?;
    if let Some(revoked) = RevokedAccess::of(&*view, access, app.organisation) {
        app.vault.revoke(&revoked, &*view).await?;
    }
    Ok(())
}

/// Grants a linked patient their own records, as the organisation has published.
async fn approve_own(app: &App, access: AccessId) -> Result<()> {
    let Some(action) = decide_own_records(&*app.view()?, access, app.organisation) else {
        return Ok(());
    };
    // Refused means that somebody decided meanwhile.
    app.act_as_organisation(action).await?;
    app.hand_over(access).await
}
