//! The replica as the server's ledger.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use salus_contract::Rejection;
use salus_ledger::bundle::Handover;
use salus_ledger::tile::{TileNodes, TileRead};
use salus_ledger::{ConsistencyProof, InclusionProof, proof};
use salus_proto::command::Entry;
use salus_proto::{Digest, TimestampMs};
use salus_replica::{Contract, ReadView, Replica, Stall};

use crate::node::{
    CertifiedNote, Ledger, LedgerFailed, LedgerHealth, LedgerView, PeerHealth, ProvenState,
    SubmitError, decode_entry,
};

impl Ledger for Replica<Contract> {
    fn submit(&self, command: Bytes) -> BoxFuture<'_, Result<Entry, SubmitError>> {
        async move {
            let committed = self.submit(command).await?;
            Ok(decode_entry(&committed.entry)?)
        }
        .boxed()
    }

    fn view(&self) -> Result<Box<dyn LedgerView>, LedgerFailed> {
        Ok(Box::new(self.read()?))
    }

    fn certified(&self) -> Option<CertifiedNote> {
        self.certified().map(note)
    }

    fn certified_at(&self, size: u64) -> BoxFuture<'_, Result<CertifiedNote, LedgerFailed>> {
        async move { Ok(note(self.certified_at(size).await?)) }.boxed()
    }

    fn prove(&self, key: Vec<u8>) -> BoxFuture<'_, Result<ProvenState, LedgerFailed>> {
        async move {
            let proven = self.prove(&key).await?;
            let certified = note(proven.certified);
            Ok(ProvenState {
                value: proven.value,
                proof: proven.proof,
                certified,
            })
        }
        .boxed()
    }

    fn handovers(&self, height: u64) -> Result<Option<Vec<Handover>>, LedgerFailed> {
        Ok(self.handovers(height)?)
    }

    fn executed(&self, size: u64) -> BoxFuture<'_, Result<(), LedgerFailed>> {
        async move { Ok(self.executed(size).await?) }.boxed()
    }

    fn health(&self) -> LedgerHealth {
        let status = self.status();
        let (silent, failed) = match status.stalled {
            None => (Vec::new(), false),
            Some(Stall::NoQuorum { missing }) => (missing, false),
            Some(Stall::Failed(_)) => (Vec::new(), true),
        };
        let peers = status.peers.into_iter().map(|peer| PeerHealth {
            organisation: peer.organisation,
            heard: peer.heard_ms.map(TimestampMs),
            height: peer.height,
        });
        LedgerHealth {
            height: status.height,
            size: status.size,
            peers: peers.collect(),
            silent,
            failed,
        }
    }
}

impl LedgerView for ReadView {
    fn size(&self) -> u64 {
        self.size()
    }

    fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, LedgerFailed> {
        Ok(self.entries(from, limit)?)
    }

    fn tile(&self, level: u8, tile: u64) -> Result<Option<Vec<u8>>, LedgerFailed> {
        Ok(self.tile(level, tile)?)
    }

    fn inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, LedgerFailed> {
        Ok(self.inclusion(index, size)?)
    }

    fn consistency(&self, first: u64, second: u64) -> Result<ConsistencyProof, LedgerFailed> {
        Ok(self.consistency(first, second)?)
    }

    fn root(&self, size: u64) -> Result<Digest, LedgerFailed> {
        proof::root(&TileNodes(Tiles(self)), size).map_err(|e| LedgerFailed(e.to_string()))
    }
}

/// The tiles of a view.
struct Tiles<'a>(&'a ReadView);

impl TileRead for Tiles<'_> {
    fn tile(&self, level: u8, index: u64) -> Option<Vec<u8>> {
        self.0.tile(level, index).ok().flatten()
    }
}

fn note(certified: salus_replica::Certified) -> CertifiedNote {
    CertifiedNote {
        checkpoint: certified.checkpoint,
        note: certified.note.to_string(),
    }
}

impl From<salus_replica::Error> for LedgerFailed {
    fn from(error: salus_replica::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<salus_replica::SubmitError<Rejection>> for SubmitError {
    fn from(error: salus_replica::SubmitError<Rejection>) -> Self {
        use salus_replica::SubmitError as Theirs;
        match error {
            Theirs::Refused(rejection) => Self::Rejected(rejection),
            // Another command of the same sequence number was ordered first.
            Theirs::Inadmissible => Self::Rejected(Rejection::Replayed),
            Theirs::AlreadyOrdered => Self::AlreadyOrdered,
            Theirs::Overloaded => Self::Overloaded,
            Theirs::NoQuorum { missing } => Self::NoQuorum { silent: missing },
            Theirs::TimedOut => Self::TimedOut,
            Theirs::Failed(failed) => Self::Failed(failed.into()),
        }
    }
}
