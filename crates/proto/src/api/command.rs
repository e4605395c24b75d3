//! Commands: signed by whoever acts, carried out by the consortium.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::api::Binary;
use crate::command::Outcome;

/// A command to submit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandSubmission {
    /// CBOR of the [`SignedCommand`](crate::command::SignedCommand).
    pub command: Binary,
}

/// A final command. A refused one is answered with a problem that names the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CommandReceipt {
    /// Position in the log.
    pub entry: u64,
    /// Height of the block.
    pub height: u64,
    /// The block's agreed time.
    pub time: TimestampMs,
    /// What became of it.
    pub outcome: Outcome,
}
