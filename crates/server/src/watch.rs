//! Refused attempts: who tried what, when, from where, and why it was refused.
//!
//! Handlers only drop a note into a bounded queue; a task of its own counts equal notes of one hour
//! together and writes them. Notes hold no ids, parameters, logins or bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use salus_proto::TimestampMs;
use salus_proto::ids::PrincipalId;
use salus_runtime::table::Database;
use salus_runtime::{params, transact};
use tokio::sync::{Notify, mpsc, watch};

/// Notes that may wait to be written; more are counted and dropped.
const QUEUE_LIMIT: usize = 4096;
/// Rows kept; the oldest go first.
const ROWS_LIMIT: u64 = 100_000;
/// Attempts are counted together per hour, in ms.
pub(crate) const PERIOD_MS: u64 = 3_600_000;

/// One refused attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Note {
    pub(crate) who: Option<PrincipalId>,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) place: String,
    pub(crate) at: TimestampMs,
}

/// Where notes are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    queue: mpsc::Sender<Signal>,
    dropped: Arc<AtomicU64>,
    written: Arc<Notify>,
    /// Counts the times that something was written.
    news: watch::Sender<u64>,
}

enum Signal {
    Note(Note),
    /// Answered once everything before it is written.
    Flush(tokio::sync::oneshot::Sender<()>),
}

impl Watch {
    /// The queue and the task that writes what comes through it until every handle is gone.
    pub(crate) fn new(database: Database) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, notes) = mpsc::channel(QUEUE_LIMIT);
        let written = Arc::<Notify>::default();
        let news = watch::Sender::new(0);
        (
            Self {
                queue,
                dropped: Arc::default(),
                written: Arc::clone(&written),
                news: news.clone(),
            },
            write_all(database, notes, written, news),
        )
    }

    /// Drops a note, or counts it as lost when the queue is full: watching never slows the watched.
    pub(crate) fn note(&self, note: Note) {
        if self.queue.try_send(Signal::Note(note)).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(
                    dropped,
                    "refused attempts come faster than they can be written"
                );
            }
        }
    }

    /// Waits until notes were written that nobody has waited for yet.
    pub(crate) async fn written(&self) {
        self.written.notified().await;
    }

    /// Changes whenever notes were written, for everybody who looks on.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Waits until every note dropped so far is written.
    pub(crate) async fn flush(&self) {
        let (done, written) = tokio::sync::oneshot::channel();
        if self.queue.send(Signal::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

async fn write_all(
    database: Database,
    mut notes: mpsc::Receiver<Signal>,
    written: Arc<Notify>,
    news: watch::Sender<u64>,
) {
    let mut batch = Vec::new();
    while notes.recv_many(&mut batch, QUEUE_LIMIT).await > 0 {
        let mut counted: BTreeMap<(Note, u64), (TimestampMs, TimestampMs, u64)> = BTreeMap::new();
        let mut waiting = Vec::new();
        for signal in batch.drain(..) {
            match signal {
                Signal::Note(note) => {
                    let (at, period) = (note.at, note.at.0 / PERIOD_MS);
                    let key = (
                        Note {
                            at: TimestampMs(0),
                            ..note
                        },
                        period,
                    );
                    let (first, last, count) = counted.entry(key).or_insert((at, at, 0));
                    (*first, *last, *count) = ((*first).min(at), (*last).max(at), *count + 1);
                }
                Signal::Flush(done) => waiting.push(done),
            }
        }
        match write(&database, &counted).await {
            Ok(()) if !counted.is_empty() => {
                written.notify_one();
                news.send_modify(|times| *times += 1);
            }
            Ok(()) => {}
            Err(error) => tracing::error!(%error, "refused attempts were not written"),
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

async fn write(
    database: &Database,
    counted: &BTreeMap<(Note, u64), (TimestampMs, TimestampMs, u64)>,
) -> salus_runtime::Result<()> {
    if counted.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(counted.len());
    for ((note, period), (first, last, count)) in counted {
        let who = note.who.map(|p| p.0.to_vec()).unwrap_or_default();
        rows.push(params![
            who, note.what, note.why, note.place, period, first, last, count
        ]);
    }
    transact!(database, "write attempts", |tx| {
        let rows = rows.clone();
        tx.insert_many(
            "INSERT INTO attempt
                   (who, what, why, place, period, first_at, last_at, occurrences)",
            rows,
            "ON CONFLICT (who, what, why, place, period) DO UPDATE SET
                   last_at = excluded.last_at,
                   occurrences = attempt.occurrences + excluded.occurrences",
        )
        .await?;
        tx.execute(
            "DELETE FROM attempt WHERE last_at < COALESCE(
                   (SELECT last_at FROM attempt ORDER BY last_at DESC LIMIT 1 OFFSET $1), 0)",
            &params![ROWS_LIMIT],
        )
        .await?;
        Ok(())
    })
}
