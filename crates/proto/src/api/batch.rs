//! Batches of sealed records; the request body is the CBOR of a
//! [`SealedBatch`](crate::record::SealedBatch).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ids::BatchId;

/// A batch that is stored and anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchAccepted {
    /// The batch.
    pub batch: BatchId,
    /// The log entry that anchored it.
    pub entry: u64,
}
