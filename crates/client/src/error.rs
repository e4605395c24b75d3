//! What can go wrong between a client and a node, sorted by what the caller can do about it.

use salus_proto::api::problem::Problem;
use salus_proto::encode::Malformed;
use salus_proto::ids::{PrincipalId, RecordId};

/// The client's result.
pub type Result<T> = core::result::Result<T, Error>;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node, a policy or the contract said no; the same call will be answered the same.
    #[error("{}", words(.0))]
    Refused(Box<Problem>),
    /// Too few members answer, or the node is overloaded or slow; nothing was lost, try again later.
    #[error("{}", words(.0))]
    Unavailable(Box<Problem>),
    /// The node could not be reached.
    #[error("cannot reach {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The node answered with something that is not of this API.
    #[error("{url} does not answer as a Salus node: {what}")]
    NotSalus {
        /// Where.
        url: String,
        /// What was strange.
        what: String,
    },
    /// The certificate authority's file is not one.
    #[error("the certificate authority file holds no certificate")]
    Authority,
    /// Login and password do not belong together, or there is no such account.
    #[error("the login or the password is wrong")]
    LoginRefused,
    /// Something that the node sent does not verify.
    #[error("record {record} does not verify: {what}")]
    NotVerified {
        /// The record.
        record: RecordId,
        /// What is wrong with it.
        what: String,
    },
    /// The node's word about somebody's keys is not backed by the members.
    #[error("the keys of {principal} are not proven: {what}")]
    NotProven {
        /// Whose keys.
        principal: PrincipalId,
        /// What is wrong with the proof.
        what: String,
    },
    /// Nobody told this client which consortium it deals with.
    #[error("the genesis file of the consortium is needed to check other people's keys")]
    NoGenesis,
    /// A file that cannot be taken in.
    #[error(transparent)]
    Source(salus_clinical::Error),
    /// A source that does not say whose it is.
    #[error("it is not clear whose record this is: {what}")]
    NoPatient {
        /// What lacks a patient.
        what: &'static str,
    },
    /// A key, signature or wrap is wrong.
    #[error(transparent)]
    Crypto(#[from] salus_crypto::Error),
    /// A sealed record or batch is wrong.
    #[error(transparent)]
    Envelope(#[from] salus_envelope::Error),
    /// Bytes that are not what they should be.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl Error {
    /// The problem's stable code, when the node sent one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) | Self::Unavailable(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

fn words(problem: &Problem) -> &str {
    problem.detail.as_deref().unwrap_or(&problem.title)
}
