//! The deterministic machine that every member runs: principals, membership, anchors, access,
//! federated jobs.
//!
//! ```text
//!  bytes --prepare--> Prepared --apply(state, now)--> Entry + writes
//!           |                       |
//!        Rejection               Refusal (inside the entry)
//! ```
//!
//! Two kinds of no. A [`Rejection`] means that the bytes cannot become an entry at all: malformed,
//! not signed by an authorised principal, late, or a replay; the log does not grow, so nobody
//! without rights can make it grow. A [`Refusal`] is the contract's answer to an
//! authorised principal; it becomes an entry and changes nothing but the sequence window.
//!
//! **Invariants:** same state, same bytes, same context: same result on every machine. No clock (the
//! block's time is an argument), no entropy, no floats, ordered maps only. Whatever is read is
//! bounded by the command's size.

pub mod apply;
pub mod state;
pub mod table;

mod access;
mod membership;
pub mod principals;
pub mod records;
mod training;

pub use apply::{BlockContext, Prepared, Rejection, apply, genesis, next_sequence, prepare};
pub use salus_proto::command::Refusal;
pub use state::{Overlay, StateRead};
