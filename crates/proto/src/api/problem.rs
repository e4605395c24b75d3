//! Errors: RFC 9457 problem documents.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::OrganisationId;

/// What every `type` begins with; the `code` follows.
pub const PROBLEM_TYPE_PREFIX: &str = "urn:salus:problem:";

/// A problem document (`application/problem+json`). Holds no patient data, no key, no token and no
/// login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:salus:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// Short, the same for every occurrence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Names this occurrence in the node's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Stable, for programs; kebab case.
    pub code: String,
    /// What is wrong where in the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The log entry that holds a refused command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// Members that do not answer, when the quorum is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<SilentMember>,
}

/// What is wrong at one place of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body, or the name of a parameter.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// A member that this node does not hear from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SilentMember {
    /// The organisation.
    pub organisation: OrganisationId,
    /// Its name.
    pub name: String,
}
