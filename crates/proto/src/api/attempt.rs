//! Attempts that were refused, for those who watch.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TimestampMs;
use crate::ids::PrincipalId;

/// Refused attempts of one kind by one caller within one hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// When the last of them happened.
    pub at: TimestampMs,
    /// When the first of them happened.
    pub first: TimestampMs,
    /// Who, when a session or a signature says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<PrincipalId>,
    /// What was tried: method and path template, never ids or parameters.
    pub what: String,
    /// Why it was refused: a problem code.
    pub why: String,
    /// The address it came from.
    #[serde(rename = "where")]
    pub place: String,
    /// How often.
    pub count: u64,
}
