//! The store of sealed records at one node: the cloudlet of a hospital, the replica of a cloud.
//!
//! ```text
//!  upload ──check──> Checked ──stage──> blobs in a pack, rows in SQL, one fsync each, many batches
//!                                │
//!                          the ledger anchors it ──anchored──> listed, released, replicated
//!                                │
//!  final ReadRecords entry ──ReadOrder──> release (wraps, manifests, statements), sealed bytes
//!  final DecideAccess      ──Grant──────> class keys wrapped to the holder
//!  final RevokeAccess      ──revoke─────> a new class key, record keys moved to it, old wraps gone
//! ```
//!
//! | Term | Meaning |
//! |---|---|
//! | staged | durable here, not yet on the ledger |
//! | anchored | on the ledger; only such records are listed, released and replicated |
//! | class key, epoch | opens the record keys of a class of one patient; replaced when a grant ends |
//! | wrap | a key sealed to one recipient or under another key |
//!
//! What needs the ledger is given a view of its state. Nothing here decides who may do what: that is
//! `policy` and the contract, and the vault acts on final entries only.
//!
//! **Invariants:** what `stage` acknowledged survives a power cut; no key wrap leaves without a final
//! receipt that covers it; every byte given out was checked against its digest.

/// Reads one moment of the tables: `read!(database, |tx| …)` gives what the body gives.
macro_rules! read {
    ($database:expr, |$tx:ident| $body:expr $(,)?) => {
        async {
            let mut transaction = $database.read().await?;
            let $tx = &mut transaction;
            $body
        }
        .await
    };
}

mod check;
mod error;
mod evidence;
mod fsck;
mod incident;
mod keys;
mod list;
mod own;
mod rekey;
mod release;
mod replicate;
mod revoke;
mod row;
mod scrub;
mod stage;
mod upload;

use core::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use salus_crypto::keys::SecretKeys;
use salus_proto::Entropy;
use salus_proto::ids::{OrganisationId, PrincipalId};
use salus_runtime::table::Database;
use salus_runtime::{BlobStore, Clock};

pub use check::Checked;
pub use error::Error;
pub use evidence::Evidence;
pub use fsck::{Finding, Report};
pub use incident::Incident;
pub use keys::{Grant, decide_own_records};
pub use list::{Patient, PatientFilter, RecordCursor, RecordFilter, SealedItem};
pub use own::OwnRecord;
pub use rekey::Rekeyed;
pub use release::{RELEASE_MS, ReadOrder, Release, ReleasedRecord};
pub use replicate::Outgoing;
pub use revoke::{RevokedAccess, Rotation};
pub use scrub::{ReplicaSource, Scrubbed, SourceFailed};
pub use stage::{Staged, StagedBatch};
pub use upload::Upload;

/// What a vault is made of.
pub struct Parts {
    /// Where rows are.
    pub database: Database,
    /// Where sealed bytes are.
    pub blobs: BlobStore,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where fresh keys come from.
    pub entropy: Box<dyn Entropy + Send>,
    /// Whose node this is.
    pub organisation: OrganisationId,
    /// Its keys: they open class keys and re-wrap them.
    pub keys: Arc<SecretKeys>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}

/// The store of sealed records. Clones share it.
#[derive(Clone)]
pub struct Vault {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    blobs: BlobStore,
    clock: Arc<dyn Clock>,
    entropy: Mutex<Box<dyn Entropy + Send>>,
    organisation: OrganisationId,
    keys: Arc<SecretKeys>,
    /// The organisation's keys before these, while something may still be wrapped to them.
    earlier: Option<SecretKeys>,
    queue: stage::Queue,
}

impl Vault {
    /// A vault over an open database and blob store.
    pub fn new(parts: Parts) -> Self {
        Self::replacing(parts, None)
    }

    /// The same for an organisation that has replaced its keys: what is wrapped to its `earlier` ones
    /// opens too. [`Vault::rekey`] makes them superfluous.
    pub fn replacing(parts: Parts, earlier: Option<SecretKeys>) -> Self {
        Self {
            shared: Arc::new(Shared {
                database: parts.database,
                blobs: parts.blobs,
                clock: parts.clock,
                entropy: Mutex::new(parts.entropy),
                organisation: parts.organisation,
                keys: parts.keys,
                earlier,
                queue: stage::Queue::default(),
            }),
        }
    }

    /// Whose node this is.
    pub fn organisation(&self) -> OrganisationId {
        self.shared.organisation
    }

    /// The organisation as a principal: the custodian to whom class keys are wrapped.
    fn custodian(&self) -> PrincipalId {
        self.shared.custodian()
    }

    fn database(&self) -> &Database {
        &self.shared.database
    }

    fn blobs(&self) -> &BlobStore {
        &self.shared.blobs
    }
}

impl Shared {
    fn custodian(&self) -> PrincipalId {
        PrincipalId(self.organisation.0)
    }

    fn with_entropy<T>(&self, draw: impl FnOnce(&mut dyn Entropy) -> T) -> T {
        let mut entropy = self.entropy.lock().unwrap_or_else(PoisonError::into_inner);
        draw(&mut **entropy)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("organisation", &self.shared.organisation)
            .finish_non_exhaustive()
    }
}

/// Runs work that takes long on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(Error::Interrupted))
}
