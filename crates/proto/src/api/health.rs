//! Whether the node is up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, or `stalled` while writes cannot become final.
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
}
