//! What the server needs from the node around it: a ledger to submit to and to read.
//!
//! The product's implementation is the replica's handle; the trait is here so that the simulation can
//! drive the same server over a ledger of its own.

use core::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use salus_contract::state::StateRead;
use salus_contract::table::{ConsortiumRow, Members, get};
use salus_contract::{Refusal, Rejection};
use salus_ledger::bundle::Handover;
use salus_ledger::{ConsistencyProof, InclusionProof, StateProof};
use salus_proto::checkpoint::Checkpoint;
use salus_proto::command::{ENTRY_LIMIT, Entry, Outcome};
use salus_proto::encode::from_bytes;
use salus_proto::ids::{ConsortiumId, OrganisationId};
use salus_proto::{Digest, TimestampMs};

/// The consortium's shared state, as one node holds it.
pub trait Ledger: Send + Sync + fmt::Debug + 'static {
    /// Submits a signed command and waits until its entry is final and durable here.
    fn submit(&self, command: Bytes) -> BoxFuture<'_, Result<Entry, SubmitError>>;

    /// State and log as of now; later blocks do not change the view.
    fn view(&self) -> Result<Box<dyn LedgerView>, LedgerFailed>;

    /// The latest checkpoint that a quorum signed.
    fn certified(&self) -> Option<CertifiedNote>;

    /// Waits for such a checkpoint over at least `size` entries.
    fn certified_at(&self, size: u64) -> BoxFuture<'_, Result<CertifiedNote, LedgerFailed>>;

    /// A key of the state, or its absence, proven under a certified checkpoint.
    fn prove(&self, key: Vec<u8>) -> BoxFuture<'_, Result<ProvenState, LedgerFailed>>;

    /// Every change of who signs before the checkpoint at `height`; `None` while one is not certified
    /// here.
    fn handovers(&self, height: u64) -> Result<Option<Vec<Handover>>, LedgerFailed>;

    /// Waits until at least `size` entries are executed and durable here.
    fn executed(&self, size: u64) -> BoxFuture<'_, Result<(), LedgerFailed>>;

    /// How the ledger is doing.
    fn health(&self) -> LedgerHealth;
}

/// A consistent view of state and log.
pub trait LedgerView: StateRead + Send + Sync {
    /// Entries in the log.
    fn size(&self) -> u64;

    /// At most `limit` entries from `from` on, each with its index.
    fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, LedgerFailed>;

    /// The hashes of a C2SP tile.
    fn tile(&self, level: u8, tile: u64) -> Result<Option<Vec<u8>>, LedgerFailed>;

    /// Proof that the log of `size` entries holds the one at `index`.
    fn inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, LedgerFailed>;

    /// Proof that the log of `second` entries extends the one of `first`.
    fn consistency(&self, first: u64, second: u64) -> Result<ConsistencyProof, LedgerFailed>;

    /// Root of the log's first `size` entries.
    fn root(&self, size: u64) -> Result<Digest, LedgerFailed>;
}

/// The ledger's store or engine failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the ledger failed: {0}")]
pub struct LedgerFailed(pub String);

/// Why a submission has no entry to show.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitError {
    /// It may not become an entry.
    #[error("{0}")]
    Rejected(Rejection),
    /// The very same bytes were ordered before.
    #[error("the command was ordered before")]
    AlreadyOrdered,
    /// Too many commands wait.
    #[error("too many commands are waiting")]
    Overloaded,
    /// Too few members answer; the command may still be ordered.
    #[error("too few members answer")]
    NoQuorum {
        /// Those that do not.
        silent: Vec<OrganisationId>,
    },
    /// Not ordered in time; it may still be.
    #[error("the command was not ordered in time")]
    TimedOut,
    /// Ledger or engine failed.
    #[error(transparent)]
    Failed(#[from] LedgerFailed),
}

/// A checkpoint that a quorum signed.
#[derive(Debug, Clone)]
pub struct CertifiedNote {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The signed note (C2SP).
    pub note: String,
}

/// A key of the state under a certified checkpoint.
#[derive(Clone)]
pub struct ProvenState {
    /// The value; `None` when the key is absent.
    pub value: Option<Vec<u8>>,
    /// Proof of either.
    pub proof: StateProof,
    /// The checkpoint.
    pub certified: CertifiedNote,
}

impl fmt::Debug for ProvenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvenState")
            .field("certified", &self.certified)
            .finish_non_exhaustive()
    }
}

/// How the ledger is doing.
#[derive(Debug, Clone, Default)]
pub struct LedgerHealth {
    /// Height of the last executed block.
    pub height: u64,
    /// Entries in the log.
    pub size: u64,
    /// The other members as last heard.
    pub peers: Vec<PeerHealth>,
    /// Members that do not answer while too few do; empty while writes work.
    pub silent: Vec<OrganisationId>,
    /// Whether ledger or engine failed, so that nothing is acknowledged any more.
    pub failed: bool,
}

/// Another member as last heard.
#[derive(Debug, Clone)]
pub struct PeerHealth {
    /// The member.
    pub organisation: OrganisationId,
    /// When it was last heard, if ever.
    pub heard: Option<TimestampMs>,
    /// The height that it last reported.
    pub height: u64,
}

/// The consortium that a view belongs to.
pub(crate) fn consortium(view: &dyn StateRead) -> Result<ConsortiumId, LedgerFailed> {
    get::<ConsortiumRow>(view, &())
        .map(|row| row.consortium)
        .ok_or_else(|| LedgerFailed("the state has no consortium".into()))
}

/// The members.
pub(crate) fn members(view: &dyn StateRead) -> Result<Members, LedgerFailed> {
    Members::of(view).ok_or_else(|| LedgerFailed("the state has no members".into()))
}

/// Reads an entry of the log.
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, LedgerFailed> {
    from_bytes(bytes, ENTRY_LIMIT, "a log entry").map_err(|e| LedgerFailed(e.to_string()))
}

/// The refusal that an entry records, if it was refused.
pub(crate) fn refusal(entry: &Entry) -> Option<Refusal> {
    match entry.outcome {
        Outcome::Accepted => None,
        Outcome::Refused(refusal) => Some(refusal),
    }
}
