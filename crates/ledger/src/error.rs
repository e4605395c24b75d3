//! Why a proof, a path, a checkpoint or a bundle was not accepted.

use salus_proto::checkpoint::NoteError;
use salus_proto::encode::Malformed;

use crate::certificate::MemberFault;

/// Everything that this crate refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The entry is not in a tree of that size.
    #[error("entry {index} is not in a log of {size} entries")]
    NoSuchEntry {
        /// Zero-based index asked for.
        index: u64,
        /// Entries in the tree.
        size: u64,
    },
    /// The first tree must not be larger than the second, and neither above the limit.
    #[error("a log of {first} entries is no prefix of one of {second}")]
    NoPrefix {
        /// Entries in the earlier tree.
        first: u64,
        /// Entries in the later tree.
        second: u64,
    },
    /// The node source lacks a hash that the proof needs.
    #[error("the log store lacks node {index} of level {level}")]
    MissingNode {
        /// Level above the leaves.
        level: u8,
        /// Index within the level.
        index: u64,
    },
    /// A proof has exactly one length for given sizes.
    #[error("the proof has {found} hashes where {expected} are needed")]
    ProofLength {
        /// Hashes that the sizes demand.
        expected: usize,
        /// Hashes in the proof.
        found: usize,
    },
    /// The hashes of the proof do not lead to the root.
    #[error("the proof does not lead to the root hash")]
    RootMismatch,
    /// The state proof is not in its one valid form.
    #[error("the state proof is malformed: {0}")]
    StateProof(&'static str),
    /// Two leaves of a bulk build have the same path.
    #[error("two state entries share one key")]
    DuplicateKey,
    /// More keys than a tree can address.
    #[error("the state holds more than {limit} keys")]
    StateFull {
        /// Keys that a tree can hold.
        limit: usize,
    },
    /// Not a path of the tlog-tiles layout, or not one that the log has.
    #[error("not a tile path")]
    TilePath,
    /// A tile's or entry bundle's bytes do not match its width.
    #[error("the tile or entry bundle does not hold what its path says")]
    TileContent,
    /// The tlog-tiles format allows entries of at most 65,535 bytes.
    #[error("an entry of {length} bytes does not fit an entry bundle")]
    EntryTooLong {
        /// Bytes in the entry.
        length: usize,
    },
    /// A stored frontier contradicts itself.
    #[error("the stored log frontier is damaged")]
    Frontier,
    /// A checkpoint or signed note that does not parse.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Bytes that are not the deterministic encoding of what they should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The checkpoint is another log's.
    #[error("the checkpoint is of another log")]
    OtherLog,
    /// The checkpoint names another member list than the one it was checked against.
    #[error("the checkpoint was made under another member list")]
    OtherMembers,
    /// A member list must have 1 to 64 members with distinct organisations and keys.
    #[error("the member list is not valid: {0}")]
    MemberList(&'static str),
    /// Too few members signed, or a member's signature is wrong.
    #[error(
        "{valid} of {members} members signed validly where {required} are needed{}",
        crate::certificate::listed(.faults)
    )]
    NotCertified {
        /// Members whose two signatures are valid.
        valid: usize,
        /// Members in the list.
        members: usize,
        /// Members needed.
        required: usize,
        /// What is missing or bad, by member.
        faults: Vec<MemberFault>,
    },
    /// The two statements do not contradict each other.
    #[error("the two checkpoints do not contradict each other")]
    NoEquivocation,
    /// A bundle's parts do not prove what it claims.
    #[error("{0}")]
    Claim(&'static str),
    /// A bundle that is not the JSON document of the format.
    #[error("not a proof bundle: {0}")]
    Bundle(String),
}
