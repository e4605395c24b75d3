//! Why something is not accepted; every variant is a normal answer that the site is told.

use salus_proto::Digest;
use salus_proto::ids::OrganisationId;

/// A plan, update or event that is not accepted. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The plan contradicts itself or exceeds a limit.
    #[error("plan: {0}")]
    Plan(&'static str),
    /// The update starts from another model than the round's; fetch the current one and train again.
    #[error("update starts from model {found}, the round from {expected}")]
    StaleBase {
        /// The round's model.
        expected: Digest,
        /// The update's.
        found: Digest,
    },
    /// The update is for another job or round.
    #[error("update is for round {found}, round {expected} is open")]
    WrongRound {
        /// The round that is open.
        expected: u32,
        /// The update's round.
        found: u32,
    },
    /// The update belongs to another job.
    #[error("update belongs to another job")]
    WrongJob,
    /// The sender is not on the plan's roster.
    #[error("site {0} is not on the roster")]
    NotOnRoster(OrganisationId),
    /// The site has already sent a different update in this round.
    #[error("site {0} has already sent another update in this round")]
    Duplicate(OrganisationId),
    /// The round takes no more updates; the site joins the next one.
    #[error("the round is closed")]
    Closed,
    /// The payload's length does not fit the plan's tensors.
    #[error("{found} bytes where the plan's tensors need {expected}")]
    WrongLength {
        /// Bytes the plan's tensors need.
        expected: u64,
        /// Bytes announced or received.
        found: u64,
    },
    /// The payload is not the one that the header names.
    #[error("payload does not have the digest of its header")]
    WrongPayload,
    /// The site trained on no image, or on more than it declared.
    #[error("{found} images where 1 to {declared} were declared")]
    WrongSamples {
        /// Images on the roster.
        declared: u32,
        /// Images in the header.
        found: u32,
    },
    /// A metric that the plan does not ask for, or too fine, or of too few images.
    #[error("metric {0} does not follow the plan's schema")]
    Metric(u16),
    /// A trained value is not a number or infinite; training has diverged at this site.
    #[error("value {index} of tensor {tensor} is not finite")]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Position within it.
        index: usize,
    },
    /// A value of an update is larger than the clip bound allows.
    #[error("value {index} of the update from {site} exceeds the clip bound")]
    OutOfRange {
        /// The site.
        site: OrganisationId,
        /// Position in the payload.
        index: usize,
    },
    /// Fewer updates than the strategy or the plan needs.
    #[error("{found} updates where {needed} are needed")]
    TooFew {
        /// Updates needed.
        needed: usize,
        /// Updates present.
        found: usize,
    },
    /// Updates that count are missing from, or not part of, what was added.
    #[error("the updates added are not those of the survivors")]
    WrongSurvivors,
    /// A tensor is missing, too many or of another shape.
    #[error("tensor {0} does not have the plan's shape")]
    Shape(String),
    /// Stored bytes that are not a state of this job.
    #[error("not a state of this job")]
    State,
}
