//! Whether the node is up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, `stalled` while writes cannot become final, or `not-a-member`.
    pub status: HealthStatus,
    /// Version of the program.
    pub version: String,
}

/// Whether writes can become final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// Everything works.
    Ok,
    /// Reads work, writes wait for a quorum.
    Stalled,
    /// The node's organisation has left the consortium, or has not joined yet: reads work, on what
    /// the members pass on to it.
    NotAMember,
}
