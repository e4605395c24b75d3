//! Server-sent events: what changed for the caller, from the projection, resumable by
//! `Last-Event-ID`. What sites of federated jobs do between two entries is told too, and to those who watch
//! that an attempt was refused, without an id: whoever missed it sees it when they ask.

use core::convert::Infallible;
use core::time::Duration;
use std::collections::{BTreeSet, btree_set};
use std::sync::Arc;

use axum::response::sse;
use futures_util::stream::{self, Stream};
use salus_policy::{Operation, Relation};
use salus_proto::api::event::EventKind;
use salus_proto::ids::{JobId, OrganisationId};
use salus_proto::role::Role;
use salus_runtime::{Clock, from_row, params};
use tokio::sync::watch;

use crate::app::{Actor, App};
use crate::problem::Result;

/// Events read at once.
const STEP: u32 = 100;
/// How long a client waits before it connects again, in ms.
const RETRY: Duration = Duration::from_millis(2_000);
/// Shortest time between two words about refused attempts: a flood of them must not become one of events.
const ATTEMPTS_GAP: Duration = Duration::from_secs(1);

struct Row {
    entry: u64,
    kind: String,
    subject: String,
}
from_row!(Row {
    entry,
    kind,
    subject
});

/// Where a stream stands.
struct Reader {
    app: Arc<App>,
    actor: Actor,
    /// The last entry that was looked at; -1 before the first.
    after: i64,
    ready: std::vec::IntoIter<Row>,
    /// The last change of a job between two entries that was told.
    live: u64,
    jobs: btree_set::IntoIter<JobId>,
    opened: bool,
    /// Refused attempts, for who may watch them.
    attempts: Option<watch::Receiver<u64>>,
    /// Until when nothing is said about attempts, by the monotonic clock.
    silent_until: Duration,
}

impl App {
    /// The events that concern the caller, after `last` or from now on, until the session's
    /// principal may not act any more or the server stops.
    pub(crate) fn events(
        self: Arc<Self>,
        actor: Actor,
        last: Option<u64>,
    ) -> impl Stream<Item = Result<sse::Event, Infallible>> + use<> {
        let now = i64::try_from(*self.projected.borrow()).unwrap_or(i64::MAX) - 1;
        // Whoever claims to have seen the future starts now.
        let after = last
            .and_then(|last| i64::try_from(last).ok())
            .map_or(now, |last| last.min(now));
        let live = self.desk.as_ref().map_or(0, |d| d.changed_since(0).0);
        let watches = actor.may(Operation::WatchIntrusions, Relation::Stranger);
        let reader = Reader {
            attempts: watches.then(|| self.watch.news()),
            silent_until: Duration::ZERO,
            app: self,
            actor,
            after,
            ready: Vec::new().into_iter(),
            live,
            jobs: BTreeSet::new().into_iter(),
            opened: false,
        };
        stream::unfold(reader, async |mut reader| {
            let event = reader.next().await?;
            Some((Ok(event), reader))
        })
    }

    async fn events_after(&self, actor: &Actor, after: i64) -> Result<Vec<Row>> {
        let everything = actor.may(Operation::WatchIntrusions, Relation::Stranger);
        let house: Option<OrganisationId> =
            matches!(actor.role(), Role::Organisation | Role::Staff).then(|| actor.organisation());
        let rows = {
            let tx = &mut self.database.read().await?;
            tx.all(
                "SELECT entry, kind, subject FROM event e
                     WHERE entry > $1 AND ($2 OR custodian = $3
                       OR (kind = 'job' AND $3 IS NOT NULL) OR EXISTS (
                       SELECT 1 FROM event_audience a
                       WHERE a.principal = $4 AND a.entry = e.entry))
                     ORDER BY entry LIMIT $5",
                &params![after, everything, house, actor.id, STEP],
            )
            .await
        };
        Ok(rows?)
    }
}

impl Reader {
    /// Notes jobs in which sites began something else; whether there is one to tell of.
    fn look_at_jobs(&mut self) -> bool {
        let Some(desk) = &self.app.desk else {
            return false;
        };
        let (live, jobs) = desk.changed_since(self.live);
        self.live = live;
        let watches = matches!(
            self.actor.role(),
            Role::Organisation | Role::Staff | Role::Operator | Role::Auditor
        );
        self.jobs = jobs.into_iter();
        watches && self.jobs.len() > 0
    }

    async fn next(&mut self) -> Option<sse::Event> {
        if !self.opened {
            // Tells the client at once that the stream stands, and how long to wait otherwise.
            self.opened = true;
            return Some(sse::Event::default().retry(RETRY).comment("open"));
        }
        let mut stopping = self.app.stopping.subscribe();
        let mut projected = self.app.projected.subscribe();
        let desk = self.app.desk.as_ref();
        let mut board = desk.map(|desk| desk.moved.subscribe());
        loop {
            if let Some(row) = self.ready.next() {
                self.after = i64::try_from(row.entry).unwrap_or(i64::MAX);
                return Some(event(&row));
            }
            let reached = i64::try_from(*projected.borrow_and_update()).unwrap_or(i64::MAX) - 1;
            if let Some(job) = self.jobs.next() {
                return Some(moved(job));
            }
            if reached > self.after {
                let view = self.app.view().ok()?;
                let actor = Actor::known(&*view, self.actor.id).ok()?;
                self.actor = actor.authorised(&*view).ok()?;
                let rows = self.app.events_after(&self.actor, self.after).await.ok()?;
                if rows.is_empty() {
                    self.after = reached;
                }
                self.ready = rows.into_iter();
                continue;
            }
            if let Some(board) = &mut board {
                board.mark_unchanged();
            }
            if self.look_at_jobs() {
                continue;
            }
            let live = async {
                match &mut board {
                    Some(board) => drop(board.changed().await),
                    None => core::future::pending().await,
                }
            };
            tokio::select! {
                changed = projected.changed() => changed.ok()?,
                () = live => {}
                () = refused(&*self.app.clock, self.attempts.as_mut(), self.silent_until) => {
                    self.silent_until = self.app.clock.monotonic() + ATTEMPTS_GAP;
                    let view = self.app.view().ok()?;
                    Actor::known(&*view, self.actor.id).ok()?.authorised(&*view).ok()?;
                    return Some(attempt());
                }
                _ = stopping.wait_for(|stop| *stop) => return None,
            }
        }
    }
}

/// A job in which a site began something else.
fn moved(job: JobId) -> sse::Event {
    let data = serde_json::json!({ "type": EventKind::Job.word(), "id": job });
    sse::Event::default().data(data.to_string())
}

/// Waits for a refused attempt after `silent_until`; for ever where nobody watches.
async fn refused(
    clock: &dyn Clock,
    attempts: Option<&mut watch::Receiver<u64>>,
    silent_until: Duration,
) {
    let Some(attempts) = attempts else {
        return core::future::pending().await;
    };
    let rest = silent_until.saturating_sub(clock.monotonic());
    if rest > Duration::ZERO {
        clock.sleep(rest).await;
    }
    if attempts.changed().await.is_err() {
        core::future::pending::<()>().await;
    }
}

/// Has no id: a client that connects again goes on after the last entry that it saw.
fn attempt() -> sse::Event {
    let data = serde_json::json!({ "type": EventKind::Attempt.word(), "id": "" });
    sse::Event::default().data(data.to_string())
}

fn event(row: &Row) -> sse::Event {
    let data = serde_json::json!({ "type": row.kind, "id": row.subject });
    sse::Event::default()
        .id(row.entry.to_string())
        .data(data.to_string())
}
