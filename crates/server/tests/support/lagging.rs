//! A node whose copy of the ledger stands still while a round opens elsewhere.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use salus_contract::state::StateRead;
use salus_ledger::bundle::Handover;
use salus_ledger::{ConsistencyProof, InclusionProof};
use salus_proto::command::{Action, COMMAND_LIMIT, Command, ENTRY_LIMIT, Entry, SignedCommand};
use salus_proto::encode::from_bytes;
use salus_proto::{Digest, TimestampMs};
use salus_replica::{Contract, Replica};
use salus_runtime::Clock;
use salus_server::node::{
    CertifiedNote, Ledger, LedgerFailed, LedgerHealth, LedgerView, ProvenState, SubmitError,
};
use tokio::sync::watch;

/// How long a node waits for its copy of the ledger before it refuses what a site that is ahead asks.
const BEHIND: Duration = Duration::from_secs(10);

/// What the test does to the node.
pub(crate) struct Lag {
    armed: AtomicBool,
    held: watch::Sender<Option<Arc<dyn LedgerView>>>,
    refused: watch::Sender<u32>,
}

impl fmt::Debug for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lag").finish_non_exhaustive()
    }
}

impl Lag {
    pub(crate) fn none() -> Arc<Self> {
        Arc::new(Self {
            armed: AtomicBool::new(false),
            held: watch::Sender::new(None),
            refused: watch::Sender::new(0),
        })
    }

    /// From the moment when the node opens a round its copy of the ledger stands still.
    pub(crate) fn hold_before_the_next_round(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Until so many requests have been refused because they were ahead.
    pub(crate) async fn has_refused(&self, requests: u32) {
        let mut refused = self.refused.subscribe();
        refused.wait_for(|count| *count >= requests).await.unwrap();
    }

    pub(crate) fn release(&self) {
        self.held.send_replace(None);
    }
}

/// The node's ledger.
#[derive(Debug)]
pub(crate) struct Lagging {
    pub(crate) ledger: Replica<Contract>,
    pub(crate) lag: Arc<Lag>,
}

impl Ledger for Lagging {
    fn submit(&self, command: Bytes) -> BoxFuture<'_, Result<Entry, SubmitError>> {
        let signed: SignedCommand = from_bytes(&command, ENTRY_LIMIT, "a command").unwrap();
        let decoded: Command = from_bytes(&signed.command, COMMAND_LIMIT, "a command").unwrap();
        let opens = matches!(decoded.action, Action::OpenRound { .. });
        if opens && self.lag.armed.swap(false, Ordering::SeqCst) {
            let view = Ledger::view(&self.ledger).unwrap();
            self.lag.held.send_replace(Some(Arc::from(view)));
        }
        Ledger::submit(&self.ledger, command)
    }

    fn view(&self) -> Result<Box<dyn LedgerView>, LedgerFailed> {
        match &*self.lag.held.borrow() {
            Some(view) => Ok(Box::new(Held(Arc::clone(view)))),
            None => Ledger::view(&self.ledger),
        }
    }

    fn certified(&self) -> Option<CertifiedNote> {
        Ledger::certified(&self.ledger)
    }

    fn certified_at(&self, size: u64) -> BoxFuture<'_, Result<CertifiedNote, LedgerFailed>> {
        Ledger::certified_at(&self.ledger, size)
    }

    fn prove(&self, key: Vec<u8>) -> BoxFuture<'_, Result<ProvenState, LedgerFailed>> {
        Ledger::prove(&self.ledger, key)
    }

    fn handovers(&self, height: u64) -> Result<Option<Vec<Handover>>, LedgerFailed> {
        Ledger::handovers(&self.ledger, height)
    }

    fn executed(&self, size: u64) -> BoxFuture<'_, Result<(), LedgerFailed>> {
        let mut held = self.lag.held.subscribe();
        async move {
            let seen = |held: &Option<Arc<dyn LedgerView>>| {
                held.as_ref().is_none_or(|view| view.size() >= size)
            };
            held.wait_for(seen).await.unwrap();
            Ledger::executed(&self.ledger, size).await
        }
        .boxed()
    }

    fn health(&self) -> LedgerHealth {
        Ledger::health(&self.ledger)
    }
}

struct Held(Arc<dyn LedgerView>);

impl StateRead for Held {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }
}

impl LedgerView for Held {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, LedgerFailed> {
        self.0.entries(from, limit)
    }

    fn tile(&self, level: u8, tile: u64) -> Result<Option<Vec<u8>>, LedgerFailed> {
        self.0.tile(level, tile)
    }

    fn inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, LedgerFailed> {
        self.0.inclusion(index, size)
    }

    fn consistency(&self, first: u64, second: u64) -> Result<ConsistencyProof, LedgerFailed> {
        self.0.consistency(first, second)
    }

    fn root(&self, size: u64) -> Result<Digest, LedgerFailed> {
        self.0.root(size)
    }
}

/// The node's clock: while the ledger is held nobody waits for it to move.
#[derive(Debug)]
pub(crate) struct Hasty {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) lag: Arc<Lag>,
}

impl Clock for Hasty {
    fn now(&self) -> TimestampMs {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration == BEHIND && self.lag.held.borrow().is_some() {
            self.lag.refused.send_modify(|count| *count += 1);
            return async {}.boxed();
        }
        self.clock.sleep(duration)
    }
}
